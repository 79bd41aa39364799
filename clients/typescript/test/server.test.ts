/**
 * The client against a real server: STONETOWN_ENDPOINT and STONETOWN_TOKEN, STONETOWN_BIN for what it has no call for, and
 * STONETOWN_TLS_ENDPOINT with STONETOWN_TLS_CA and STONETOWN_TLS_TOKEN for a second one that speaks TLS.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import { Client, status, v1 } from "../src/index.js";
import { ENDPOINT, env, run, writeSchema } from "./server.js";

describe("a server", { skip: !ENDPOINT && "no server: STONETOWN_ENDPOINT" }, () => {
  let client: Client;

  before(() => {
    writeSchema();
    run("relationship", "touch", "container:staging-1", "restarter", "agent:fixer");
    client = Client.fromEnv();
  });
  after(() => client?.close());

  it("answers", async () => {
    const yes = await client.may("agent:fixer", "restart", "container:staging-1");
    assert.ok(yes.allowed);
    assert.ok(Math.abs(yes.judgedAt!.getTime() - Date.now()) < 60_000);
    assert.ok(!(await client.may("agent:fixer", "restart", "container:production-1")).allowed);
  });

  it("names what a condition lacks", async () => {
    run("relationship", "touch", "cluster:c1", "scaler", "agent:fixer", "--caveat", 'within_budget:{"budget": 10}');
    const ask = (context: Record<string, number>) => client.may("agent:fixer", "scale", "cluster:c1", { context });
    assert.equal((await ask({})).reason, "depends on spent");
    assert.ok((await ask({ spent: 3 })).allowed);
    assert.ok(!(await ask({ spent: 11 })).allowed);
  });

  it("sees a write from elsewhere", async () => {
    const ask = () => client.may("agent:fixer", "restart", "container:node");
    const first = await ask();
    run("relationship", "touch", "container:node", "restarter", "agent:fixer");
    const second = await ask();
    assert.deepEqual([first.allowed, second.allowed], [false, true]);
    assert.equal(client.zedtoken, second.zedtoken);
    assert.notEqual(first.zedtoken, second.zedtoken);
  });

  it("shows what the client writes", async () => {
    const relationship = { resource: { type: "container", id: "node-2" }, relation: "restarter", subject: { type: "agent", id: "fixer" } };
    const { token } = await client.relationships.write({
      updates: [{ operation: v1.RelationshipUpdate_Operation.TOUCH, relationship }],
    });
    assert.equal(client.zedtoken, token);
    assert.ok((await client.may("agent:fixer", "restart", "container:node-2")).allowed);
  });

  it("says why it refuses", async () => {
    const question = ["agent:fixer", "restart", "container:staging-1"] as const;
    await assert.rejects(client.may("agent:fixer", "restart", "cat:tom"), (error: any) =>
      error.code === status.FAILED_PRECONDITION && error.reason === "UNKNOWN_DEFINITION" && error.metadata.definition_name === "cat" && Boolean(error.requestId));
    await assert.rejects(client.may(...question, { at: new Date(Date.now() + 86_400_000) }), { code: status.OUT_OF_RANGE });
    const stranger = new Client(ENDPOINT!, { token: "wrong" });
    await assert.rejects(stranger.may(...question), (error: any) => [status.UNAUTHENTICATED, status.PERMISSION_DENIED].includes(error.code));
    stranger.close();
  });

  it("ends a stream with what it was for", async () => {
    let last;
    for await (const answer of client.admin.scrub({})) {
      last = answer;
    }
    assert.deepEqual(last!.report!.differences, []);
  });

  it("speaks TLS with whom it should", async () => {
    const options = [
      { ca: readFileSync(env["STONETOWN_TLS_CA"]!) },
      { ca: readFileSync("../../tests/fixtures/authority.pem") },
      { insecure: true },
    ];
    for (const [index, reach] of options.entries()) {
      const tls = new Client(env["STONETOWN_TLS_ENDPOINT"]!, { token: env["STONETOWN_TLS_TOKEN"]!, timeoutSeconds: 5, ...reach });
      const asked = tls.admin.getInfo({});
      await (index === 0 ? asked : assert.rejects(asked));
      tls.close();
    }
  });

  it("runs the example of the README", () => {
    const program = readFileSync("example/agent.ts", "utf8");
    assert.ok(readFileSync("README.md", "utf8").includes("```ts\n" + program + "```"), "the README has another program than example/agent.ts");
    assert.equal(execFileSync(process.execPath, ["dist/example/agent.js"], { encoding: "utf8" }), "allowed\n");
  });
});
