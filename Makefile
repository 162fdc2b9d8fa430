# pachvault: every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIR ?=
BENCH ?=
PART ?= safety
MINUTES ?= 60
FUZZ_SECONDS ?= 120
LOCKED ?= yes

.DEFAULT_GOAL := help

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sort | awk -F ':.*?## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# pip's own state decides; the stamp only spares asking it again. The product's packages are those of the
# image, so that the tests run with what is shipped; LOCKED=no takes the newest that pyproject.toml allows.
$(VENV)/installed: pyproject.toml pipelines/embedded_pachyderm/pyproject.toml images/runtime.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@if [ $(LOCKED) = yes ]; then sed 's/ --hash=.*//' images/runtime.lock; fi >$(VENV)/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(VENV)/constraints.txt \
	  --editable '.[dev,demo]' --editable pipelines/embedded_pachyderm
	@touch $@

.PHONY: setup
setup: $(VENV)/installed ## make the virtual environment with the project in it

.PHONY: demo
demo: setup ## run the whole backup on the embedded Pachyderm (DIR=path chooses where)
	$(BIN)/pachvault demo $(DIR)

.PHONY: check
check: lint test ## what has to pass: lint, types, layers, tests

.PHONY: lint
lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: test
test: setup ## every test but the slow ones, in parallel
	$(BIN)/pytest -n auto --dist loadgroup -m 'not slow and not soak and not targets' tests

build/servers/installed: tests/targets/servers.mk
	$(MAKE) -f tests/targets/servers.mk
	@touch $@

.PHONY: servers
servers: build/servers/installed ## the object-store servers that tests start, into build/servers (Go and npm)

.PHONY: check-targets
check-targets: setup servers ## every kind of target, on real servers of its protocol
	$(BIN)/pytest -n 2 --dist loadgroup -m targets tests

.PHONY: test-newest
test-newest: ## the tests with the newest packages that pyproject.toml allows, in an environment of their own
	rm -rf .venv-newest
	$(MAKE) test VENV=.venv-newest LOCKED=no

.PHONY: slow
slow: setup ## the slow tests
	$(BIN)/pytest -n auto --dist loadgroup -m slow tests

.PHONY: soak
soak: setup fuzz ## the fuzzer, every fault of every call, then property tests: hours
	$(BIN)/pytest -n auto --timeout 0 -m soak -rP tests/fault
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -n auto --timeout 0 tests/property

$(VENV)/fuzz-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/fuzz-installed ## every parser on hostile bytes, by coverage (FUZZ_SECONDS=300 for each)
	cd tests && ../$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

$(VENV)/mutants-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	@touch $@

.PHONY: mutants
mutants: $(VENV)/mutants-installed ## do the tests notice changed code? (PART=safety|backup|vault|maintenance|restore|all MINUTES=60)
	$(BIN)/python tests/mutants/run.py --part $(PART) --minutes $(MINUTES)

.PHONY: contract
contract: setup ## the contract tests alone; against a real Pachyderm where PACHD_ADDRESS is set
	$(BIN)/pytest tests/contract

$(VENV)/bench-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

.PHONY: bench
bench: $(VENV)/bench-installed ## backups and restores beside restic and rclone, into docs/benchmarks.md
	$(BIN)/python -m bench $(BENCH)

.PHONY: bench-prune
bench-prune: $(VENV)/bench-installed ## a prune of a million blobs beside restic's, into docs/benchmarks.md
	$(BIN)/python -m bench.prune $(BENCH)

.PHONY: bench-curves
bench-curves: $(VENV)/bench-installed ## how cost grows with bytes, files, commits, workers, into docs/benchmarks.md
	$(BIN)/python -m bench.curves $(BENCH)

.PHONY: bench-stages
bench-stages: $(VENV)/bench-installed ## time and memory of each pipeline's stage: what the specs' resources rest on
	$(BIN)/python -m bench.stages

.PHONY: format
format: setup ## rewrite the sources as ruff wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: json-docs
json-docs: setup ## write docs/json.md and docs/json.schema.json again from the classes of results
	$(BIN)/python tests/json_output.py

.PHONY: fidelity
fidelity: setup ## write docs/fidelity.md from docs/fidelity.yaml
	$(BIN)/python tests/protocol/fidelity.py

.PHONY: image
image: ## build the image that the specs name, with docker, podman or buildah
	images/build.sh

$(VENV)/audit-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(VENV)/constraints.txt --editable '.[audit]'
	@touch $@

.PHONY: audit
audit: $(VENV)/audit-installed ## known vulnerabilities of the packages in the image (needs a network)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement images/runtime.lock

.PHONY: lock
lock: setup ## write the image's lock files from pyproject.toml
	$(BIN)/python images/lock.py

.PHONY: clean
clean: ## remove what the targets made
	rm -rf $(VENV) .venv-newest dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
