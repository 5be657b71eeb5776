# `make demo` demonstrates Ringroad, `make test` runs all checks. Both install what is missing and print what they install.

.PHONY: help demo test audit deb package-test bench bench-check failovers screenshots floods moves reloads race micro setup suite jobs model stopped

help:
	@echo 'make demo    run Ringroad with four redis-servers and show live figures; Ctrl-C stops all'
	@echo 'make test    run formatting, clippy, and all tests'
	@echo 'make suite   run the test suite of Redis 7.0 externally, against Ringroad with one and four servers'
	@echo 'make jobs    run ten thousand jobs of RQ and of BullMQ through Ringroad'
	@echo 'make model   search larger shapes of the model of moves'
	@echo 'make stopped stop a primary for half a minute under load, and see that it gets nothing late'
	@echo 'make screenshots take the pictures of the page in docs/screenshots'
	@echo 'make audit   check licences, bans and sources of the dependencies, and advisories if their database can be had'
	@echo 'make deb     build the Debian package'
	@echo 'make package-test   install, use and purge the package in a minimal Debian with a systemd of its own (as root)'
	@echo 'make bench   compare direct access, nutcracker, Envoy and Ringroad (RACE="--memcached --rounds 5" for options)'
	@echo 'make floods  compare the waits next to floods with those of redis-server and memcached (FLOODS="--only PING" for options)'
	@echo 'make failovers compare the time without service when a primary dies, and reads at a slow replica (FAILOVERS="--rounds 9" for options)'
	@echo 'make moves   compare the waits of clients before, during and after moves of keys, and measure copies (MOVES="--rounds 9" for options)'
	@echo 'make reloads compare the waits of clients while a pool of 1,000 servers is reloaded, and while not (RELOADS="--rounds 9" for options)'
	@echo 'make micro   run the micro-benchmarks'
	@echo 'make bench-check   compare instructions per operation with the record (RINGROAD_BLESS=1 updates it)'
	@echo 'make setup   install what the tests need'

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

# Optimized, in a separate directory, and without the optimization of the whole program: only the tests are of interest.
model:
	CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --locked --test it --target-dir target/model -- --ignored --nocapture move_model

stopped:
	@.ci/setup.sh test
	cargo test --locked --test it -- --ignored --nocapture primary_that_hangs

# In Chromium, against a real proxy under load.
screenshots:
	@.ci/setup.sh screenshots
	cargo build --release --locked
	CLIENTS="$$PWD/target/clients/node_modules" node tests/page/screenshots.js target/release/ringroad docs/screenshots

audit:
	@.ci/setup.sh audit
	cargo deny --locked --log-level error check licenses bans sources
	@if timeout 120 cargo deny --log-level off fetch db 2> /dev/null; then \
	    cargo deny --locked --log-level error check advisories; \
	else \
	    echo 'make audit: no database of advisories can be had, so that they are not checked'; \
	fi

# The pages and the completions are printed by the program itself. A path of an asset in Cargo.toml starts there too.
PACKAGE = target/package

deb:
	@.ci/setup.sh deb
	cargo build --release --locked
	@mkdir -p $(PACKAGE)
	target/release/ringroad man >$(PACKAGE)/ringroad.1
	for shell in bash zsh fish; do target/release/ringroad completions $$shell >$(PACKAGE)/ringroad.$$shell || exit; done
	cargo deb --no-build --locked --strip --output $(PACKAGE)/ringroad.deb

package-test: deb
	@.ci/setup.sh package-test
	lintian --fail-on error $(PACKAGE)/ringroad.deb
	tests/package/run.sh $(PACKAGE)/ringroad.deb

# In a separate directory: cargo builds the proxy together with any benchmark, with features that only tests need.
bench-check:
	@.ci/setup.sh bench-check
	cargo bench --locked --bench instructions --target-dir target/bench

bench race:
	@.ci/setup.sh race
	cargo build --release --locked
	python3 benches/race.py $(RACE)

floods:
	@.ci/setup.sh race
	cargo build --release --locked
	python3 benches/floods.py $(FLOODS)

moves:
	@.ci/setup.sh race
	cargo build --release --locked
	python3 benches/moves.py $(MOVES)

reloads:
	@.ci/setup.sh race
	cargo build --release --locked
	python3 benches/reloads.py $(RELOADS)

# redis-py comes with what the tests need.
failovers:
	@.ci/setup.sh test
	cargo build --release --locked
	python3 benches/failover.py $(FAILOVERS)

micro:
	cargo bench --locked
