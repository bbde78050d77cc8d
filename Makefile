# make only runs cargo and the scripts in deploy/.
#
#   make run      install what is missing, build, and read fixtures/http.pcap
#   make test     format, lints and every test (installs the tools that the tests need)
#   make guest    the parser's modules as .wasm and .wat, in target/guest
#   make bench    benchmarks
#   make fuzz     each fuzz target, and each parser natively, for SECONDS_EACH seconds (default 60)
#   make soak     the long tests: soaks, peers, other systems
#   make static   one static binary without shared libraries, in target/static
#   make deb      the Debian package, in target/debian
#   make clean    remove everything that was built

SHELL = /bin/sh
CARGO = cargo
# A lock file that does not match the manifest is an error, not something to update silently.
LOCKED = --locked
SECONDS_EACH = 60
# Further options for the fuzzer: -s none is faster, without AddressSanitizer.
FUZZ_OPTIONS =

.PHONY: all run test guest bench fuzz soak static deb clean setup setup-test

all: run

setup:
	@deploy/setup.sh

setup-test:
	@deploy/setup.sh --test

run: setup
	$(CARGO) build $(LOCKED) --release
	target/release/picotap --pcap fixtures/http.pcap

# The release build is tested too, under load. The fuzz targets are checked, not linked: instead of libFuzzer, which takes long to
# build, any file will do.
test: setup-test
	$(CARGO) build $(LOCKED) --release
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	CUSTOM_LIBFUZZER_PATH=$(CURDIR)/fuzz/Cargo.toml $(CARGO) check $(LOCKED) -q --manifest-path fuzz/Cargo.toml --bins --target-dir target
	PICOTAP_RELEASE=$(CURDIR)/target/release/picotap deploy/check/run.sh $(CARGO) test $(LOCKED) --no-fail-fast

guest: setup
	$(CARGO) run $(LOCKED) -q --example guest -- target/guest

bench: setup
	$(CARGO) bench $(LOCKED)

# The fuzzer needs unstable compiler features, which RUSTC_BOOTSTRAP allows in the stable compiler. Each target starts from the
# inputs that `make test` replays; fuzz/corpus has what it found since. The parsers in C, which else run in the sandbox only, are built
# natively with sanitizers, on x86-64 only: fuzz/native/.
fuzz:
	@deploy/setup.sh --fuzz
	@for target in fuzz/fuzz_targets/*.rs; do \
	    name=$$(basename $$target .rs); \
	    echo "fuzz: $$name"; \
	    mkdir -p fuzz/corpus/$$name; \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $(FUZZ_OPTIONS) $$name fuzz/corpus/$$name tests/regressions/$$name \
	        -- -max_total_time=$(SECONDS_EACH) || exit 1; \
	done
	@if [ "$$(uname -m)" != x86_64 ]; then \
	    echo "fuzz: the parsers in C are left out: they are built natively for x86 only"; exit 0; \
	fi; \
	fuzz/native/build.sh target/native || exit 1; \
	fuzz/native/seeds.py target/native/seeds $$(find fixtures -name '*.pcap') || exit 1; \
	for parser in http1 http2 lines resp hpack; do \
	    echo "fuzz: native $$parser"; \
	    mkdir -p fuzz/corpus/native_$$parser fuzz/artifacts/native_$$parser target/native/seeds/$$parser; \
	    ASAN_OPTIONS=detect_leaks=0 target/native/$$parser fuzz/corpus/native_$$parser tests/regressions/native_$$parser \
	        target/native/seeds/$$parser -artifact_prefix=fuzz/artifacts/native_$$parser/ \
	        -max_len=16384 -timeout=20 -max_total_time=$(SECONDS_EACH) || exit 1; \
	done

static:
	@deploy/setup.sh --static
	deploy/static/build.sh

# Man pages and completions are generated from the program's own list of options.
deb: setup
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "deb: missing: cargo install cargo-deb" >&2; exit 1; }
	$(CARGO) build $(LOCKED) --release
	$(CARGO) run $(LOCKED) -q --release --example manual -- target/manual
	$(CARGO) deb --no-build

soak: static
	@deploy/setup.sh --test --soak
	PICOTAP_RELEASE=$(CURDIR)/target/release/picotap deploy/check/run.sh $(CARGO) test $(LOCKED) --release --no-fail-fast -- --ignored --nocapture --test-threads=1

clean:
	$(CARGO) clean
