# make distill            the main job: the demo on a CPU box, configs/gpu-*.yaml on a CUDA box
# make distill CONFIG=configs/demo.yaml RECORDS=path/to/charts RUN_DIR=runs/mine
# make test               the tests (sets up first if needed)
# make check              format, lint, types, structure
# make demo-models        train the embedded models again from scratch (about 70 minutes on 2 cores)

PYTHON ?= python3.11
VENV   ?= .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
RUN_ARGS = $(if $(RECORDS),--records $(RECORDS)) \
           $(if $(RUN_DIR),--run-dir $(RUN_DIR),$(if $(RECORDS),--run-dir runs/$(notdir $(patsubst %/,%,$(RECORDS)))))

.PHONY: distill test check setup demo-models clean

distill: $(READY)
	@config="$(CONFIG)"; [ -n "$$config" ] || config=$$($(PY) scripts/pick_config.py) || exit $$?; \
	exec $(PY) -m chartdistill run "$$config" $(RUN_ARGS)

test: $(READY)
	$(PY) -m pytest

check: $(READY)
	$(PY) -m ruff format --check src tests scripts
	$(PY) -m ruff check src tests scripts
	$(PY) -m mypy
	$(PY) -m pytest tests/test_structure.py

setup: $(READY)

$(READY): requirements-cpu.lock requirements-cuda.txt pyproject.toml scripts/setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) bash scripts/setup.sh

demo-models: $(READY)
	$(PY) scripts/train_demo_models.py tokenizer
	$(PY) scripts/train_demo_models.py teacher --minutes 68 --threads 1 & \
	$(PY) scripts/train_demo_models.py student --minutes 68 --threads 1 & wait

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
