# The two commands of the README are `make demo` and `make test`; `.ci/run` is `make test` and `make check`.
SHELL := /bin/bash
step := scripts/step.sh
.DEFAULT_GOAL := help
.PHONY: help demo test check setup build clients generate judge conformance crash lifecycles faults fmt

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup ## build, start a server with an example, and ask it a few questions
	@$(step) "release build" cargo build --locked --release -p stonetown-cli
	@scripts/demo.sh

test: setup build ## all tests: crates, crashes, client libraries, conformance
	@$(step) "cargo test" env STONETOWN_BIN=$(bin) cargo test --locked --workspace
	@$(step) "examples/demo.yaml" env STONETOWN_BIN=$(bin) scripts/demo.sh
	@$(step) "client libraries" scripts/with-server.sh -- scripts/with-testing-server.sh tests/clients/run.sh
	@$(step) "second judge: SpiceDB" scripts/with-server.sh -- tests/judge/run.sh
	@$(step) "conformance suite" scripts/conformance.sh
	@$(step) "acknowledging before syncing is caught" scripts/crash-fault.sh

check: setup build ## formatting, lints, documentation, dependencies, deployment files
	@$(step) "rustfmt" cargo fmt --all --check
	@$(step) "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
	@$(step) "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	@$(step) "cargo-deny" scripts/deny.sh
	@$(step) "deployment files" env STONETOWN_BIN=$(bin) scripts/deploy.sh

bin = $(or $(CARGO_TARGET_DIR),target)/debug/stonetown

setup: ## what the system lacks, and RocksDB built once into a cache
	@$(step) "system dependencies" scripts/system-deps.sh
	@$(step) "RocksDB" scripts/build-rocksdb.sh

# One build of everything that the tests use; `cargo test` then finds it done.
build: setup
	@$(step) "build" cargo build --locked --workspace --bins --tests

clients: build ## only the client libraries, and SpiceDB as a second judge
	@scripts/with-server.sh -- scripts/with-testing-server.sh tests/clients/run.sh
	@scripts/with-server.sh -- tests/judge/run.sh

generate: ## the code of our own clients that comes from proto/
	@clients/generate.sh

conformance: build ## only the conformance suite
	@scripts/conformance.sh

crash: build ## 100 rounds each of kill -9 and of dropping what was not synced
	@$(or $(CARGO_TARGET_DIR),target)/debug/crash --mode kill --rounds 100
	@$(or $(CARGO_TARGET_DIR),target)/debug/crash --mode unsynced --rounds 100

# What is compared is drawn anew with each seed: STONETOWN_SEED repeats one.
lifecycles: ## 10,000 random grants with restarts and clock jumps, 2,000 with kill -9
	@STONETOWN_GRANT_LIFECYCLES=10000 STONETOWN_GRANT_KILLED_LIFECYCLES=2000 cargo test --locked -p stonetown-grants --test lifecycles -- --nocapture

faults: ## each planted fault is found by the random comparisons
	@cargo test --locked -p stonetown-graph --features planted-faults --test planted_faults -- --nocapture

fmt: ## format the code
	@cargo fmt --all
