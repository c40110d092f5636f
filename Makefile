# make demo            train a character model for 90 seconds and let it write
# make demo TEXT=f.txt the same on your own file
# make test            what CI runs
# make test-all        everything, slow tests included
# make reference       docs/options.md, from the options themselves
# make mutation        300 small faults, each of which must fail a test (hours)

PYTHON ?= python3
BIN := .venv/bin
TEXT ?=

demo: .venv/installed
	$(BIN)/elman demo $(if $(TEXT),--text "$(TEXT)")

checks: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

tests: .venv/tested
	$(BIN)/pytest -n auto --dist worksteal

test: .venv/tested
	$(MAKE) --jobs 2 checks tests

test-all: checks
	$(BIN)/pytest -n auto --dist worksteal -m "slow or not slow"

reference: .venv/installed
	$(BIN)/python -m elman.cli.reference > docs/options.md

mutation: .venv/tested
	$(BIN)/python tests/mutation.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("elman needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

.PHONY: demo checks tests test test-all reference mutation
