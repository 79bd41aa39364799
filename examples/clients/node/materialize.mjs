// The services of authzed.api.materialize.v0.
import { v1 } from "@authzed/authzed-node";
import { Metadata } from "@grpc/grpc-js";

import { client, streams } from "./connect.mjs";

function describe({ operation, parentSet, child }) {
  const { objectType, objectId, permissionOrRelation, optionalPermissionOrRelation } = child.childMember ?? child.childSet;
  const relation = permissionOrRelation || optionalPermissionOrRelation;
  return `${v1.PermissionSetChange_SetOperation[operation]} ${parentSet.objectType}:${parentSet.objectId}#${parentSet.permissionOrRelation}`
    + ` has ${objectType}:${objectId}${relation ? `#${relation}` : ""}`;
}

// [lookup]
const sets = [];
let token;
for await (const { change } of streams.lookupPermissionSets(v1.LookupPermissionSetsRequest.create({ limit: 100 }))) {
  sets.push(describe(change)); // the next page: optionalStartingAfterCursor
  token = change.atRevision;
}
for (const line of sets.sort()) console.log(line);
// [/lookup]

// [watch]
const fromStart = new Metadata();
fromStart.set("stonetown-watch-from", "start"); // or optionalStartingAfter: token
const changes = streams.watchPermissionSets(v1.WatchPermissionSetsRequest.create(), fromStart);
for await (const { response } of changes) { // without an end
  if (response.oneofKind === "change") {
    // apply response.change: ADDED or REMOVED
  } else if (response.oneofKind === "completedRevision") {
    token = response.completedRevision; // store it with what was applied
    // [/watch]
    console.log("complete");
    changes.cancel();
    break;
    // [watch]
  }
}
// [/watch]

// [watch-permissions]
const watched = streams.watchPermissions(v1.WatchPermissionsRequest.create({
  permissions: [{ resourceType: "document", permission: "view", subjectType: "user", optionalSubjectRelation: "" }],
}), fromStart);
for await (const { response } of watched) { // without an end
  if (response.oneofKind === "change") {
    const { subject, permission, resource, permissionship } = response.change;
    // subject has, or has no longer, the permission on the resource
  }
  // [/watch-permissions]
  if (response.oneofKind === "completedRevision") {
    console.log("complete");
    watched.cancel();
    break;
  }
  // [watch-permissions]
}
// [/watch-permissions]

// [download]
const { files } = await client.downloadPermissionSets({});
const lines = (await (await fetch(files[0].url)).text()).trimEnd().split("\n");
console.log("downloaded", lines.length, "changes");
// [/download]

// The package has no RelationshipsService: over HTTP/JSON.
// [count]
const { STONETOWN_ENDPOINT: endpoint, STONETOWN_TOKEN: key } = process.env;
const answer = await fetch(
  `http://${endpoint}/authzed.api.materialize.v0.RelationshipsService/ExperimentalCountRelationshipsByFilter`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({ relationshipFilter: { resourceType: "document" } }),
  });
console.log("relationships", (await answer.json()).relationshipCount);
// [/count]
