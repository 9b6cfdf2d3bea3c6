# Two commands for a newcomer: `make demo` and `make test`. Each installs what is missing first.

PLUGINS := threshold postgres-essentials postgres-maintenance postgres-replication redis-essentials agent-essentials webhook email

# Where cargo builds; the plugins for embedding are always copied to target/plugins.
BUILT := $(or $(CARGO_TARGET_DIR),target)

.PHONY: demo test build plugins setup fmt lint unit bench soak clean

## Run the agent with temporary servers, an application and its faults (Ctrl-C ends it)
demo: build
	$(BUILT)/release/pharos demo $(DEMO)

## Everything that must hold before a change lands
test: setup fmt plugins lint unit

## target/release/pharos with the shipped plugins inside, and target/plugins/ID.wasm
build: setup plugins
	cargo build --release

setup:
	@scripts/setup.sh

plugins: setup
	cargo build --quiet --profile plugin --target wasm32-wasip2 $(addprefix -p ,$(PLUGINS))
	@mkdir -p target/plugins
	@for id in $(PLUGINS); do \
	  built=$(BUILT)/wasm32-wasip2/plugin/$$(echo $$id | tr - _).wasm; \
	  cmp -s $$built target/plugins/$$id.wasm || cp $$built target/plugins/$$id.wasm; \
	done

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- -D warnings

unit:
	cargo test --workspace

SOAK ?= 20

## The random tests, SOAK times as long, from a seed that is printed; PHAROS_SEED repeats a run
soak: setup plugins
	@seed=$${PHAROS_SEED:-$$(date +%s)}; echo "soak: PHAROS_SEED=$$seed SOAK=$(SOAK)"; \
	export PHAROS_SEED=$$seed PHAROS_SOAK=$(SOAK) PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=$$((1500 * $(SOAK))); \
	cargo test --lib && cargo test --test e2e -- --nocapture random config::no_

## Speed and memory beside their bars, in six minutes; BENCH="--memory-for 30s" or BENCH="evaluate scrape" is shorter
bench: build plugins/examples/javascript-rule/javascript-rule.wasm
	cargo bench --bench bars -- $(BENCH)

plugins/examples/javascript-rule/javascript-rule.wasm: plugins/examples/javascript-rule/*.js* wit/*.wit
	-cd $(@D) && npm ci --silent --no-audit --no-fund && npm run --silent build

clean:
	cargo clean
