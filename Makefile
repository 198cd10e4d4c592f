# One command per wish. Every target sets up what it needs, once; see `make help`.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip --disable-pip-version-check --quiet

# What `make demo` runs, and what `make bench` and `make soak` are given.
DEMO   ?= $(PYTHON) examples/departures/demo.py
BENCH  ?=
MODEL  ?= --steps 1000000
SOAK   ?=

# A process of tests for each core and one more (tests/conftest.py), whole files at a time because a file shares what it
# starts, and in the order of the folders: what takes long comes first, the many small ones fill up the end.
# `make test PARALLEL=` is for a debugger.
PARALLEL ?= --numprocesses logical --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help

.PHONY: help demo test model check fix bench soak docs setup clean
help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do \
	  printf '  make %-7s %s\n' "$$name" "$$what"; done

demo: $(VENV)/runtime.stamp ## set up what is needed and run the demo: a live list in your browser
	@$(DEMO)

test: setup ## set up what is needed and run the tests (ARGS="-k name" selects)
	@$(VENV)/bin/pytest $(PARALLEL) $(ARGS)

model: $(VENV)/develop.stamp ## tell random stories, a million steps (MODEL="--steps 5000 --seed 7")
	@$(PYTHON) -m tests.model $(MODEL)

check: setup $(VENV)/audit.stamp .tools/typescript.stamp ## format, lint, types, layers, known vulnerabilities
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pip-audit --skip-editable --progress-spinner off
	.tools/bin/node .tools/typescript/node_modules/typescript/bin/tsc

fix: $(VENV)/develop.stamp ## mend what ruff can mend
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bench: $(VENV)/bench.stamp .tools/bench.stamp ## measure (BENCH="..." are the arguments)
	@$(PYTHON) -m benchmarks $(BENCH)

soak: $(VENV)/bench.stamp ## an hour of mixed load with crashes, and a verdict (SOAK="--minutes 5")
	@$(PYTHON) -m benchmarks soak $(SOAK)
	@$(PYTHON) -m benchmarks.guessing

docs: $(VENV)/develop.stamp ## check that the documentation holds
	@$(VENV)/bin/pytest tests/project -k docs

setup: $(VENV)/develop.stamp .tools/bin/node .tools/bin/chromium .tools/bin/nats-server ## only set up what the tests need

clean: ## remove everything that was set up
	rm -rf $(VENV) .tools

$(VENV)/bin/python:
	@tools/make-venv $(VENV)

# An editable install with the dependencies that a user gets.
$(VENV)/runtime.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "Installing the runtime dependencies into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/develop.stamp: $(VENV)/runtime.stamp
	@echo "Installing the development dependencies into $(VENV)"
	@$(PIP) install --group dev
	@touch $@

$(VENV)/audit.stamp: $(VENV)/develop.stamp
	@echo "Installing what knows of vulnerable packages into $(VENV)"
	@$(PIP) install --group audit
	@touch $@

$(VENV)/bench.stamp: $(VENV)/runtime.stamp
	@echo "Installing the dependencies of the benchmarks into $(VENV)"
	@$(PIP) install --group bench
	@touch $@

# These three may end without their file, when the machine has no way to get it: the tests that need it are then
# skipped, and the run says so at its end.
.tools/bin/node: | $(VENV)/develop.stamp
	@$(PYTHON) tools/get_node.py

.tools/bin/chromium: | .tools/bin/node
	@$(PYTHON) tools/get_chromium.py

.tools/bin/nats-server: | $(VENV)/develop.stamp
	@$(PYTHON) tools/get_nats.py

.tools/%.stamp: tools/npm/%/package-lock.json | .tools/bin/node
	@echo "Installing $* into .tools"
	@tools/npm-install $*
	@touch $@

.tools/bench.stamp: tools/npm/bench/package-lock.json | .tools/bin/node
	@echo "Installing the peers of the benchmarks on Node into .tools"
	@tools/npm-install bench
	@tools/npm-build bench better-sqlite3
	@touch $@
