/**
 * The client of Stonetown, the authorization database.
 *
 * {@link Client} asks whether somebody may do something, asks for access where it is not there yet, and gives it back when a
 * task is done. `v1` has the messages for the calls that have no shorter way here: `client.grant.listGrants({ open: true })`.
 */
export { status } from "@grpc/grpc-js";
export type { CallOptions, Service, TokenSource } from "./calls.js";
export { Client, type ClientOptions, type Question } from "./client.js";
export type { Decision } from "./decision.js";
export { GrantNotGiven, StonetownError } from "./errors.js";
export * as v1 from "./gen/v1.js";
export { objectRef, subjectRef } from "./names.js";
export { REASONS, type Reason } from "./reason.js";
export type { Ask, Task } from "./task.js";
