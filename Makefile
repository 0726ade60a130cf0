PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= study,test
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEVICE ?= cuda
FOUND  := dmn-lstm-sharpe,quantnet-shared
# Small networks lose on two threads; parallelism is over processes.
export OMP_NUM_THREADS ?= 1

.PHONY: run test slow benchmark gpu lock clean

run: $(STAMP)      # the main job; ARGS="--quick", ARGS="--panel DIR --costs 0,2,10", ...
	$(BIN)/qn run $(ARGS)

test: $(STAMP)     # style, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 $(ARGS)

slow: $(STAMP)     # the long studies that test leaves out
	$(BIN)/python -m pytest -q -s -m slow $(ARGS)

benchmark: $(STAMP) # the open benchmark of the embedded panel anew, under 25 minutes on two cores; it is committed
	$(BIN)/qn benchmark --suite small --publish experiments/open_benchmark/results $(ARGS)

gpu: $(STAMP)      # what a card trains in a second, and whether it finds what the CPU does; DEVICE=cpu: a dry run
	$(BIN)/python -m experiments.benchmarks.device --device $(DEVICE) --out gpu-benchmark.json $(ARGS)
	$(BIN)/qn probes --agents $(FOUND) --probes trend,reversal,noise --seeds 5 --device $(DEVICE) $(ARGS)
	$(BIN)/qn probes --agents $(FOUND) --probes trend,reversal,noise --seeds 5 --device cpu $(ARGS)
	$(BIN)/qn paper dmn --device $(DEVICE) --out studies/dmn-gpu $(ARGS)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]" $(PIP_ARGS)
	@touch $@

lock:              # new constraints.txt: newest versions that pyproject.toml allows, torch held
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -q "torch==2.13.0" -e ".[dev]"
	.venv-lock/bin/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+[a-z0-9.]+/\1/; s/ @ .*//' > constraints.txt
	rm -rf .venv-lock

clean:
	rm -rf $(VENV)
