# Everything happens in .venv/; each target sets up what it needs and repeats cheaply.
PYTHON ?= python3
BIN := .venv/bin
TFLITE := .venv/agents/tflite-runtime
PROJECTS := pyproject.toml converters/pyproject.toml device/pyproject.toml

# tflite-runtime has wheels up to Python 3.11; where there is none, its tests are left out.
OLD_PYTHON := $(shell for p in $(PYTHON) python3.11 python3.10; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' \
	2>/dev/null && echo $$p && break; done)

# scikit-build-core's import hook goes before PYTHONPATH; the path beside it is enough.
PLAIN_PATH = sed -i '/^import /d' $(1)/lib/python3*/site-packages/_editable_skbc_edgekit_device.pth

.PHONY: help demo test quick check wheels clean
help:
	@echo "make demo    the whole way on handwritten digits, in minutes"
	@echo "make test    linters, type checker and all tests"
	@echo "make quick   the tests that take seconds"
	@echo "make check   linters and type checker alone"
	@echo "make wheels  the three distributions, into dist/, and the agent's source for boards"
	@echo "make clean   remove .venv/ and dist/"

demo: .venv/ready
	$(BIN)/edgekit demo

# Side by side, a file at a time: what a module's tests share is made once.
test: check .venv/ready $(if $(OLD_PYTHON),$(TFLITE)/ready)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 25
	$(if $(OLD_PYTHON),$(TFLITE)/bin/python -m pytest tests/device)

quick: .venv/ready
	$(BIN)/python -m pytest -m "not slow"

check: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

wheels: .venv/ready
	rm -rf dist
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --sdist --outdir dist device
	for project in device converters .; do PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --wheel --outdir dist $$project || exit; done

.venv/ready: $(PROJECTS) constraints.txt device/CMakeLists.txt $(wildcard device/native/*)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "EdgeKit needs Python 3.10 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q -e './device[litert]' -e ./converters -e '.[dev]'
	$(call PLAIN_PATH,.venv)
	touch $@

$(TFLITE)/ready: device/pyproject.toml constraints-tflite-runtime.txt | .venv/ready
	$(OLD_PYTHON) -m venv $(TFLITE)
	PIP_CONSTRAINT=constraints-tflite-runtime.txt $(TFLITE)/bin/python -m pip install -q \
		-e './device[tflite-runtime]' pytest hypothesis
	$(call PLAIN_PATH,$(TFLITE))
	touch $@

clean:
	rm -rf .venv dist
