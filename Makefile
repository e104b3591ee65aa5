# `make demo` and `make test` set everything up first. PYTHON, VENV or an active environment override the defaults.

PYTHON ?= python3
VENV ?= $(or $(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
READY := $(VENV)/.dlworkflow-ready
PYTEST := $(BIN)/python -m pytest
QUICK := -n auto --dist worksteal -m "not slow and not faults"
export PYTHONDONTWRITEBYTECODE = # tests start many processes: what one has compiled, the next one reads

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-faults test-oldest bench bench-peers bench-scale bench-ship lint types cov figures wheel-smoke check clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(READY) ## make the environment and install into it

demo: $(READY) ## train, predict and compare, without a download
	@BIN=$(BIN) sh tests/demo.sh

test: $(READY) ## run the tests, on all cores (four minutes on two); ADD="--cov" adds options of pytest
	OMP_NUM_THREADS=1 $(PYTEST) $(QUICK) $(ADD)

test-slow: $(READY) ## run the slow tests: the notes' long tables, the wheel
	$(PYTEST) -m slow

test-faults: $(READY) ## run the tests of faults: kills, a full disk, damaged files (about five minutes)
	$(PYTEST) -m faults

test-oldest: ## run the tests with the oldest versions that pyproject.toml allows, in .venv-oldest (no part of CI)
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python tests/oldest.py >.venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --constraint .venv-oldest/constraints.txt --editable '.[dev]'
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest $(QUICK) -W default::DeprecationWarning

bench: $(READY) ## time the work against the notes' way, the floor and the last release; ARGS="--only V0" (15 minutes)
	@$(BIN)/python tests/bench/bench.py $(ARGS)

bench-peers: ## time other libraries at the same job, in .venv-peers, and print their table (about five minutes)
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --editable . skorch pytorch-ignite lightning fastai keras
	@.venv-peers/bin/python tests/bench/bench.py --only "and its evaluation" $(ARGS)

bench-scale: $(READY) ## print time and memory against the size of the data (about ten minutes; ARGS=--quick)
	@$(BIN)/python tests/bench/scale.py $(ARGS)

bench-ship: $(READY) ## time exported models, cold and as a server (about three minutes; needs the photos)
	@$(BIN)/python tests/bench/ship.py $(ARGS)

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

cov: ## run the tests and list the lines and branches that they miss; fails under the floor in pyproject.toml
	$(MAKE) test ADD="--cov --cov-report=term-missing:skip-covered"

figures: $(READY) ## draw the images of README and the guide again (needs FashionMNIST and Chromium; about three minutes)
	@BIN=$(BIN) sh tests/figures.sh

wheel-smoke: $(READY) ## build the wheel, install it in a clean environment, train in an empty folder
	@BIN=$(BIN) PYTHON=$(PYTHON) sh tests/wheel_smoke.sh

check: lint types test ## what a change must pass

clean: ## remove what was built
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .coverage
