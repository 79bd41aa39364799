import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";

import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { type Grant, GrantState } from "./gen/v1.js";
import type { Reason } from "./reason.js";

/**
 * A call that the server refused or that did not reach it. None is a "no": whether something is allowed is not known then.
 */
export class StonetownError extends Error {
  override readonly name = "StonetownError";

  constructor(
    /** gRPC's code. */
    readonly code: status,
    /** What the server said. */
    readonly details: string,
    /** Why; a name that this version does not know where the server is newer. */
    readonly reason?: Reason | (string & {}),
    /** The names and numbers that belong to the reason. */
    readonly metadata: Readonly<Record<string, string>> = {},
    /** The id under which the server's logs know the call. */
    readonly requestId?: string,
  ) {
    super(`${details} (${status[code]}${reason ? `, ${reason}` : ""})`);
  }
}

/** The error of a failed call; what did not come from gRPC stays as it is. */
export function errorOf(error: unknown): unknown {
  if (!isServiceError(error)) {
    return error;
  }
  const requestId = error.metadata?.get("x-request-id")[0]?.toString();
  const info = errorInfo(error.metadata);
  return new StonetownError(error.code, error.details, info?.reason.replace(/^ERROR_REASON_/, ""), info?.metadata, requestId);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "details" in error;
}

/** The first ErrorInfo among the details; none where they cannot be read, which takes nothing from the error itself. */
function errorInfo(metadata?: Metadata) {
  const [binary] = metadata?.get("grpc-status-details-bin") ?? [];
  if (!(binary instanceof Uint8Array)) {
    return undefined;
  }
  try {
    const details = fromBinary(StatusSchema, binary).details;
    return details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((info) => info);
  } catch {
    return undefined;
  }
}

/** A grant that was asked for and gives no access. */
export class GrantNotGiven extends Error {
  override readonly name = "GrantNotGiven";

  constructor(
    /** What the server last said of it. */
    readonly grant: Grant,
    /** Whether the wait was over and nothing decided; else somebody or something said no, or it is over. */
    readonly pending: boolean,
  ) {
    const state = GrantState[grant.state]?.toLowerCase() ?? "unknown";
    super(`grant ${grant.id} of ${grant.template} is ${state}${grant.because ? `: ${grant.because}` : ""}`);
  }
}
