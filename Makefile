# The front door. Needs Python >= 3.11 and make; every target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup quickstart test test-all test-processors test-slurm torture check fix fuzz salads50 epic100-past lock clean

help:  ## Say what the targets do
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"sgear needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

setup: $(STAMP)  ## Make .venv with everything in it

quickstart: $(STAMP)  ## Render a kitchen, learn to anticipate in it, open report.html (about 5 minutes)
	$(BIN)/sgear quickstart

test: $(STAMP)  ## Run the tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: $(STAMP)  ## Run the slow tests too
	$(BIN)/python -m pytest -n 2

# Sums in another order end in other last digits: tests that compare numbers must pass with each of these kernels.
NUMERIC := tests/models tests/losses tests/metrics tests/prototypes tests/predictions tests/features tests/training tests/test_importing.py
test-processors: $(STAMP)  ## Run the tests that compare numbers as older and newer processors would, and with 2 threads
	for isa in default:SSE41 avx2:AVX2 avx512:AVX512_CORE; do \
	  echo "ATEN_CPU_CAPABILITY=$${isa%:*} ONEDNN_MAX_CPU_ISA=$${isa#*:}"; \
	  ATEN_CPU_CAPABILITY=$${isa%:*} ONEDNN_MAX_CPU_ISA=$${isa#*:} $(BIN)/python -m pytest -q -n 2 -m 'not slow' $(NUMERIC) || exit 1; \
	done
	SGEAR_TEST_THREADS=2 $(BIN)/python -m pytest -q -m 'not slow' $(NUMERIC)

test-slurm: $(STAMP)  ## Run jobs on a real SLURM, which is installed and brought up here (root; says so where it cannot)
	@tests/launch/slurm.sh $(BIN)/python -m pytest -q -m '' tests/launch/test_slurm.py || { code=$$?; [ $$code = 77 ] || exit $$code; }

torture: $(STAMP)  ## Kill, stop and wear out training, extraction, copies and prototypes (50 kills, about 20 minutes)
	$(BIN)/python tests/torture/torture.py --kills $(or $(KILLS),50)

check: $(STAMP)  ## Lint, format, import contract, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

fix: $(STAMP)  ## Mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(STAMP)  ## Search for inputs that break the parsers (FUZZ_S=120 seconds each)
	for script in fuzz/fuzz_*.py; do $(BIN)/python $$script -max_total_time=$(or $(FUZZ_S),120) || exit 1; done

salads50: $(STAMP)  ## Reproduce docs/results/salads50.md (needs SGEAR_DATA)
	$(BIN)/python benchmarks/salads50.py

epic100-past: $(STAMP)  ## Reproduce docs/results/epic100-past.md (needs SGEAR_DATA; 34 runs, about an hour on 2 quiet cores)
	$(BIN)/python benchmarks/epic100_past.py

lock: $(STAMP)  ## Write constraints.txt from what is installed
	$(BIN)/python -m pip list --format=freeze --exclude sgear --exclude torch --exclude torchvision --exclude pip --exclude setuptools \
	  | grep -viE '^(nvidia|triton|cuda)' > constraints.txt

clean:  ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build
