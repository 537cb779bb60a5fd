# The CUDA installation in a container that needs no network, no root and no writable root file system.
#   docker build -t chartdistill .                                   (on a machine with network)
#   mkdir -p runs cache                                              (or Docker makes them, for root alone)
#   docker run --rm --gpus all --network none --read-only --tmpfs /tmp:exec --ipc=host --user "$(id -u):$(id -g)" \
#       -v "$PWD/charts:/charts:ro" -v "$PWD/models:/app/models:ro" -v "$PWD/runs:/app/runs" \
#       -v "$PWD/cache:/cache" -e VLLM_CACHE_ROOT=/cache/vllm -e TRITON_CACHE_DIR=/cache/triton \
#       chartdistill run configs/gpu-80gb.yaml --records /charts --run-dir runs/mine
# Before it the same with `doctor` for `run`: will it go? The models are folders such as models/Qwen3-1.7B, as `hf
# download --local-dir` and bundles have them; mount a bundle's own `models`, since links lead out of the container. Carry
# the image to an air-gapped machine with `docker save chartdistill | gzip`. Not built or run by our CI, which has no CUDA
# card and no Docker. In /cache the kernels stay that an engine's start compiles; without it each start does so again.
# The driver comes from the host; torch and vLLM bring CUDA's libraries in their wheels; Triton and DeepGEMM (for FP8
# weights on Hopper) compile kernels for the card at hand when they start, the second with nvcc, hence this base.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

ENV DEBIAN_FRONTEND=noninteractive
# Ubuntu keeps only the newest build of a package, so that a pinned version would soon not be found.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.12 python3.12-dev python3.12-venv gcc g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
# The environment first: it changes only when the lock does.
COPY requirements-cuda.lock /app/
RUN python3.12 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
        -r requirements-cuda.lock
COPY pyproject.toml README.md LICENSE /app/
COPY src /app/src
COPY configs /app/configs
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --create-home --uid 10001 chartdistill \
    && mkdir /app/runs && chown chartdistill /app/runs && chmod -R a+rX /app

# Whoever it runs as (--user), caches go to the tmpfs, and nothing is asked of any hub.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp XDG_CACHE_HOME=/tmp/cache TRITON_CACHE_DIR=/tmp/triton \
    VLLM_CACHE_ROOT=/tmp/vllm HF_HOME=/tmp/hf HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["chartdistill"]
CMD ["--help"]
