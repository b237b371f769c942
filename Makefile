# make demo: environment, install, the main job, and where its report is.
# make test: environment, install, lint, types, tests.
# make test-slow: the tests that take minutes, such as every module in every format, and examples/.
# make test-devices: the harness on a phone and a board that stand in for real ones (root, and the packages that .ci/run installs).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that test at once, each with whole files of tests.
WORKERS ?= 2
# The interpreter's version is part of the name, so that another PYTHON makes the environment anew.
STAMP := $(VENV)/.installed-$(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')

.PHONY: demo test test-slow test-devices lint clean

demo: $(STAMP)
	$(BIN)/edgedistill run recipes/quickstart.yaml
	@echo "Open runs/quickstart/report.html in a browser."

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile

test-devices: $(STAMP)
	$(BIN)/python -m pytest -rs device_tests/rigs device_tests/test_kit.py device_tests/test_own_runner.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One pip call: a second one could replace torch by another build.
$(STAMP): pyproject.toml constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs .rigs .pytest_cache .ruff_cache .mypy_cache
