# `make` alone lists what there is. Needed: Python >= 3.11, make, a package index that pip reaches.
#   make test PYTHON=python3.12          another Python            (remove .venv first)
#   make test TESTS=tests/credit         one room's tests
#   make demo ARGS="--lab mylab"         further arguments of the command
PYTHON ?= python3
VENV ?= .venv
TESTS ?=
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Without a GPU: the release whose CPU build pip finds. Newer ones bring gigabytes of CUDA.
TORCH := $(if $(shell command -v nvidia-smi),,torch==2.13.0)

# One worker a core, four at most. A file stays with one worker: its tests share what is dear to set up. A worker that
# a hanging test ended is not started again: it would run that test again.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.with-base ## the main job: roll out, score, train the tiny policy, log everything, show the gain
	@$(BIN)/workbench demo $(ARGS)

test: $(VENV)/.with-test ## all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(TESTS) $(ARGS)

test-fast: $(VENV)/.with-test ## the tests that need no browser and take no minutes
	@$(BIN)/python -m pytest -m "not slow and not browser" $(TESTS) $(ARGS)

test-peers: $(VENV)/.with-test ## with the packages of peers: give it an environment of its own, VENV=.venv-peers
	@$(INSTALL) "inspect-ai>=0.3" "verifiers>=0.4" && $(INSTALL) --no-deps docent verl
	@$(BIN)/python -m pytest -rs tests/formats/test_peers.py tests/adapters/test_verl.py $(ARGS)

lab: $(VENV)/.with-lab ## JupyterLab in notebooks/
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

check: $(VENV)/.with-dev ## format, lint, types, fast tests: run it before a commit
	@$(BIN)/ruff format --check . || { echo "-> '$(BIN)/ruff format .' mends this"; exit 1; }
	@$(BIN)/ruff check . || { echo "-> '$(BIN)/ruff check --fix .' mends most of this"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -m "not slow and not browser" $(TESTS) $(ARGS)

bench: $(VENV)/.with-bench ## import time and retrieval, beside the plain libraries
	@for file in tests/bench/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-learning: $(VENV)/.with-base ## three seeds of the demo's training beside its controls (about an hour)
	@$(BIN)/python tests/bench/learning.py $(ARGS)

bench-papers: $(VENV)/.with-base ## the proofs of all papers, three seeds each; ARGS=--on-world trains the tiny policy (hours)
	@$(BIN)/python tests/bench/papers.py $(ARGS)

clean: ## remove the environment and what the tools cached
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache

# ---------------------------------------------------------------- set-up: one stamp file an extra, so that it runs once

$(VENV)/.with-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "-> this needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "-> on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

# .with-base is the product alone, .with-test the product with extra [test], and so on
$(VENV)/.with-%: pyproject.toml $(VENV)/.with-python
	@echo "installing into $(VENV) what '$*' needs: some minutes and 2 GB the first time"
	@$(INSTALL) $(TORCH) -e '.$(if $(filter base,$*),,[$*])' || { \
	    echo "-> pip failed; its lines above say why. Where the package index is a mirror, set PIP_INDEX_URL"; exit 1; }
	@touch $@

.PHONY: help demo test test-fast test-peers lab check bench bench-learning bench-papers clean
.PRECIOUS: $(VENV)/.with-%
