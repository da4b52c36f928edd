# Everything a developer types. `make help` lists it.

PORT ?= 8000
BUDGET ?= 15m
SYMBOL ?= BTCUSDT
PYTHON3 ?= python3
PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
CDK := node_modules/.bin/cdk
# In as many processes as there are cores, up to four, each file in one: its tests may build on each other.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
WEB := $(shell find web -not -path 'web/node_modules*' -not -path 'web/dist*' -not -path 'web/.test*' -type f 2>/dev/null)

# Node 20 works; jsii would say at length that it is old.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
# cdk-nag reads a property that the library has deprecated; nobody here can mend that.
export JSII_DEPRECATED := quiet
export JSII_RUNTIME_PACKAGE_CACHE := enabled
export CDK_DISABLE_CLI_TELEMETRY := true

.PHONY: help up down status replay test check soak synth bench reports checkov deps deploy clean setup setup-dev
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

up: setup ## start the whole exchange here; Ctrl-C stops it (PORT=8000 ENV=dev DETACH=1)
	@$(PYTHON) -m local up --port $(PORT) --env $(or $(ENV),dev) $(if $(filter-out 0,$(DETACH)),--detach)

down: ## stop it
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m local down; else echo "not running"; fi

status: ## show every process and function; exits with 0 while all are healthy (VERBOSE=1)
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m local status $(if $(filter-out 0,$(VERBOSE)),--verbose); else echo "not running; \`make up\` starts it"; exit 1; fi

replay: setup ## play a recorded feed through the running exchange (FEED=path SYMBOL=BTCUSDT)
	@test -n "$(FEED)" || { echo "which feed? make replay FEED=path [SYMBOL=BTCUSDT]"; exit 2; }
	@$(PYTHON) -m local.replay --feed "$(FEED)" --symbol $(SYMBOL)

test: setup-dev ## the fast tests, against an exchange of their own (ONLY=path to choose)
	@if [ -n "$(ONLY)" ]; then exec $(PYTHON) -m local test -- -m "not soak" $(ONLY); fi; \
	$(PYTHON) -m pytest -m "not soak" $(SIDE_BY_SIDE) --ignore tests/integ; apart=$$?; \
	$(PYTHON) -m local test -- -m "not soak" tests/integ && exit $$apart

check: setup-dev ## format, lint and types
	@$(PYTHON) -m ruff format --check . && $(PYTHON) -m ruff check . && $(PYTHON) -m mypy

soak: setup-dev ## the long seeded tests (BUDGET=15m)
	@seconds=$$(echo "$(BUDGET)" | awk '/^[0-9]+s?$$/{print $$1+0} /^[0-9]+m$$/{print $$1*60} /^[0-9]+h$$/{print $$1*3600}'); \
	test -n "$$seconds" || { echo "BUDGET is a time such as 90s, 15m or 1h, was '$(BUDGET)'"; exit 2; }; \
	BURSA_SOAK_SECONDS=$$seconds $(PYTHON) -m pytest -m soak -rA

synth: setup ## synthesize every environment, or one (ENV=dev), with the rule packs enforced
	@rm -rf cdk.out && ENV=$(ENV) $(CDK) synth --quiet --no-notices --output cdk.out

deps: setup .build/lambda/python ## fetch what functions import, as hashed wheels for Graviton

deploy: setup deps ## deploy to AWS with the CDK (ENV=dev); refuses sample values and expired acceptances
	@test -n "$(ENV)" || { echo "which environment? make deploy ENV=dev"; exit 2; }
	@rm -rf cdk.out && ENV=$(ENV) $(CDK) synth --quiet --no-notices --output cdk.out
	@$(PYTHON) -m scripts.preflight $(ENV)
	@$(CDK) deploy --app cdk.out --require-approval broadening "$$($(PYTHON) -c 'import sys; print(sys.argv[1].title())' $(ENV))/*"

bench: setup .build/bench/.installed ## benchmarks, as ratios to a baseline of the same run (ONLY=name)
	@$(PYTHON) -m bench $(if $(ONLY),--only $(ONLY))

reports: synth ## write docs/reports/ from the templates: what a security reviewer reads; and docs/api/
	@$(PYTHON) -m scripts.api_documents && $(PYTHON) -m scripts.reports && echo "docs/reports/index.html"

checkov: synth .build/checkov/.installed ## hold every template against checkov, which has an environment of its own
	@$(PYTHON) -m scripts.checkov

clean: down ## forget everything the exchange has kept here
	@rm -rf .local .build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---- what is installed, and built: each once, and again when what it depends on has changed

setup:
	@$(MAKE) -s -j2 .build/compiled/.made web/dist/index.html

setup-dev: setup
	@$(MAKE) -s .venv/.installed-dev

.venv/bin/python:
	@command -v $(PYTHON3) >/dev/null || { echo "$(PYTHON3) is not on PATH; Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON3) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
		f"Python 3.11 or newer is needed; $(PYTHON3) is {v.major}.{v.minor} (make PYTHON3=... names another)")'
	@$(PYTHON3) -m venv .venv || { echo "$(PYTHON3) cannot make a virtual environment (on Debian: python3-venv)"; exit 1; }

.venv/.installed: requirements.txt constraints.txt pyproject.toml | .venv/bin/python
	@echo "installing Python packages ..."
	@$(PIP) -r requirements.txt
	@touch $@

# Without a C compiler this says so, and engine and gateway run interpreted. What has not changed is not compiled again.
.build/compiled/.made: .venv/.installed scripts/compile.py $(wildcard runtime/engine/*.py runtime/gateway/*.py runtime/shared/*.py)
	@$(PYTHON) -m scripts.compile
	@mkdir -p $(@D) && touch $@

.build/checkov/.installed: requirements-checkov.txt
	@echo "installing checkov ..."
	@test -x .build/checkov/bin/python || $(PYTHON3) -m venv .build/checkov
	@.build/checkov/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-checkov.txt
	@touch $@

.build/bench/.installed: requirements-bench.txt | .venv/bin/python
	@echo "installing the engines that ours is compared with ..."
	@test -x .build/bench/bin/python || $(PYTHON3) -m venv .build/bench
	@.build/bench/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r requirements-bench.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	@echo "installing Python packages for tests ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

node_modules/.installed: package.json package-lock.json web/package.json
	@command -v npm >/dev/null || { echo "npm is not on PATH; Node 20 or newer is needed"; exit 1; }
	@node -e 'const v = process.versions.node; if (+v.split(".")[0] < 20) { console.log("Node 20 or newer is needed, node is " + v); process.exit(1) }'
	@echo "installing the CDK command line and web packages ..."
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.build/lambda/python: runtime/functions-requirements.txt scripts/function_libraries.py | .venv/.installed
	@echo "fetching what functions import ..."
	@$(PYTHON) -m scripts.function_libraries fetch && touch $@

web/dist/index.html: node_modules/.installed $(WEB)
	@echo "building the trading screen ..."
	@npm run build --workspace web --silent
	@touch $@
