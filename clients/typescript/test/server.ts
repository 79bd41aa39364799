/** What the tests against a real server have in common: the server, and a schema in it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const env = process.env as Record<string, string>;
export const ENDPOINT = process.env["STONETOWN_ENDPOINT"];

const SCHEMA = `
use expiration

caveat within_budget(spent int, budget int) {
  spent < budget
}

definition agent {}
definition container {
  relation restarter: agent
  permission restart = restarter
}
definition cluster {
  relation scaler: agent with expiration | agent with within_budget
  permission scale = scaler
}
`;

export const run = (...command: string[]) => execFileSync(env["STONETOWN_BIN"]!, command, { encoding: "utf8" });

export function writeSchema(): void {
  const folder = mkdtempSync(join(tmpdir(), "stonetown-"));
  writeFileSync(join(folder, "schema.zed"), SCHEMA);
  run("schema", "write", join(folder, "schema.zed"));
  rmSync(folder, { recursive: true });
}
