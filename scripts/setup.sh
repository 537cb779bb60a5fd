#!/usr/bin/env bash
# Make the virtual environment from the lock file that fits the hardware, or bring it up to date. Called by make; by hand:
#   PYTHON=python3.12 VENV=.venv bash scripts/setup.sh
# Without PYTHON the newest supported Python is taken that is here, with its venv, and that all wheels can be had for; an
# environment that is there keeps its Python. TARGET=cpu or TARGET=cuda chooses by hand. BUNDLE=dir installs from a bundle
# (see scripts/bundle.py), with no network. What installs: scripts/environment.py.
set -euo pipefail
cd "$(dirname "$0")/.."
supported="3.13 3.12 3.11"
venv=${VENV:-.venv}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
# Debian and Ubuntu ship ensurepip, without which `venv` fails half-way, in a package of its own.
has_venv() { "$1" -c 'import venv, ensurepip; ensurepip.version()' >/dev/null 2>&1; }
how_to_install() { # VERSION of a Python that is here but for its venv, or nothing
    local release="" packages
    # shellcheck disable=SC1090,SC1091
    release=$(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && echo "${UBUNTU_CODENAME:-${VERSION_CODENAME:-}}") || true
    case $release in
        bookworm) packages="python3.11 python3.11-venv" ;; # Debian 12
        trixie) packages="python3.13 python3.13-venv" ;;   # Debian 13
        jammy) packages="python3.11 python3.11-venv" ;;    # Ubuntu 22.04, in universe; its python3 is 3.10
        noble) packages="python3.12 python3.12-venv" ;;    # Ubuntu 24.04
        *)
            if [ -n "${1:-}" ]; then
                echo "Install the venv module (with ensurepip) of Python $1; on Debian and Ubuntu: sudo apt-get install python$1-venv"
            else
                echo "Install Python ${supported// /, } or, with its venv module" | sed 's/, \([^,]*\) or,/ or \1,/'
            fi
            return
            ;;
    esac
    case " $packages " in *" python${1:-none} "*) packages=python$1-venv ;; esac
    echo "Install it: sudo apt-get install $packages"
}

target=${TARGET:-}
if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
    echo "setup: VENV=$venv is there and is no virtual environment; name another folder, nothing was changed" >&2
    exit 2
fi
# Where there is no network an environment that works must not be thrown away for one that cannot be made.
if [ -z "${BUNDLE:-}" ] && [ -f "$venv/.bundle" ]; then
    BUNDLE=$(cat "$venv/.bundle")
    target=
    for made_for in cpu cuda; do
        if cmp -s "$BUNDLE/requirements-$made_for.lock" "requirements-$made_for.lock"; then target=$made_for; fi
    done
    if [ -z "$target" ]; then
        echo "setup: $venv was installed from the bundle $BUNDLE, which is not there any more, or is of another version;" \
             "nothing was changed. Install with: make install BUNDLE=dir (or remove $venv, to install from the network)" >&2
        exit 2
    fi
fi
if [ -z "$target" ]; then
    if nvidia-smi -L >/dev/null 2>&1; then target=cuda; else target=cpu; fi
fi
[ -f "requirements-$target.lock" ] || {
    echo "setup: TARGET=$target: there is no requirements-$target.lock; allowed are cpu and cuda" >&2
    exit 2
}

pythons=()
if [ -n "${PYTHON:-}" ]; then
    have=$(version_of "$PYTHON") || {
        echo "setup: PYTHON=$PYTHON does not run. Name one of Python ${supported// /, }, or none: then the newest that is" \
             "here is taken." >&2
        exit 2
    }
    case " $supported " in
        *" $have "*) ;;
        *)
            echo "setup: PYTHON=$PYTHON is Python $have; supported are ${supported// /, }. $(how_to_install)" >&2
            exit 2
            ;;
    esac
    has_venv "$PYTHON" || {
        echo "setup: $PYTHON is there without its venv module; nothing was changed. $(how_to_install "$have")" >&2
        exit 2
    }
    pythons=("$PYTHON")
else
    bare=""
    for wanted in $supported; do
        for name in "python$wanted" python3; do
            [ "$(version_of "$name")" = "$wanted" ] || continue
            if has_venv "$name"; then pythons+=("$name"); break; fi
            bare=${bare:-$wanted}
        done
    done
    # One that is there for this target keeps its Python, wherever that came from.
    kept=$(version_of "$venv/bin/python") || kept=none
    if [ -f "$venv/requirements-$target.lock" ]; then
        case " $supported " in *" $kept "*) pythons=("$venv/bin/python") ;; esac
    fi
    if [ ${#pythons[@]} = 0 ]; then
        if [ -n "$bare" ]; then
            echo "setup: Python $bare is there without its venv module; nothing was changed. $(how_to_install "$bare")" >&2
        else
            echo "setup: no Python ${supported// /, } found; nothing was changed. $(how_to_install), or name one:" \
                 "make setup PYTHON=/path/to/python3" >&2
        fi
        exit 2
    fi
fi

for name in "${pythons[@]}"; do
    rc=0
    "$name" scripts/environment.py "$venv" "$target" ${BUNDLE:+--bundle "$BUNDLE"} || rc=$?
    # 4: PyTorch's CPU build cannot be had for this Python; a mirror or a folder of wheels may have that of another.
    [ $rc = 4 ] || exit $rc
done
echo "setup: PyTorch's CPU build is on no index that pip is set to, nor could PyTorch's own be reached. Allow" \
     "download.pytorch.org, or name a folder that has the wheel: PIP_FIND_LINKS=/path make setup" >&2
exit 3
