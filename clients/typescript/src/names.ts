import { create } from "@bufbuild/protobuf";

import { type ObjectRef, ObjectRefSchema, type SubjectRef, SubjectRefSchema } from "./gen/v1.js";

/** Reads `document:plan`. Whether type and id are allowed is for the server to say. */
export function objectRef(text: string): ObjectRef {
  const found = /^([^:#]+):([^#]+)$/.exec(text);
  if (!found) {
    throw new TypeError(`${JSON.stringify(text)} is no object: expected TYPE:ID`);
  }
  return create(ObjectRefSchema, { type: found[1]!, id: found[2]! });
}

/** Reads `user:ann` or `group:eng#member`. */
export function subjectRef(text: string): SubjectRef {
  const found = /^([^:#]+):([^#]+)(?:#([^#]+))?$/.exec(text);
  if (!found) {
    throw new TypeError(`${JSON.stringify(text)} is no subject: expected TYPE:ID or TYPE:ID#RELATION`);
  }
  return create(SubjectRefSchema, { type: found[1]!, id: found[2]!, relation: found[3] ?? "" });
}
