"""`doctor`: go where all is well, no-go with place and remedy where it is not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import Run, load_run
from chartdistill.doctor import Diagnosis, diagnose, diagnosis, machine, show
from chartdistill.doctor.check import Check
from chartdistill.doctor.machine import GIB, KNOWN_CARDS
from chartdistill.doctor.model_shape import read_shape
from chartdistill.doctor.page import in_words
from chartdistill.doctor.surroundings import check_compiler, check_modes, check_offline, check_ports, check_versions
from chartdistill.doctor.weights import known_hashes, wrong_files
from chartdistill.errors import EngineError
from chartdistill.model_folder import licence

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pick_config  # noqa: E402  (a script beside the package)


def run_with(tmp_path: Path, model: Path, **changes: Any) -> Run:
    """The demo's config with another model, a few charts, and a run folder of its own."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text(encoding="utf-8"))
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    values["records"] = [{"type": "synthetic", "count": 3}]
    values["run_dir"] = str(tmp_path / "run")
    for role in ("teacher", "student"):
        values[role]["model"] = str(model)
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_run(path)


def named(found: Diagnosis, name: str) -> Check:
    [check] = [check for check in found.checks if check.name == name]
    return check


def test_a_sound_machine_and_model_is_a_go(tmp_path: Path, tiny_model: Path) -> None:
    found = diagnose(run_with(tmp_path, tiny_model))
    assert found.go, [check for check in found.checks if check.state == "no"]
    assert set(found.memory) == {"teacher, engine", "student, engine", "student, training"}
    assert "3 charts of" in named(found, "charts").found
    assert named(found, "teacher licence").state == "warning"
    text = show(found, Path("config.yaml"))
    assert text.endswith("GO")
    assert "charts of" in text
    assert show(found, Path("config.yaml"), brief=True).splitlines()[-1] == "GO"
    assert "charts of" not in show(found, Path("config.yaml"), brief=True)
    assert max(map(len, text.splitlines())) <= 120
    assert "HF_HUB_OFFLINE=1" in text  # each switch, by name
    said = json.loads(found.as_json())
    assert said["go"] is True
    assert said["offline_switches"]["HF_HUB_OFFLINE"] == "1"
    assert said["memory"]["student, training"]["bytes"] > 0
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_is_a_no_go_with_a_remedy(tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    changes = {"engine": {"type": "vllm", "tensor_parallel_size": 3}}
    run = run_with(tmp_path, broken, student={"model": str(tiny_model), **changes},
                   records=[{"type": "folder", "path": str(tmp_path / "nowhere")}])  # fmt: skip
    found = diagnose(run, [KNOWN_CARDS["l4"]])
    assert not found.go
    assert "it was cut off" in named(found, "teacher weights").found
    assert named(found, "student cards") == Check(
        "student cards", "no", "tensor_parallel_size 3, 1 found", "lower it, or add cards"
    )
    assert "nowhere does not exist" in named(found, "charts").found
    assert "assumed" in named(found, "amount of work").found
    assert "NO-GO: 1 thing to put right" in show(found, Path("c"))
    assert all(check.remedy for check in found.checks if check.state == "no")


@pytest.mark.parametrize(("config", "cards"), [("gpu-24gb", "rtx-4090"), ("gpu-80gb", "h100"), ("node-8gpu", "h100:8"),
                                               ("endpoint", "h100")])  # fmt: skip
def test_a_shipped_config_fits_the_hardware_it_names_and_says_what_it_takes(config: str, cards: str) -> None:
    path = ROOT / f"configs/{config}.yaml"
    found = diagnose(load_run(path), machine.parse_cards(cards))
    assert found.go, [check for check in found.checks if check.state == "no"]
    assert show(found, path).endswith("GO, by plan: what is marked `look` must be there first")
    # The head of the file has the plan's own figures, in its own words; so has the table of configs.
    head = " ".join(path.read_text(encoding="utf-8").split("name:")[0].replace("#", " ").split())
    assert f"--cards {cards}" in head
    training = f"{found.memory['student, training'].bytes / GIB:.1f} GiB"
    assert f"training {training}" in head
    [row] = [line for line in (ROOT / "configs/README.md").read_text(encoding="utf-8").splitlines() if config in line]
    assert training in row
    for verb, time in found.time.items():
        number, unit = in_words(time.likely_s).split()
        assert f"{verb} {number} {unit}" in head
        assert f"{number} {unit}" in row
    if (teacher := found.memory.get("teacher, engine")) is not None:
        assert f"teacher {teacher.parts[0].bytes / GIB:.1f} GiB of weights" in head
        assert f"the rest of {teacher.bytes / GIB:.1f} GiB is KV cache for {teacher.records_at_once} charts" in head
        assert f"{teacher.bytes / GIB:.1f} / {training}" in row


def test_the_table_has_the_plan_of_the_demo_too() -> None:
    found = diagnose(load_run(ROOT / "configs/demo.yaml"), [])
    engine, training = (f"{found.memory[name].bytes / GIB:.1f}" for name in ("teacher, engine", "student, training"))
    assert f"| {engine} / {training} GiB, of the machine's |" in (ROOT / "configs/README.md").read_text(
        encoding="utf-8"
    )


def test_what_fsdp_would_take_is_said_where_it_is_not_used() -> None:
    path = ROOT / "configs/node-8gpu.yaml"
    run = load_run(path)
    assert run.config.train.parallel == "ddp"
    sharded = run.config.model_copy(update={"train": run.config.train.model_copy(update={"parallel": "fsdp"})})
    run.config = sharded
    needed = diagnose(run, machine.parse_cards("h100:8")).memory["student, training"]
    assert f"would take {needed.bytes / GIB:.1f} GiB" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "cards", "label", "train"),
    [("gpu-24gb", "l4", "L4 {}", "L4 {}"), ("gpu-24gb", "a10", "A10 {}", "A10 {}"),
     ("gpu-24gb", "rtx-3090", "RTX 3090 {}", "RTX 3090 {}"), ("gpu-80gb", "a100-80", "A100 {}", "A100 {}")],
)  # fmt: skip
def test_the_times_on_other_cards_that_a_config_names_are_the_plans(
    config: str, cards: str, label: str, train: str
) -> None:
    path = ROOT / f"configs/{config}.yaml"
    found = diagnose(load_run(path), machine.parse_cards(cards))
    assert found.go
    head = " ".join(path.read_text(encoding="utf-8").split("name:")[0].replace("#", " ").split())
    for verb, said in (("label", label), ("train", train)):
        number, unit = in_words(found.time[verb].likely_s).split()
        assert unit == "min"
        assert re.search(rf"{verb} [^();]*\([^()]*{said.format(number)}\b", head), (verb, number)


