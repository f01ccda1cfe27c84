# Each target sets up .venv, once, and again when pyproject.toml or constraints.txt change.
# PYTHON=python3.12 make ... chooses the interpreter; the default is the first of these that is 3.11 or newer.
PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11 python3.13,\
	$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
READY := .venv/.ready

# Hundreds of processes of the tests import the same modules: where this is set, each of them would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart test test-gpu fuzz soak lint docs bench audit clean

help:
	@echo "make quickstart   films, pictures, estimator, tolerance table and report, on this machine (runs/quickstart)"
	@echo "make test         lint, types and tests"
	@echo "make test-gpu     the tests that need an NVIDIA GPU and CuPy (magray[cuda13])"
	@echo "make fuzz         20,000 damaged files and options, 10,000 uploads; INPUTS=1000 SEED=2 make fuzz tries fewer, other ones"
	@echo "make soak         every fault of a cluster, all notebooks, 200 kills of commands, for hours; KILLS=20 SEED=2 make soak"
	@echo "make lint         ruff, mypy and the order of imports"
	@echo "make docs         the documentation as a site (build/site/index.html)"
	@echo "make bench        field evaluations per second of this machine"
	@echo "make audit        check the pinned versions for known vulnerabilities; needs PyPI"
	@echo "make clean        remove .venv and caches; runs/ stays"

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "magray needs Python 3.11 or newer; give its name: make PYTHON=python3.12" >&2; exit 1; }
	@# today's pip takes half as long; where there is none, the one that comes with Python does
	@test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(READY)
	$(BIN)/magray quickstart

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Each of pytest's processes keeps one core busy: more threads would only wait for one another. Clusters wait for their own
# processes half of the time, so that three share two cores; their threads sleep while they wait, or they would waste both,
# and their processes have the priority of the tests that wait for them (Ray's own choice is a low one).
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto tests --ignore tests/cluster --ignore tests/gpu
	OMP_WAIT_POLICY=passive RAY_worker_niceness=0 \
		$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/cluster tests/gpu

test-gpu: $(READY)
	$(BIN)/pytest -m gpu

fuzz: $(READY)
	DAMAGED_FILES=200 $(BIN)/pytest tests/imaging/test_picture_files.py tests/imaging/test_formats.py -k damaged_files
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),20000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.fuzz.uploads --requests $(or $(INPUTS),10000) --seed $(or $(SEED),1)

soak: $(READY)
	$(BIN)/python -m benchmarks.survival --seed $(or $(SEED),1)
	NOTEBOOKS=all $(BIN)/pytest tests/docs/test_notebooks.py
	$(BIN)/python -m tests.chaos.soak --kills $(or $(KILLS),200) --seed $(or $(SEED),1)

# Not --quiet, with which --strict sees no warnings. Without the variable, the theme prints a notice about its own future.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

bench: $(READY)
	$(BIN)/python -m benchmarks.solver

audit:
	.ci/audit

clean:
	rm -rf .venv .venv-audit .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find magray tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
