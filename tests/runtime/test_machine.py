"""What a manifest says of the machine: what it is, and not whose."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import time
from pathlib import Path

import pytest

from chartdistill.runtime.machine import cpu_model, machine_facts, num_cores, ram_bytes
from chartdistill.runtime.run_folder import make_folder, write_manifest

SMI = """#!/bin/sh
[ "$1" = --query-gpu=name,memory.total,driver_version ] || exit 1
printf 'NVIDIA L4, 23034, 580.65.06\\nNVIDIA GB10, [N/A], 580.65.06\\n'
"""


def test_every_manifest_has_the_machine_without_a_name_of_it(tmp_path: Path) -> None:
    machine_facts.cache_clear()
    manifest = write_manifest(make_folder(tmp_path / "stage"), "f", time.monotonic(), counts={})
    facts = json.loads((tmp_path / "stage" / "manifest.json").read_text())["machine"]
    assert facts == manifest["machine"]
    assert set(facts) == {"cpu", "cores", "memory_gib", "cards", "os", "python"}
    assert facts["cpu"] and facts["cores"] >= 1 and facts["memory_gib"] > 0.1
    assert facts["python"] == platform.python_version()
    said = json.dumps(facts)
    assert socket.gethostname() not in said
    assert getpass.getuser() == "root" or getpass.getuser() not in said


def test_cards_are_named_with_their_driver_and_a_broken_driver_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for text, cards in (
        (SMI, [{"name": "NVIDIA L4", "memory_gib": 22.5, "driver": "580.65.06"},
               {"name": "NVIDIA GB10", "memory_gib": None, "driver": "580.65.06"}]),
        ("#!/bin/sh\necho 'Failed to initialize NVML'\nexit 255\n", "Failed to initialize NVML"),
        ("#!/nonexistent/shell\n", "nvidia-smi cannot be started: No such file"),
    ):  # fmt: skip
        program.write_text(text)
        program.chmod(0o700)
        machine_facts.cache_clear()
        found = machine_facts()["cards"]
        assert found == cards if isinstance(cards, list) else cards in found
    machine_facts.cache_clear()


def test_a_processor_without_a_name_is_its_architecture(tmp_path: Path) -> None:
    table = tmp_path / "cpuinfo"
    assert cpu_model(table) == platform.machine()
    table.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert cpu_model(table) == platform.machine()
    table.write_text("processor\t: 0\nmodel name\t: A CPU  @ 2.0GHz\nprocessor\t: 1\nmodel name\t: Other\n")
    assert cpu_model(table) == "A CPU @ 2.0GHz"


@pytest.mark.parametrize(
    ("said", "folder", "name"),
    [
        ("0::/system.slice/slurmstepd.scope/job_7/step_0/user\n", "system.slice/slurmstepd.scope/job_7", "memory.max"),
        ("4:cpu,cpuacct:/slurm/job_7\n9:memory:/slurm/job_7/step_0\n", "memory/slurm/job_7", "memory.limit_in_bytes"),
        ("0::/../outside\n", "", "memory.max"),  # the container's own group is the root
    ],
)
def test_the_memory_of_a_job_is_what_its_control_groups_leave_it(
    tmp_path: Path, said: str, folder: str, name: str
) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    (groups / folder).mkdir(parents=True)
    whole = ram_bytes(own, groups)  # neither says anything
    assert whole == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own.write_text(said)
    (groups / folder / name).write_text("max\n" if name == "memory.max" else "9223372036854771712\n")
    assert ram_bytes(own, groups) == whole
    (groups / folder / name).write_text("1073741824\n")
    assert ram_bytes(own, groups) == 1 << 30


@pytest.mark.parametrize(
    ("said", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),  # docker run --cpus 1
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        (
            "0::/user.slice/job\n",
            {"user.slice/job/cpu.max": "max 100000\n", "user.slice/cpu.max": "100000 100000\n"},
            1,
        ),
        ("2:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 1),
        ("2:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 8),
        ("0::/\n", {"cpu.max": "900000 100000\n"}, 8),
    ],
)
def test_cores_are_those_that_a_control_group_has_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    assert num_cores(own, groups) == 8
    own.write_text(said)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    assert num_cores(own, groups) == cores
