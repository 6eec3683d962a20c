# Works from a clean clone. `.venv` is filled once for every state of pyproject.toml: the stamps in it say so.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -p no:cacheprovider

.PHONY: help demo lab test test-slow test-browser test-all mini mini-all sweep figures bench tinybase
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	{ echo "Python 3.11 is needed; name one: make PYTHON=/path/to/python3.11, or use environment.yml"; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv; this takes a few minutes."
	$(PY) -m pip install --quiet -e .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv, with what the tests need; this takes a few minutes."
	$(PY) -m pip install --quiet -e ".[dev,eval]"
	@touch $@ .venv/installed

demo: .venv/installed  ## the main run at the smallest size: a real RL run, its figures and its executed notebook
	$(PY) -m pzlib run notebooks/04_pretrainzero.ipynb -p tier smoke

lab: .venv/installed  ## the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

test: .venv/installed-dev  ## lint and the fast tests, under three minutes
	$(PY) -m ruff check --no-cache .
	$(PYTEST) -n 2 -m "not slow and not browser"

test-slow: .venv/installed-dev  ## the tests that `make test` leaves out, bar the browser
	$(PYTEST) -n 2 -m "slow and not browser"

test-browser: .venv/installed-dev  ## a real JupyterLab in headless Chromium
	$(PYTEST) -m browser -rs

test-all: test test-slow test-browser  ## every test

# Two runs at a time, one thread each: a step of the small model gains little from a second core. What is stored in
# data/results is not run again, what was killed goes on from its checkpoint, one failure does not stop the others.
RUN_AT_MINI = $(PY) -m pzlib run notebooks/$$name.ipynb -p tier mini -o figures/executed/$$name.ipynb
CORE = 03_masking_collapse 05_rlvr 07_reasoning_patterns 09_rpt 10_rlp 11_side_by_side 13_benchmarks
ABLATIONS = 06_data_domain 08_generator_reward

mini: .venv/installed  ## the core studies at mini (collapse, baselines, RLVR, RPT, RLP; five seeds), notebooks, figures
	-$(PY) -m pzlib study --core
	for name in $(CORE); do $(RUN_AT_MINI) || exit 1; done
	$(PY) -m pzlib figures
	name=12_claims_and_figures; $(RUN_AT_MINI)

mini-all: .venv/installed  ## every study at mini: the core, then ablations and the map (three seeds)
	-$(PY) -m pzlib study --all
	for name in $(ABLATIONS); do $(RUN_AT_MINI) || exit 1; done
	$(MAKE) mini

figures: .venv/installed  ## every figure and table again, from data/results
	$(PY) -m pzlib figures

sweep: .venv/installed  ## the learning-rate sweep of every method, on seeds that no study uses
	$(PY) -m pzlib sweep

bench: .venv/installed  ## what a step costs, as ratios, into data/results/bench.csv
	$(PY) -m pzlib.bench

tinybase: .venv/installed  ## pretrain data/tinybase and data/tinybase_small again, from scratch (an hour)
	for size in tinybase tinybase_small; do $(PY) -m pzlib.tinybase --size $$size || exit 1; done
