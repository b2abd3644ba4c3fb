# Everything runs in .venv, which is created from the lock by the first target that needs it.
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

.PHONY: help setup demo export embed train-head score test check format bench bench-scale bench-accuracy bench-heads bench-passes bench-merge bench-precision bench-cluster bench-tune bench-alarms bench-coverage bench-domain bench-exactness bench-forecast bench-latency bench-serve readme tune torture audit lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# An environment with onnxruntime-gpu stays one; the name of the stamp says which one it is.
STAMP := $(VENV)/.installed$(if $(or $(GPU),$(wildcard $(VENV)/.installed-gpu)),-gpu)

setup: $(STAMP) ## Install everything into .venv from the lock (GPU=1 for onnxruntime-gpu)

$(STAMP): requirements/dev.txt requirements/gpu.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "error: expected Python 3.11, 3.12 or 3.13, found " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(if $(filter %-gpu,$@),$(BIN)/python -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu)
	$(if $(filter %-gpu,$@),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/gpu.txt)
	@touch $@

demo: setup ## Run every step on drawn pictures or yours (IMAGES=folder, WEIGHTS=file)
	$(HEADSTART) demo --weights "$(WEIGHTS)" $(if $(IMAGES),--images "$(IMAGES)")

export: setup ## Export a backbone to ONNX (BACKBONE=, WEIGHTS=, MODEL=)
	$(HEADSTART) export --backbone "$(BACKBONE)" --weights "$(WEIGHTS)" -o "$(MODEL)"

embed: setup ## Embed a folder of photos (IMAGES=, MODEL=, STORE=)
	@test -n "$(IMAGES)" || { echo "error: name the photos: make embed IMAGES=folder" >&2; exit 2; }
	@test -f "$(MODEL)" || { echo "error: $(MODEL): no such backbone; create it with: make export" >&2; exit 1; }
	$(HEADSTART) embed "$(IMAGES)" --model "$(MODEL)" -o "$(STORE)"

train-head: setup ## Train a head on a store (STORE=, HEAD=, CLASSIFIER=, REPORT=)
	$(HEADSTART) train "$(STORE)" --head "$(HEAD)" -o "$(CLASSIFIER)" $(if $(REPORT),--report "$(REPORT)")

score: setup ## Classify a folder of photos (IMAGES=, CLASSIFIER=, PREDICTIONS=)
	@test -n "$(IMAGES)" || { echo "error: name the photos: make score IMAGES=folder" >&2; exit 2; }
	$(HEADSTART) score "$(IMAGES)" --classifier "$(CLASSIFIER)" -o "$(PREDICTIONS)"

tune: setup ## Tune the last blocks on a store of tensors, and re-embed it (STORE=, TUNED=)
	$(HEADSTART) tune "$(STORE)" -o "$(TUNED)"
	$(HEADSTART) embed "$(STORE)" --model "$(TUNED)" -o "$(TUNED:.onnx=.h5)"

test: setup ## Run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup ## Check lint, format, types and documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/project/test_docs.py

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Compare Headstart with Keras, onnxruntime and decoding alone (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.speed

bench-scale: setup ## Measure cost and memory at 1,000 and 50,000 images (BENCH_SCALE=)
	$(BIN)/python -m bench.size.scale

bench-accuracy: setup ## Compare heads on fp32, int8 and untrained embeddings (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.quality.accuracy

bench-alarms: setup ## Simulate how many new images of known classes are marked unknown
	$(BIN)/python -m bench.statistics.false_alarms

bench-coverage: setup ## Simulate how often the confidence intervals hold the truth (minutes)
	$(BIN)/python -m bench.statistics.coverage

bench-precision: setup ## Simulate how often class thresholds keep the precision that they promise
	$(BIN)/python -m bench.statistics.precision

bench-domain: setup ## Measure how far kinds of pictures are from ImageNet (BENCH_IMAGES=)
	$(BIN)/python -m bench.quality.domain

bench-exactness: setup ## Compare logistic regression with scikit-learn's solved exactly (BENCH_STORE=, BENCH_ROWS=, BENCH_CLASSES=, BENCH_C=)
	$(BIN)/python -m bench.statistics.exactness

bench-forecast: setup ## Compare forecasts of the learning curve with heads trained on twice the images (BENCH_STORE=)
	$(BIN)/python -m bench.statistics.forecasts

bench-heads: setup ## Measure every head, their search, features, few photos and unknown (BENCH_ONLY=, BENCH_IMAGES=, BENCH_OTHERS=)
	$(BIN)/python -m bench.heads.run

bench-passes: setup ## Measure training in passes over a store larger than memory (BENCH_ROWS=)
	$(BIN)/python -m bench.size.passes

bench-latency: setup ## Time a single photo on one core, fp32 and int8 (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.speed.latency

bench-serve: setup ## Send 1,000 requests to a server, 16 at a time, hostile photos among them (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.speed.serve

bench-merge: setup ## Measure opening and merging ten thousand shards (BENCH_SHARDS=)
	$(BIN)/python -m bench.size.merge

bench-cluster: setup ## Compare the Ray engine with the local one (BENCH_IMAGES=, BENCH_WEIGHTS=)
	$(BIN)/python -m bench.speed.cluster

bench-tune: setup ## Compare a tuned tail with frozen features (BENCH_IMAGES=, BENCH_WEIGHTS=, BENCH_WHOLE=, BENCH_ROWS=)
	$(BIN)/python -m bench.quality.tuning

readme: setup ## Run README's commands and redraw its picture of a report (needs chromium)
	$(BIN)/python -m bench.readme

torture: setup ## Inject every fault at full length (TORTURE_SCALE=0.1 for a tenth)
	$(BIN)/python -m torture

# The audit tools stay out of the environment they audit.
AUDIT := build/audit

audit: ## Check locked packages for known vulnerabilities (needs a network), and write bills of materials
	$(PYTHON) -m venv $(AUDIT)/venv
	$(AUDIT)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	for part in run gpu dev; do $(AUDIT)/venv/bin/cyclonedx-py requirements requirements/$$part.txt --output-reproducible -o $(AUDIT)/$$part.cdx.json || exit 1; done
	for part in run gpu dev; do $(AUDIT)/venv/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/$$part.txt || exit 1; done

lock: ## Update the lock files (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra export --extra heif --extra openvino --extra parquet --extra ray --extra remote --extra report --extra serve --extra sklearn-heads --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c requirements/dev.txt --extra serve pyproject.toml -o requirements/serve.txt
	echo hatchling | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c requirements/dev.txt - -o requirements/build.txt
	sed -n 's/^onnxruntime==\([0-9.]*\).*/onnxruntime-gpu==\1/p' requirements/run.txt | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-deps --no-header --no-annotate --no-emit-index-url --no-emit-find-links - -o requirements/gpu.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group audit -o requirements/audit.txt

clean: ## Delete the virtual environment and the results of the demo
	rm -rf $(VENV) demo build dist
