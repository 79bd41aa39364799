import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";

import type { JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Client as Connection } from "@grpc/grpc-js";

import { type CallOptions, Calls, type TokenSource } from "./calls.js";
import { type Decision, decisionOf } from "./decision.js";
import { Endpoint, type Reach } from "./endpoint.js";
import type { Grant } from "./gen/v1.js";
import { objectRef, subjectRef } from "./names.js";
import { SERVICE_CONFIG, Services } from "./services.js";
import { Task, WAIT_SECONDS, waitFor } from "./task.js";

export interface ClientOptions extends Reach {
  /** Sent with each call; a function for credentials that are renewed. */
  token?: TokenSource;
  /** The store that every call is in; where it is not set that of the token, or the default one. */
  store?: string;
  /** How long a call takes at most unless it says otherwise; 10 seconds where it is not set. Streams last. */
  timeoutSeconds?: number;
}

/** More of a question. */
export interface Question extends CallOptions {
  /**
   * Those who act for the subject, the nearest first (`agent:planner`): a yes is one for each of them, and each may act for the one
   * before.
   */
  chain?: readonly string[];
  /** Values for conditions. */
  context?: JsonObject;
  /** How it was at an earlier moment, which must still be kept. */
  at?: Date;
}

const OPTIONS = {
  "grpc.service_config": SERVICE_CONFIG,
  // Nobody else says what is repeated.
  "grpc.service_config_disable_resolution": 1,
  // A connection that is dead without saying so ends streams within a minute.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
};

/**
 * A connection to a server, which is made when it is used first.
 *
 * A server on this machine is spoken to in plain text unless an option says otherwise, all others with TLS. Calls that change
 * nothing are repeated up to three times while the server is away; so is asking for a grant, which carries a key that makes it
 * one request.
 *
 * What was written or seen through a client is in all later answers of it, see {@link Client.zedtoken}.
 */
export class Client extends Services {
  readonly #endpoint: Endpoint;
  readonly #connection: Connection;
  readonly #calls: Calls;

  /** A client of the server at HOST:PORT. */
  constructor(address: string, { token, store, timeoutSeconds = 10, ...reach }: ClientOptions = {}) {
    const endpoint = new Endpoint(address, reach);
    const connection = new Connection(address, endpoint.credentials, { ...OPTIONS, ...endpoint.options });
    const calls = new Calls(connection, token, timeoutSeconds, store);
    super(calls);
    this.#endpoint = endpoint;
    this.#connection = connection;
    this.#calls = calls;
  }

  /**
   * A client by the variables that the command line knows: STONETOWN_ENDPOINT (127.0.0.1:50051 where it is not set),
   * STONETOWN_TOKEN, STONETOWN_CERTIFICATE_PATH, STONETOWN_INSECURE, STONETOWN_STORE. Options stand over them.
   */
  static fromEnv(options: ClientOptions = {}): Client {
    const env = process.env;
    return new Client(env["STONETOWN_ENDPOINT"] || "127.0.0.1:50051", {
      ...(env["STONETOWN_TOKEN"] && { token: env["STONETOWN_TOKEN"] }),
      ...(env["STONETOWN_CERTIFICATE_PATH"] && { ca: readFileSync(env["STONETOWN_CERTIFICATE_PATH"]) }),
      ...(env["STONETOWN_STORE"] && { store: env["STONETOWN_STORE"] }),
      insecure: ["1", "true"].includes((env["STONETOWN_INSECURE"] ?? "").toLowerCase()),
      ...options,
    });
  }

  /**
   * Whether a subject (`agent:fixer`, `group:eng#member`) has a permission on a resource (`cluster:staging-1`). Where it throws
   * there is no answer; that is no "no", and still less a yes.
   */
  async may(subject: string, permission: string, resource: string, question: Question = {}): Promise<Decision> {
    const { chain = [], context, at, ...options } = question;
    const answer = await this.decision.check(
      {
        subject: subjectRef(subject),
        permission,
        resource: objectRef(resource),
        chain: chain.map((actor) => objectRef(actor)),
        ...(context && { context }),
        ...(at && { freshness: { requirement: { case: "at", value: timestampFromDate(at) } } }),
      },
      options,
    );
    return decisionOf(answer);
  }

  /**
   * Calls a function, within which access is asked for, and gives that access back when it returns or throws: every grant and
   * request of the name that the caller may end is ended. So a name is for one run; without one it gets a random one.
   *
   * Where both fail, the function's error is what is thrown; the access ends by itself in any case.
   */
  async task<T>(name: string | undefined, work: (task: Task) => Promise<T>): Promise<T> {
    const task = new Task(this.grant, name ?? `task-${randomUUID()}`);
    let result: T;
    try {
      result = await work(task);
    } catch (error) {
      await this.grant.completeTask({ task: task.name }).catch(() => {});
      throw error;
    }
    await this.grant.completeTask({ task: task.name });
    return result;
  }

  /** Waits until a grant gives access, as {@link Task.grant} does for its own. */
  async waitForGrant(id: string, { waitSeconds = WAIT_SECONDS, signal }: { waitSeconds?: number; signal?: AbortSignal } = {}): Promise<Grant> {
    const { grant } = await this.grant.getGrant({ id }, signal ? { signal } : {});
    return waitFor(this.grant, grant, waitSeconds, signal);
  }

  /**
   * The newest state that an answer named; questions are not answered from an older one. Set it to the `writtenAt` of a write
   * through another client, and that write is in the answers, too. Of answers that arrive at the same time, the last one counts.
   */
  get zedtoken(): string | undefined {
    return this.#calls.zedtoken;
  }

  set zedtoken(token: string | undefined) {
    this.#calls.zedtoken = token;
  }

  /** Closes the connection. */
  close(): void {
    this.#connection.close();
  }

  /** Where the server is, and nothing of what proves the caller. */
  override toString(): string {
    return `stonetown.Client of ${this.#endpoint}`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
