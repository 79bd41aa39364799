#!/usr/bin/env bash
# Runs the tests of one client, by itself and against two fresh servers, one of them with TLS: test.sh python|typescript|go
# Or what holds of all: that generated code is up to date, and the licences of what they bring along: test.sh all
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown); `certificate` is looked for beside it
set -euo pipefail
cd "$(dirname "$0")"
with_server=../scripts/with-server.sh

python() { local bin; bin=$(../scripts/venv.sh python/requirements.txt) && cd python && PYTHONPATH=src:tests "$bin/python" -m unittest discover -s tests; }
typescript() { cd typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test --silent; }
go() { cd go && command go vet ./... && command go test -count=1 ./...; }

all() { local bin; bin=$(../scripts/venv.sh python/requirements.txt) && ./generate.sh --check && "$bin/python" licences.py; }

case "$1" in
  all) all ;;
  python | typescript | go)
    binary=$(realpath "${STONETOWN_BIN:-${CARGO_TARGET_DIR:-../target}/debug/stonetown}")
    work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
    "$(dirname "$binary")/certificate" "$work"
    export STONETOWN_BIN=$binary STONETOWN_TLS_CA=$work/cert
    "$with_server" --grpc-tls-cert-path "$work/cert" --grpc-tls-key-path "$work/key" -- "./test.sh" --beside-tls "$1" ;;
  --beside-tls)
    # The certificate is for that name.
    export STONETOWN_TLS_ENDPOINT=localhost:${STONETOWN_ENDPOINT##*:} STONETOWN_TLS_TOKEN=$STONETOWN_TOKEN
    "$with_server" -- "./test.sh" --beside-both "$2" ;;
  --beside-both) "$2" ;;
  *) echo "test.sh: no client $1" >&2; exit 2 ;;
esac
