# Everything runs in .venv, which the first target that needs it makes; nothing else has to be installed.
# VENV=dir puts it elsewhere, PYTHON=exe chooses the interpreter (3.11 or newer), ARGS="..." goes to the program.

VENV ?= .venv
PYTHON ?= $(shell for exe in python3.13 python3.12 python3.11 python3; do \
	$$exe -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$exe; break; }; done)
BIN := $(VENV)/bin
MAKEFLAGS += --no-print-directory
# Hundreds of processes start in a run of the tests: none of them is to compile again what another one has compiled.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help test together lint style types format soak fuzz orders accounts cluster brokers demo bench-fanout bench-watching bench-chain bench-cluster bench-attack bench-feed bench-http bench-db docs site screenshots newcomer clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

# Tests that measure time run by themselves after the others; pytest's 5 says that a part has none.
# The first part hands its skips on, so that the last lines tell all of them. (With "=": pytest would take a file that
# exists for what is to be tested, and not find the option.)
SKIPS := --skips=$(VENV)/skipped.json
ifeq ($(ARGS),)
test: style ## linters, types and every test, as any user in any folder; ARGS="tests/unit/test_x.py" runs that alone
	@rm -f $(VENV)/skipped.json
	@$(MAKE) -j 2 types together  # the types take one processor for most of a minute
	$(BIN)/pytest -m alone $(SKIPS) || [ $$? -eq 5 ]

# Collected once before: else each of the workers would compile for itself what all of them import.
together: $(VENV)/.test
	@$(BIN)/pytest --collect-only -qq >$(VENV)/collected.txt || { cat $(VENV)/collected.txt; false; }
	$(BIN)/pytest -m "not alone" -n 7 --dist worksteal $(SKIPS) || [ $$? -eq 5 ]
else
# What somebody works on: those tests, collected once, one after the other, and nothing else.
test: $(VENV)/.test
	$(BIN)/pytest $(ARGS)
endif

lint: style types ## ruff, mypy and the import contracts

style: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy

format: $(VENV)/.test ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(VENV)/.test ## a pool, several accounts, and a cluster, against 20,000 seeds of faults each; ARGS="--seed 17" replays one
	$(BIN)/python -m tests.simulation.swizzle $(ARGS)
	$(BIN)/python -m tests.simulation.accounts_swizzle $(ARGS)
	$(BIN)/python -m tests.simulation.cluster_swizzle $(ARGS)

fuzz: $(VENV)/.test ## 50,000 mutated frames at both listeners and from the broker; ARGS="--seed 7 --frames 5000"
	$(BIN)/python -m tests.fuzz.mutation $(ARGS)

orders: $(VENV)/.test ## 10,000 orders through a gateway to a server that breaks off after it has accepted
	BROKERPOOL_TEST_ORDERS=10000 $(BIN)/pytest -s tests/faults/test_passed_orders.py $(ARGS)

accounts: $(VENV)/.test ## an account's token dies at 20,000 ticks/s, 3,000 symbols at home there; another one has room for half
	BROKERPOOL_TEST_ACCOUNT_TICKS=20000 $(BIN)/pytest -s tests/faults/test_two_accounts.py $(ARGS)

cluster: $(VENV)/.test ## feed nodes and NATS killed, stopped and cut off at 20,000 ticks/s with 100 clients, NATS away for 30 s
	BROKERPOOL_TEST_CLUSTER=20000,3000,100,30 BROKERPOOL_TEST_NATS_AWAY=30 \
		$(BIN)/pytest -s tests/faults/test_cluster_feed_node.py tests/faults/test_cluster_nats.py $(ARGS)

brokers: $(VENV)/.test ## an account at each broker: 8,000 symbols, 20,000 ticks/s, CPU beside one alone, each one's outage, its whole list
	BROKERPOOL_TEST_BROKER_TICKS=20000 BROKERPOOL_TEST_LIST_ROWS=150000 \
		$(BIN)/pytest -s tests/faults/test_four_accounts.py tests/unit/test_broker_lists.py $(ARGS)

demo: $(VENV)/.demo ## simulator, gateway and a sample client; ARGS="--seconds 20" ends by itself, "--accounts zerodha,openalgo", "--cluster"
	$(BIN)/brokerpool demo $(ARGS)

bench-fanout: $(VENV)/.bench ## CPU and latency of a delivered frame, against the named peers
	$(BIN)/python -m benchmarks.fanout $(ARGS)

bench-watching: $(VENV)/.bench ## what scrapes and an open dashboard cost a gateway under load
	$(BIN)/python -m benchmarks.fanout.watching $(ARGS)

bench-chain: $(VENV)/.bench ## what each further brokerpool in a chain adds to the delay, and that none loses a tick
	$(BIN)/python -m benchmarks.chain $(ARGS)

bench-cluster: $(VENV)/.bench ## CPU, delay and loss of a feed node and two gateways over NATS, beside one process
	$(BIN)/python -m benchmarks.cluster $(ARGS)

bench-attack: $(VENV)/.bench ## eight strangers attack a gateway beside 50 clients: delay, memory and log, judged
	$(BIN)/python -m benchmarks.attack $(ARGS)

bench-feed: $(VENV)/.bench ## CPU of a decoded broker packet, against each official client; ARGS="zerodha" for that alone
	$(BIN)/python -m benchmarks.feed $(ARGS)

bench-http: $(VENV)/.bench ## what a kept connection saves, and CPU of a call, against the named peers
	$(BIN)/python -m benchmarks.http_calls $(ARGS)

bench-db: $(VENV)/.bench ## a query through the database pool, against bare SQLAlchemy and a connection each time
	$(BIN)/python -m benchmarks.database $(ARGS)

docs: $(VENV)/.test ## write the generated pages and .env.example again
	$(BIN)/python docs/generate.py

site: $(VENV)/.test ## the documentation as web pages, in site/; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

screenshots: $(VENV)/.test ## take the pictures of the dashboard's page again; needs Chromium
	$(BIN)/python -m tests.browser.screenshots

newcomer: $(VENV)/.test ## time the way from a clean clone to live ticks on the dashboard; needs Chromium
	$(BIN)/python -m tests.browser.newcomer

clean: ## remove the environment and every cache
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# The pip that comes with Python 3.11 would take three times as long over what is installed.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

# One stamp for each extra, so that an environment is brought up to date only when pyproject.toml changed.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[$*]'
	@touch $@
