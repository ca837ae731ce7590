# Everything runs in .venv, which holds what requirements.lock names and this checkout.
# It is made on first use, and again when the lock changes.

PYTHON ?= python3
JOBS ?= 4
ARGS ?=
ONLY ?=
ROUNDS ?= 1
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
AIRFLOW := .airflow
AIRFLOW_PY := $(AIRFLOW)/venv/bin/python
SPARK := .spark

.DEFAULT_GOAL := help
.PHONY: help up down status test test-long mutants explore test-real airflow spark kafka kafka-stop check format bench bench-full screenshots score manifest dictionary \
	lock lock-airflow clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(INSTALLED) ## start the database, the API and Dagster, load the example, print the pages to open
	@$(VENV)/bin/dataforge up

down: $(INSTALLED) ## stop what `make up` started, and only that
	@$(VENV)/bin/dataforge down

status: $(INSTALLED) ## say what runs, where, since when
	@$(VENV)/bin/dataforge status || test $$? -eq 1  # 1 only says that something is stopped

# What was compiled is kept, also where the environment forbids it (images do): each of the processes would compile all tests
# anew, five seconds of a core.
test test-long explore: export PYTHONDONTWRITEBYTECODE =

test: $(INSTALLED) ## run the tests (ARGS="-k name" for some, JOBS=1 for one process)
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

test-long: $(INSTALLED) ## run the tests that take minutes each: races by the thousand, kills by the dozen
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder -m long $(ARGS)

mutants: $(INSTALLED) ## break each rule on purpose in a copy, and see that the tests notice (ONLY=pool for some)
	@$(PY) -m benchmarks.mutation $(if $(ONLY),--only "$(ONLY)")

explore: $(INSTALLED) ## try every property on examples never seen before (ROUNDS=10)
	@for round in $$(seq $(ROUNDS)); do \
		$(PY) -m pytest -q -n $(JOBS) -m "hypothesis and not real" --hypothesis-profile=explore $(ARGS) || exit 1; done

test-real: $(INSTALLED) ## run the tests that need a real scheduler, broker or engine (`make airflow` prepares Airflow)
	@$(PY) -m pytest -n 0 -m real $(ARGS)

airflow: $(AIRFLOW)/.installed ## install Airflow 2.11 into an environment of its own, for `make test-real`
	@echo "Airflow is ready in $(AIRFLOW)/venv"

spark: $(SPARK)/.installed ## install a local Spark 3.5 into an environment of its own, for `make test-real` (needs Java)
	@echo "Spark is ready in $(SPARK)/venv"

kafka: $(INSTALLED) ## fetch a Kafka broker and start it at 127.0.0.1:9092 (`make kafka-stop` ends it)
	@$(PY) -m benchmarks.broker

kafka-stop: $(INSTALLED) ## end the broker that `make kafka` started
	@$(PY) -m benchmarks.broker stop

screenshots: $(INSTALLED) ## drive Dagster's pages in Chromium and keep what was seen in docs/screenshots
	@$(PY) -m pytest -q -n 0 tests/end_to_end/test_pages.py --screenshots docs/screenshots

check: $(INSTALLED) ## check format, lint, types and imports
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## format the code and fix what the linter can
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(INSTALLED) ## run the benchmarks (ONLY=ingest for one group, FACTOR=0.1 for another size)
	@$(PY) -m benchmarks $(ONLY) $(if $(FACTOR),--factor $(FACTOR))

bench-full: $(INSTALLED) ## run them at a hundredth, a tenth and the whole size; goes on where it was stopped
	@$(PY) -m benchmarks --full $(ONLY)

score: $(INSTALLED) ## hold the captured history against what its platforms themselves recorded
	@$(PY) -m benchmarks.truth

manifest: $(INSTALLED) ## make examples/shop/dbt/manifest.json anew, after a change to the dbt project
	@$(PY) -m dataforge_assets.dbt_manifest

dictionary: $(INSTALLED) ## train the compression dictionary of event bodies
	@$(PY) -m dataforge.storage.train_dictionary

# uv is needed for this alone. No index and no host is named in the lock, so that any mirror serves it. Extras stay in
# it: without them pip takes the extra of a package for one that is not pinned, and refuses the whole lock.
lock: | $(PY) ## resolve pyproject.toml anew into requirements.lock
	@$(PY) -m pip install --quiet 'uv>=0.5,<1'
	@$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		--quiet --output-file requirements.lock

# Airflow has a lock of its own: it can share an environment neither with Dagster nor with us.
lock-airflow: | $(PY) ## resolve Airflow 2.11 anew into airflow.lock
	@$(PY) -m pip install --quiet 'uv>=0.5,<1'
	@printf 'apache-airflow==2.11.*\napache-airflow-providers-openlineage\n' | $(VENV)/bin/uv pip compile - --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		--quiet --output-file airflow.lock

clean: ## remove .venv and caches; the state in DATAFORGE_HOME stays
	@if [ -x $(VENV)/bin/dataforge ]; then $(VENV)/bin/dataforge down; fi
	rm -rf $(VENV) $(AIRFLOW) $(SPARK) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml | $(PY)
	@echo "installing requirements.lock into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# An empty database of Airflow's is made once; each run of the tests works on a copy of it.
$(AIRFLOW)/.installed: airflow.lock
	@echo "installing airflow.lock into $(AIRFLOW)/venv"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else \
		f"Airflow 2.11 needs Python 3.11 or 3.12 and $(PYTHON) is {v[0]}.{v[1]}: run make airflow PYTHON=python3.11")'
	@$(PYTHON) -m venv --clear $(AIRFLOW)/venv
	@$(AIRFLOW_PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r airflow.lock
	@rm -rf $(AIRFLOW)/home
	@AIRFLOW_HOME=$(CURDIR)/$(AIRFLOW)/home AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR \
		$(AIRFLOW_PY) -W ignore -m airflow db migrate > $(AIRFLOW)/migrate.log 2>&1 || { cat $(AIRFLOW)/migrate.log; exit 1; }
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
		f"DataForge needs Python 3.11 or newer and $(PYTHON) is {v[0]}.{v[1]}: run make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

# Beside Spark what an application needs to speak with Dagster.
$(SPARK)/.installed:
	@echo "installing Spark into $(SPARK)/venv"
	@$(PYTHON) -m venv --clear $(SPARK)/venv
	@$(SPARK)/venv/bin/python -m pip install --quiet --disable-pip-version-check pyspark==3.5.9 dagster-pipes==1.13.27
	@touch $@
