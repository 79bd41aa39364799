// WatchService.
import { v1 } from "@authzed/authzed-node";
import { Metadata } from "@grpc/grpc-js";

import { client, relationship, streams, text } from "./connect.mjs";

const { TOUCH, DELETE } = v1.RelationshipUpdate_Operation;

async function write(operation, what) {
  const updates = [{ operation, relationship: relationship(what) }];
  return (await client.writeRelationships(v1.WriteRelationshipsRequest.create({ updates }))).writtenAt;
}

let token = await write(TOUCH, "document:memo#viewer@user:bert");
await write(TOUCH, "document:memo#viewer@user:dora");
await write(DELETE, "document:memo#viewer@user:bert");

// [watch]
const answers = streams.watch(v1.WatchRequest.create({
  optionalStartCursor: token, optionalObjectTypes: ["document"],
}));
for await (const answer of answers) { // without an end
  for (const update of answer.updates) {
    console.log(v1.RelationshipUpdate_Operation[update.operation], text(update.relationship));
  }
  token = answer.changesThrough; // store it: here a later watch goes on
  // [/watch]
  if (answer.updates.some((update) => update.operation === DELETE)) {
    answers.cancel();
    break;
  }
  // [watch]
}
// [/watch]

// [start]
const metadata = new Metadata();
metadata.set("stonetown-watch-from", "start");
const fromStart = streams.watch(v1.WatchRequest.create(), metadata);
// [/start]
for await (const answer of fromStart) {
  console.log("from the start:", answer.updates.map((update) => text(update.relationship)).sort()[0]);
  fromStart.cancel();
  break;
}
