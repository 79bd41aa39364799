#!/usr/bin/env bash
# Runs a command beside a fresh server for test suites, then stops the server: with-testing-server.sh COMMAND...
# The command finds it through STONETOWN_TESTING_ENDPOINT and STONETOWN_TESTING_READONLY_ENDPOINT; any token will do.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${STONETOWN_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/stonetown}
[ -x "$bin" ] || { echo "with-testing-server: no binary at $bin: cargo build -p stonetown-cli" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/stonetown.XXXXXX")
touch "$work/out" "$work/log"
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

"$bin" serve-testing --grpc-addr 127.0.0.1:0 --readonly-grpc-addr 127.0.0.1:0 >"$work/out" 2>"$work/log" </dev/null &
server=$!
readonly=
for _ in $(seq 300); do
  readonly=$(sed -n 's/^serving read-only grpc on //p' "$work/out")
  [ -z "$readonly" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$readonly" ] || { echo "with-testing-server: the server did not start:" >&2; cat "$work/out" "$work/log" >&2; exit 1; }

STONETOWN_TESTING_ENDPOINT=$(sed -n 's/^serving grpc on //p' "$work/out")
export STONETOWN_TESTING_ENDPOINT STONETOWN_TESTING_READONLY_ENDPOINT=$readonly
code=0
"$@" || code=$?
if [ "$code" != 0 ]; then echo "the end of the test server's log:" >&2; tail -n 20 "$work/log" >&2; fi
exit "$code"
