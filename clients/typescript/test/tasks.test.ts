/** Access that is asked for within a task, and given back. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { timestampDate } from "@bufbuild/protobuf/wkt";

import { type Ask, type Client, GrantNotGiven, status, v1 } from "../src/index.js";
import { Refusal, UNAVAILABLE, withFake } from "./fake.js";

const { PENDING, APPROVED, DENIED, CANCELLED, EXPIRED, REVOKED, FAILED, UNSPECIFIED } = v1.GrantState;
const grant = (state: v1.GrantState, active = false) => ({ grant: { id: "g1", template: "scale", state, active, because: "too wide" } });
const inTask = (client: Client, ask: Omit<Ask, "template"> = {}) => client.task("deploy-81", (task) => task.grant({ template: "scale", ...ask }));

describe("tasks", () => {
  it("ask, wait, and give back", withFake({ RequestGrant: grant(PENDING) }, async (fake, client) => {
    fake.turns["GetGrant"] = [grant(PENDING), grant(APPROVED), grant(APPROVED, true)];
    const startsAt = new Date("2030-01-01T00:00:00Z");
    const offer = { $typeName: "stonetown.v1.Requestable" as const, template: "scale", parameters: { cluster: "staging-1" } };
    const given = await client.task("deploy-81", (task) => task.grant({ ...offer, reason: "queue is full", ttlSeconds: 1800, startsAt }));
    assert.ok(given.active);
    assert.deepEqual(fake.names(), ["RequestGrant", "GetGrant", "GetGrant", "GetGrant", "CompleteTask"]);
    const { request } = fake.calls[0]!;
    assert.deepEqual(
      [request.template, request.parameters, request.task, request.reason, request.ttl.seconds, timestampDate(request.startsAt)],
      ["scale", { cluster: "staging-1" }, "deploy-81", "queue is full", 1800n, startsAt]);
    assert.equal(fake.calls[4]!.request.task, "deploy-81");
  }));

  for (const state of [DENIED, CANCELLED, EXPIRED, REVOKED, FAILED, UNSPECIFIED]) {
    it(`end where a grant is ${v1.GrantState[state]}`, withFake({ RequestGrant: grant(PENDING), GetGrant: grant(state) }, async (fake, client) => {
      await assert.rejects(inTask(client), (error: GrantNotGiven) =>
        error instanceof GrantNotGiven && !error.pending && error.grant.state === state && error.message.includes("too wide"));
      assert.equal(fake.names().at(-1), "CompleteTask");
    }));
  }

  it("wait no longer than they are told", withFake({ RequestGrant: grant(PENDING), GetGrant: grant(PENDING) }, async (fake, client) => {
    for (const waitSeconds of [0.3, 0]) {
      await assert.rejects(inTask(client, { waitSeconds }), (error: GrantNotGiven) => error.pending);
    }
    await assert.rejects(inTask(client, { signal: AbortSignal.timeout(300) }), { name: /AbortError|StonetownError/ });
    assert.equal(fake.names().at(-1), "CompleteTask");
    assert.ok(fake.calls.length < 14, `${fake.names()}`);
  }));

  it("wait on while the server is away", withFake({ RequestGrant: grant(PENDING), GetGrant: grant(APPROVED, true) }, async (fake, client) => {
    fake.turns["GetGrant"] = [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE];
    assert.ok((await inTask(client)).active);
  }));

  it("get names, and tell of their own failure first", withFake({}, async (fake, client) => {
    assert.equal(await client.task(undefined, async () => 7), 7);
    fake.answers["CompleteTask"] = new Refusal(status.INTERNAL, "broken");
    await assert.rejects(client.task(undefined, async () => { throw new Error("mine"); }), { message: "mine" });
    await assert.rejects(client.task(undefined, async () => {}), { code: status.INTERNAL });
    assert.equal(new Set(fake.calls.map((call) => call.request.task)).size, 3);
  }));

  it("are not needed to wait for a grant", withFake({}, async (fake, client) => {
    fake.turns["GetGrant"] = [grant(PENDING), grant(APPROVED, true)];
    assert.ok((await client.waitForGrant("g1")).active);
    assert.deepEqual(fake.calls.map((call) => call.request.id), ["g1", "g1"]);
  }));
});
