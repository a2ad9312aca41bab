# One command per wish; each first sets up what it needs (a second call is quick).
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up-$(shell cat pyproject.toml constraints.txt deploy/debian-packages.txt 2>/dev/null | sha256sum | cut -c1-12)
export OMP_NUM_THREADS ?= 2

.PHONY: help setup demo test check bench format samples weights clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## virtual environment in .venv and, as root on Debian, the system packages

$(STAMP):
	PYTHON=$(PYTHON) bash deploy/setup.sh
	@rm -f $(VENV)/.set-up-*
	@touch $@

demo: setup ## start the node, send the sample studies, show what comes back
	@$(BIN)/python -m deploy.demo

test: setup ## every test, with real peers
	@$(BIN)/python -m pytest -q

check: setup ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## how fast it is, beside Orthanc and storescp
	@$(BIN)/python -m tests.bench

samples: setup ## make sample_dicom/ again
	@$(BIN)/python sample_dicom/make_samples.py

clean: ## remove what the other commands made, the virtual environment excepted
	rm -rf .demo .bench .pytest_cache .mypy_cache .ruff_cache build *.egg-info
