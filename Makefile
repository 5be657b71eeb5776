# `make demo` shows Ringroad at work, `make test` checks everything. Both install what is missing and say so.

.PHONY: help demo test audit bench bench-check race micro setup suite jobs

help:
	@echo 'make demo    four redis-servers and Ringroad before them, with live figures; Ctrl-C stops all'
	@echo 'make test    formatting, clippy, and every test'
	@echo 'make suite   the test suite of Redis 7.0 from outside, against Ringroad before one and four servers'
	@echo 'make jobs    ten thousand jobs of RQ and of BullMQ through Ringroad'
	@echo 'make audit   licences, bans and sources of the dependencies'
	@echo 'make bench   direct, nutcracker, Envoy and Ringroad side by side (RACE="--memcached --rounds 5" for options)'
	@echo 'make micro   micro-benchmarks'
	@echo 'make bench-check   instructions per operation, against those on record (RINGROAD_BLESS=1 records anew)'
	@echo 'make setup   only install what the tests need'

demo:
	@.ci/setup.sh demo
	cargo build --release --locked
	@tests/demo.sh

setup:
	@.ci/setup.sh test

test: setup
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --doc
	cargo test --locked --lib --bins --tests

# Fetches the source of Redis from the mirror that apt is configured with. SUITE="--only unit/multi" for options.
suite:
	@.ci/setup.sh suite
	cargo build --release --locked
	python3 tests/redis_suite/run.py $(SUITE)

jobs:
	@.ci/setup.sh test
	cargo build --release --locked
	python3 tests/jobs.py

audit:
	@.ci/setup.sh audit
	cargo deny --locked --log-level error check licenses bans sources

# In a directory of its own: cargo builds the proxy along with any benchmark, with features that only tests need.
bench-check:
	@.ci/setup.sh bench-check
	cargo bench --locked --bench instructions --target-dir target/bench

bench race:
	@.ci/setup.sh race
	cargo build --release --locked
	python3 benches/race.py $(RACE)

micro:
	cargo bench --locked
