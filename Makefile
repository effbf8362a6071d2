# The one definition of each task; people and CI call the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := $(VENV)/clients
SOURCES := app training tests benchmarks digitscope.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: serve test lint bench fuzz clients clean

serve: $(VENV)/.served
	$(BIN)/digitscope serve

test: $(VENV)/.tested
	$(BIN)/python -m pytest

lint: $(VENV)/.tested
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.tested
	$(BIN)/python -m benchmarks.serving

# Files that the decoder does not expect, searched for so long; docs in tests/garbage/fuzz.py.
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.fuzzed
	$(BIN)/python -m tests.garbage.fuzz $(FUZZ_SECONDS)

clients: $(CLIENTS)/.python $(CLIENTS)/.node

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "digitscope needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# What the service needs; a stamp file makes the second call fast.
$(VENV)/.served: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) .
	touch $@

# That, and what training and the tests need.
$(VENV)/.tested: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[train,dev]'
	touch $@ $(VENV)/.served

# That, and the fuzzer, for which there are no builds but for Linux and macOS.
$(VENV)/.fuzzed: $(VENV)/.tested
	$(INSTALL) '.[fuzz]'
	touch $@

# Generators of clients, and KServe's own, apart: they need other versions than the service. tests/clients runs them.
$(CLIENTS)/.python: tests/clients/requirements.txt | $(BIN)/python
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	touch $@

$(CLIENTS)/.node: tests/clients/package.json
	mkdir -p $(CLIENTS)
	cp $< $(CLIENTS)
	npm install --prefix $(CLIENTS) --no-package-lock --no-audit --no-fund --silent
	touch $@
