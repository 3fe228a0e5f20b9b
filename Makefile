# make help lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make run` hands to the server, `make bench` to the benchmark and so on, for example ARGS="--port 9000".
ARGS ?=

# What `make conformance` runs: targets, and --case for some of the cases. Without it, all.
RUN ?=

# What `make test` runs, for example TESTS=tests.protocol. The coverage floor holds for all of them.
TESTS ?= tests

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

.PHONY: help run test test-long conformance torture soak check lint types bench news clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

run: $(VENV)/.run ## serve on this machine, until Ctrl-C; ARGS="--port 9000" for options
	@exec $(BIN)/mles-tx serve $(ARGS)

test: $(VENV)/.develop ## run the tests; TESTS=tests.protocol for some of them
	@$(BIN)/python -m tests $(TESTS)

test-long: $(VENV)/.develop ## the same, and what breaks is broken as often as is promised; some minutes more
	@TESTS_LONG=1 $(BIN)/python -m tests $(TESTS)

conformance: $(VENV)/.develop ## RFC 6455 by the Autobahn|Testsuite, whole; needs Python 2.7; RUN=server-ws for some of it
	@$(BIN)/python -m tests.conformance $(RUN)

torture: $(VENV)/.develop ## put every promise to the test, some minutes; ARGS="burst pings" for some, ARGS=--help for more
	@$(BIN)/python -m tests.torture $(ARGS)

soak: $(VENV)/.develop ## half an hour of everything at random, every message accounted for; ARGS="--minutes 5 --seed N"
	@$(BIN)/python -m tests.torture.soak $(ARGS)

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
	rm -rf $(VENV) .conformance build dist *.egg-info .coverage* .mypy_cache .ruff_cache .hypothesis _trial_temp*

# One environment: `make run` fills it with what the server needs, `make test` with the rest.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@echo "making the environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python setup.cfg pyproject.toml
	@echo "installing what the server needs ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.develop: $(BIN)/python setup.cfg pyproject.toml
	@echo "installing what the tests need ..."
	@$(PIP_INSTALL) --editable '.[test,lint]'
	@touch $@ $(VENV)/.run
