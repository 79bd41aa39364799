import { BlockList, isIP } from "node:net";

import { type ChannelOptions, ChannelCredentials, credentials } from "@grpc/grpc-js";

/** How a server is reached. */
export interface Reach {
  /** The authorities to trust in the place of the system's (PEM); TLS also to this machine. */
  ca?: string | Uint8Array;
  /** The client's own certificate and key (PEM), for mutual TLS. */
  certificate?: { cert: string | Uint8Array; key: string | Uint8Array };
  /** Plain text, and the token with it, to whatever machine. */
  insecure?: boolean;
}

/** A server, and how it is spoken to. */
export class Endpoint {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  readonly #isPlain: boolean;

  /** Plain text is for where it is asked for, and for this machine unless something says that it is to be TLS. */
  constructor(
    readonly address: string,
    { ca, certificate, insecure = false }: Reach,
  ) {
    const found = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/.exec(address);
    const port = Number(found?.[2]);
    if (!found?.[1] || port === 0 || port > 65_535) {
      throw new TypeError(`${JSON.stringify(address)} is no address: expected HOST:PORT`);
    }
    if (insecure && (ca || certificate)) {
      throw new TypeError("insecure is plain text: a certificate means nothing there");
    }
    this.#isPlain = insecure || (!ca && !certificate && isLoopback(found[1].replace(/^\[|\]$/g, "")));
    // A proxy would read the token.
    this.options = this.#isPlain ? { "grpc.enable_http_proxy": 0 } : {};
    this.credentials = this.#isPlain
      ? credentials.createInsecure()
      : credentials.createSsl(pem(ca), pem(certificate?.key), pem(certificate?.cert));
  }

  toString(): string {
    return `${this.address} (${this.#isPlain ? "plain text" : "TLS"})`;
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

function isLoopback(host: string): boolean {
  const version = isIP(host);
  return host === "localhost" || (version !== 0 && LOOPBACK.check(host, version === 4 ? "ipv4" : "ipv6"));
}

function pem(source: string | Uint8Array | undefined): Buffer | null {
  if (source === undefined) {
    return null;
  }
  const text = Buffer.from(source as Uint8Array);
  if (!text.includes("-----BEGIN ")) {
    throw new TypeError("a certificate or key is not PEM");
  }
  return text;
}
