# make demo   the main job, end to end, on the embedded world and feeds
# make test   the test suite
# make check  formatting, lint, types
# make crash  the whole crash matrix: every stage killed at every durable write, twenty minutes of processor time
# make security  every attack of tests/security, counted by class
# make bench  the benchmarks that need no data from elsewhere
# Each makes its own virtual environment in .venv first.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-dev
# Two threads: more than the cores there are makes torch many times slower.
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check security crash soak bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	@# torch first and exactly: a plain range can pull gigabytes of CUDA packages on a machine without a GPU.
	$(BIN)/pip install --quiet $(shell grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python -m agent.demo.run

# One process for each core, each with one thread: the models of the tests are too small to be worth two.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check agent benchmarks tests
	$(BIN)/ruff check agent benchmarks tests
	$(BIN)/mypy

security: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.security

# One thread: sums depend on the number of threads, and forks inherit none.
crash: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.crash

bench: $(STAMP)
	$(BIN)/python -m benchmarks.pocket_edits agent/demo/pocket --json build/pocket_edits.json

# Sixty simulated hours as a test, then 2,000 against publishers that fail.
soak: $(STAMP)
	$(BIN)/python -m pytest -m soak tests/test_soak.py
	$(BIN)/python -m benchmarks.soak --json build/soak.json

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
