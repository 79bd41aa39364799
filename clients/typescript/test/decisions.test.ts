/** What a check says, as a decision. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { timestampFromDate } from "@bufbuild/protobuf/wkt";

import { objectRef, subjectRef, v1 } from "../src/index.js";
import { withFake } from "./fake.js";

describe("decisions", () => {
  const until = new Date("2030-01-01T00:00:00Z");
  const offer = { template: "scale", parameters: { cluster: "staging-1", by: "one" } };
  const cases: [string, object, boolean, string][] = [
    ["yes", { outcome: v1.Outcome.ALLOWED, until: timestampFromDate(until) }, true, "allowed"],
    ["no", { outcome: v1.Outcome.DENIED }, false, "denied"],
    ["nothing", {}, false, "denied"],
    ["what nobody knows", { outcome: 77 }, false, "denied"],
    ["perhaps", { outcome: v1.Outcome.CONDITIONAL, missingContext: ["budget", "spent"] }, false, "depends on budget, spent"],
    ["no, but", { outcome: v1.Outcome.DENIED, requestable: [offer] }, false, "denied; can be asked for: scale(by=one, cluster=staging-1)"],
  ];
  for (const [name, answer, allowed, reason] of cases) {
    it(name, withFake({ Check: answer }, async (_, client) => {
      const decision = await client.may("user:ann", "view", "document:plan");
      assert.equal(decision.allowed, allowed);
      assert.equal(decision.reason, reason);
      assert.deepEqual(decision.until, allowed ? until : undefined);
      assert.equal(decision.judgedAt, undefined);
    }));
  }

  it("are about everything that the question names", withFake({ Check: {} }, async (fake, client) => {
    await client.may("group:eng#member", "scale", "cluster:staging-1", { context: { hour: 12, tags: ["a", null] } });
    const { subject, resource, permission, context } = fake.calls[0]!.request;
    assert.deepEqual([subject.type, subject.id, subject.relation], ["group", "eng", "member"]);
    assert.deepEqual([resource.type, resource.id, permission], ["cluster", "staging-1", "scale"]);
    assert.deepEqual(context, { hour: 12, tags: ["a", null] });
  }));

  it("are for all who act, the nearest first", withFake({ Check: {} }, async (fake, client) => {
    await client.may("user:ann", "view", "document:plan", { chain: ["agent:planner", "agent:fixer"] });
    await client.may("user:ann", "view", "document:plan");
    const chains = fake.calls.map(({ request }) => request.chain.map(({ type, id }: { type: string; id: string }) => `${type}:${id}`));
    assert.deepEqual(chains, [["agent:planner", "agent:fixer"], []]);
    await assert.rejects(client.may("user:ann", "view", "document:plan", { chain: ["group:eng#member"] }), TypeError);
  }));

  it("need names", () => {
    assert.equal(objectRef("document:a/b|c=d").id, "a/b|c=d");
    for (const bad of ["", "user", "user:", ":ann", "user:ann#member"]) {
      assert.throws(() => objectRef(bad), TypeError, bad);
    }
    for (const bad of ["", "user", "user:", ":ann", "user:ann#", "user:ann#a#b", "#a"]) {
      assert.throws(() => subjectRef(bad), TypeError, bad);
    }
  });
});
