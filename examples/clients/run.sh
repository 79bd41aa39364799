#!/usr/bin/env bash
# Runs the programs of docs/api in one language, each against a fresh server that has loaded start.yaml, and compares what they print
# with expected/: run.sh python|node|go|java. All languages print the same, but for how they write the names of enums.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)
set -euo pipefail
language=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$here/$language"

capital() { sed 's/^./\u&/' <<<"$1"; }
case $language in
  python) bin=$("$root/scripts/venv.sh" "$root/tests/clients/python/requirements.txt"); program() { echo "$bin/python" "$1.py"; } ;;
  node) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; program() { echo node "$1.mjs"; } ;;
  go) go build -o "$work" ./...; program() { echo "$work/$1"; } ;;
  java)
    mvn -B -ntp -q -Dstyle.color=never compile dependency:build-classpath -Dmdep.outputFile="$work/classpath"
    program() { echo java -cp "target/classes:$(cat "$work/classpath")" "dev.stonetown.examples.$(capital "$1")"; } ;;
esac

# HAS_PERMISSION for PERMISSIONSHIP_HAS_PERMISSION, relation_added for relationAdded.
plain() { sed -E 's/[A-Z_]*(PERMISSIONSHIP|OPERATION|PROGRESS)_//g; /^differs/s/([a-z])([A-Z])/\1_\l\2/g; s/ +$//'; }

failed=0
for expected in "$here"/expected/*.txt; do
  service=$(basename "$expected" .txt)
  # shellcheck disable=SC2046 # a command and its arguments
  "$root/scripts/with-server.sh" --materialize-permission document#view@user --datastore-bootstrap-files "$here/start.yaml" -- \
    timeout 60 $(program "$service") | plain >"$work/printed" || failed=1
  diff "$expected" "$work/printed" || { echo "$language: $service printed otherwise" >&2; failed=1; }
done
exit $failed
