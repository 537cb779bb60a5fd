"""The machine a process runs on: memory, what the NVIDIA driver says, and what of it stands in each manifest.

Facts are what a figure of speed or a bug report needs, and nothing that names the machine or its owner: no host name,
no user, no serial number or address.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chartdistill.errors import EngineError

GIB = 1 << 30


_OWN, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def ram_bytes(own: Path = _OWN, groups: Path = _GROUPS) -> int:
    """Memory this process may use: the machine's, or that of a control group it is in, if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _limits(own, groups, "memory", ("memory.max", "memory.limit_in_bytes")):
        try:
            limit = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def num_cores(own: Path = _OWN, groups: Path = _GROUPS) -> int:
    """CPU cores this process may use: those it may run on, or as many as a control group it is in has time for, if that
    is less (`docker run --cpus 2` withholds no core, but threads on all of them would stand still most of the time)."""
    cores = len(os.sched_getaffinity(0))
    for path in _limits(own, groups, "cpu", ("cpu.max", "cpu.cfs_quota_us")):
        try:
            quota, *period = path.read_text(encoding="ascii").split()
            each = period[0] if period else path.with_name("cpu.cfs_period_us").read_text(encoding="ascii")
            if quota.isdigit():
                cores = min(cores, max(1, math.ceil(int(quota) / int(each))))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return cores


def _limits(own: Path, groups: Path, controller: str, names: tuple[str, str]) -> Iterator[Path]:
    """Files that may hold a limit: of the groups' root, which is a container's own, then of the groups that a system
    without containers puts a process into (a Slurm job, a systemd unit), from the innermost out.

    Args:
        own: names the process's groups, a line each: number:controllers:path. Version 2 has no controllers.
        groups: where they are mounted.
        names: of the file, in version 2 and in version 1.
    """
    yield groups / names[0]
    yield groups / controller / names[1]
    try:
        lines = own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root, name = (groups / controller, names[1]) if controllers else (groups, names[0])
        folder = root / place.lstrip("/")
        while folder != root and ".." not in folder.parts:
            yield folder / name
            folder = folder.parent


def nvidia_smi(query: str) -> list[list[str]]:
    """The fields of each line that a query gives; empty without a driver or without a card.

    Raises:
        EngineError: nvidia-smi is there and fails: the driver is broken.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        raise EngineError("nvidia-smi does not answer in 60 s: the driver hangs. See `dmesg`, reboot.") from None
    except OSError as error:
        raise EngineError(f"nvidia-smi cannot be started: {error.strerror}. Repair the NVIDIA driver.") from None
    if answer.returncode == 6 or "No devices were found" in answer.stdout:
        return []
    if answer.returncode:
        said = (answer.stdout + answer.stderr).strip().splitlines()
        raise EngineError(f"nvidia-smi fails: {said[0] if said else answer.returncode}. Repair the NVIDIA driver.")
    return [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]


@functools.cache
def machine_facts() -> dict[str, Any]:
    """For manifests: `cpu`, `cores` and `memory_gib` that this process may use, `cards` (name, memory in GiB, driver),
    `os`, `python`."""
    return {
        "cpu": cpu_model(),
        "cores": num_cores(),
        "memory_gib": round(ram_bytes() / GIB, 1),
        "cards": _cards(),
        "os": _system(),
        "python": platform.python_version(),
    }


def cpu_model(table: Path = Path("/proc/cpuinfo")) -> str:
    """The processor as it calls itself; where it does not (ARM), its architecture."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (value for name, _, value in (line.partition(":") for line in lines) if name.strip() == "model name")
    return " ".join(next(named, "").split()) or platform.machine()


def _cards() -> list[dict[str, Any]] | str:
    """Every card of the machine, or why they are not known: a manifest must not fail for it."""
    try:
        rows = nvidia_smi("--query-gpu=name,memory.total,driver_version")
    except EngineError as error:
        return f"not known: {error}"
    return [
        {"name": name, "memory_gib": round(int(mib) / 1024, 1) if mib.isdigit() else None, "driver": driver}
        for name, mib, driver in rows
    ]


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
