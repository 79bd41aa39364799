// What a program that uses the unmodified `@authzed/authzed-node` package relies on, against the server in
// STONETOWN_ENDPOINT.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, beforeEach, describe, test } from "node:test";

import { v1 } from "@authzed/authzed-node";
import { credentials } from "@grpc/grpc-js";

const { STONETOWN_ENDPOINT: endpoint, STONETOWN_TOKEN: token } = process.env;
const schema = readFileSync(new URL("../schema.zed", import.meta.url), "utf8");
const plaintext = v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS;
const client = v1.NewClient(token, endpoint, plaintext);
const call = client.promises;

const full = { requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } };
const atLeast = (zedToken) => ({ requirement: { oneofKind: "atLeastAsFresh", atLeastAsFresh: zedToken } });
const exactly = (zedToken) => ({ requirement: { oneofKind: "atExactSnapshot", atExactSnapshot: zedToken } });

const Permissionship = v1.CheckPermissionResponse_Permissionship;
const { TOUCH, CREATE, DELETE } = v1.RelationshipUpdate_Operation;
const INVALID_ARGUMENT = 3, ALREADY_EXISTS = 6, PERMISSION_DENIED = 7, FAILED_PRECONDITION = 9, UNAUTHENTICATED = 16;

function object(text) {
  const [objectType, objectId] = text.split(":");
  return { objectType, objectId };
}

function subject(text) {
  const [reference, optionalRelation = ""] = text.split("#");
  return { object: object(reference), optionalRelation };
}

// `document:d#owner@user:u`; `more` has optionalCaveat and optionalExpiresAt.
function relationship(text, more = {}) {
  const [left, who] = text.split("@");
  const [resource, relation] = left.split("#");
  return v1.Relationship.create({ resource: object(resource), relation, subject: subject(who), ...more });
}

function write(operation, relationships, more = {}) {
  const updates = relationships.map((r) => ({ operation, relationship: typeof r === "string" ? relationship(r) : r }));
  return call.writeRelationships(v1.WriteRelationshipsRequest.create({ updates, ...more }));
}

function check(resource, permission, who, { context, consistency = full } = {}) {
  return call.checkPermission(v1.CheckPermissionRequest.create({
    consistency, resource: object(resource), permission, subject: subject(who),
    context: context && v1.PbStruct.fromJson(context),
  }));
}

async function permissionship(...args) {
  return Permissionship[(await check(...args)).permissionship];
}

function read(filter, more = {}) {
  return call.readRelationships(v1.ReadRelationshipsRequest.create({
    consistency: full, relationshipFilter: v1.RelationshipFilter.create(filter), ...more,
  }));
}

const idOf = (row) => row.relationship.resource.objectId;

async function refused(promise, code, reason) {
  const error = await promise.then(() => assert.fail(`expected code ${code} ${reason ?? ""}`), (e) => e);
  assert.equal(error.code, code, error.message);
  if (reason) {
    // The reason is a plain string in the encoded google.rpc.Status.
    const details = error.metadata.get("grpc-status-details-bin").map((b) => b.toString("latin1")).join();
    assert.equal(details.match(/ERROR_REASON_([A-Z_]+)/)?.[1], reason);
    assert.match(details, /authzed\.com/);
  }
}

beforeEach(async () => {
  await call.writeSchema(v1.WriteSchemaRequest.create({ schema }));
  for (const resourceType of ["group", "folder", "document"]) {
    await call.deleteRelationships(v1.DeleteRelationshipsRequest.create({
      relationshipFilter: v1.RelationshipFilter.create({ resourceType }),
    }));
  }
});

after(() => client.close());

