# Every target sets up what it needs: on a fresh Debian or Ubuntu machine with git, make and python3 >= 3.11 nothing
# else has to be installed first. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.redoubt-setup
JAR := src/redoubt/spark/jars/redoubt-jvm.jar
SCALE ?= 0.1

.PHONY: help setup jar demo test test-core test-spark test-examples lint types format bench soak wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) jar ## make .venv with pinned packages, install Debian packages (as root), build the jar

$(STAMP): pyproject.toml dev/pyproject.toml constraints.txt packages.txt setup.sh
	PYTHON=$(PYTHON) bash setup.sh $(VENV)
	touch $@

jar: $(STAMP) ## compile jvm/ into the package (skipped when nothing changed)
	$(BIN)/python jvm/build.py

demo: setup ## TPC-H on sealed data, checked against DuckDB (SCALE=0.1)
	$(BIN)/python -m redoubt.cli.main tpch demo --scale $(SCALE)

lint: $(STAMP) ## ruff, formatting, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

test-core: setup ## tests that need no JVM
	$(BIN)/pytest -m "not spark and not soak"

test-spark: setup ## tests in one real Spark session
	$(BIN)/pytest -m "spark and not soak"

test-examples: setup ## compare every Python example of pyspark, plain and under redoubt submit; writes docs/examples.md
	$(BIN)/python -m tests.examples.compare --again $(EXAMPLES)

test: setup lint types ## everything that CI runs
	$(BIN)/pytest -m "not soak"

bench: setup ## benchmarks at SCALE=1 (hours on small machines); writes benchmarks/results and docs/performance.md
	$(BIN)/python -m benchmarks.run

soak: setup ## crash, memory, tamper and scale checks that are too long for CI, each module in a process of its own
	for module in $$(grep -rl 'mark\.soak' tests --include='test_*.py' | sort); do \
	  $(BIN)/pytest -m soak --timeout=7200 -s $$module; \
	done

format: $(STAMP) ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: setup ## build dist/*.whl with the compiled jar
	$(BIN)/python -m build --no-isolation --wheel

clean: ## remove everything that the targets made
	rm -rf $(VENV) dist build demo-data .pytest_cache .mypy_cache .ruff_cache .hypothesis $(JAR)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
