# Every target does its own set-up: nothing but Python >= 3.11 and make is needed before.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: tests and katas run several processes side by side.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types katas oracle benchmark readme wheel ci clean

help:  ## what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: $(VENV)/.ready  ## a virtual environment with everything development needs

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## start a kata, grade a wrong attempt, then a right one
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

test: setup  ## the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup  ## style, format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup  ## the type checker
	$(BIN)/mypy

katas: setup  ## prove every kata: kata lint; with SINCE=commit less of those that are as they were then
	$(BIN)/kata lint $(if $(SINCE),--since $(SINCE))

$(VENV)/.oracle: $(VENV)/.ready requirements-oracle.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-oracle.lock
	@touch $@

oracle: $(VENV)/.oracle  ## compare the references with independent libraries
	$(BIN)/python -m pytest -m oracle tests/oracle

benchmark: setup  ## how fast we are, as ratios; on a quiet machine, for some minutes
	$(BIN)/python scripts/benchmark.py

readme: setup  ## write the transcripts and the picture of the README anew
	$(BIN)/python tests/test_readme.py
	$(BIN)/python tests/test_screenshot.py

wheel: setup  ## build the wheel, install it elsewhere, grade with it
	PYTHON=$(PYTHON) BUILD_PYTHON=$(CURDIR)/$(BIN)/python sh scripts/try-wheel.sh

ci: lint types test oracle katas wheel  ## what .ci/run runs

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
