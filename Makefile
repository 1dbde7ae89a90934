# Tests run in FEDMTL_JOBS processes (tests/schedule.py): one more than two cores have, since many of them wait.
# make test | test-fast | lint | demo | venv | clean.  Another Python: make test FEDMTL_PYTHON=python3.12

FEDMTL_PYTHON ?= python3
FEDMTL_JOBS ?= 3
BIN := .venv/bin
# With bytecode kept: without it each of some 200 processes that tests start would compile all of fedmtl anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -n $(FEDMTL_JOBS) --dist loadfile
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: venv test test-fast lint demo clean
.DELETE_ON_ERROR:

venv: .venv/dev

test: .venv/dev
	@$(PYTEST) tests

test-fast: .venv/dev
	@$(PYTEST) --fast tests

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

demo: .venv/runtime
	$(BIN)/fedmtl compare demo --jobs 2 --out demo

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist demo
	find fedmtl simulations tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are remade only when what is to be installed changes. The demo does not wait for the developers' tools.
.venv/runtime: pyproject.toml constraints.txt
	@$(FEDMTL_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"fedmtl needs Python 3.11 or newer, got " + sys.version.split()[0] + "; name one: make FEDMTL_PYTHON=python3.11")'
	@echo "venv: a new environment in .venv"
	@$(FEDMTL_PYTHON) -m venv .venv
	@echo "venv: installing torch, flwr, ray and the others: one to two minutes"
	@$(INSTALL) -e .
	@touch $@

.venv/dev: .venv/runtime
	@echo "venv: installing pytest, ruff, pyright and seglearn"
	@$(INSTALL) -e '.[dev,watch]'
	@touch $@
