# The everyday commands; `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install run test lint format bench dev-setup docker-up migrate migration test-db verify lock clean

# The first Python of at least 3.11 that is found; `make PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install Portico and everything of the lock into it

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "Portico needs Python 3.11 or newer: install it, or name one with make PYTHON=/path/to/python." >&2; exit 1; fi
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot create virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "Installing Portico into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## Serve on 127.0.0.1:8001 over an embedded SQLite file
	@$(BIN)/portico serve $(ARGS)

test: install ## Install the test servers where they are missing and run every test (ARGS="-k name" chooses)
	@$(BIN)/python -m tests.servers.install
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: install ## Check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install ## Put the code into the house's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install ## Measure Portico beside its hand-written floor and its peers
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bench/requirements.lock
	@$(BIN)/python -m bench $(ARGS)

dev-setup: install ## Prepare a working copy: .env from its template, and the test servers
	@if [ -f .env.template ] && [ ! -f .env ]; then cp .env.template .env && echo "Created .env from .env.template."; fi
	@$(BIN)/python -m tests.servers.install

docker-up: ## Start the development environment in containers
	@docker compose --file deploy/compose.dev.yaml up --detach --wait

migrate: install ## Bring the database up to date
	@$(BIN)/portico migrate up $(ARGS)

migration: install ## Write a migration: make migration name="add invoices"
	@if [ -z "$(name)" ]; then echo 'Say what it does: make migration name="add invoices"' >&2; exit 2; fi
	@$(BIN)/portico migrate new "$(name)"

test-db: install ## Run the tests that need a database
	@$(BIN)/python -m tests.servers.install
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "database or models or migrations" $(ARGS)

verify: install ## Compare the database with the models and declarations
	@$(BIN)/portico verify-schema $(ARGS)

lock: install ## Write requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

clean: ## Remove everything that was made here
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
