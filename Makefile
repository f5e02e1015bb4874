# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
# Many tests wait for processes that they started: as many at once as there are cores.
AT_ONCE ?= -n auto --maxprocesses 4 --dist worksteal

.PHONY: install demo test check gpu-test clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about two minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: install
	$(BIN)/slipstream train examples/style.yaml --fresh
	@echo
	@echo "Your LoRA, previews and report are in runs/foxy_style/ (open runs/foxy_style/report.html)."

test: install
	$(BIN)/python -m pytest $(AT_ONCE)

check: install
	$(BIN)/ruff format --check src tests recipes examples benchmarks
	$(BIN)/ruff check src tests recipes examples benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

gpu-test: install
	$(BIN)/python -m pytest tests/gpu

clean:
	rm -rf $(VENV) build dist src/*.egg-info
