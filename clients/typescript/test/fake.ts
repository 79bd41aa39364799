/** A server that answers what a test says and remembers what it was asked. */
import { create, fromBinary, toBinary, type DescMethod, type DescService, type Message } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials, status, type UntypedServiceImplementation } from "@grpc/grpc-js";

import { Client, v1, type ClientOptions } from "../src/index.js";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";

export interface Call {
  name: string;
  request: any;
  token: string | undefined;
  store: string | undefined;
  secondsLeft: number;
}

export class Refusal {
  constructor(
    readonly code: status,
    readonly details: string,
    readonly reason?: string,
    readonly values: Record<string, string> = {},
  ) {}

  get error() {
    const metadata = new Metadata();
    if (this.reason) {
      const info = create(ErrorInfoSchema, { reason: this.reason, domain: "authzed.com", metadata: this.values });
      const of = create(StatusSchema, { code: this.code, message: this.details, details: [anyPack(ErrorInfoSchema, info)] });
      metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, of)));
      metadata.set("x-request-id", "request-7");
    }
    return { code: this.code, details: this.details, metadata };
  }
}

export const UNAVAILABLE = new Refusal(status.UNAVAILABLE, "away");

/** What is answered to a call: the fields of a message, a refusal, or a number of seconds to stay silent. */
type Answer = object | Refusal | number;

export class Fake {
  readonly calls: Call[] = [];
  readonly turns: Record<string, Answer[]> = {};
  address = "";
  readonly #server = new Server();

  constructor(readonly answers: Record<string, Answer>) {
    for (const service of [v1.DecisionService, v1.GrantService, v1.PrincipalService] as DescService[]) {
      const definition = service.methods.map((method) => [method.localName, wire(method)]);
      const handlers = service.methods.map((method) => [
        method.localName,
        method.methodKind === "unary"
          ? (call: any, done: any) => this.#answer(method, call, (answer) => done(null, answer), (error) => done(error))
          : (call: any) => this.#answer(method, call, (answer) => (call.write(answer), call.end()), (error) => call.emit("error", error)),
      ]);
      this.#server.addService(Object.fromEntries(definition), Object.fromEntries(handlers) as UntypedServiceImplementation);
    }
  }

  async start(): Promise<this> {
    const port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
    );
    this.address = `127.0.0.1:${port}`;
    return this;
  }

  names(): string[] {
    return this.calls.map((call) => call.name);
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  #answer(method: DescMethod, call: any, give: (answer: Message) => void, refuse: (error: object) => void): void {
    const { name } = method;
    const secondsLeft = (Number(call.getDeadline()) - Date.now()) / 1000;
    const [token, store] = ["authorization", "stonetown-store"].map((key) => call.metadata.get(key)[0]);
    this.calls.push({ name, request: call.request, token, store, secondsLeft });
    const answer = this.turns[name]?.shift() ?? this.answers[name] ?? new Refusal(status.UNIMPLEMENTED, "no answer");
    if (answer instanceof Refusal) {
      refuse(answer.error);
    } else if (typeof answer === "number") {
      setTimeout(() => give(create(method.output)), answer * 1000).unref();
    } else {
      give(create(method.output, answer as Record<string, unknown>));
    }
  }
}

function wire(method: DescMethod) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind !== "unary",
    requestSerialize: (message: Message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    responseSerialize: (message: Message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

/** Runs a test with a fake and a client of it, whose token is `secret-0815`. */
export function withFake(answers: Record<string, Answer>, test: (fake: Fake, client: Client) => Promise<void>, options: ClientOptions = {}) {
  return async () => {
    const fake = await new Fake({ CompleteTask: { ended: 1n }, ...answers }).start();
    const client = new Client(fake.address, { token: "secret-0815", ...options });
    try {
      await test(fake, client);
    } finally {
      client.close();
      fake.stop();
    }
  };
}
