#!/usr/bin/env bash
# Writes the generated code of all clients from every file in proto/stonetown/v1, and nothing else: a new file or service
# needs no change here. With --check it writes nothing, and fails if what is committed is not what it would write.
#
# Needs Python with venv, Node with npm, and Go; all else is installed here, in the versions that the lists of each client name.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(../scripts/venv.sh "$PWD/generate.requirements.txt")
(cd typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc; do
  (cd go/generate && go build -o "$work/$(basename "$plugin")" "$plugin")
done
exec "$bin/python" generate.py --plugins "$work" "$@"
