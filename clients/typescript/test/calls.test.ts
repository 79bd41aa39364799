/** What every call of the client has: deadline, token, state, repetition, errors. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";

import { Client, REASONS, status, StonetownError, v1 } from "../src/index.js";
import { SERVICE_CONFIG } from "../src/services.js";
import { Fake, Refusal, UNAVAILABLE, withFake } from "./fake.js";

const YES = { outcome: v1.Outcome.ALLOWED, token: "t1" };
const QUESTION = ["user:ann", "view", "document:plan"] as const;

const code = (wanted: status) => (error: unknown) => error instanceof StonetownError && error.code === wanted;

describe("calls", () => {
  it("have the token and a deadline", withFake({ Check: YES }, async (fake, client) => {
    await client.may(...QUESTION);
    await client.may(...QUESTION, { timeoutSeconds: 3 });
    const [first, second] = fake.calls;
    assert.equal(first!.token, "Bearer secret-0815");
    assert.ok(first!.secondsLeft > 5 && first!.secondsLeft < 11, `${first!.secondsLeft}`);
    assert.ok(second!.secondsLeft < 4, `${second!.secondsLeft}`);
  }));

  it("are in the store of the client", withFake({ Check: YES, WatchGrants: {} }, async (fake, client) => {
    await client.may(...QUESTION);
    for await (const _ of client.grant.watchGrants({}));
    const other = new Client(fake.address);
    await other.may(...QUESTION);
    other.close();
    assert.deepEqual(fake.calls.map(({ store }) => store), ["tenant-7", "tenant-7", undefined]);
    for (const store of ["", "Tenant", "7up", "a b", "x".repeat(64), "a\n"]) {
      assert.throws(() => new Client(fake.address, { store }), TypeError, store);
    }
  }, { store: "tenant-7" }));

  it("end with their deadline", withFake({ Check: 1 }, async (_, client) => {
    await assert.rejects(client.may(...QUESTION), code(status.DEADLINE_EXCEEDED));
  }, { timeoutSeconds: 0.2 }));

  it("end with their signal", withFake({ Check: 1, WatchGrants: 1 }, async (fake, client) => {
    await assert.rejects(client.may(...QUESTION, { signal: AbortSignal.timeout(200) }), code(status.CANCELLED));
    await assert.rejects(async () => {
      for await (const _ of client.grant.watchGrants({}, { signal: AbortSignal.timeout(200) }));
    }, code(status.CANCELLED));
    await assert.rejects(client.may(...QUESTION, { signal: AbortSignal.abort() }));
    assert.equal(fake.calls.length, 2);
  }));

  it("that stream have no deadline unless told, and begin when they are read", withFake(
    { WatchGrants: { token: "1" } }, async (fake, client) => {
      const unread = client.grant.watchGrants({});
      assert.equal(fake.calls.length, 0);
      for (const answers of [unread, client.grant.watchGrants({}, { timeoutSeconds: 5 })]) {
        const tokens = [];
        for await (const { token } of answers) {
          tokens.push(token);
        }
        assert.deepEqual(tokens, ["1"]);
      }
      assert.equal(fake.calls[0]!.secondsLeft, Infinity);
      assert.ok(fake.calls[1]!.secondsLeft < 6);
    }));

  it("whose token is something else name no state", withFake({ IssueCredential: { token: "secret" } }, async (_, client) => {
    await client.principal.issueCredential({});
    assert.equal(client.zedtoken, undefined, "a credential became a state");
  }));

  it("that stream end early without harm", withFake({ WatchGrants: { token: "1" } }, async (_, client) => {
    for await (const _answer of client.grant.watchGrants({})) {
      break;
    }
  }));

  it("that stream fail with an error of the package", withFake(
    { WatchGrants: new Refusal(status.INVALID_ARGUMENT, "no", "ERROR_REASON_INVALID_CURSOR") }, async (_, client) => {
      await assert.rejects(async () => {
        for await (const _answer of client.grant.watchGrants({}));
      }, { name: "StonetownError", reason: "INVALID_CURSOR" });
    }));

  const tokens = ["one", "two"];
  it("have the token of the moment", withFake({ Check: YES }, async (fake, client) => {
    await client.may(...QUESTION);
    await client.may(...QUESTION);
    assert.deepEqual(fake.calls.map((call) => call.token), ["Bearer one", "Bearer two"]);
  }, { token: async () => tokens.shift()! }));

  it("that read are repeated while the server is away", withFake({ Check: YES }, async (fake, client) => {
    fake.turns["Check"] = [UNAVAILABLE, UNAVAILABLE];
    assert.ok((await client.may(...QUESTION)).allowed);
    assert.equal(fake.calls.length, 3);
    fake.turns["Check"] = [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE];
    await assert.rejects(client.may(...QUESTION), code(status.UNAVAILABLE));
  }));

  it("that do not read are not repeated", withFake(
    { PutTemplate: UNAVAILABLE, DecideGrant: UNAVAILABLE, Check: new Refusal(status.RESOURCE_EXHAUSTED, "busy") },
    async (fake, client) => {
      await assert.rejects(client.grant.putTemplate({}), code(status.UNAVAILABLE));
      await assert.rejects(client.grant.decideGrant({}), code(status.UNAVAILABLE));
      await assert.rejects(client.may(...QUESTION), code(status.RESOURCE_EXHAUSTED));
      assert.deepEqual(fake.names(), ["PutTemplate", "DecideGrant", "Check"]);
    }));

  it("that are repeated by name are the ones that read", () => {
    const names = JSON.parse(SERVICE_CONFIG).methodConfig[0].name.map(({ method }: { method: string }) => method);
    assert.ok(names.includes("Check"));
    for (const name of ["Checkpoint", "Scrub", "PutTemplate", "DecideGrant", "RevokeGrant", "WatchGrants"]) {
      assert.ok(!names.includes(name), name);
    }
  });

  it("with a key are one request, however often repeated", withFake({ RequestGrant: {} }, async (fake, client) => {
    fake.turns["RequestGrant"] = [UNAVAILABLE];
    const request = create(v1.RequestGrantRequestSchema, { template: "scale" });
    await client.grant.requestGrant(request);
    await client.grant.requestGrant(request);
    await client.grant.requestGrant({ idempotencyKey: "mine" });
    const keys = fake.calls.map((call) => call.request.idempotencyKey);
    assert.equal(keys.length, 4);
    assert.ok(keys[0] && keys[0] === keys[1] && keys[1] !== keys[2], `${keys}`);
    assert.equal(keys[3], "mine");
    assert.equal(request.idempotencyKey, "", "the caller's request was changed");
  }));

  it("are answered from no older state than was seen", withFake({ Check: YES }, async (fake, client) => {
    await client.may(...QUESTION);
    await client.may(...QUESTION);
    client.zedtoken = "written-elsewhere";
    await client.may(...QUESTION);
    const seen = fake.calls.map((call) => call.request.freshness?.requirement.value);
    assert.deepEqual(seen, [undefined, "t1", "written-elsewhere"]);
  }));

  it("of the past say nothing of the present", withFake({ Check: { token: "old" } }, async (fake, client) => {
    client.zedtoken = "new";
    const at = new Date("2026-01-02T00:00:00Z");
    await client.may(...QUESTION, { at });
    assert.deepEqual(timestampDate(fake.calls[0]!.request.freshness.requirement.value), at);
    assert.equal(client.zedtoken, "new");
  }));

  it("fail with code, reason and values", withFake(
    { Check: new Refusal(status.FAILED_PRECONDITION, "object definition `cat` not found", "ERROR_REASON_UNKNOWN_DEFINITION", { definition_name: "cat" }) },
    async (_, client) => {
      await assert.rejects(client.may(...QUESTION), {
        name: "StonetownError",
        code: status.FAILED_PRECONDITION,
        reason: "UNKNOWN_DEFINITION",
        metadata: { definition_name: "cat" },
        requestId: "request-7",
        message: "object definition `cat` not found (FAILED_PRECONDITION, UNKNOWN_DEFINITION)",
      });
      assert.ok(REASONS.includes("UNKNOWN_DEFINITION"));
    }));

  it("fail without a reason, too", withFake({ Check: new Refusal(status.DATA_LOSS, "plain") }, async (_, client) => {
    await assert.rejects(client.may(...QUESTION), { reason: undefined, message: "plain (DATA_LOSS)" });
  }));

  it("show no secret", withFake({ Check: new Refusal(status.UNAUTHENTICATED, "who are you?") }, async (fake, client) => {
    const secret = "secret-0815";
    const caught = await client.may(...QUESTION).catch((error) => error);
    const shown = [`${client}`, inspect(client, { depth: 20, showHidden: true }), JSON.stringify(client), inspect(caught, { depth: 20 })];
    shown.push(inspect(client.decision, { depth: 20, showHidden: true }));
    for (const token of [`${secret}\n`, ` ${secret}`, `${secret}é`, ""]) {
      const other = new Client(fake.address, { token });
      await assert.rejects(other.may(...QUESTION), (error) => (shown.push(inspect(error)), error instanceof TypeError));
      other.close();
    }
    for (const text of shown) {
      assert.ok(!text.includes(secret), text);
    }
    assert.ok(shown[0]!.includes(fake.address));
  }));

  it("have what the variables of the command line say", withFake({ Check: YES }, async (fake) => {
    const before = { ...process.env };
    Object.assign(process.env, { STONETOWN_ENDPOINT: fake.address, STONETOWN_TOKEN: "from-env", STONETOWN_CERTIFICATE_PATH: "", STONETOWN_STORE: "tenant-7" });
    const client = Client.fromEnv();
    process.env = before;
    await client.may(...QUESTION);
    client.close();
    assert.deepEqual([fake.calls[0]!.token, fake.calls[0]!.store], ["Bearer from-env", "tenant-7"]);
  }));
});

describe("endpoints", () => {
  const isPlain = (address: string, options = {}) => {
    const client = new Client(address, options);
    client.close();
    return `${client}`.includes("plain text");
  };

  it("are spoken to in plain text on this machine, and where it is asked for", () => {
    for (const local of ["localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"]) {
      assert.ok(isPlain(local), local);
    }
    for (const remote of ["example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "127.0.0.1.example.com:1", "128.0.0.1:1",
      "0.0.0.0:1", "[::]:1", "[::ffff:10.0.0.1]:1"]) {
      assert.ok(!isPlain(remote), remote);
      assert.ok(isPlain(remote, { insecure: true }), remote);
    }
  });

  it("are HOST:PORT", () => {
    for (const bad of ["", "example.com", "example.com:", ":50051", "http://example.com:1", "a:b", "a:0", "a:65536", "dns:///a:1",
      "unix:/tmp/x", "a b:1", "a:1\n"]) {
      assert.throws(() => new Client(bad), TypeError, bad);
    }
    for (const options of [{ ca: "pem", insecure: true }, { certificate: { cert: "c", key: "k" }, insecure: true }, { ca: "no PEM" },
      { certificate: { cert: "c", key: "k" } }]) {
      assert.throws(() => new Client("example.com:1", options), TypeError);
    }
  });
});
