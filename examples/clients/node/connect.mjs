// What the other examples share.
// [connect]
import { v1 } from "@authzed/authzed-node";

const { STONETOWN_ENDPOINT: endpoint, STONETOWN_TOKEN: token } = process.env;
const zed = v1.NewClient(token, endpoint, v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS);
// With TLS: v1.NewClient(token, "authz.example.com:443")

export const client = zed.promises; // a promise for each call; a stream's is for all its answers
export const streams = zed; // streams as they come

// document:plan
export function object(text) {
  const [objectType, objectId] = text.split(":");
  return { objectType, objectId };
}

// user:ann, group:eng#member
export function subject(text) {
  const [reference, optionalRelation = ""] = text.split("#");
  return { object: object(reference), optionalRelation };
}

// document:plan#viewer@user:ann
export function relationship(text) {
  const [left, who] = text.split("@");
  const [resource, relation] = left.split("#");
  return v1.Relationship.create({ resource: object(resource), relation, subject: subject(who) });
}

export const fullyConsistent = { requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } };

export function text({ resource, relation, subject }) {
  const suffix = subject.optionalRelation ? `#${subject.optionalRelation}` : "";
  return `${resource.objectType}:${resource.objectId}#${relation}@${subject.object.objectType}:${subject.object.objectId}${suffix}`;
}
// [/connect]
