import { randomUUID } from "node:crypto";

import {
  clone,
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type CallOptions as GrpcCallOptions, Client, Metadata } from "@grpc/grpc-js";

import { errorOf } from "./errors.js";
import type { Freshness } from "./gen/v1.js";

/** What a call can be told beside its request. */
export interface CallOptions {
  /** Seconds until it ends without an answer. */
  timeoutSeconds?: number;
  /** Ends it. */
  signal?: AbortSignal;
}

/** The token that is sent with each call, or a function that returns the one of the moment. */
export type TokenSource = string | (() => string | Promise<string>);

/** The calls of a service: a promise for one answer, or answers as they come. Requests may be given as plain objects. */
export type Service<S extends DescService> = {
  readonly [M in keyof S["method"]]: S["method"][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S["method"][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : never;
};

// The services whose `token` names a state of the store; in others a token is something else, such as a credential.
const OF_STATE = /^stonetown\.v1\.(Attributes|Decision|Relationships)Service$/;

const STORE = /^[a-z][a-z0-9_-]{0,62}$/;

/** What every call has: the token, a deadline, the state that is to be seen, and errors of this package. */
export class Calls {
  readonly #client: Client;
  readonly #token: TokenSource | undefined;
  readonly #timeoutSeconds: number;
  readonly #store: string | undefined;
  /** The state that answers must not be older than. */
  zedtoken: string | undefined;

  constructor(client: Client, token: TokenSource | undefined, timeoutSeconds: number, store: string | undefined) {
    if (store !== undefined && !STORE.test(store)) {
      throw new TypeError(`${JSON.stringify(store)} is no name of a store`);
    }
    this.#client = client;
    this.#token = token;
    this.#timeoutSeconds = timeoutSeconds;
    this.#store = store;
  }

  /** A service, call by call. */
  service<S extends DescService>(service: S): Service<S> {
    const calls = service.methods.map((method) => [
      method.localName,
      (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        method.methodKind === "unary" ? this.#unary(method, request, options) : this.#stream(method, request, options),
    ]);
    return Object.fromEntries(calls) as Service<S>;
  }

  async #unary(method: DescMethod, init: MessageInitShape<DescMessage>, options: CallOptions): Promise<Message> {
    const request = this.#prepared(method, init);
    const metadata = await this.#metadata();
    options.signal?.throwIfAborted();
    const timed = { timeoutSeconds: this.#timeoutSeconds, ...options };
    const answer = await new Promise<Message>((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(...wire(method), request, metadata, deadline(timed), (error, answer) => {
        options.signal?.removeEventListener("abort", cancel);
        if (error) {
          reject(errorOf(error));
        } else {
          resolve(answer as Message);
        }
      });
      const cancel = () => call.cancel();
      options.signal?.addEventListener("abort", cancel);
    });
    this.#saw(method, request, answer);
    return answer;
  }

  /** Begins when it is read, and ends when nobody reads on. */
  async *#stream(method: DescMethod, init: MessageInitShape<DescMessage>, options: CallOptions): AsyncGenerator<Message> {
    const request = this.#prepared(method, init);
    const metadata = await this.#metadata();
    options.signal?.throwIfAborted();
    const answers = this.#client.makeServerStreamRequest(...wire(method), request, metadata, deadline(options));
    const cancel = () => answers.cancel();
    options.signal?.addEventListener("abort", cancel);
    try {
      yield* answers;
    } catch (error) {
      throw errorOf(error);
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      // What is read no further may still fail, and nobody hears of it.
      answers.on("error", () => {});
      answers.cancel();
    }
  }

  /** The request with what the client adds; the caller's own stays as it is. */
  #prepared(method: DescMethod, init: MessageInitShape<DescMessage>): Message {
    const request = create(method.input, init) as Message & Record<string, unknown>;
    const { freshness, page, idempotencyKey } = method.input.field;
    // Pages of a list must be asked for alike, whatever is written in between: their state is the caller's to choose.
    const isQuestion = OF_STATE.test(method.parent.typeName) && freshness && !page;
    const needsState = isQuestion && this.zedtoken && !request["freshness"];
    const needsKey = idempotencyKey && !request["idempotencyKey"];
    if (!needsState && !needsKey) {
      return request;
    }
    const copied = clone(method.input, request) as Message & Record<string, unknown>;
    if (needsState) {
      const of = (freshness as { message: DescMessage }).message;
      copied["freshness"] = create(of, { requirement: { case: "atLeast", value: this.zedtoken } } as MessageInitShape<DescMessage>);
    }
    if (needsKey) {
      // Such a call is repeated when the server is away; under one key it is one request.
      copied["idempotencyKey"] = randomUUID();
    }
    return copied;
  }

  #saw(method: DescMethod, request: Message, answer: Message) {
    const { freshness } = request as { freshness?: Freshness };
    const { token } = answer as { token?: unknown };
    // What was asked of the past says nothing of the present.
    const isPast = ["at", "atExactly"].includes(freshness?.requirement.case ?? "");
    if (OF_STATE.test(method.parent.typeName) && typeof token === "string" && token && !isPast) {
      this.zedtoken = token;
    }
  }

  async #metadata(): Promise<Metadata> {
    const metadata = new Metadata();
    if (this.#store !== undefined) {
      metadata.set("stonetown-store", this.#store);
    }
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    if (token !== undefined) {
      // gRPC would show a value that it cannot send.
      if (!/^[!-~]([ -~]*[!-~])?$/.test(token)) {
        throw new TypeError("the token is not printable ASCII without blanks around it");
      }
      metadata.set("authorization", `Bearer ${token}`);
    }
    return metadata;
  }
}

function wire(method: DescMethod) {
  const path = `/${method.parent.typeName}/${method.name}`;
  const serialize = (message: Message) => Buffer.from(toBinary(method.input, message));
  const deserialize = (bytes: Buffer): Message => fromBinary(method.output, bytes);
  return [path, serialize, deserialize] as const;
}

function deadline({ timeoutSeconds }: CallOptions): GrpcCallOptions {
  return timeoutSeconds === undefined ? {} : { deadline: Date.now() + timeoutSeconds * 1000 };
}