describe("schema", () => {
  test("reads back what was written", async () => {
    const { schemaText } = await call.readSchema(v1.ReadSchemaRequest.create());
    assert.match(schemaText, /definition document/);
    await call.writeSchema(v1.WriteSchemaRequest.create({ schema: schemaText }));
    assert.equal((await call.readSchema(v1.ReadSchemaRequest.create())).schemaText, schemaText);
  });

  test("reflects definitions", async () => {
    const { definitions } = await call.reflectSchema(v1.ReflectSchemaRequest.create({ consistency: full }));
    assert.deepEqual(definitions.map((d) => d.name).sort(), ["agent", "document", "folder", "group", "user"]);
  });

  test("errors have a code and a reason", async () => {
    const attempt = (text) => call.writeSchema(v1.WriteSchemaRequest.create({ schema: text }));
    await refused(attempt("definition {"), INVALID_ARGUMENT, "SCHEMA_PARSE_ERROR");
    await refused(attempt("definition document {\n relation owner: nobody\n}"), FAILED_PRECONDITION, "SCHEMA_TYPE_ERROR");
    await write(TOUCH, ["document:d#banned@user:anna"]);
    await refused(attempt("definition user {}"), INVALID_ARGUMENT, "SCHEMA_TYPE_ERROR");
  });
});

describe("writes", () => {
  test("create, touch and delete", async () => {
    await write(CREATE, ["document:d#owner@user:anna"]);
    await refused(write(CREATE, ["document:d#owner@user:anna"]), ALREADY_EXISTS, "ATTEMPT_TO_RECREATE_RELATIONSHIP");
    await write(TOUCH, ["document:d#owner@user:anna"]);
    assert.equal((await read({ resourceType: "document" })).length, 1);
    await write(DELETE, ["document:d#owner@user:anna"]);
    assert.equal((await read({ resourceType: "document" })).length, 0);
  });

  test("preconditions hold for writes and deletes", async () => {
    await write(TOUCH, ["document:d#owner@user:anna"]);
    const condition = (operation, optionalResourceId) => ({ optionalPreconditions: [{
      operation, filter: v1.RelationshipFilter.create({ resourceType: "document", optionalResourceId }),
    }] });
    const { MUST_MATCH, MUST_NOT_MATCH } = v1.Precondition_Operation;
    await write(TOUCH, ["document:e#owner@user:anna"], condition(MUST_MATCH, "d"));
    await refused(write(TOUCH, ["document:f#owner@user:anna"], condition(MUST_NOT_MATCH, "d")),
      FAILED_PRECONDITION, "WRITE_OR_DELETE_PRECONDITION_FAILURE");
    const remove = (more) => call.deleteRelationships(v1.DeleteRelationshipsRequest.create({
      relationshipFilter: v1.RelationshipFilter.create({ resourceType: "document" }), ...more,
    }));
    await refused(remove(condition(MUST_MATCH, "nowhere")), FAILED_PRECONDITION, "WRITE_OR_DELETE_PRECONDITION_FAILURE");
    assert.equal((await remove(condition(MUST_MATCH, "d"))).relationshipsDeletedCount, "2");
  });

  test("what is refused changes nothing", async () => {
    for (const [code, reason, bad] of [
      [FAILED_PRECONDITION, "UNKNOWN_DEFINITION", "nothing:d#owner@user:anna"],
      [FAILED_PRECONDITION, "UNKNOWN_RELATION_OR_PERMISSION", "document:d#nothing@user:anna"],
      [INVALID_ARGUMENT, "CANNOT_UPDATE_PERMISSION", "document:d#view@user:anna"],
      [INVALID_ARGUMENT, "INVALID_SUBJECT_TYPE", "document:d#owner@group:g#member"],
      [INVALID_ARGUMENT, undefined, "document:no good#owner@user:anna"],
    ]) {
      await refused(write(TOUCH, ["document:d#owner@user:anna", bad]), code, reason);
      assert.equal((await read({ resourceType: "document" })).length, 0);
    }
  });

  test("transaction metadata is accepted", async () => {
    const { writtenAt } = await write(TOUCH, ["document:d#owner@user:anna"], {
      optionalTransactionMetadata: v1.createStructFromObject({ ticket: "A-1", tags: ["a", "b"] }),
    });
    assert.ok(writtenAt.token);
  });
});

