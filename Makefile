# `make demo` and `make test` install what they need into .venv first.
PYTHON ?= python3
BIN := .venv/bin
# Tests that run at once: twice the cores of a small machine, since many wait for servers. By file, in order.
WORKERS ?= 4
AT_ONCE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo sweep test test-cluster fast coverage bench nightly oracle style check render clean

help:
	@echo "make demo    serve the digits with the embedded Triton server, classify the held-out ones, sweep for a minute"
	@echo "make sweep   the queue delay against p99, of digits and photos (a quarter of an hour; wants a quiet machine)"
	@echo "make test    the whole test suite but for the cluster's (WORKERS=)"
	@echo "make test-cluster  the tests of Kubernetes and of images, in two processes"
	@echo "make fast    the tests that start no server"
	@echo "make coverage  the whole test suite one by one, and how much of the code it reaches (three quarters of an hour)"
	@echo "make bench   measure again what benchmarks/ says (three and a half hours; wants haproxy and a quiet machine)"
	@echo "make nightly 100,000 nearly-images for the decoders (COUNT=, SEED=)"
	@echo "make oracle  3,000 made-up repositories: lint against the live server (MUTANTS=, SEEDS=)"
	@echo "make style   ruff and mypy"
	@echo "make check   everything generated is up to date"
	@echo "make render  render specs/ to model_repository/"
	@echo "make clean   remove .venv, .venv-numpy2 and build/"

demo:
	@$(PYTHON) scripts/bootstrap.py demo
	@$(BIN)/tritonkit demo

sweep:
	@$(PYTHON) scripts/bootstrap.py sweep
	-@$(BIN)/tritonkit load sweep specs/digits.yaml --over max_queue_delay_us=0:10000
	@$(BIN)/tritonkit load sweep specs/photos.yaml --over max_queue_delay_us=0:20000

# Those that need the machine to themselves come one by one, after the others. All are run, whatever fails.
test: .installed
	@mkdir -p build
	@status=0; \
	$(BIN)/python scripts/tests_at_once.py $(AT_ONCE) -m "not alone and not cluster" || status=1; \
	$(BIN)/python -m pytest -m "alone and not cluster" || status=1; \
	$(BIN)/python scripts/with_numpy_2.py $(AT_ONCE) || status=1; \
	exit $$status

test-cluster: .installed
	@$(BIN)/python -m scripts.cluster_tools >/dev/null
	@$(BIN)/python scripts/cluster_at_once.py

fast: .installed
	@status=0; \
	$(BIN)/python scripts/tests_at_once.py $(AT_ONCE) -m "not server and not alone and not cluster" || status=1; \
	$(BIN)/python -m pytest -m "alone and not server and not cluster" || status=1; \
	exit $$status

coverage: .installed
	@mkdir -p build
	@$(BIN)/coverage run -m pytest -m "not cluster"
	@echo "coverage, branches included: $$($(BIN)/coverage report --format=total) %"

bench:
	@$(PYTHON) scripts/bootstrap.py bench
	@$(BIN)/python benchmarks/photos.py
	@$(BIN)/python benchmarks/photos.py --profile
	@$(BIN)/python benchmarks/render.py
	@$(BIN)/python benchmarks/lint.py
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/engines.py
	@$(BIN)/python benchmarks/calibration.py
	@$(BIN)/python benchmarks/layouts.py
	@$(BIN)/python benchmarks/load_generator.py
	@$(BIN)/python benchmarks/verdicts.py
	@$(BIN)/python benchmarks/sweep_cost.py --seeds 20 --grid-seeds 6
	@$(BIN)/python benchmarks/load_report.py
	@$(BIN)/python benchmarks/reliability.py

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
	@$(BIN)/python docs/examples.py --check
	@$(BIN)/python benchmarks/gpu_code.py --check

render: .installed
	@$(BIN)/tritonkit render --prune
	@$(BIN)/tritonkit schema --write
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/examples.py
	@$(BIN)/python benchmarks/gpu_code.py

.PHONY: .installed
.installed:
	@$(PYTHON) scripts/bootstrap.py test

clean:
	rm -rf .venv .venv-numpy2 build
