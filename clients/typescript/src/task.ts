import { setTimeout as sleep } from "node:timers/promises";

import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import type { Service } from "./calls.js";
import { GrantNotGiven, StonetownError } from "./errors.js";
import { type Grant, type GrantService, GrantState } from "./gen/v1.js";

/** Milliseconds between two looks at a grant that is waited for. */
const LOOK_FIRST = 200;
const LOOK_LONGEST = 5000;

export const WAIT_SECONDS = 600;

/** What access is wanted. `{ ...decision.requestable[0], reason }` asks for what a denial offered. */
export interface Ask {
  /** The name of what is asked for. */
  template: string;
  /** The values of its holes, by name. */
  parameters?: Record<string, string>;
  /** For approvers and the log. */
  reason?: string;
  ticket?: string;
  /** How long the access is to last; as long as the template allows where it is not set. */
  ttlSeconds?: number;
  /** When it is to begin; at once where it is not set. */
  startsAt?: Date;
  /** The principal who is to get it, the caller where it is not set; and the subject that stands for it in the store. */
  beneficiary?: string;
  subject?: string;
  /** Access now, and a review afterwards. */
  emergency?: boolean;
  /** The id of a grant that this one prolongs. */
  renews?: string;
  /** How long to wait until the access is there: 10 minutes where it is not set; 0 looks once. */
  waitSeconds?: number;
  /** Ends the wait. */
  signal?: AbortSignal;
}

type Grants = Service<typeof GrantService>;

/** What {@link Client.task} hands to its function, to ask for access with. */
export class Task {
  readonly #grants: Grants;

  constructor(
    grants: Grants,
    /** What ties the grants together; approvers see it. */
    readonly name: string,
  ) {
    this.#grants = grants;
  }

  /**
   * Asks for access and returns when it is there. Throws {@link GrantNotGiven} where somebody or something says no, or nobody
   * decides in time. What is still open is taken back at the end of the task.
   */
  async grant(ask: Ask): Promise<Grant> {
    const { ttlSeconds, startsAt, waitSeconds = WAIT_SECONDS, signal, ...rest } = ask;
    const { template, parameters, reason, ticket, beneficiary, subject, emergency, renews } = rest;
    const { grant } = await this.#grants.requestGrant(
      {
        template,
        task: this.name,
        ...defined({ parameters, reason, ticket, beneficiary, subject, emergency, renews }),
        ...(ttlSeconds !== undefined && { ttl: durationFromMs(ttlSeconds * 1000) }),
        ...(startsAt && { startsAt: timestampFromDate(startsAt) }),
      },
      defined({ signal }),
    );
    return waitFor(this.#grants, grant, waitSeconds, signal);
  }
}

/** Looks at a grant until it gives access, never will, or the wait is over. */
export async function waitFor(grants: Grants, grant: Grant | undefined, seconds: number, signal?: AbortSignal): Promise<Grant> {
  const end = Date.now() + seconds * 1000;
  for (let pause = LOOK_FIRST; ; pause = Math.min(pause * 1.5, LOOK_LONGEST)) {
    if (!grant) {
      throw new StonetownError(status.INTERNAL, "the answer has no grant");
    }
    if (grant.active) {
      return grant;
    }
    // Approved and not active: it begins later, or is over and about to be written down as expired.
    if (grant.state !== GrantState.PENDING && grant.state !== GrantState.APPROVED) {
      throw new GrantNotGiven(grant, false);
    }
    const left = end - Date.now();
    if (left <= 0) {
      throw new GrantNotGiven(grant, true);
    }
    await sleep(Math.min(pause, left), undefined, defined({ signal }));
    try {
      ({ grant } = await grants.getGrant({ id: grant.id }, defined({ signal })));
    } catch (error) {
      // Where the server is away for a moment, the wait has its own end.
      if (!(error instanceof StonetownError && error.code === status.UNAVAILABLE)) {
        throw error;
      }
    }
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** An object without what is not set. */
function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