describe("checks", () => {
  test("has, has not, nested groups and exclusion", async () => {
    await write(TOUCH, ["group:all#member@group:staff#member", "group:staff#member@user:anna",
      "folder:f#viewer@group:all#member", "document:d#parent@folder:f", "document:e#parent@folder:f",
      "document:e#banned@user:anna"]);
    assert.equal(await permissionship("document:d", "view", "user:anna"), "HAS_PERMISSION");
    assert.equal(await permissionship("document:e", "view", "user:anna"), "NO_PERMISSION");
    assert.equal(await permissionship("document:d", "view", "user:bert"), "NO_PERMISSION");
  });

  test("conditional until the context is complete", async () => {
    await write(TOUCH, [relationship("document:d#editor@agent:a", {
      optionalCaveat: { caveatName: "within_budget", context: v1.PbStruct.fromJson({ budget: 10 }) },
    })]);
    const open = await check("document:d", "edit", "agent:a");
    assert.equal(Permissionship[open.permissionship], "CONDITIONAL_PERMISSION");
    assert.deepEqual(open.partialCaveatInfo.missingRequiredContext, ["spent"]);
    assert.equal(await permissionship("document:d", "edit", "agent:a", { context: { spent: 3 } }), "HAS_PERMISSION");
    assert.equal(await permissionship("document:d", "edit", "agent:a", { context: { spent: 30 } }), "NO_PERMISSION");
  });

  test("an expired relationship is gone", async () => {
    const at = (seconds) => ({ optionalExpiresAt: { seconds: String(Math.floor(Date.now() / 1000) + seconds), nanos: 0 } });
    await write(TOUCH, [relationship("document:d#editor@user:anna", at(3600)), relationship("document:d#editor@user:bert", at(-60))]);
    assert.equal(await permissionship("document:d", "edit", "user:anna"), "HAS_PERMISSION");
    assert.equal(await permissionship("document:d", "edit", "user:bert"), "NO_PERMISSION");
  });

  test("bulk answers in order, errors by item", async () => {
    await write(TOUCH, ["document:d#owner@user:anna"]);
    const item = (permission, who) => ({ resource: object("document:d"), permission, subject: subject(who) });
    const { pairs } = await call.checkBulkPermissions(v1.CheckBulkPermissionsRequest.create({
      consistency: full, items: [item("view", "user:anna"), item("nothing", "user:anna"), item("view", "user:bert")],
    }));
    assert.deepEqual(pairs.map((p) => p.response.oneofKind), ["item", "error", "item"]);
    assert.equal(pairs[0].response.item.permissionship, Permissionship.HAS_PERMISSION);
    assert.equal(pairs[1].response.error.code, FAILED_PRECONDITION);
    assert.equal(pairs[2].response.item.permissionship, Permissionship.NO_PERMISSION);
  });

  test("a trace says why", async () => {
    await write(TOUCH, ["document:d#owner@user:anna"]);
    const { debugTrace } = await call.checkPermission(v1.CheckPermissionRequest.create({
      consistency: full, resource: object("document:d"), permission: "view", subject: subject("user:anna"), withTracing: true,
    }));
    assert.equal(debugTrace.check.permission, "view");
    assert.equal(debugTrace.check.resolution.oneofKind, "subProblems");
  });
});

