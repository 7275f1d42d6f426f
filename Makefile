# Everything sets itself up: a virtual environment in .venv, pinned by constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIPELINE := $(BIN)/pipeline
LAKE := data_lake
PART ?= 1/1
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
# 99 says "nothing new to do", which is no failure.
RUN = ; status=$$?; [ $$status -eq 0 ] || [ $$status -eq 99 ]

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-cluster test-s3 test-gpu faults fuzz check format airflow test-airflow bench bench-smoke screens clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml constraints.txt pipeline/text/_kernels.c pipeline/text/_columns.c pipeline/models/layers/_scan.c pipeline/models/layers/_scan_rows.h pipeline/training/_regions.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(VENV)/.ready  ## create the virtual environment

demo: setup  ## ingest, train, score and report on the embedded lake
	@$(PIPELINE) --lake $(LAKE) sample $(LAKE)/raw --score-input $(LAKE)/incoming/reviews.parquet $(RUN)
	@$(PIPELINE) --lake $(LAKE) ingest $(RUN)
	@$(PIPELINE) --lake $(LAKE) train --arch bilstm --config demo $(RUN)
	@$(PIPELINE) --lake $(LAKE) score $(LAKE)/incoming/reviews.parquet $(RUN)
	@$(PIPELINE) --lake $(LAKE) report --predictions $(LAKE)/predictions/reviews.parquet $(RUN)
	@echo && echo "Five reviews, their label and its probability:"
	@$(PIPELINE) --quiet --lake $(LAKE) score \
		--text "A gripping, tender film. I loved the acting." \
		--text "The plot was not bad at all, and the music is brilliant." \
		--text "Rather flat, with a silly finale." \
		--text "Not funny, not clever: I regretted every minute." \
		--text "The script is elegant, but the pace is awful."
	@echo && echo "The model's page: $(LAKE)/models/$$(cat $(LAKE)/models/LATEST)/report.html"
	@echo "Now yours: $(PIPELINE) --lake my_lake init your.csv"

test: setup  ## run the default tests on all cores: no network, no GPU, no service
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: setup  ## run the long fault and property tests on all cores
	$(BIN)/python -m pytest -m slow --timeout 1800 $(PARALLEL)

$(VENV)/.ray: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	@touch $@

test-cluster: test-s3 $(VENV)/.ray  ## several machines in small: object stores, Ray, and training under two launchers that lose each other
	$(BIN)/python -m pytest -m 'cluster and not slow'

test-s3: setup  ## run the tests of object stores on a local S3 server, with faults
	$(BIN)/python -m pytest -m s3 --timeout 900 $(PARALLEL)

test-gpu: setup  ## run the tests that need a GPU and a CUDA build of torch
	$(BIN)/python -m pytest -m gpu tests/models

faults: setup  ## faults at every file operation, power cuts, flipped bits, seven nights; PART=2/12 for a slice
	FAULTS_PART=$(PART) $(BIN)/python -m pytest -m faults --timeout 3600 -s tests/faults

fuzz: setup  ## ingest 2,000 damaged inputs; prints the exit codes by format
	$(BIN)/python -m tests.fuzz --count 2000

check: setup  ## lint, format, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

airflow:  ## install a real Airflow 3 into a separate environment, .venv-airflow
	PYTHON=$(PYTHON) sh tests/schedule/make_airflow.sh

test-airflow: setup airflow  ## the DAGs in that Airflow: green, skipped, failed at once, killed and retried
	$(BIN)/python -m pytest -m airflow --timeout 900

bench: setup  ## every benchmark at full size; prints the tables of docs/benchmarks.md
	@for script in tests/benchmarks/bench_*.py; do $(BIN)/python -m tests.benchmarks.$$(basename $$script .py) || exit 1; done

bench-smoke: setup  ## the whole harness on small input: agreement and ratios, never speed
	$(BIN)/python -m pytest -m benchmark --timeout 300

screens: setup  ## run the commands in terminals and draw the pictures of docs/terminal.md
	$(BIN)/python -m tests.screens

format: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove everything that was created, including the content of the embedded lake
	rm -rf $(VENV) .venv-airflow .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	git clean -fdXq $(LAKE)
