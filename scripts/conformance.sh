#!/usr/bin/env bash
# Runs the black-box suite for authzed.api.v1 against `stonetown serve` on RocksDB, where the suite is present:
# STONETOWN_CONFORMANCE names its folder (default: shared/conformance beside this repository).
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${STONETOWN_CONFORMANCE:-../shared/conformance}
if [ ! -d "$suite/run" ]; then
  echo "conformance: no suite at $suite (STONETOWN_CONFORMANCE): skipped"
  exit 0
fi
python=$(scripts/venv.sh "$suite/run/requirements.txt")/python || { code=$?; [ "$code" = 3 ] && echo "conformance: skipped" && exit 0; exit "$code"; }
# Each runner deletes all relationships and replaces the schema, so each has a server of its own.
scripts/with-server.sh -- bash -c '"$0" "$1/run/run_spicedb.py" --endpoint "$STONETOWN_ENDPOINT" --token "$STONETOWN_TOKEN" \
  --strict-duplicates "$1/spicedb"' "$python" "$suite"
scripts/with-server.sh -- bash -c '"$0" "$1/run/api_cases.py" --endpoint "$STONETOWN_ENDPOINT" --token "$STONETOWN_TOKEN" \
  "$1/api"' "$python" "$suite"
