# Every task of this repository by name; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SOURCES := shared/src client/src $(wildcard services/*/src) local/src
# Folders without Python, or not there yet, would stop mypy.
CHECKED := $(SOURCES) $(foreach folder,tests examples bench docs infra,\
	$(if $(shell find $(folder) -name '*.py' -print -quit 2>/dev/null),$(folder)))
# Each distribution with the extras that development needs.
DISTS := ./shared[aws,export,service,testing,tracing] ./client[keras] ./services/gateway ./services/dispatcher \
	./services/aggregator ./services/evaluator ./services/inference[litert,tensorflow] ./local[demo]
PROJECTS := pyproject.toml shared/pyproject.toml client/pyproject.toml \
	$(wildcard services/*/pyproject.toml) local/pyproject.toml

export ORT_DISABLE_TELEMETRY := 1
export TF_CPP_MIN_LOG_LEVEL := 2
export KERAS_BACKEND := tensorflow

.PHONY: help
help: ## List all targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort \
		| awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# --- the environment ------------------------------------------------------------------------------

.PHONY: install
install: $(VENV)/.installed ## Make .venv with every distribution, editable, and the tools

$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
		sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11, 3.12 or 3.13 is needed and " \
		f"$(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@mkdir -p build && date +%s > build/install-started
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

$(VENV)/.installed: $(UV) constraints.txt $(PROJECTS)
	@mkdir -p build && [ -f build/install-started ] || date +%s > build/install-started
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt \
		--build-constraint constraints.txt --group dev $(addprefix --editable ,$(DISTS))
	@expr $$(date +%s) - $$(cat build/install-started) > build/install-seconds
	@rm build/install-started
	@touch $@

.PHONY: constraints
constraints: $(UV) ## Resolve constraints.txt anew (UPGRADE=1 takes newer releases too)
	printf -- '-e %s\n' $(DISTS) | $(UV) pip compile - --group dev --python-version 3.11 \
		$(if $(UPGRADE),,--constraint constraints.txt) --quiet --no-header --no-annotate \
		--no-emit-index-url --no-emit-package rondo-core | grep -v '^-e' > constraints.new
	mv constraints.new constraints.txt
	for minor in 12 13; do printf -- '-e %s\n' $(DISTS) | $(UV) pip compile - --group dev \
		--python-version 3.$$minor --constraint constraints.txt --quiet > /dev/null; done

.PHONY: emulators
emulators: install ## Make the environments of the AWS emulators and Redis (the tests do it when needed)
	$(BIN)/python -m rondo_local.environments

# --- checks ---------------------------------------------------------------------------------------

.PHONY: format
format: install ## Format the code and mend what ruff can mend
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

.PHONY: lint
lint: install ## Check format and style
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)

.PHONY: types
types: install ## Check the types of sources and tests
	$(BIN)/mypy $(CHECKED)

.PHONY: imports
imports: install ## Check who imports whom
	$(BIN)/lint-imports

.PHONY: test-unit
test-unit: install ## Unit and architecture tests: no network, under 10 s
	$(BIN)/pytest tests/unit tests/architecture

.PHONY: test-contract
test-contract: install ## Each port's suite on its fake and on its real adapter
	$(BIN)/pytest tests/contract

.PHONY: test-integration
test-integration: install ## Real Redis, Celery, HTTP and an AWS emulator on loopback
	$(BIN)/pytest tests/integration

.PHONY: test-e2e
test-e2e: install ## From an SNS message to a prediction
	$(BIN)/pytest tests/e2e

.PHONY: test-deploy
test-deploy: install ## Compose, Kubernetes, CDK and images agree with the code
	$(BIN)/pytest tests/deploy

.PHONY: test-containers
test-containers: install ## Build all images and run the loop in them (needs a Docker engine)
	@$(BIN)/python -m tests.containers.engine
	$(BIN)/pytest -s tests/containers

.PHONY: test-browser
test-browser: sample-models ## The page of the inference server in Chromium (Debian: chromium)
	$(BIN)/pytest tests/browser

.PHONY: doctest
doctest: install ## The examples in the docstrings
	$(BIN)/pytest --doctest-modules $(SOURCES)

.PHONY: test
test: install ## All tests, with the coverage that unit and contract tests must reach
	$(BIN)/pytest --cov --cov-report= --cov-fail-under=0 --doctest-modules $(SOURCES) \
		tests/unit tests/architecture tests/contract
	$(BIN)/coverage report
	$(BIN)/coverage report --include='*/domain/*,*/strategies/*' --fail-under=100
	$(BIN)/pytest tests/integration tests/e2e tests/deploy

.PHONY: check
check: lint types imports test ## Exactly what CI runs

# --- running --------------------------------------------------------------------------------------

.PHONY: demo
demo: install ## The whole loop on this machine (KEEP=1 leaves it running, AWS=localstack)
	$(BIN)/rondo-local demo $(if $(KEEP),--keep) $(if $(AWS),--aws $(AWS))

.PHONY: sample-models
sample-models: install ## Make build/models: digits, breast-cancer and identity, for a server alone
	$(BIN)/python examples/sample_models.py

.PHONY: protobuf
protobuf: install ## Write the gRPC messages of services/inference anew from their .proto
	$(UV) tool run --from grpcio-tools==$$(sed -n 's/^grpcio==//p' constraints.txt) --with setuptools \
		python -m grpc_tools.protoc -I services/inference/src/rondo_inference/contracts \
		--python_out=services/inference/src/rondo_inference/contracts \
		--pyi_out=services/inference/src/rondo_inference/contracts oip.proto

.PHONY: bench-round
bench-round: install ## Measure rounds
	$(BIN)/python -m bench.round

.PHONY: bench-aggregation
bench-aggregation: install ## Measure the kernels beside read(), NumPy and the peers (ARGUMENTS="--parameters 25000000 --no-peers")
	$(BIN)/python -m bench.aggregation $(ARGUMENTS)

.PHONY: bench-two-workers
bench-two-workers: install ## Measure two workers against one, beside two processes that only read (10 GB of files)
	$(BIN)/python -m bench.two_workers $(ARGUMENTS)

.PHONY: bench-encoded
bench-encoded: install ## Measure the weighted mean of updates in each encoding
	$(BIN)/python -m bench.encoded $(ARGUMENTS)

.PHONY: bench-scaling
bench-scaling: install ## Measure seconds and memory against workers, clients and parameters, and draw docs/images/scaling.svg
	$(BIN)/python -m bench.scaling $(ARGUMENTS)

.PHONY: bench-accuracy
bench-accuracy: install ## Train what papers trained, and write docs/accuracy.md (hours; goes on where it ended)
	$(BIN)/python -m bench.accuracy $(ARGUMENTS)

.PHONY: bench-inference
bench-inference: sample-models ## Measure inference against other servers, in one run
	$(BIN)/python -m bench.inference

.PHONY: bench-container-start
bench-container-start: sample-models ## Measure docker run of inference's image until its first prediction (needs a Docker engine)
	$(BIN)/python -m bench.container_start

.PHONY: bench-engines
bench-engines: sample-models ## Measure the engines of inference on the sample models, by rows of a batch
	$(BIN)/python -m bench.engines

.PHONY: fuzz-api
fuzz-api: install ## 100,000 requests made of the OpenAPI document, and 40,000 that nobody would write (about 20 minutes)
	FUZZ_CASES=100000 $(BIN)/pytest tests/integration/test_inference_openapi.py \
		tests/integration/test_inference_fuzz.py --timeout 3600

.PHONY: screenshots
screenshots: install ## Take the pictures of docs/images (after `make demo sample-models`; needs chromium)
	$(BIN)/python -m docs.make_screenshots

.PHONY: conformance
conformance: install ## Hold every strategy against its paper, and write docs/conformance.md
	$(BIN)/pytest tests/unit/rondo_aggregator/test_aggregator_conformance.py
	$(BIN)/python -m docs.make_conformance

.PHONY: conformance-peers
conformance-peers: install ## The same with Flower and NVFlare, in environments of their own
	$(BIN)/python -m docs.make_conformance --peers

.PHONY: docs
docs: install ## Write the generated pages of docs/ anew
	$(BIN)/python docs/make_events.py
	$(BIN)/python docs/make_settings.py
	$(BIN)/python -m docs.make_conformance

.PHONY: clean
clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
