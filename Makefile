# Everything runs in .venv, which the first target that needs it makes from the lock.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HEADSTART := $(BIN)/headstart

WEIGHTS ?= imagenet
BACKBONE ?= mobilenet_v2
MODEL ?= backbone.onnx
STORE ?= photos.h5
HEAD ?= logreg
CLASSIFIER ?= classifier.onnx
PREDICTIONS ?= predictions.csv
TUNED ?= tuned.onnx

.PHONY: help setup demo export embed train-head score test check format bench bench-scale bench-accuracy bench-heads bench-passes bench-merge bench-cluster bench-tune tune torture audit lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# An environment for GPUs stays one: the stamp's name says which it is.
STAMP := $(VENV)/.installed$(if $(or $(GPU),$(wildcard $(VENV)/.installed-gpu)),-gpu)

setup: $(STAMP) ## Install everything into .venv, from the lock (GPU=1: with onnxruntime-gpu)

$(STAMP): requirements/dev.txt requirements/gpu.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "error: Python 3.11, 3.12 or 3.13 is needed, found " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(if $(filter %-gpu,$@),$(BIN)/python -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu)
	$(if $(filter %-gpu,$@),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/gpu.txt)
	@touch $@

demo: setup ## Go the whole way on drawn pictures (IMAGES=folder: on yours; WEIGHTS=file)
	$(HEADSTART) demo --weights "$(WEIGHTS)" $(if $(IMAGES),--images "$(IMAGES)")

export: setup ## Export a backbone to ONNX, once (BACKBONE=, WEIGHTS=, MODEL=)
	$(HEADSTART) export --backbone "$(BACKBONE)" --weights "$(WEIGHTS)" -o "$(MODEL)"

embed: setup ## Embed a folder of photos (IMAGES=, MODEL=, STORE=)
	@test -n "$(IMAGES)" || { echo "error: say which photos: make embed IMAGES=folder" >&2; exit 2; }
	@test -f "$(MODEL)" || { echo "error: $(MODEL): no such backbone; make it once: make export" >&2; exit 1; }
	$(HEADSTART) embed "$(IMAGES)" --model "$(MODEL)" -o "$(STORE)"

train-head: setup ## Train a head on the embeddings (STORE=, HEAD=, CLASSIFIER=, REPORT=)
	$(HEADSTART) train "$(STORE)" --head "$(HEAD)" -o "$(CLASSIFIER)" $(if $(REPORT),--report "$(REPORT)")

score: setup ## Score a folder of photos (IMAGES=, CLASSIFIER=, PREDICTIONS=)
	@test -n "$(IMAGES)" || { echo "error: say which photos: make score IMAGES=folder" >&2; exit 2; }
	$(HEADSTART) score "$(IMAGES)" --classifier "$(CLASSIFIER)" -o "$(PREDICTIONS)"

tune: setup ## Tune the last blocks on a store of tensors, and embed it with them (STORE=, TUNED=)
	$(HEADSTART) tune "$(STORE)" -o "$(TUNED)"
	$(HEADSTART) embed "$(STORE)" --model "$(TUNED)" -o "$(TUNED:.onnx=.h5)"

test: setup ## Run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure the figures that the README quotes (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench

bench-scale: setup ## Measure cost and memory at 1,000 and 50,000 images (BENCH_SCALE=)
	$(BIN)/python -m bench.scale

bench-accuracy: setup ## Compare heads on fp32, int8 and untrained embeddings (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.accuracy

bench-heads: setup ## Measure heads: search, features, calibration, unknown (BENCH_IMAGES=, BENCH_OTHERS=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.heads

bench-passes: setup ## Measure training by passes over a store that does not fit in memory (BENCH_ROWS=)
	$(BIN)/python -m bench.passes

bench-merge: setup ## Measure opening and merging ten thousand shards (BENCH_SHARDS=)
	$(BIN)/python -m bench.merge

bench-cluster: setup ## Measure the Ray engine beside the local one (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.cluster

bench-tune: setup ## Measure a tuned tail beside frozen features (BENCH_IMAGES=, BENCH_WEIGHTS=, BENCH_WHOLE=, BENCH_ROWS=)
	$(BIN)/python -m bench.tuning

torture: setup ## Break it on purpose, at length (TORTURE_SCALE=0.1: a tenth)
	$(BIN)/python -m torture

# The tools of an audit stay out of the environment that is audited.
AUDIT := build/audit

audit: ## Look up every locked package among known vulnerabilities (needs a network), and write a bill of materials
	$(PYTHON) -m venv $(AUDIT)/venv
	$(AUDIT)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	for part in run gpu dev; do $(AUDIT)/venv/bin/cyclonedx-py requirements requirements/$$part.txt --output-reproducible -o $(AUDIT)/$$part.cdx.json || exit 1; done
	for part in run gpu dev; do $(AUDIT)/venv/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/$$part.txt || exit 1; done

lock: ## Resolve the locked requirements anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra export --extra openvino --extra ray --extra remote --extra report --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	sed -n 's/^onnxruntime==\([0-9.]*\).*/onnxruntime-gpu==\1/p' requirements/run.txt | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-deps --no-header --no-annotate --no-emit-index-url --no-emit-find-links - -o requirements/gpu.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group audit -o requirements/audit.txt

clean: ## Delete the virtual environment and what the demo made
	rm -rf $(VENV) demo build dist
