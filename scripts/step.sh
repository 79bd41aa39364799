#!/usr/bin/env bash
# Runs one named step and says how long it took: step.sh NAME COMMAND...
set -euo pipefail
name=$1; shift
echo "==> $name"
SECONDS=0
code=0
"$@" || code=$?
if [ "$code" = 0 ]; then echo "--- $name: done in $((SECONDS / 60))m$((SECONDS % 60))s"
else echo "--- $name: FAILED (exit $code) after $((SECONDS / 60))m$((SECONDS % 60))s" >&2; fi
exit "$code"
