#!/usr/bin/env bash
# Runs a command beside a fresh server for test suites, then stops the server: with-testing-server.sh COMMAND...
# The command finds it through STONETOWN_TESTING_ENDPOINT and STONETOWN_TESTING_READONLY_ENDPOINT; any token will do.
#
#   STONETOWN_BIN   the binary (default: target/debug/stonetown)
set -euo pipefail
. "$(dirname "$0")/background-server.sh"

start_server "serving read-only grpc on" serve-testing --grpc-addr 127.0.0.1:0 --readonly-grpc-addr 127.0.0.1:0
STONETOWN_TESTING_ENDPOINT=$(printed "serving grpc on")
STONETOWN_TESTING_READONLY_ENDPOINT=$(printed "serving read-only grpc on")
export STONETOWN_TESTING_ENDPOINT STONETOWN_TESTING_READONLY_ENDPOINT
beside_server "$@"
