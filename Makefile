# `make demo` and `make test` install what they need into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test fast bench nightly oracle style check render clean

help:
	@echo "make demo    serve the digits with the embedded Triton server and classify the held-out ones"
	@echo "make test    the whole test suite"
	@echo "make fast    the tests that start no server"
	@echo "make bench   measure again what benchmarks/ says (three quarters of an hour; wants a quiet machine)"
	@echo "make nightly 100,000 nearly-images for the decoders (COUNT=, SEED=)"
	@echo "make oracle  3,000 made-up repositories: lint against the live server (MUTANTS=, SEEDS=)"
	@echo "make style   ruff and mypy"
	@echo "make check   everything generated is up to date"
	@echo "make render  render specs/ to model_repository/"
	@echo "make clean   remove .venv and build/"

demo:
	@$(PYTHON) scripts/bootstrap.py demo
	@$(BIN)/tritonkit demo

test: .installed
	@mkdir -p build
	@$(BIN)/coverage run -m pytest
	@echo "coverage, branches included: $$($(BIN)/coverage report --format=total) %"

fast: .installed
	@$(BIN)/python -m pytest -m "not server"

bench:
	@$(PYTHON) scripts/bootstrap.py bench
	@$(BIN)/python benchmarks/photos.py
	@$(BIN)/python benchmarks/photos.py --profile
	@$(BIN)/python benchmarks/render.py
	@$(BIN)/python benchmarks/lint.py
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/engines.py
	@$(BIN)/python benchmarks/calibration.py

nightly: .installed
	@$(BIN)/python tests/python_backend/fuzz/decoder_fuzz.py --count $(or $(COUNT),100000) $(if $(SEED),--seed $(SEED))

oracle: .installed
	@$(BIN)/python tests/oracle/run.py --mutants $(or $(MUTANTS),1000) $(or $(addprefix --seed ,$(SEEDS)),--fresh 3) --json build/oracle.json --keep tests/corpus/regressions

style: .installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: .installed
	@$(BIN)/tritonkit schema --check
	@$(BIN)/tritonkit render --check
	@$(BIN)/python docs/generate.py --check

render: .installed
	@$(BIN)/tritonkit render --prune
	@$(BIN)/tritonkit schema --write
	@$(BIN)/python docs/generate.py

.PHONY: .installed
.installed:
	@$(PYTHON) scripts/bootstrap.py test

clean:
	rm -rf .venv build
