# The one definition of each task; people and CI call the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := $(VENV)/clients
SOURCES := app training tests benchmarks digitscope.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# Of the image: `make image EXTRAS=tensorflow BASE=... IMAGE=... SOURCE=...`, with anything that takes Docker's words.
BUILDER ?= docker build
IMAGE ?= digitscope
VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' app/version.py)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
BUILD_ARGS = $(foreach name,VERSION REVISION SOURCE BASE EXTRAS,$(if $($(name)),--build-arg $(name)=$($(name))))

# Where the list of what is served goes, and what pip-audit is told besides.
SBOM ?= dist/sbom.json
AUDIT ?=

.PHONY: serve test lint bench soak fuzz clients image sbom audit clean

serve: $(VENV)/.served
	$(BIN)/digitscope serve

# Two processes, between which tests/conftest.py shares the tests.
test: $(VENV)/.tested
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadscope

lint: $(VENV)/.tested
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.tested
	$(BIN)/python -m benchmarks.serving

# Load with every answer checked, requests by the document's schemas, damaged pictures: each for so many minutes.
SOAK_MINUTES ?= 10
soak: $(VENV)/.tested
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES)
	SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest tests/contract tests/malformed -k for_long

# Files that the decoder does not expect, searched for so long; docs in tests/malformed/fuzz.py.
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.fuzzed
	$(BIN)/python -m tests.malformed.fuzz $(FUZZ_SECONDS)

clients: $(CLIENTS)/.python $(CLIENTS)/.node

image:
	$(BUILDER) $(BUILD_ARGS) --tag $(IMAGE) .

sbom: $(VENV)/serving/.installed
	mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
		--output-file $(SBOM) $(VENV)/serving

# Strict, because what the advisories' service does not know would pass for safe.
audit: $(VENV)/.tested
	$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off $(AUDIT) --requirement constraints.txt

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

# What the service needs and nothing else, to be listed.
$(VENV)/serving/.installed: $(VENV)/.tested
	$(PYTHON) -m venv --clear --without-pip $(VENV)/serving
	$(BIN)/python -m pip --python $(VENV)/serving/bin/python install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable .
	touch $@
