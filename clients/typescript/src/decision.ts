import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

import { type CheckResponse, Outcome, type Requestable } from "./gen/v1.js";

/** The answer to "may this subject do this?". */
export interface Decision {
  /** Whether it is a yes. An answer that depends on values that were not given is none. */
  readonly allowed: boolean;
  /** The answer in a few words, for people and logs. */
  readonly reason: string;
  /** The values that the answer depends on, by name. With them in `context` it may be a yes. */
  readonly missingContext: readonly string[];
  /** Where it is a no: what the caller could ask for, to be allowed it. See {@link Task.grant}. */
  readonly requestable: readonly Requestable[];
  /** Until when (exclusively) a yes holds if nothing is written; not set if for ever, or if it is no yes. */
  readonly until: Date | undefined;
  /** The moment at which what begins and expires was judged. */
  readonly judgedAt: Date | undefined;
  /** The state that the answer rests on. */
  readonly zedtoken: string;
}

/** What the server said. Only an outright yes is one. */
export function decisionOf(answer: CheckResponse): Decision {
  return {
    allowed: answer.outcome === Outcome.ALLOWED,
    reason: reasonOf(answer),
    missingContext: answer.missingContext,
    requestable: answer.requestable,
    until: date(answer.until),
    judgedAt: date(answer.judgedAt),
    zedtoken: answer.token,
  };
}

function reasonOf(answer: CheckResponse): string {
  if (answer.outcome === Outcome.ALLOWED) {
    return "allowed";
  }
  if (answer.outcome === Outcome.CONDITIONAL) {
    return `depends on ${answer.missingContext.join(", ")}`;
  }
  return answer.requestable.length > 0 ? `denied; can be asked for: ${answer.requestable.map(offered).join(", ")}` : "denied";
}

function offered({ template, parameters }: Requestable): string {
  const names = Object.keys(parameters).sort();
  return `${template}(${names.map((name) => `${name}=${parameters[name]}`).join(", ")})`;
}

function date(of: Timestamp | undefined): Date | undefined {
  return of && timestampDate(of);
}
