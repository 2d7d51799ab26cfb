# The same commands for people and for CI. `make app` needs only Python >= 3.11 with pip; no root.
PYTHON ?= python3
PORT ?= 7860
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: app test check audit bench lint browser clean

app: $(VENV)/.installed
	$(BIN)/python app.py serve --host $(HOST) --port $(PORT)

# A test that fails is run once more, and named: servers, browsers and kills meet machines with other work on them.
test: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --reruns 1 -rR

check: lint audit test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Our code, then known holes in what it depends on: the second needs a network, and says so where PyPI cannot be asked.
audit: $(VENV)/.installed-dev
	$(BIN)/bandit -q -c pyproject.toml -r app.py lectern.py core ingest rag memory omni web
	$(BIN)/pip-audit -r constraints.txt --no-deps --disable-pip

bench: $(VENV)/.installed-dev
	for name in $$(cd benchmarks && grep -l __main__ [a-z]*.py | sed 's/\.py$$//'); do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name --short || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Lectern needs Python 3.11 or newer; name one with: make app PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone: a later requirement would otherwise be free to pull another build of it.
$(VENV)/.installed: $(VENV)/bin/python requirements.txt constraints.txt
	@echo "Installing into $(VENV) (about 2.5 GB, some minutes the first time)"
	$(PIP) install "$$(grep -o '^torch==[^ ]*' requirements.txt)"
	$(PIP) install -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) install -r requirements-dev.txt -c constraints.txt
	@touch $@

# Browser tests want a Chromium: root on Debian gets it from apt, everybody else brings their own or sees them skipped.
browser:
	@command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
			>/dev/null 2>&1 || echo "Chromium could not be installed: browser tests will skip"; \
	else echo "No Chromium here: browser tests will skip"; fi

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache out
