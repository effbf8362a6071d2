# Every task has one definition, here. People and CI call the same targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := $(VENV)/clients
SOURCES := app digitscope training tests benchmarks docs/layers.ipynb
PIP_INSTALL := -m pip --disable-pip-version-check install
INSTALL := $(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable

# `make image EXTRAS=tensorflow BASE=... IMAGE=... SOURCE=...`; BUILDER takes the options of `docker build`.
BUILDER ?= docker build
IMAGE ?= digitscope
VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' app/version.py)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
BUILD_ARGS = $(foreach name,VERSION REVISION SOURCE BASE EXTRAS,$(if $($(name)),--build-arg $(name)=$($(name))))

# Where `make sbom` writes, and further options of pip-audit.
SBOM ?= dist/sbom.json
AUDIT ?=

# Marks of tests (pyproject.toml) that need more than Python and make. The second group uses all cores of the
# machine, so nothing runs at the same time.
TOOLS := browser or clients or container or tools
ALONE := cluster or load

# Two processes; each takes the next file when it is free. tests/durations.py puts the long files first.
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

.PHONY: serve check test test-rest test-all lint bench soak fuzz clients image sbom audit clean

serve: $(VENV)/.served
	$(BIN)/digitscope serve

# Collecting tests/training imports TensorFlow, which takes longer than many of the fast tests.
check: lint
	$(PYTEST) $(PARALLEL) --ignore=tests/training -m "not (slow or $(TOOLS) or $(ALONE))"

test: $(VENV)/.tested
	$(PYTEST) $(PARALLEL) -m "not (tutorials or $(TOOLS) or $(ALONE))"

# The tests that `make test` leaves out.
test-rest: $(VENV)/.tested
	$(PYTEST) $(PARALLEL) --ignore=tests/training -m "$(TOOLS)"
	$(PYTEST) tests/training -m tutorials
	$(PYTEST) --ignore=tests/training -m "$(ALONE)"

test-all: test test-rest

lint: $(VENV)/.tested
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# What a request costs beside other ways to do the same work, and other servers: about ten minutes each. `wrk` must be
# installed. BASE is another checkout of digitscope, measured as "before".
bench: $(VENV)/.tested
	$(BIN)/python -m benchmarks.speed $(if $(BASE),--base $(BASE))
	$(BIN)/python -m benchmarks.serving

# Three stages of SOAK_MINUTES each: load with every answer checked, requests that schemathesis generates from
# the OpenAPI document, and damaged images.
SOAK_MINUTES ?= 10
soak: $(VENV)/.tested
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES)
	SOAK_MINUTES=$(SOAK_MINUTES) $(PYTEST) tests/contract tests/malformed -k for_long

# Search for FUZZ_SECONDS for files that the decoder does not expect (tests/malformed/fuzz.py).
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

# Strict: a package that the advisory service does not know fails instead of passing as safe.
audit: $(VENV)/.tested
	$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off $(AUDIT) --requirement constraints.txt

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "digitscope needs Python 3.11 or newer")'
	@echo "Creating the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Each environment has a stamp file, so that a second call installs nothing.
$(VENV)/.served: pyproject.toml constraints.txt app/version.py | $(BIN)/python
	@echo "Installing the service"
	$(INSTALL) .
	touch $@

$(VENV)/.tested: pyproject.toml constraints.txt app/version.py | $(BIN)/python
	@echo "Installing the service, training and the test tools"
	$(INSTALL) '.[train,dev]'
	touch $@ $(VENV)/.served

# The fuzzer is published for Linux and macOS only.
$(VENV)/.fuzzed: $(VENV)/.tested
	@echo "Installing the fuzzer"
	$(INSTALL) '.[fuzz]'
	touch $@

# Client generators and KServe's client have their own environment: they need other versions than the service.
$(CLIENTS)/.python: tests/clients/requirements.txt | $(BIN)/python
	@echo "Installing the Python client generator and KServe's client"
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python $(PIP_INSTALL) --no-compile --requirement $<
	touch $@

$(CLIENTS)/.node: tests/clients/package.json
	@echo "Installing the TypeScript client generator"
	mkdir -p $(CLIENTS)
	cp $< $(CLIENTS)
	npm install --prefix $(CLIENTS) --no-package-lock --no-audit --no-fund
	touch $@

# Only what the service needs, as in the image: the packages that `make sbom` lists.
$(VENV)/serving/.installed: $(VENV)/.tested
	@echo "Installing the service into an environment of its own"
	$(PYTHON) -m venv --clear --without-pip $(VENV)/serving
	$(BIN)/python -m pip --python $(VENV)/serving/bin/python --disable-pip-version-check install \
		--constraint constraints.txt --editable '.[grpc]'
	touch $@
