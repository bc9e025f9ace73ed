# `make up` runs Binnacle on this machine; `make test` checks everything. Both start from a bare clone.

PROFILE := up
CARGO   := cargo
WEB     := dashboards/web
ARGS    ?=

.PHONY: up demo build agent web test lint unit e2e bench setup fmt help

help:
	@echo "make up      build and run on this machine (ARGS=\"--demo\" for more flags), then open http://127.0.0.1:7400"
	@echo "make demo    the same with a live 45-service shop"
	@echo "make agent   build the agent alone, for nodes"
	@echo "make test    formatting, clippy, unit, conformance and end-to-end tests"
	@echo "make lint    formatting, clippy, dependency rules"
	@echo "make bench   measure against real peers (see bench/README.md)"

up: build
	@exec "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$(PROFILE)/binnacle" up $(ARGS)

demo:
	@$(MAKE) up ARGS="--demo $(ARGS)"

build: web
	@echo "==> building binnacle (a first build compiles about 600 packages; cargo counts them below)"
	$(CARGO) build --profile $(PROFILE) --locked --bin binnacle

# The agent alone, for nodes.
agent:
	$(CARGO) build --profile agent --locked --no-default-features --bin binnacle

# The page is built where Node is; without it the binary says how to build it.
web:
	@if command -v npm >/dev/null 2>&1; then \
	  if [ ! -e $(WEB)/dist/index.html ] || [ -n "$$(find $(WEB)/src $(WEB)/index.html $(WEB)/package.json -newer $(WEB)/dist/index.html -print -quit)" ]; then \
	    echo "==> building the web page"; \
	    cd $(WEB) && { [ -d node_modules ] && [ node_modules -nt package-lock.json ] || npm ci --no-audit --no-fund && touch node_modules; } && npm run build; \
	  fi; \
	else echo "==> no npm: the page will only say how to build it (install Node 20 and run make again)"; fi

test: setup web lint unit e2e

# Real peers, a browser and OpenTelemetry SDKs for the tests.
setup:
	@tests/setup.sh

lint:
	@echo "==> formatting"
	$(CARGO) fmt --all --check
	@echo "==> clippy"
	$(CARGO) clippy --profile $(PROFILE) --locked --workspace --all-targets -- -D warnings
	@echo "==> clippy of the agent alone"
	$(CARGO) clippy --profile $(PROFILE) --locked --no-default-features -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then echo "==> licences and sources"; $(CARGO) deny check licenses bans sources; \
	else echo "==> cargo-deny is not installed (cargo install --locked cargo-deny): licences not checked"; fi

unit:
	@if [ -d $(WEB)/node_modules ]; then echo "==> web unit tests"; cd $(WEB) && npm test --silent; fi
	@echo "==> unit and conformance tests"
	$(CARGO) test --profile $(PROFILE) --locked --workspace --lib --bins --test house

# The whole workspace is selected each time: one set of features, so nothing is compiled twice.
e2e: web
	@echo "==> end-to-end tests"
	$(CARGO) test --profile $(PROFILE) --locked --workspace --test e2e

bench:
	@bench/run.sh

fmt:
	$(CARGO) fmt --all
