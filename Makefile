# make demo   compare attentions on example images: which one helps, by how much, at what cost
# make test   all tests;  make check  lint, types, import layers;  make bench  speed and memory
# make docs   the site, in build/docs;  make dist  sdist and wheels, installed and tried in a fresh environment
# Each target creates .venv first. To use another interpreter (3.11 to 3.13): PYTHON=python3.12 make test
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test check bench docs dist clean

setup: $(READY)

$(READY): pyproject.toml $(wildcard native/*.py native/*.toml native/src/*)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' || \
		{ echo "saam needs Python 3.11 or newer; call e.g. 'make PYTHON=python3.12 $(MAKECMDGOALS)'" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[all]' --group dev
	@command -v $(CXX) > /dev/null && $(BIN)/pip install --quiet --no-build-isolation ./native || \
		echo 'the fused operations were not built; saam computes in eager PyTorch' >&2
	@touch $(READY)

demo: $(READY)
	$(BIN)/saam compare --out demo

test: $(READY)
	$(BIN)/pytest -n auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/modules.py
	$(BIN)/python benchmarks/fused.py
	$(BIN)/python benchmarks/export.py

docs: $(READY)
	$(BIN)/sphinx-build -b html -W --keep-going -q docs build/docs

dist: $(READY)
	PYTHON=$(PYTHON) .ci/dist

clean:
	rm -rf .venv demo build dist docs/gallery .mypy_cache .pytest_cache .ruff_cache
