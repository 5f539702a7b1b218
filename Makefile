# Each target installs what it needs into .venv first; nothing else is touched.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all coverage check bench mutants clean

demo: $(STAMP)
	$(BIN)/tellapart demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2

coverage: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2 --cov=tellapart --cov-branch --cov-report=term-missing:skip-covered

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/tellapart recipes > /dev/null

bench: $(STAMP)
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/loop_overhead.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/verdict_light.py

mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet mutmut==3.8.1
	$(BIN)/python benchmarks/mutants.py

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 demo"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV)
