#!/usr/bin/env bash
# Runs a command against a fresh server, then stops the server: with-server.sh [serve flags] -- COMMAND...
# The server keeps its data in a temporary directory on the embedded store and listens on free ports. The command finds
# it through STONETOWN_ENDPOINT and STONETOWN_TOKEN, which the `stonetown` client commands read as well, and its data in
# STONETOWN_DATA_DIR.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)
set -euo pipefail
. "$(dirname "$0")/background-server.sh"

flags=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do flags+=("$1"); shift; done
shift

token=key-$RANDOM$RANDOM
start_server "serving grpc on" serve --grpc-addr 127.0.0.1:0 --metrics-addr 127.0.0.1:0 --grpc-preshared-key "$token" \
  --data-dir "$work/data" "${flags[@]+"${flags[@]}"}"
STONETOWN_ENDPOINT=$(printed "serving grpc on")
export STONETOWN_ENDPOINT STONETOWN_TOKEN=$token STONETOWN_DATA_DIR=$work/data STONETOWN_BIN=$bin
beside_server "$@"
