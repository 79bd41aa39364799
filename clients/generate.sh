#!/usr/bin/env bash
# Writes the generated code of all clients from every file in proto/stonetown/v1, and nothing else: a new file or service
# needs no change here. With --check it writes nothing, and fails if what is committed is not what it would write.
#
# Needs Python with venv; all else is installed here, in the versions that the lists of each client name.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(../scripts/venv.sh "$PWD/generate.requirements.txt")
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
exec "$bin/python" generate.py --plugins "$work" "$@"
