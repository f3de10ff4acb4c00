# `make help` lists what there is.

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo study paper bench readme test lint format clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed  ## Make .venv and install everything into it, at pinned versions

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) pip  # older ones know no --group
	$(PIP) -e ".[study,cluster,export]" --group dev
	touch $@

demo: install  ## Run the whole pipeline on the sample, in a copy (a few minutes)
	bregman-nas demo

study: install  ## Rerun the parts of the study that have changed; none, in a fresh clone
	dvc repro

paper: install  ## Build the report, paper/study.pdf, from the tables and figures (seconds)
	bregman-nas paper

test: install lint  ## Check the style and the types, and run all tests (a few minutes)
	OMP_NUM_THREADS=1 python -m pytest -n auto --dist worksteal

bench: install  ## Measure the compact trainers against the textbook loop, on an idle machine
	bregman-nas bench

readme: install  ## Put the current Table 1 and outcome into the README
	bregman-nas readme

lint: install  ## Check style and types
	ruff check .
	ruff format --check .
	mypy

format: install  ## Put the code into its format
	ruff check --fix-only --quiet .
	ruff format .

clean:  ## Remove what is made anew: the demo, caches; not the environment, not checkpoints
	rm -rf build dvc_plots .pytest_cache .mypy_cache .ruff_cache
