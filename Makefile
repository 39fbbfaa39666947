# make demo   everything from the bundled prompts to fine-tune splits, then a summary
# make dev    web UI (127.0.0.1:3000) and daemon on the same instance
# make test   lint, types, layers, tests
# make clean  forget everything made (data/), keep the environment

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
# for the demo: prompts per bundled source (empty: all)
SAMPLE ?=

export DAGSTER_HOME := $(CURDIR)
export GX_ANALYTICS_ENABLED := false

.PHONY: demo dev test lint clean constraints

demo: $(VENV)/ready
	@$(BIN)/aidsafe demo $(if $(SAMPLE),--sample $(SAMPLE))

dev: $(VENV)/ready
	@mkdir -p data/dagster
	@echo "The recipe: http://127.0.0.1:$(PORT)/locations/aidsafe_dagster/asset-groups/recipe/lineage"
	@$(BIN)/dagster dev --host 127.0.0.1 --port $(PORT)

test: $(VENV)/ready-dev lint
	@$(BIN)/python -m pytest

lint: $(VENV)/ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:
	rm -rf data

# names, versions and hashes alone: no download address is pinned
constraints: $(VENV)/ready-dev
	$(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -q -o constraints.txt
	$(BIN)/uv pip compile pyproject.toml --group dev -c constraints.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -q -o constraints-dev.txt

$(VENV)/ready: pyproject.toml constraints.txt
	@scripts/install $(PYTHON) $(VENV) constraints.txt
	@touch $@

$(VENV)/ready-dev: pyproject.toml constraints.txt constraints-dev.txt
	@scripts/install $(PYTHON) $(VENV) constraints-dev.txt
	@touch $(VENV)/ready $@
