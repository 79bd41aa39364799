#!/usr/bin/env bash
# Starts a server with examples/demo.yaml on the embedded store and asks it a few questions, each command printed before
# its answer. Exits non-zero when an answer is not the expected one.
#
#   STONETOWN_BIN   the binary (default: target/release/stonetown)
set -euo pipefail
cd "$(dirname "$0")/.."
export STONETOWN_BIN=${STONETOWN_BIN:-${CARGO_TARGET_DIR:-target}/release/stonetown}

if [ "${1:-}" != questions ]; then
  scripts/with-server.sh --datastore-bootstrap-files examples/demo.yaml -- "$0" questions
  cat <<TEXT

To keep a server running with the same example:

    $STONETOWN_BIN serve --grpc-preshared-key somekey --data-dir data --datastore-bootstrap-files examples/demo.yaml
    $STONETOWN_BIN --endpoint 127.0.0.1:50051 --token somekey permission check container:staging/web restart agent:fixer
TEXT
  exit 0
fi

wrong=0
ask() { # EXPECTED (an extended regular expression for the answer) ARGUMENT...
  local expected=$1 answer; shift
  printf '\n$ stonetown %s\n' "$*"
  answer=$("$STONETOWN_BIN" "$@") || { echo "demo: exit code $?" >&2; wrong=1; }
  echo "$answer"
  grep -qE -- "$expected" <<<"$answer" || { echo "demo: expected an answer with '$expected'" >&2; wrong=1; }
}

echo "An AI agent may restart one container of the staging namespace:"
ask '^true' permission check container:staging/web restart agent:fixer
ask '^false' permission check container:staging/queue restart agent:fixer
ask '^container:staging/web$|^staging/web$' permission lookup-resources container restart agent:fixer

printf '\nSomebody granted it the production container as well. Why does that not help?\n'
ask '^false' permission check container:production/web restart agent:fixer --explain

printf '\nDocuments are shared through folders and groups, less those who are blocked:\n'
ask '^true' permission check document:roadmap view user:olga
ask 'roadmap' permission lookup-resources document view user:bert
ask 'anna' permission lookup-subjects document:budget view user

[ "$wrong" = 0 ] || { echo "demo: an answer was not as expected" >&2; exit 1; }