describe("reads", () => {
  test("expand", async () => {
    await write(TOUCH, ["document:d#owner@user:anna"]);
    const { treeRoot } = await call.expandPermissionTree(v1.ExpandPermissionTreeRequest.create({
      consistency: full, resource: object("document:d"), permission: "edit",
    }));
    assert.equal(treeRoot.expandedRelation, "edit");
    assert.equal(treeRoot.treeType.oneofKind, "intermediate");
    assert.equal(treeRoot.treeType.intermediate.operation, v1.AlgebraicSubjectSet_Operation.EXCLUSION);
  });

  test("resources, whole and in pages", async () => {
    const want = Array.from({ length: 7 }, (_, n) => `d${n}`);
    await write(TOUCH, want.map((d) => `document:${d}#owner@user:anna`));
    const lookup = (more) => call.lookupResources(v1.LookupResourcesRequest.create({
      consistency: full, resourceObjectType: "document", permission: "view", subject: subject("user:anna"), ...more,
    }));
    assert.deepEqual((await lookup({})).map((row) => row.resourceObjectId).sort(), want);
    const found = [];
    for (let optionalCursor; ;) {
      const page = await lookup({ optionalLimit: 3, optionalCursor });
      found.push(...page.map((row) => row.resourceObjectId));
      if (page.length < 3) break;
      optionalCursor = page.at(-1).afterResultCursor;
    }
    assert.deepEqual(found.sort(), want);
  });

  test("subjects, with a wildcard and its exclusions", async () => {
    await write(TOUCH, ["folder:f#viewer@user:*", "document:d#parent@folder:f", "document:d#banned@user:bert"]);
    const rows = await call.lookupSubjects(v1.LookupSubjectsRequest.create({
      consistency: full, resource: object("document:d"), permission: "view", subjectObjectType: "user",
    }));
    assert.deepEqual(rows.map((row) => [row.subject.subjectObjectId, row.excludedSubjects.map((s) => s.subjectObjectId)]),
      [["*", ["bert"]]]);
  });

  test("relationships in pages", async () => {
    await write(TOUCH, Array.from({ length: 5 }, (_, n) => `document:d${n}#owner@user:anna`));
    const first = await read({ resourceType: "document" }, { optionalLimit: 3 });
    const second = await read({ resourceType: "document" }, { optionalLimit: 3, optionalCursor: first.at(-1).afterResultCursor });
    assert.deepEqual([...first, ...second].map(idOf).sort(), ["d0", "d1", "d2", "d3", "d4"]);
  });

  test("import and export", async () => {
    const loaded = await new Promise((resolve, reject) => {
      const stream = call.importBulkRelationships((error, response) => (error ? reject(error) : resolve(response)));
      for (let batch = 0; batch < 5; batch++) {
        stream.write(v1.ImportBulkRelationshipsRequest.create({
          relationships: Array.from({ length: 300 }, (_, n) => relationship(`document:d${batch}-${n}#owner@user:anna`)),
        }));
      }
      stream.end();
    });
    assert.equal(loaded.numLoaded, "1500");
    const pages = await call.exportBulkRelationships(v1.ExportBulkRelationshipsRequest.create({ consistency: full, optionalLimit: 400 }));
    assert.equal(new Set(pages.flatMap((p) => p.relationships.map((r) => r.resource.objectId))).size, 1500);
  });
});

test("tokens order reads after writes", async () => {
  const before = (await write(TOUCH, ["document:d#owner@user:anna"])).writtenAt;
  const gone = (await write(DELETE, ["document:d#owner@user:anna"])).writtenAt;
  const ask = (consistency) => permissionship("document:d", "view", "user:anna", { consistency });
  assert.equal(await ask(atLeast(gone)), "NO_PERMISSION");
  assert.equal(await ask(exactly(before)), "HAS_PERMISSION");
  await refused(ask(exactly({ token: "unreadable" })), INVALID_ARGUMENT);
});

test("an unknown key is denied, a missing one is unauthenticated", async () => {
  const readSchema = (one) => one.promises.readSchema(v1.ReadSchemaRequest.create()).finally(() => one.close());
  await refused(readSchema(v1.NewClient("not-" + token, endpoint, plaintext)), PERMISSION_DENIED);
  await refused(readSchema(v1.NewClientWithChannelCredentials(endpoint, credentials.createInsecure())), UNAUTHENTICATED);
});
