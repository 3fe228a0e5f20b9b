# make help lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the page takes from npm; without npm the page says what it cannot do.
VENDOR := static/localhost/vendor/index.json

# What `make run` hands to the server, `make bench` to the benchmark and so on, for example ARGS="--port 9000".
ARGS ?=

# What `make conformance` runs: targets, and --case for some of the cases. Without it, all.
RUN ?=

# What `make test-lowest` runs: all that needs neither processes nor services.
UNITS ?= $(addprefix tests.,bench channels cli fuzz model protocol service stores test_metrics test_testing transport web)

# What `make test` runs, for example TESTS=tests.protocol. The coverage floor holds for all of the unit tests.
TESTS ?= tests

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

.PHONY: help run test test-long test-lowest conformance torture soak fuzz check lint types bench news clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

run: $(VENV)/.run $(VENDOR) ## serve on this machine, until Ctrl-C; ARGS="--port 9000" for options
	@exec $(BIN)/mles-tx serve $(ARGS)

test: $(VENV)/.develop $(VENDOR) ## run the tests; TESTS=tests.protocol for some of them
	@$(BIN)/python -m tests $(TESTS)

test-long: $(VENV)/.develop $(VENDOR) ## the same, and what breaks is broken as often as is promised; some minutes more
	@TESTS_LONG=1 $(BIN)/python -m tests $(TESTS)

test-lowest: $(VENV)/.lowest ## the tests without processes, with the lowest versions that setup.cfg allows
	@$(VENV)/lowest/bin/python -m tests $(UNITS)

conformance: $(VENV)/.develop ## RFC 6455 by the Autobahn|Testsuite, whole; needs Python 2.7; RUN=server-ws for some of it
	@$(BIN)/python -m tests.conformance $(RUN)

torture: $(VENV)/.develop ## put every promise to the test, some minutes; ARGS="burst pings" for some, ARGS=--help for more
	@$(BIN)/python -m tests.torture $(ARGS)

soak: $(VENV)/.develop ## half an hour of everything at random, every message accounted for; ARGS="--minutes 5 --seed N"
	@$(BIN)/python -m tests.torture.soak $(ARGS)

fuzz: $(VENV)/.fuzz ## try bytes that nobody thinks of; ARGS="--target header --seconds 60"
	@$(BIN)/python -m tests.fuzz $(ARGS)

check: lint types test ## everything a change has to pass

lint: $(VENV)/.develop ## style and common faults
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/hadolint Dockerfile

types: $(VENV)/.develop ## mypy --strict
	@$(BIN)/mypy

bench: $(VENV)/.develop ## measure the server beside others; ARGS=--quick for two minutes, ARGS=--help for more
	@$(BIN)/python -m bench $(ARGS)

news: $(VENV)/.develop ## what the news fragments will say in CHANGELOG.md
	@$(BIN)/towncrier build --draft --version next

clean: ## remove what was made here
	rm -rf $(VENV) static/localhost/vendor .conformance _fuzz_found build dist *.egg-info .coverage* .mypy_cache .ruff_cache .hypothesis _trial_temp*

# One environment: `make run` fills it with what the server needs, `make test` with the rest.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@echo "making the environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENDOR): $(BIN)/python page/package-lock.json page/fetch.py
	@$(BIN)/python page/fetch.py || true

$(VENV)/.run: $(BIN)/python setup.cfg pyproject.toml
	@echo "installing what the server needs ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.develop: $(BIN)/python setup.cfg pyproject.toml
	@echo "installing what the tests need ..."
	@$(PIP_INSTALL) --editable '.[test,lint]'
	@touch $@ $(VENV)/.run

$(VENV)/.lowest: $(VENV)/.develop
	@echo "installing the lowest versions ..."
	@$(PIP_INSTALL) --editable '.[test,lowest]'
	@$(PYTHON) -m venv $(VENV)/lowest
	@$(BIN)/uv pip install --quiet --python $(VENV)/lowest/bin/python --resolution lowest-direct --editable '.[test]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.develop
	@echo "installing the fuzzer ..."
	@$(PIP_INSTALL) --editable '.[test,fuzz]'
	@touch $@
