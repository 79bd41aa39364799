#!/usr/bin/env bash
# Compares the decisions of the server in STONETOWN_ENDPOINT with those of a real SpiceDB, for all scenario files.
# Without node it is skipped, unless CI=true.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v npm >/dev/null; then
  [ "${CI:-}" != true ] || { echo "node and npm are missing (Debian: apt-get install nodejs npm)" >&2; exit 1; }
  echo "second judge: skipped, node and npm are missing (Debian: apt-get install nodejs npm)"
  exit 0
fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node judge.mjs ../../examples/*.yaml ../spec/*.yaml
