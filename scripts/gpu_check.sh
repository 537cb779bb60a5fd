#!/usr/bin/env bash
# Everything that only a GPU can show, in under ten minutes: exactness, speed, memory, NF4.
#   bash scripts/gpu_check.sh [python]        e.g. bash scripts/gpu_check.sh .venv/bin/python
# Needs torch, transformers, peft and accelerate; says what it leaves out where more is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
# The options of training are pydantic classes; without pydantic, classes that check nothing do for this script.
"$python" -c 'import pydantic' 2>/dev/null || export PYTHONPATH=$PWD/scripts/stand_ins:$PYTHONPATH
exec "$python" scripts/gpu_check.py --seconds 560
