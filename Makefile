# make demo            train a character model for 90 seconds and let it write
# make demo TEXT=f.txt the same on your own file
# make test            what CI runs
# make test-all        the same and the tests that take minutes

PYTHON ?= python3
BIN := .venv/bin
TEXT ?=

demo: .venv/installed
	$(BIN)/elman demo $(if $(TEXT),--text "$(TEXT)")

test: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/pytest -n auto --dist worksteal

test-all: .venv/tested
	$(BIN)/pytest -n auto --dist worksteal -m "slow or not slow"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("elman needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

.PHONY: demo test test-all
