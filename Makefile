# audit and test are the two commands; both need Python >= 3.10 and a package index, nothing else.
# One virtual environment serves both; it is rebuilt only when pyproject.toml changes.

PYTHON ?= python3
VENV   ?= .venv
PIP_FLAGS ?=
BIN    := $(VENV)/bin

# Without PROMPTS, one shipped prompt of each of the six voices: about two minutes on two cores. LIMIT=16 takes all.
# Run options of `make audit`: PROMPTS=manifest|corpus tree|folder SPLIT=test LIMIT=20 OUT=runs/mine ARGS="--seed 7"
OUT ?= runs/audit-$(shell date +%Y%m%d-%H%M%S)

export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help audit test check lint format types contracts unit wheel-test prompts install-locked lock scan faults clean

help:
	@echo 'make audit [PROMPTS=path] [SPLIT=name] [LIMIT=n] [OUT=folder]   audit the shipped model, write a report'
	@echo 'make test                                                       lint, types, import contracts, tests'
	@echo 'make check | lint | format | types | contracts | unit | wheel-test | clean'
	@echo 'make install-locked | lock | scan                               pinned dependencies with hashes (SECURITY.md)'
	@echo 'make faults                                                     50 kills and 10,000 hostile files (docs/faults.md)'
	@echo 'PYTHON=python3.12 chooses the interpreter, VENV=path the environment, PIP_FLAGS="..." goes to pip install'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo '$(PYTHON) is missing or older than Python 3.10; name another one: make PYTHON=python3.12 ...' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	@echo 'installing into $(VENV): PyTorch and what the audit needs (several gigabytes the first time)'
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.created
	@echo 'installing into $(VENV): PyTorch, what the audit needs, and the test tools (several gigabytes the first time)'
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --editable '.[test]'
	@touch $(VENV)/.installed $@

audit: $(VENV)/.installed
	@$(BIN)/audiolm-audit audit --gate never --out '$(OUT)' \
	  $(if $(PROMPTS),--prompts '$(PROMPTS)') $(if $(SPLIT),--split '$(SPLIT)') $(if $(LIMIT),--limit '$(LIMIT)',$(if $(PROMPTS),,--limit 6)) $(ARGS)

test: check

check: lint types contracts unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-test
	$(BIN)/pyright --pythonpath $(BIN)/python

contracts: $(VENV)/.installed-test
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

wheel-test: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/test_wheel.py $(ARGS)

prompts: $(VENV)/.installed
	$(BIN)/python recipes/prompts/make_prompts.py evaluation/prompts

install-locked: | $(VENV)/.created
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --editable .

lock: | $(VENV)/.created
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.10 pyproject.toml --output-file requirements.lock

scan: | $(VENV)/.created
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) pip-audit
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

faults: $(VENV)/.installed-test
	$(BIN)/python tests/faults/kills.py --kills 50 --fresh 2
	$(BIN)/python tests/faults/hostile_audio.py --count 10000

clean:
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis
