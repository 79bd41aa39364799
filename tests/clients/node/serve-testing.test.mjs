// What the test suites of client libraries expect of the server in STONETOWN_TESTING_ENDPOINT: a store for each token.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import { v1 } from "@authzed/authzed-node";

const { STONETOWN_TESTING_ENDPOINT: endpoint, STONETOWN_TESTING_READONLY_ENDPOINT: readonly } = process.env;
const schema = `definition test/user {}
definition test/document {
  relation viewer: test/user
  permission view = viewer
}`;
const full = { requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } };
const { CREATE } = v1.RelationshipUpdate_Operation;
const NOT_FOUND = 5, UNAVAILABLE = 14;
const { HAS_PERMISSION, NO_PERMISSION } = v1.CheckPermissionResponse_Permissionship;

const connect = (token, to = endpoint) =>
  v1.NewClient(token, to, v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS);
const object = (objectType, objectId) => v1.ObjectReference.create({ objectType, objectId });
const somegal = v1.SubjectReference.create({ object: object("test/user", "someuser") });
const viewer = (id) =>
  v1.Relationship.create({ resource: object("test/document", id), relation: "viewer", subject: somegal });
const writing = (...relationships) => v1.WriteRelationshipsRequest.create({
  updates: relationships.map((relationship) => v1.RelationshipUpdate.create({ operation: CREATE, relationship })),
});
const checking = (id) => v1.CheckPermissionRequest.create({
  resource: object("test/document", id), permission: "view", subject: somegal, consistency: full,
});

/** Runs a case with clients of new tokens, which are closed after it. */
async function withClients(count, run) {
  const clients = Array.from({ length: count }, () => connect(`token-${randomUUID()}`));
  try {
    await run(...clients.map((client) => client.promises));
  } finally {
    clients.forEach((client) => client.close());
  }
}

describe("a server for test suites", { skip: endpoint ? false : "no server for test suites" }, () => {
  test("keeps tokens apart", () => withClients(2, async (one, other) => {
    await assert.rejects(one.readSchema(v1.ReadSchemaRequest.create()), { code: NOT_FOUND });
    for (const client of [one, other]) await client.writeSchema(v1.WriteSchemaRequest.create({ schema }));
    await one.writeRelationships(writing(viewer("somedocument")));
    assert.equal((await one.checkPermission(checking("somedocument"))).permissionship, HAS_PERMISSION);
    assert.equal((await other.checkPermission(checking("somedocument"))).permissionship, NO_PERMISSION);
    await other.writeRelationships(writing(viewer("somedocument")));
  }));

  test("answers callbacks and streams", () => withClients(1, async (client) => {
    await client.writeSchema(v1.WriteSchemaRequest.create({ schema }));
    await client.writeRelationships(writing(viewer("a"), viewer("b")));
    const rows = await client.lookupResources(v1.LookupResourcesRequest.create({
      consistency: full, resourceObjectType: "test/document", permission: "view", subject: somegal,
    }));
    assert.deepEqual(rows.map((row) => row.resourceObjectId).sort(), ["a", "b"]);
  }));

  test("shows a store read only on its other port", async () => {
    const token = `token-${randomUUID()}`;
    const [writer, reader] = [connect(token), connect(token, readonly)];
    try {
      await writer.promises.writeSchema(v1.WriteSchemaRequest.create({ schema }));
      await writer.promises.writeRelationships(writing(viewer("a")));
      assert.equal((await reader.promises.checkPermission(checking("a"))).permissionship, HAS_PERMISSION);
      await assert.rejects(reader.promises.writeRelationships(writing(viewer("b"))), { code: UNAVAILABLE });
    } finally {
      writer.close();
      reader.close();
    }
  });
});
