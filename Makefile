# One command per wish. Every target sets up what it needs, once; see `make help`.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help

.PHONY: setup
setup: $(VENV)/develop.stamp

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
