# make demo: the whole job on bundled data and model; make test: the whole suite.
SHELL := /bin/bash
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first Python that the stack runs on; else python3, which then says why it cannot be used.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c '$(SUITABLE)' >/dev/null 2>&1 && { echo "$$p"; exit; }; done; echo python3)
VENV_PYTHON := .venv/bin/python
# Two at a time: an engine run is mostly imports, which use one core. A file stays together, so
# that its tests share their runs; tests/conftest.py says which file comes first.
PYTEST := $(VENV_PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test test-all browser llama-cpp llm-compressor check format bench webui demo-model clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

install: ## make .venv with the tested versions (once)
	@"$(PYTHON)" tools/make_environment.py

demo: install ## the whole job end to end: bundled data, demo model, CPU, offline
	@$(VENV_PYTHON) llama_factory_fine_tuning.py --dataset_format alpaca \
		--output_dir runs/demo --export_dir runs/demo-merged

test: check ## formatter, linter, types, then the whole suite
	@$(VENV_PYTHON) tools/make_chromium.py --once
	@$(VENV_PYTHON) -m fine_tuning.ship.llama_cpp --once
	@$(VENV_PYTHON) -m tests.transformers_4 --once
	@$(PYTEST) -m "not slow"

test-all: check ## the same and what is too long for it
	@$(VENV_PYTHON) tools/make_chromium.py --once
	@$(VENV_PYTHON) -m fine_tuning.ship.llama_cpp --once
	@$(VENV_PYTHON) -m tests.transformers_4 --once
	@$(PYTEST)

browser: install ## Chromium for the tests of pages (make test tries once)
	@$(VENV_PYTHON) tools/make_chromium.py

llama-cpp: install ## what writes and quantises GGUF files (make test tries once)
	@$(VENV_PYTHON) -m fine_tuning.ship.llama_cpp

llm-compressor: install ## what writes models for GPU servers (--export_quantization)
	@$(VENV_PYTHON) -m fine_tuning.ship.llm_compressor

check: install ## formatter, linter, types
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy

format: install ## format the code
	@$(VENV_PYTHON) -m ruff format .
	@$(VENV_PYTHON) -m ruff check --fix .

bench: install ## timings and memory, side by side with LLaMA-Factory
	@$(VENV_PYTHON) bench/startup.py
	@$(VENV_PYTHON) bench/data.py

webui: install ## LLaMA Board over the prepared datasets
	@$(VENV_PYTHON) llama_factory_fine_tuning.py webui

demo-model: install ## build the demo model and the samples again
	@$(VENV_PYTHON) -m tools.demo_model.make_model

clean: ## remove runs and caches (not .venv)
	@rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
