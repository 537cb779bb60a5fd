"""`doctor` on cards, though no card is needed: other programs give the answers of machines that have some."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chartdistill.doctor import diagnosis, machine
from chartdistill.doctor.check import Check
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.machine import KNOWN_CARDS, parse_cards
from chartdistill.doctor.model_shape import read_shape
from chartdistill.doctor.surroundings import check_versions
from chartdistill.errors import EngineError
from chartdistill.runtime.machine import GIB
from doctor_run import named, run_with

SMI = """#!/bin/sh
case "$1" in
  *compute-apps*) echo "{pid}, 900, GPU-1"; echo "1, 50, GPU-2" ;;
  *driver_version*) echo "580.82.07" ;;
  *) echo "0, NVIDIA H100 80GB HBM3, 81559, {used}, 9.0, GPU-1"; echo "1, NVIDIA L4, 23034, 10, 8.9, GPU-2" ;;
esac
"""


def test_cards_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No card is needed for this: a program of that name gives the answers of a machine with two.
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI.format(pid=os.getpid(), used=700))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = machine.find_cards()
    assert (first.name, first.capability, first.tflops) == ("NVIDIA H100 80GB HBM3", (9, 0), 989)
    assert second.memory_bytes == 23_034 * machine.MIB
    assert machine.driver_version() == "580.82.07"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [card.name for card in machine.find_cards()] == ["NVIDIA L4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    machine.require_free_cards(0.9, wait_s=0)
    tool.write_text(SMI.format(pid=os.getpid(), used=70_000))
    with pytest.raises(EngineError, match=rf"card 0 .* GiB free.*process {os.getpid()}.*900 MiB.*Nothing was ended"):
        machine.require_free_cards(0.9, wait_s=0)
    with pytest.raises(EngineError) as refused:
        machine.require_free_cards(0.9, wait_s=0)
    assert "process 1 " not in str(refused.value)  # which is on the other card
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert [card.name for card in machine.find_cards()] == ["NVIDIA L4", "NVIDIA H100 80GB HBM3"]
    machine.require_free_cards(0.9, count=1, wait_s=0)  # an engine on the first card does not need the other
    with pytest.raises(EngineError, match=r"card 1 .* GiB free"):
        machine.require_free_cards(0.9, count=2, wait_s=0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    machine.require_free_cards(0.1, wait_s=0)
    _, checks = machine.check_hardware(None, 0.9)
    [free] = [check for check in checks if check.name == "cards are free"]
    assert free.state == "no"
    assert "card 0: 68.4 GiB in use; 90% of each must be free; process" in free.found
    _, checks = machine.check_hardware(None, 0.1)
    [free] = [check for check in checks if check.name == "cards are free"]
    assert free.state == "ok" and "68.4 GiB in use" in free.found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2")
    assert [card.name for card in machine.find_cards()] == ["NVIDIA L4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.find_cards() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.write_text("#!/bin/sh\necho '0, NVIDIA GB10, [N/A], [N/A], 12.1, GPU-3'\n")
    [shared] = machine.find_cards()
    assert (shared.memory_bytes, shared.used_bytes) == (machine.ram_bytes(), 0)
    tool.write_text("#!/bin/sh\necho '0, NVIDIA A10G, 23028, 0, 8.6, GPU-4'\n")
    [other] = machine.find_cards()
    assert other.tflops is None  # another card than the A10
    tool.write_text("#!/bin/sh\necho '0, NVIDIA L4, [Unknown Error], 0, 8.9, GPU-5'\n")
    with pytest.raises(EngineError, match=r"memory of card 0 \(NVIDIA L4\): \[Unknown Error\]"):
        machine.find_cards()
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML' >&2; exit 9\n")
    with pytest.raises(EngineError, match="Failed to initialize NVML"):
        machine.find_cards()


def test_the_cards_are_those_that_cuda_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    # The question is asked in a process of its own; here another program gives the answer of a machine with a card.
    def answer(program: str) -> tuple[list[machine.Card], Check]:
        monkeypatch.setattr(machine, "_ASK_CUDA", program)
        return machine._cuda([KNOWN_CARDS["h100"]])

    def seeing(gib: int) -> str:
        return f"import json; print(json.dumps([['NVIDIA H100 80GB HBM3', {gib} << 30, {gib - 1} << 30, 9, 0]]))"

    cards, check = answer(seeing(79))
    assert (cards, check.state) == ([KNOWN_CARDS["h100"]], "ok")
    [card], check = answer(seeing(40))
    assert (card.memory_bytes, card.used_bytes, card.capability) == (40 * GIB, GIB, (9, 0))
    assert check.state == "warning" and "(40.0 GiB), nvidia-smi lists 1 x NVIDIA H100 80GB HBM3" in check.found
    _, check = answer("raise RuntimeError('No CUDA GPUs are available')")
    assert check.state == "no" and "does not start: RuntimeError: No CUDA GPUs are available" in check.found
    monkeypatch.setattr(machine, "_ASK_CUDA_S", 0.5)
    _, check = answer("import time; time.sleep(60)")
    assert check.state == "no" and "does not start in 0.5 s" in check.found and check.remedy
    monkeypatch.undo()
    _, check = machine._cuda([KNOWN_CARDS["h100"]])  # the question itself; this torch has no card, or no CUDA
    assert torch.cuda.is_available() or (check.state == "no" and "does not start" in check.found)


def test_training_may_have_what_others_left_of_a_card(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(KNOWN_CARDS["h100"], used_bytes=KNOWN_CARDS["h100"].memory_bytes - GIB)
    run = run_with(tmp_path, tiny_model)
    assert named(diagnose(run, [replace(card, used_bytes=0)]), "training memory").state == "ok"
    check = named(diagnose(run, [card]), "training memory")
    assert check.state == "no" and "of 1.0 GiB" in check.found


def test_fsdp_loads_the_student_once_for_each_card(tmp_path: Path, tiny_model: Path) -> None:
    run = run_with(tmp_path, tiny_model, train={"parallel": "fsdp", "dtype": "bfloat16"})
    shape = read_shape(tiny_model)
    one = shape.weight_bytes("bfloat16") or 0
    assert diagnosis.check_host_memory(shape, run.config.train, 8, int(8 * one) + 1).state == "ok"
    refused = diagnosis.check_host_memory(shape, run.config.train, 8, int(8 * one))
    assert refused.state == "no" and "8 processes" in refused.found and "train.parallel: ddp" in refused.remedy


def test_a_leftover_of_ours_is_known_by_command_environment_or_ancestor(tmp_path: Path) -> None:
    def process(pid: int, parent: int, command: bytes, environment: bytes = b"") -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(command)
        (folder / "environ").write_bytes(environment)
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")

    process(10, 1, b"python\0-m\0chartdistill\0label")
    process(11, 10, b"VLLM::EngineCore")
    process(20, 1, b"VLLM::EngineCore", b"A=1\0CHARTDISTILL_ALLOWED_HOSTS=\0")
    process(30, 1, b"python\0other.py", b"A=1\0")
    assert [machine.is_ours(pid, tmp_path) for pid in (10, 11, 20, 30, 40)] == [True, True, True, False, False]


def test_cards_by_name() -> None:
    assert len(parse_cards("h100:8")) == 8
    assert parse_cards("l4") == [KNOWN_CARDS["l4"]]
    for wrong in ("h1000", "h100:0", "h100:x", "h100:\u00b2", "h100:99999999999"):
        with pytest.raises(ValueError, match="give NAME or NAME:COUNT"):
            parse_cards(wrong)


def test_an_environment_for_other_hardware_is_made_anew_and_one_from_a_bundle_stays_until_another_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make setup` alone finds nothing to do: the environment is there."""
    monkeypatch.setattr(machine, "driver_version", lambda: "580.82.07")
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    [check] = machine._driver()
    assert (check.state, check.remedy) == ("no", "run `make clean setup`")
    (tmp_path / ".bundle").write_text("/media/stick/bundle\n")
    [check] = machine._driver()
    assert "/media/stick/bundle" in check.remedy and "`make clean install BUNDLE=dir`" in check.remedy
    versions, _ = check_versions([KNOWN_CARDS["l4"]], planned=False)
    assert versions.remedy == check.remedy


def test_training_is_planned_in_float32_on_a_card_without_bfloat16(tmp_path: Path, tiny_model: Path) -> None:
    run = run_with(tmp_path, tiny_model, train={"dtype": "auto"})
    turing = replace(KNOWN_CARDS["l4"], capability=(7, 5))
    weights = [diagnose(run, [card]).memory["student, training"].parts[0] for card in (KNOWN_CARDS["l4"], turing)]
    assert weights[0].name == "weights" and weights[1].bytes == 2 * weights[0].bytes
