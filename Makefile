# The commands of this repository. `make` alone lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON_IN_VENV := .venv/bin/python
PYTEST := $(PYTHON_IN_VENV) -m pytest
# Node may have come into .venv (tools/setup.sh); mypy, ruff and the rest are there too.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Bytecode is kept, whatever the machine says: tests start hundreds of processes, and each would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

JOBS ?= 3
ARGS ?=
NODES ?= 1000
MINUTES ?= 5
SEED ?=
DATA ?=

.PHONY: help setup run test test-unit test-functional test-e2e test-system image image-test helm-check helm-play check generated bench bench-agent eval oracle soak format clean

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "  variables: PYTHON=/path (setup)  ARGS='...' (run, bench, bench-agent, eval, oracle, soak)  JOBS=3 (unit and e2e tests)  NODES MINUTES (soak)  SEED (eval, oracle)  DATA (eval)"
	@echo "  of the image: IMAGE=devops-monitor/agent:VERSION  ENGINE=docker|podman|buildah  BUILD_BASE  RUNTIME_BASE  EXTRA_REQUIREMENTS='name==1.2'"

setup: ## make .venv and node_modules; quick where they are up to date
	@tools/setup.sh $(if $(filter setup,$(MAKECMDGOALS)),--tell)

run: setup ## the whole product on this machine; Ctrl-C stops it
	@exec $(PYTHON_IN_VENV) -m local up $(ARGS)

test: test-unit test-functional test-e2e ## every test that needs no more than make setup

test-unit: setup ## unit, conformance and static tests
	$(PYTEST) -n $(JOBS) --dist worksteal tests/conformance tests/static tests/unit

test-functional: setup ## tests of single programs as processes
	$(PYTEST) -n 3 --dist loadfile tests/functional

test-e2e: setup ## tests of the whole local stack
	$(PYTEST) -n $(JOBS) --dist loadfile tests/e2e

test-system: setup ## tests that need Debian's prometheus and mount namespaces (root): .ci/run installs what is missing
	$(PYTEST) -n 2 --dist loadfile tests/system

image: setup ## the agent's image, with docker, podman or buildah: IMAGE=name:tag ENGINE=podman ...
	@$(PYTHON_IN_VENV) -m tools.image.build --image "$(IMAGE)" --engine "$(ENGINE)" --build-base "$(BUILD_BASE)" \
		--runtime-base "$(RUNTIME_BASE)" --extra-requirements "$(EXTRA_REQUIREMENTS)"

image-test: image ## run it hardened and compare what it reads with the node's own /proc (root)
	IMAGE="$(IMAGE)" ENGINE="$(ENGINE)" $(PYTEST) tests/image

helm-check: setup ## the chart: Helm's linter, Kubernetes' schemas, refusals, rights; needs no cluster
	@tools/helm/setup.sh
	$(PYTEST) tests/chart tests/static/test_chart_values.py tests/static/test_chart_files.py

helm-play: setup ## the chart's pod in podman, from the image of `make image`, against our broker (root)
	@tools/helm/setup.sh
	IMAGE="$(IMAGE)" $(PYTEST) tests/chart_in_podman

check: setup ## what a pull request must pass besides the tests
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo
	$(PYTHON_IN_VENV) tools/check_generated.py
	node tools/kql_lint.js --tables infra/log_analytics/tables.json --functions infra/queries/functions \
		$$(find infra/queries functions/queries -name '*.kql' | sort)
	hadolint agent/Dockerfile
	bash -n tools/setup.sh tools/helm/setup.sh tools/image/make_base.sh .ci/run

generated: setup ## write the generated files anew
	$(PYTHON_IN_VENV) -m telemetry.tables
	$(PYTHON_IN_VENV) tools/helm/readme.py

bench: setup ## speed and size: bench/results.json
	@$(PYTHON_IN_VENV) -m bench.run $(ARGS)

bench-agent: setup ## the agent beside Debian's node_exporter: CPU, memory, size (root, for the AKS-shaped host)
	@$(PYTHON_IN_VENV) -m bench.agent.run $(ARGS)

eval: setup ## how good detection is: DATA=folder with labelled files in NAB's layout, SEED, ARGS=--quick; 4 minutes with 2 cores to itself
	@$(PYTHON_IN_VENV) -m bench.eval $(if $(DATA),--data "$(DATA)") $(if $(SEED),--seed $(SEED)) $(ARGS)

oracle: setup ## kill everything, lose nothing: compares what was acknowledged with what is stored
	@$(PYTHON_IN_VENV) -m bench.oracle $(if $(SEED),--seed $(SEED)) $(ARGS)
	@$(PYTHON_IN_VENV) -m bench.fuzz $(if $(SEED),--seed $(SEED))

soak: setup ## NODES simulated nodes for MINUTES: lag, memory, losses
	@$(PYTHON_IN_VENV) -m bench.soak --nodes $(NODES) --minutes $(MINUTES) $(ARGS)

format: setup ## format the Python code
	ruff format .
	ruff check --fix .

clean: ## remove everything that can be made again, local data too
	@if [ -e .local/stack.json ] && [ -x $(PYTHON_IN_VENV) ]; then $(PYTHON_IN_VENV) -m local down || true; fi
	rm -rf .local .venv node_modules .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
