# Everything is installed into the folder `.venv`; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
S3 := $(VENV)/.s3
PEERS := benchmarks/.venv
DEMO := .toypipe/demo
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro demo test integration faults benchmark benchmark-quick gpu check docs lock clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv: the locked requirements and this package

repro: $(READY) ## run the stages that are out of date, record them and write data/reports/index.html
	dvc repro
	python -m stages report

demo: $(READY) ## run the whole pipeline on images that need no download, in a copy of the last commit
	rm -rf $(DEMO)
	git clone --quiet . $(DEMO)
	cd $(DEMO) && cp recipes/digits.yaml params.yaml && dvc repro && python -m stages report \
		&& dvc metrics show data/reports/test.json
	@echo "all of it is in $(DEMO); open $(DEMO)/data/reports/index.html in a browser"

test: $(READY) ## run the tests, two at a time; no network, no GPU; five minutes
	pytest --numprocesses 2 --dist worksteal

integration: $(S3) ## S3, two hosts, DVC's queue, restarts: all on this machine; adds S3 to .venv
	pytest -m integration

faults: $(READY) ## kill, edit, fill disks and damage files at random moments; 45 minutes, a table
	pytest -m faults
	PYTHONPATH=tests python -m faults

benchmark: $(PEERS)/.ready ## compare the training loop with six frameworks, in an environment of their own
	$(PEERS)/bin/python benchmarks/compare.py

benchmark-quick: $(READY) ## compare it with the tutorial's loop only; three minutes
	python benchmarks/compare.py --repeats 3 --only toypipe --only bare_step --only tutorial

gpu: $(READY) ## on a machine with a GPU: its tests, an epoch, kill and resume, time to 94 %; nine minutes
	python benchmarks/gpu.py

check: $(READY) ## lint, check the types and the layers of imports
	ruff check
	ruff format --check
	mypy
	lint-imports

docs: $(READY) ## write docs/reference.md, docs/params.schema.json and the README's route from the code
	python docs/generate.py

lock: ## compile the locked requirements again, for all platforms; needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --group dev pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --group integration --constraint requirements.lock \
		--output-file requirements-integration.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header benchmarks/requirements.in --output-file benchmarks/requirements.txt

clean: ## remove the environment and the caches, but no data and no result
	rm -rf $(VENV) $(PEERS) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "toypipe needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	-$(VENV)/bin/python -m stages plots-page
	@touch $@

# It adds to the environment and changes nothing in it, as users do who keep results in S3.
$(S3): $(READY) requirements-integration.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-integration.lock
	@touch $@

$(PEERS)/.ready: benchmarks/requirements.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@
