# Two commands are all a user needs: `make demo` and `make test`. Everything else is for people who change the code.
SHELL := bash
BIN := .venv/bin
SOURCES := protocol hsm authenticator bridge server src/fidoloop tests bench manual deploy fuzz examples

# Kept, whatever the environment says: tests start the commands thousands of times, which else are compiled each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all check lint unit fuzz fuzz-short bench performance format docs diagrams site lock audit sbom setup-demo setup-test clean

demo: setup-demo
	@$(BIN)/fidoloop demo

test: setup-test check unit

check: lint

lint:
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy -p fidoloop
	$(BIN)/mypy bench manual deploy tests fuzz
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m manual --check

# Two more than the cores that CI has: tests wait for the processes that they start.
unit:
	$(BIN)/pytest -n 4 --dist loadgroup

# What takes too long for every day: formats fuzzed; the server's tests once more, on PostgreSQL; faults under load, most
# pages in a browser, every model, the tutorial, typed, and what else tests/conftest.py names; known advisories, which
# fail it, and a service out of reach, which does not.
test-all: test fuzz-short build/audit/.stamp
	$(BIN)/pytest tests/server -n 3 --dist loadgroup --store postgresql
	$(BIN)/pytest --long -n 2 --dist loadgroup
	@build/audit/bin/python scripts/audit.py || [ $$? = 4 ]

# Both take TARGET="tlv dpop" (all where it is left out); TIME is seconds for each. docs/fuzzing.md tells more.
fuzz: setup-test
	$(BIN)/python -m fuzz --time $(or $(TIME),300) $(TARGET)

# The same inputs each time, or nearly: what it finds is new with the code.
fuzz-short: setup-test
	$(BIN)/python -m fuzz --seed 1 --runs $(or $(RUNS),20000) --time 120 $(TARGET)

bench: setup-test
	@mkdir -p build
	@$(BIN)/python -m bench

# Measures again and writes the tables of docs/performance.md. On a machine that does nothing else.
performance: setup-test
	-$(BIN)/python -m bench
	$(BIN)/python -m bench.profiles >/dev/null
	$(BIN)/python -m bench.report

format:
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Writes the pages of docs/ that come from the code.
docs: setup-demo
	$(BIN)/python -m manual

# Runs the loop and draws what travelled: docs/diagrams/.
diagrams: setup-demo
	$(BIN)/python -m manual.diagrams

# The manual as a site that works offline: build/site/index.html. A warning is an error.
site: setup-demo
	$(BIN)/sphinx-build -q -W --keep-going -n -b html docs build/site

# Needs uv (pip install uv). Universal: one file for every Python from 3.11 on.
lock:
	uv pip compile pyproject.toml --group dev --group docs --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.lock
	uv pip compile pyproject.toml --group build --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o deploy/requirements.lock

# What is known against the locked packages: exits 4, and says so, where no advisory service can be reached.
audit: build/audit/.stamp
	@build/audit/bin/python scripts/audit.py

# The locked packages as a CycloneDX bill of materials: build/sbom.json.
sbom: build/audit/.stamp
	build/audit/bin/cyclonedx-py requirements requirements.lock --output-reproducible -o build/sbom.json

# Apart from .venv: they look at what fidoloop needs, and are none of it.
build/audit/.stamp: Makefile
	python3 -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit==2.10.1 cyclonedx-bom==7.5.0
	@touch $@

setup-demo:
	@scripts/setup demo

setup-test:
	@scripts/setup test

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis
