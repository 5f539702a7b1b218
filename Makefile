# Each target installs what it needs into .venv first; nothing else is touched.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-matrix doctest coverage check format docs examples release bench mutants clean

demo: $(STAMP)
	$(BIN)/tellapart demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2
	$(BIN)/python -m pytest --doctest-modules -q src/tellapart

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2

coverage: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2 --cov=tellapart --cov-branch --cov-report=json:coverage.json
	$(BIN)/python tools/coverage_table.py coverage.json --at-least 92 --write

doctest: $(STAMP)
	$(BIN)/python -m pytest --doctest-modules src/tellapart

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

examples: $(STAMP)
	$(BIN)/python tools/run_examples.py

test-matrix: $(STAMP)
	$(BIN)/python tools/test_matrix.py

release: $(STAMP)
	$(BIN)/python tools/release.py

format: $(STAMP)
	$(BIN)/ruff check --fix --quiet src tests benchmarks tools examples
	$(BIN)/ruff format src tests benchmarks tools examples

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks tools examples
	$(BIN)/ruff format --check --quiet src tests benchmarks tools examples
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
