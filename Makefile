# make run    install Portico compiled into .venv and start the quickstart
# make test   everything: style, types, import rules, tests interpreted and compiled
# make soak   two minutes of everything at once against the cache, then two against everything else (SOAK_SECONDS=...)
# make reloads  500 reloads, after which memory and descriptors must be what they were (RELOADS=...)
# make fuzz   five minutes each of damaged clients, upstreams and configurations (FUZZ_SECONDS=...)
# make bench  nginx and Portico side by side; writes bench/results.md
# make docs   writes the directive reference
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src -name '*.py') setup.py pyproject.toml
APT := DEBIAN_FRONTEND=noninteractive apt-get -qq

SOAK_SECONDS ?= 120
RELOADS ?= 500
FUZZ_SECONDS ?= 300

.PHONY: run test soak reloads fuzz bench docs lint unit clean tools nginx compiled
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@$(BIN)/python -m portico.quickstart

# A virtual environment needs Debian's python3-venv and, to compile, the headers: as root they are installed when missing.
$(VENV)/bin/python:
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || ! ls "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing python3-venv and python3-dev"; $(APT) update >/dev/null && $(APT) install -y python3-venv python3-dev >/dev/null; \
	  else \
	    echo "make: Python's venv module or headers are missing; as root: apt-get install python3-venv python3-dev"; \
	  fi; \
	fi
	$(PYTHON) -m venv $(VENV)

# The compiled package, as `pip install .` gives it to users.
$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	@echo "building Portico (two or three minutes) ..."
	@$(BIN)/pip install -q --disable-pip-version-check .
	@touch $@

compiled: $(VENV)/.installed

$(VENV)/.tools: $(VENV)/bin/python pyproject.toml
	@$(BIN)/pip install -q --disable-pip-version-check "setuptools>=77" wheel $$($(BIN)/python tools/requirements.py test)
	@touch $@

tools: $(VENV)/.tools

# Debian's nginx is the reference, wrk the load; without them (and not root) the tests that need them are skipped, saying so.
nginx:
	@tools/install-reference.sh

test: nginx lint $(VENV)/.installed
	@tools/run-tests.sh

unit: $(VENV)/.tools
	@PYTHONPATH=$(CURDIR)/src $(BIN)/python -m pytest tests/unit

soak: $(VENV)/.installed $(VENV)/.tools
	@PORTICO_SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -s tests/system/test_cache_soak.py tests/system/test_soak.py

reloads: $(VENV)/.installed $(VENV)/.tools
	@PORTICO_SOAK_RELOADS=$(RELOADS) $(BIN)/python -m pytest -s tests/system/test_reload_memory.py

fuzz: $(VENV)/.installed $(VENV)/.tools
	@PORTICO_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -s tests/fuzz

lint: $(VENV)/.tools
	@$(BIN)/ruff check src tests tools bench setup.py
	@$(BIN)/mypy --strict src/portico
	@PYTHONPATH=src $(BIN)/lint-imports --no-cache
	@$(BIN)/python tools/find_circles.py

bench: nginx $(VENV)/.installed $(VENV)/.tools
	@$(BIN)/python bench/run.py
	@$(BIN)/python bench/cache_entries.py

docs: $(VENV)/.tools
	@PYTHONPATH=src $(BIN)/python tools/make_docs.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
