# Sourced by the scripts that run a command beside a server of its own; not run by itself.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)

# start_server LINE FLAGS...: starts `stonetown FLAGS...` and waits until it prints a line that begins with LINE. Its output is then
# in $work/out, its log in $work/log, its binary is $bin; it is stopped, and $work removed, when the script ends.
start_server() {
  local line=$1 root
  shift
  root=$(cd "$(dirname "$0")/.." && pwd)
  bin=${STONETOWN_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/stonetown}
  [ -x "$bin" ] || { echo "$(basename "$0" .sh): no binary at $bin: cargo build -p stonetown-cli" >&2; exit 1; }
  touch "$work/out" "$work/log"
  "$bin" "$@" >"$work/out" 2>"$work/log" </dev/null &
  server=$!
  for _ in $(seq 300); do
    [ -z "$(printed "$line")" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$(printed "$line")" ] || { echo "$(basename "$0" .sh): the server did not start:" >&2; cat "$work/out" "$work/log" >&2; exit 1; }
}

# printed LINE: what the server printed after LINE.
printed() { sed -n "s/^$1 //p" "$work/out"; }

# beside_server COMMAND...: runs a command, shows the end of the server's log if it fails, and ends with its code.
beside_server() {
  local code=0
  "$@" || code=$?
  if [ "$code" != 0 ]; then echo "the end of the server's log:" >&2; tail -n 20 "$work/log" >&2; fi
  exit "$code"
}

stop_server() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}

server=
work=$(mktemp -d "${TMPDIR:-/tmp}/stonetown.XXXXXX") # the X are mktemp's
trap stop_server EXIT
trap 'exit 130' INT TERM
