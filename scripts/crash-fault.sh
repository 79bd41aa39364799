#!/usr/bin/env bash
# Proves that the durability test can fail: builds a server that acknowledges before it syncs, and expects the unsynced
# mode to find a loss within 20 rounds.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
faulty=$target/debug/stonetown-fault
sound=$target/debug/stonetown

# The same features as the other test builds but one, so that only what depends on it is compiled again.
cargo build --locked --workspace --bins --tests --features stonetown-cli/fault-ack-before-sync
cp "$sound" "$faulty"
# Back to the sound one, which must not be left behind as the faulty build.
cargo build --locked --workspace --bins --tests

"$target/debug/crash" --binary "$faulty" --mode unsynced --rounds 20 --expect-loss
