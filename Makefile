# All targets need Python >= 3.11, make and PyPI only; they install everything else into .uv and .venv.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
UV = .uv/bin/uv

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_PYTHON_DOWNLOADS = never
export OMP_WAIT_POLICY = passive
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

.PHONY: help setup demo demo-all explain app model docs test test-fast test-slurm bench lint format audit clean

help:
	@echo "make demo        train and evaluate CAM on drawn faces -> results/demo/report.html"
	@echo "make demo-all    the same for the other ten methods"
	@echo "make explain     explain faces: pictures, words, JSON -> results/explained; FILES=\"a.jpg b.mp4\" names yours"
	@echo "make app         the same for your pictures or webcam, in a browser"
	@echo "make model       train, test and export the network that both use -> models/photographs"
	@echo "make docs        the documentation -> results/site"
	@echo "make test        all tests"
	@echo "make test-fast   the unit tests, in under two minutes on two cores"
	@echo "make test-slurm  the workflow on a small SLURM that it starts (root, Debian)"
	@echo "make bench       measure the speed of every stage -> results/benchmarks.csv"
	@echo "make lint        check formatting, style and types of the code, and the rules"
	@echo "make format      apply the formatters"
	@echo "make audit       known vulnerabilities of the locked packages"
	@echo "make setup       only install the locked environment into .venv"
	@echo "make clean       remove the demo's results"

setup: .venv/.synced

$(UV):
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found; install one or run make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/uv.txt

.venv/.synced: pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --quiet --python .uv/bin/python
	@touch $@

demo demo-all: setup
	snakemake --cores $(CORES) --workflow-profile profiles/cpu --configfile workflow/configs/$@.yaml
	@python -m eval.summary results/demo

# Drawn faces stand in for pictures of your own.
SAMPLES = results/samples/images
FILES ?= $(SAMPLES)

$(SAMPLES): | setup
	python -m pipeline.synthetic --out results/samples --identities-train 1 --identities-test 1

explain: setup $(filter $(SAMPLES),$(FILES))
	python -m eval.explain $(FILES) --out results/explained
	@$(if $(filter $(SAMPLES),$(FILES)),echo 'drawn samples; for your own pictures and films: make explain FILES="photo.jpg film.mp4"')

app: setup
	python -m eval.explain.app

# Needs FER2013 in datasets/FER2013 (docs/fer2013.md) and about two hours.
MODEL = results/photographs/runs/heldout/fer2013/cam/au-w5-l5/seed0/checkpoint.safetensors

model: setup
	snakemake --cores $(CORES) --workflow-profile profiles/cpu --configfile workflow/configs/photographs.yaml
	python -m eval.export $(MODEL) --hub models/photographs --command "make model"

# The variable silences the theme's note on its successor.
docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir results/site
	@echo "results/site/index.html"

# One thread per process, as the tests run in parallel.
PYTEST = OMP_NUM_THREADS=1 python -m pytest -n $(CORES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m "not slow" tests/au_guidance tests/pipeline tests/train tests/eval tests/workflow

test-slurm: setup
	tests/slurm/packages.sh
	$(UV) sync --locked --quiet --inexact --group cluster --python .uv/bin/python
	AU_TEST_SLURM=1 python -m pytest tests/robustness/test_slurm.py

bench: setup
	python -m benchmarks --out results/benchmarks.csv

lint: setup
	ruff format --check .
	ruff check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint --configfile workflow/configs/demo.yaml

format: setup
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow

audit: setup
	$(UV) export --quiet --locked --all-groups --no-emit-project --output-file .uv/locked.txt
	$(UV) tool run pip-audit --disable-pip --require-hashes --requirement .uv/locked.txt

clean:
	rm -rf results/demo
