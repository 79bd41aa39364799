#!/usr/bin/env bash
# Runs a command against a fresh server, then stops the server: with-server.sh [serve flags] -- COMMAND...
# The server keeps its data in a temporary directory on the embedded store and listens on free ports. The command finds
# it through STONETOWN_ENDPOINT and STONETOWN_TOKEN, which the `stonetown` client commands read as well.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${STONETOWN_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/stonetown}
[ -x "$bin" ] || { echo "with-server: no binary at $bin: cargo build -p stonetown-cli" >&2; exit 1; }

flags=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do flags+=("$1"); shift; done
shift

work=$(mktemp -d "${TMPDIR:-/tmp}/stonetown.XXXXXX")
touch "$work/out" "$work/log"
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

token=key-$RANDOM$RANDOM
"$bin" serve --grpc-addr 127.0.0.1:0 --metrics-addr 127.0.0.1:0 --grpc-preshared-key "$token" --data-dir "$work/data" \
  "${flags[@]+"${flags[@]}"}" >"$work/out" 2>"$work/log" </dev/null &
server=$!
for _ in $(seq 300); do
  addr=$(sed -n 's/^serving grpc on //p' "$work/out")
  [ -z "$addr" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$addr" ] || { echo "with-server: the server did not start:" >&2; cat "$work/out" "$work/log" >&2; exit 1; }

export STONETOWN_ENDPOINT=$addr STONETOWN_TOKEN=$token
code=0
"$@" || code=$?
if [ "$code" != 0 ]; then echo "the end of the server's log:" >&2; tail -n 20 "$work/log" >&2; fi
exit "$code"