def test_a_card_that_is_too_small_is_a_no_go() -> None:
    found = diagnose(load_run(ROOT / "configs/gpu-80gb.yaml"), [KNOWN_CARDS["l4"]])
    assert not found.go
    assert "vLLM will not start" in named(found, "teacher engine memory").found
    old = diagnose(load_run(ROOT / "configs/gpu-24gb.yaml"), [KNOWN_CARDS["rtx-3090"]])
    assert "without FP8's speed" in named(old, "teacher precision").remedy


def test_damaged_files_are_found_by_the_hashes_of_the_download(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/abc"
    blobs.mkdir(), snapshot.mkdir(parents=True)
    large, small = b"weights" * 1000, b'{"a": 1}'
    digests = {
        "model.safetensors": (hashlib.sha256(large).hexdigest(), large),
        "config.json": (hashlib.sha1(b"blob 8\0" + small).hexdigest(), small),
    }
    for name, (digest, content) in digests.items():
        (blobs / digest).write_bytes(content)
        (snapshot / name).symlink_to(blobs / digest)
    assert len(known_hashes(snapshot)) == 2
    assert list(wrong_files(known_hashes(snapshot))) == []
    (blobs / digests["model.safetensors"][0]).write_bytes(large[:-1] + b"x")
    assert [path.name for path in wrong_files(known_hashes(snapshot))] == ["model.safetensors"]
    # hf download --local-dir leaves the hash beside plain files.
    plain = tmp_path / "plain"
    notes = plain / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    (plain / "config.json").write_bytes(small)
    (notes / "config.json.metadata").write_text(f"commit\n{digests['config.json'][0]}\n1.0\n")
    assert list(wrong_files(known_hashes(plain))) == []


def test_licences_of_model_folders(tmp_path: Path) -> None:
    assert licence(tmp_path) is None
    (tmp_path / "LICENSE").write_text("\n   Apache License\n   Version 2.0, January 2004\n")
    assert licence(tmp_path) == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: some-other\n---\n# Model\n")
    assert licence(tmp_path) == "some-other"


def test_a_run_folder_that_others_can_read(tmp_path: Path, tiny_model: Path) -> None:
    run = run_with(tmp_path, tiny_model)
    run.dir.mkdir(mode=0o700)
    (run.dir / "records.jsonl").touch(mode=0o600)
    assert [check.state for check in check_modes(run)] == ["ok"]
    (run.dir / "records.jsonl").chmod(0o644)
    [check] = check_modes(run)
    assert check.state == "no"
    assert check.remedy.startswith("chmod")


def test_the_guard_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {check.name: check.state for check in check_offline([])}
    assert states["socket guard"] == "ok"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    [switches] = [check for check in check_offline([]) if check.name == "offline switches"]
    assert "HF_HUB_OFFLINE=0" in switches.found
    [hosts] = [check for check in check_offline(["gpu.example"]) if check.name == "allowed hosts"]
    assert hosts.state == "warning"


def test_a_guard_that_children_do_not_have_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    [guard] = [check for check in check_offline([]) if check.name == "socket guard"]
    assert guard.found.endswith("in this process and in a child")
    monkeypatch.delenv("CHARTDISTILL_ALLOWED_HOSTS")  # by which children know that they are to have it
    [guard] = [check for check in check_offline([]) if check.name == "socket guard"]
    assert guard.state == "no"
    assert "attempted in a child" in guard.found


def test_an_endpoint_must_be_up_and_allowed(tmp_path: Path, tiny_model: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        up = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        run = run_with(tmp_path, tiny_model, teacher={"engine": {"type": "openai", "urls": [up]}})
        [check] = [check for check in check_ports(run) if check.name == "teacher endpoint"]
        assert check.state == "ok"
    [check] = [check for check in check_ports(run) if check.name == "teacher endpoint"]
    assert check.state == "no"
    [check] = [check for check in check_ports(run, planned=True) if check.name == "teacher endpoint"]
    assert check.state == "warning"  # another machine may have it
    away = {"engine": {"type": "openai", "urls": ["http://192.0.2.1:8000/v1"]}}
    run = run_with(tmp_path, tiny_model, teacher=away)
    [check] = [check for check in check_ports(run) if check.name == "teacher endpoint"]
    assert "allowed_hosts: [192.0.2.1]" in check.remedy


def test_what_an_endpoint_cannot_bring_must_be_here(tmp_path: Path, tiny_model: Path) -> None:
    served = {"engine": {"type": "openai", "urls": ["http://127.0.0.1:9/v1"]}}
    found = diagnose(run_with(tmp_path, tiny_model, teacher={**served, "model": "Some/Teacher"}, student=served))
    tokenizer = named(found, "teacher tokenizer")
    assert tokenizer.state == "no"
    assert "--include '*.json' --local-dir models/Teacher" in tokenizer.remedy
    student = named(found, "student weights")
    assert student.state == "no"
    assert "cannot be given the adapter" in student.found
    found = diagnose(run_with(tmp_path, tiny_model, teacher=served))
    assert named(found, "teacher tokenizer").found == str(tiny_model)
    assert named(found, "vocabulary").state == "ok"


def test_versions_are_those_asked_for() -> None:
    [check] = check_versions([], planned=False)
    assert check.state == "ok", check.found
    versions, _ = check_versions([KNOWN_CARDS["l4"]], planned=False)
    assert "not vLLM's CUDA build" in versions.found


def test_a_card_needs_a_compiler_and_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_compiler(tmp_path)
    assert check.state == "no"
    assert "a C compiler (gcc or clang) and" in check.found and f"{tmp_path}/Python.h missing" in check.found
    assert re.fullmatch(r"apt-get install gcc python3\.1\d-dev", check.remedy)
    (tmp_path / "Python.h").touch()
    (tmp_path / "gcc").touch(mode=0o755)
    assert check_compiler(tmp_path).state == "ok"


SMI = """#!/bin/sh
case "$1" in
  *compute-apps*) echo "{pid}, 900" ;;
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
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML' >&2; exit 9\n")
    with pytest.raises(EngineError, match="Failed to initialize NVML"):
        machine.find_cards()


@pytest.mark.parametrize(
    ("cards", "config"),
    [("", "demo"), ("l4", "gpu-24gb"), ("rtx-4090:2", "gpu-24gb"), ("a100-40", "gpu-24gb"), ("a100-80", "gpu-80gb"),
     ("h100:7", "gpu-80gb"), ("h100:8", "node-8gpu")],
)  # fmt: skip
def test_make_distill_picks_the_config_of_the_smallest_card(cards: str, config: str) -> None:
    found = machine.parse_cards(cards) if cards else []
    assert pick_config.pick(found)[0] == f"configs/{config}.yaml"
    assert (ROOT / f"configs/{config}.yaml").is_file()
    if found:
        small = machine.Card("small", 8 * GIB)
        assert pick_config.pick([*found, small])[0] == "configs/demo.yaml"


def test_fsdp_loads_the_student_once_for_each_card(tmp_path: Path, tiny_model: Path) -> None:
    run = run_with(tmp_path, tiny_model, train={"parallel": "fsdp"})
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


def test_the_command_says_it_with_its_exit_code() -> None:
    command = [sys.executable, "-m", "chartdistill", "doctor", "configs/gpu-80gb.yaml", "--cards", "l4", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 9, answer.stderr
    assert json.loads(answer.stdout)["go"] is False
    assert "Traceback" not in answer.stderr
