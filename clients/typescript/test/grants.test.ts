/** An agent's task against a real server, told with the client alone: who calls, what can be asked for, a vote, and the end. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { Client, GrantNotGiven, status, v1 } from "../src/index.js";
import { ENDPOINT, writeSchema } from "./server.js";

const QUESTION = ["agent:fixer", "scale", "cluster:main"] as const;

describe("an agent", { skip: !ENDPOINT && "no server: STONETOWN_ENDPOINT" }, () => {
  const clients: Client[] = [];
  let fixer: Client;
  let sam: Client;

  before(async () => {
    writeSchema();
    const admin = Client.fromEnv();
    clients.push(admin);
    const caller = async (id: string) => {
      const { token } = await admin.principal.issueCredential({ principal: id });
      const client = new Client(ENDPOINT!, { token });
      clients.push(client);
      return client;
    };
    await admin.principal.createPrincipal({ principal: { id: "ada", kind: v1.PrincipalKind.HUMAN } });
    await admin.principal.createPrincipal({ principal: { id: "sam", kind: v1.PrincipalKind.HUMAN } });
    await admin.principal.createPrincipal({
      principal: {
        id: "fixer",
        kind: v1.PrincipalKind.AGENT,
        owner: { holder: { case: "principal", value: "ada" } },
        subjects: [{ subject: { type: "agent", id: "fixer" } }],
      },
    });
    // An agent that asks about itself is told what it could ask for.
    await admin.principal.givePower({
      holder: { holder: { case: "principal", value: "fixer" } },
      power: { name: "checker", over: { case: "store", value: {} } },
    });
    const { principal: me } = await admin.principal.whoAmI({});
    await admin.grant.putTemplate({
      template: {
        name: "scale",
        edges: ["cluster:${cluster}#scaler@${beneficiary}"],
        answers: ["cluster:${cluster}#scale"],
        parameters: { cluster: { oneOf: ["main"] } },
        ttlMax: durationFromMs(900_000),
        totalMax: durationFromMs(900_000),
        owner: me!.id,
        stages: [{ name: "sre", approvers: ["sys/principal:sam"], need: 1, timeout: durationFromMs(60_000) }],
        requesters: ["sys/principal:fixer"],
      },
    });
    fixer = await caller("fixer");
    sam = await caller("sam");
  });
  after(() => clients.forEach((client) => client.close()));

  /** Sam votes on what waits for a vote. */
  const vote = async (approve: boolean) => {
    for (;;) {
      const [waiting] = (await sam.grant.listGrants({ inbox: true })).grants;
      if (waiting) {
        await sam.grant.decideGrant({ id: waiting.id, approve });
        return;
      }
      await sleep(50);
    }
  };

  it("has the access of its task until that ends", async () => {
    const denied = await fixer.may(...QUESTION);
    assert.equal(denied.reason, "denied; can be asked for: scale(cluster=main)");
    const offer = denied.requestable[0]!;
    const working = fixer.task("deploy-81", async (task) => {
      const grant = await task.grant({ ...offer, reason: "the queue is full", ttlSeconds: 300, waitSeconds: 60 });
      const allowed = await fixer.may(...QUESTION);
      assert.ok(allowed.allowed && allowed.until);
      return grant;
    });
    const [grant] = await Promise.all([working, vote(true)]);
    assert.equal(grant.state, v1.GrantState.APPROVED);
    assert.ok(!(await fixer.may(...QUESTION)).allowed);
    assert.ok(!(await fixer.grant.getGrant({ id: grant.id })).grant!.active);
  });

  it("is told of a no", async () => {
    const working = fixer.task(undefined, (task) => task.grant({ template: "scale", parameters: { cluster: "main" }, waitSeconds: 60 }));
    await Promise.all([
      assert.rejects(working, (error: GrantNotGiven) => error.grant.state === v1.GrantState.DENIED),
      vote(false),
    ]);
    assert.ok(!(await fixer.may(...QUESTION)).allowed);
  });

  it("takes back what nobody decides", async () => {
    const working = fixer.task(undefined, (task) => task.grant({ template: "scale", parameters: { cluster: "main" }, waitSeconds: 0.3 }));
    const error: GrantNotGiven = await working.then(() => assert.fail("it was given"), (error) => error);
    assert.ok(error.pending);
    assert.equal((await fixer.grant.getGrant({ id: error.grant.id })).grant!.state, v1.GrantState.CANCELLED);
  });

  it("asks for what is meant for it", async () => {
    await assert.rejects(
      sam.task(undefined, (task) => task.grant({ template: "scale", parameters: { cluster: "main" } })),
      (error: any) => [status.PERMISSION_DENIED, status.NOT_FOUND].includes(error.code),
    );
  });
});
