# Skerry's five words: up, test, check, bench, soak. `make lock` renews the pinned requirements.
PYTHON ?= python3
HUB_PORT ?= 8600
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: up test check bench soak lock install install-dev system sdk clean
.DEFAULT_GOAL := up

up: $(VENV)/.installed
	@$(BIN)/skerry up --hub-port $(HUB_PORT)

# Installed once per change of a lock or of pyproject.toml; later runs start at once.
$(VENV)/.installed: requirements/build.txt requirements/run.txt pyproject.toml
	@$(PYTHON) tools/check_python.py
	@echo "skerry: creating $(VENV) and installing the pinned requirements (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/run.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	@echo "skerry: installing the pinned development tools ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

# Debian's packages that the tests start by hand (PostgreSQL, Chromium). Needs root, does nothing when they are there.
system:
	@tools/install_system_packages

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py

# Cyberwave's own SDK from the package index, for the tests and benches of what it promises its programs.
sdk: $(VENV)/.installed
	@tools/cyberwave_sdk $(BIN)/python

test: $(VENV)/.installed-dev system sdk
	tools/run_tests $(BIN)

bench: $(VENV)/.installed-dev sdk
	$(BIN)/python -m bench

soak: $(VENV)/.installed-dev system sdk
	$(PYTEST) -m soak --timeout=3600 tests

lock:
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install -q uv
	tools/lock .venv-lock/bin/uv

clean:
	rm -rf $(VENV) .venv-cyberwave .venv-lock .skerry
