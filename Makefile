# `make demo` and `make test` need Python >= 3.11, make and PyPI; everything else they bring themselves.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
UV = .uv/bin/uv

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_PYTHON_DOWNLOADS = never
export OMP_WAIT_POLICY = passive
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

.PHONY: help setup demo demo-all test bench lint format clean

help:
	@echo "make demo      faces drawn by the project -> results/demo/report.html"
	@echo "make demo-all  goes on with the other ten methods"
	@echo "make test      all tests"
	@echo "make bench     how fast every stage is here -> results/benchmarks.csv"
	@echo "make lint      formatters, linters, types"
	@echo "make format    apply the formatters"
	@echo "make setup     only bring the locked environment into .venv"
	@echo "make clean     remove the demo's results"

setup: .venv/.synced

$(UV):
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found; install one or run make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

.venv/.synced: pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --quiet --python .uv/bin/python
	@touch $@

demo demo-all: setup
	snakemake --cores $(CORES) --workflow-profile profiles/cpu --configfile workflow/$@.yaml
	@python -m eval.summary results/demo

# One thread each: tests side by side are what uses the cores.
test: setup
	OMP_NUM_THREADS=1 python -m pytest -n $(CORES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

bench: setup
	python -m benchmarks --out results/benchmarks.csv

lint: setup
	ruff format --check .
	ruff check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint --configfile workflow/demo.yaml

format: setup
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow

clean:
	rm -rf results/demo
