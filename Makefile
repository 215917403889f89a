# SPIR: one access policy for HL7 v2, DICOM and FHIR. `make help` lists what can be done.
#
# Works from a bare checkout with Python >= 3.11 and its venv module. Each step leaves a stamp, so that a second run
# does only what has changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
TOOLS := .tools
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
WORKERS ?= auto
BENCHES := $(patsubst bench/%.py,%,$(filter-out bench/_%,$(wildcard bench/*.py)))
NAME ?= $(BENCHES)

# The first interpreter that is new enough, unless PYTHON names one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$name && break; done)

.PHONY: help demo test lint bench lock peers clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/core.stamp ## run the story on embedded defaults (ARGS=--once stops by itself)
	@exec $(BIN)/spir demo $(ARGS)

test: $(VENV)/dev.stamp peers lint ## install what the tests need, lint, and run everything (ARGS go to pytest)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/dev.stamp ## formatting, style, types, and the rules of the house
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp ## measure against peers in the same run (NAME=dicom, ARGS=--quick)
	@for name in $(NAME); do $(BIN)/python bench/$$name.py $(ARGS); done

peers: ## install the real peers of the tests, where this machine allows it
	@bash deploy/install_peers.sh
	$(MAKE) --no-print-directory $(TOOLS)/fhir_upstream.stamp

lock: ## pin the dependencies anew, with hashes and without addresses
	@bash deploy/lock.sh $(PYTHON)

clean: ## remove what make has made
	@rm -rf $(VENV) $(TOOLS) .demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# -- how each of these comes to be -------------------------------------------------------------

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "no Python >= 3.11 was found; install one, or name it: make PYTHON=..." >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "its venv module is missing; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/core.stamp: requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing what the gateway needs"
	$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements.txt
	$(PIP) install --no-deps -e .
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/core.stamp
	@echo "installing what the tests need"
	$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements-dev.txt
	touch $@

# A FHIR server from npm. Without npm there is no stamp, and the tests that need the server are skipped by name.
$(TOOLS)/fhir_upstream.stamp: $(wildcard tests/wire/fhir_upstream/package*.json)
	@if ! command -v npm >/dev/null; then
		echo "npm is not installed: the FHIR server from npm will be missing"
		exit 0
	fi
	echo "installing the FHIR server of the tests"
	mkdir -p $(TOOLS)/fhir_upstream
	cp $^ $(TOOLS)/fhir_upstream/
	npm $(if $(filter %package-lock.json,$^),ci,install) --prefix $(TOOLS)/fhir_upstream \
		--ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@
