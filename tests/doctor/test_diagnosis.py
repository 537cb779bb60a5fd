"""`doctor`: go where all is well, no-go with place and remedy where it is not."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.command_line import build_parser
from chartdistill.config import load_run
from chartdistill.doctor.check import Check
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.machine import KNOWN_CARDS
from chartdistill.doctor.model_shape import read_shape
from chartdistill.doctor.page import show
from chartdistill.doctor.surroundings import (
    check_caches_stay,
    check_compiler,
    check_modes,
    check_nvcc,
    check_offline,
    check_versions,
    check_writable,
)
from chartdistill.doctor.weights import known_hashes, wrong_files
from chartdistill.doctor.workload import count_work
from chartdistill.errors import ArtefactError
from chartdistill.records.prepare import prepare
from chartdistill.runtime.model_folder import licence
from chartdistill.runtime.outputs import require_writable
from chartdistill.runtime.run_locks import UNFINISHED_ERASURE, lock
from command_line import forked
from doctor_run import named, run_with
from places import ROOT


def test_files_that_are_no_charts_by_their_name_are_counted(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "charts").mkdir()
    for name in ("a.txt", "B.TXT", "scan.pdf"):
        (tmp_path / "charts" / name).write_text("Takes Zestril 5 mg daily for her blood pressure.")
    run = run_with(tmp_path, tiny_model, records=[{"type": "folder", "path": str(tmp_path / "charts")}])
    said = count_work(run, tiny_model)[1]
    assert said.startswith("1 chart of ")
    assert said.endswith("; passed over, by their name: 2 other files: 1 named *.TXT, 1 named *.pdf")


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


def test_engines_side_by_side_share_the_memory_of_a_machine(tmp_path: Path, tiny_model: Path) -> None:
    three = diagnose(run_with(tmp_path, tiny_model, teacher={"engine": {"type": "vllm", "replicas": 3}}), [])
    demo = diagnose(run_with(tmp_path, tiny_model, teacher={"engine": {"type": "vllm"}}), [])
    assert three.memory["teacher, engine"].bytes == pytest.approx(3 * demo.memory["teacher, engine"].bytes)
    two = diagnose(run_with(tmp_path, tiny_model, student={"engine": {"type": "vllm", "replicas": 2}}), [])
    one = diagnose(run_with(tmp_path, tiny_model, student={"engine": {"type": "vllm"}}), [])
    assert two.memory["student, engine"].bytes == pytest.approx(2 * one.memory["student, engine"].bytes)


def test_a_card_that_is_too_small_is_a_no_go() -> None:
    found = diagnose(load_run(ROOT / "configs/gpu-80gb.yaml"), [KNOWN_CARDS["l4"]])
    assert not found.go
    assert "vLLM will not start" in named(found, "teacher engine memory").found
    old = diagnose(load_run(ROOT / "configs/gpu-24gb.yaml"), [KNOWN_CARDS["rtx-3090"]])
    assert "without FP8's speed" in named(old, "teacher precision").remedy
    none = named(diagnose(load_run(ROOT / "configs/gpu-24gb.yaml"), []), "teacher precision")
    assert none.state == "warning" and "FP8 weights on a CPU" in none.found and "16 bits" in none.remedy


def test_a_cache_that_is_too_small_without_a_card_is_made_larger_by_its_own_option() -> None:
    found = named(diagnose(load_run(ROOT / "configs/gpu-24gb.yaml"), []), "teacher engine memory")
    assert found.state == "no" and "vLLM will not start" in found.found
    assert found.remedy == "raise cpu_kv_cache_gib, or lower max_model_len_tokens"


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
    assert check.command == f"chmod -R go= {run.dir}"


def test_commands_that_are_advised_can_be_copied_where_paths_have_spaces(tmp_path: Path, tiny_model: Path) -> None:
    ward = tmp_path / "ward 7"
    ward.mkdir()
    run = run_with(ward, tiny_model)
    run.dir.mkdir()
    run.dir.chmod(0o755)
    [check] = check_modes(run)
    assert shlex.split(check.command) == ["chmod", "-R", "go=", str(run.dir)]
    subprocess.run(check.command, shell=True, check=True)
    assert [check.state for check in check_modes(run)] == ["ok"]
    with pytest.raises(ArtefactError) as refused:
        require_writable("--out", ward / "no" / "answers.jsonl")
    [command] = re.findall(r"\((mkdir .*)\)", str(refused.value))
    subprocess.run(command, shell=True, check=True)
    require_writable("--out", ward / "no" / "answers.jsonl")
    (run.dir / UNFINISHED_ERASURE).touch()
    with pytest.raises(ArtefactError) as refused, lock(run.dir):
        pass
    [command] = re.findall(r"`(chartdistill .*)`", str(refused.value))
    assert build_parser().parse_args(shlex.split(command)[1:]).folders == [run.dir]


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


def test_fp8_weights_on_hopper_go_without_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [read_shape(ROOT / "configs/models/Qwen--Qwen3-32B-FP8.json")]
    for name in ("VLLM_USE_DEEP_GEMM", "VLLM_MOE_USE_DEEP_GEMM", "DG_JIT_NVCC_COMPILER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    home = tmp_path / "cuda"
    monkeypatch.setenv("CUDA_HOME", str(home))
    [check] = check_nvcc([KNOWN_CARDS["h100"]], shapes)
    assert check.state == "warning" and "not found; DeepGEMM" in check.found and "is off" in check.found
    (home / "lib64").mkdir(parents=True)  # an image with CUDA's libraries alone
    [check] = check_nvcc([KNOWN_CARDS["h100"]], shapes)
    assert check.state == "warning" and f"{home} is here without bin/nvcc" in check.found
    monkeypatch.setenv("VLLM_USE_DEEP_GEMM", "1")  # our engines leave what the user has set
    [check] = check_nvcc([KNOWN_CARDS["h100"]], shapes)
    assert check.state == "no" and "unset VLLM_USE_DEEP_GEMM" in check.remedy
    monkeypatch.delenv("VLLM_USE_DEEP_GEMM")
    assert list(check_nvcc([KNOWN_CARDS["rtx-4090"]], shapes)) == []
    assert list(check_nvcc([KNOWN_CARDS["h100"]], [])) == []
    (home / "bin").mkdir()
    (home / "bin/nvcc").touch(mode=0o755)
    [check] = check_nvcc([KNOWN_CARDS["h100"]], shapes)
    assert check.state == "ok" and str(home) in check.found
    monkeypatch.setenv("VLLM_USE_DEEP_GEMM", "0")
    assert list(check_nvcc([KNOWN_CARDS["h100"]], shapes)) == []


def test_versions_are_those_asked_for() -> None:
    [check] = check_versions([], planned=False)
    assert check.state == "ok", check.found
    versions, _ = check_versions([KNOWN_CARDS["l4"]], planned=False)
    assert "not vLLM's CUDA build" in versions.found


def test_a_card_needs_a_compiler_and_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_compiler(tmp_path)
    assert check.state == "no"
    assert "a C compiler (gcc or clang) and" in check.found and f"{tmp_path}/Python.h missing" in check.found
    assert re.fullmatch(r"apt-get install g\+\+ python3\.1\d-dev", check.remedy)
    (tmp_path / "Python.h").touch()
    (tmp_path / "gcc").touch(mode=0o755)
    check = check_compiler(tmp_path)
    assert check.state == "no" and check.found.startswith("a C++ compiler (g++) missing")
    (tmp_path / "g++").touch(mode=0o755)
    assert check_compiler(tmp_path).state == "ok"


def test_the_transformers_engine_is_planned_too(tmp_path: Path, tiny_model: Path) -> None:
    engine = {"type": "transformers", "dtype": "bfloat16"}
    run = run_with(tmp_path, tiny_model, teacher={"model": "Qwen/Qwen3-32B-FP8", "engine": engine})
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "configs/models/Qwen--Qwen3-32B-FP8.json", tmp_path / "models")
    assert named(diagnose(run, [KNOWN_CARDS["rtx-4090"]]), "teacher engine memory").state == "no"
    assert named(diagnose(run, [KNOWN_CARDS["h200"]]), "teacher engine memory").state == "ok"


def test_a_chart_that_is_too_long_is_said_before_anything_is_labelled(tmp_path: Path, tiny_model: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    for name, words in {"short": 20, "long": 900}.items():
        (charts / f"{name}.txt").write_text("Metformin was stopped in May. " * (words // 5))
    where = {"records": [{"type": "folder", "path": str(charts)}]}
    found = diagnose(run_with(tmp_path, tiny_model, **where))
    assert not [check for check in found.checks if check.name == "longest chart"]
    run = run_with(tmp_path, tiny_model, **where, train={"max_tokens": 300},
                   teacher={"engine": {"type": "vllm", "max_model_len_tokens": 512}})  # fmt: skip
    warning, refusal = [check for check in diagnose(run).checks if check.name == "longest chart"]
    assert (warning.state, refusal.state) == ("warning", "no")
    assert "takes 512" in warning.found and "label.window_tokens" in warning.remedy
    needed = int(re.search(r"set train.max_tokens to (\d+)", refusal.remedy)[1])  # type: ignore[index]
    run = run_with(tmp_path, tiny_model, **where, train={"max_tokens": needed})
    assert not [check for check in diagnose(run).checks if check.name == "longest chart"]


def test_charts_that_were_prepared_stand_for_no_others(tmp_path: Path, tiny_model: Path) -> None:
    """The run folder has charts of before; the config names others, then some that are not there."""
    charts = tmp_path / "charts"
    charts.mkdir()
    for number in range(4):
        (charts / f"{number}.txt").write_text(f"Metformin was stopped at visit {number}. " * 5)

    def found(path: Path) -> Check:
        checks = diagnose(run_with(tmp_path, tiny_model, records=[{"type": "folder", "path": str(path)}])).checks
        return next(check for check in checks if check.name == "charts")

    run = run_with(tmp_path, tiny_model, records=[{"type": "synthetic", "count": 3}])
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    assert named(diagnose(run), "charts").found.startswith("3 charts")
    assert found(charts).found.startswith("4 charts")
    missing = found(tmp_path / "chart")
    assert missing.state == "no" and "does not exist" in missing.found


def test_no_adapter_is_trained_on_quantised_weights(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "quantised"
    shutil.copytree(tiny_model, folder)
    values = json.loads((folder / "config.json").read_text())
    values["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(values))
    found = diagnose(run_with(tmp_path, tiny_model, student={"model": str(folder)}))
    assert named(found, "student training").state == "no"
    assert "train.load_in_4bit" in named(found, "student training").remedy
    found = diagnose(run_with(tmp_path, tiny_model, teacher={"model": str(folder)}))
    assert not [check for check in found.checks if check.name == "teacher training"]


def test_what_a_run_writes_to_must_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_writable(tmp_path / "new/run", on_card=False).state == "ok"
    (tmp_path / "file").touch()
    refused = check_writable(tmp_path / "file/run", on_card=False)
    assert refused.state == "no" and f"the run folder ({tmp_path}/file/run): Not a directory" in refused.found
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "file/cache"))
    assert check_writable(tmp_path, on_card=False).state == "ok"
    refused = check_writable(tmp_path, on_card=True)
    assert refused.state == "no" and "VLLM_CACHE_ROOT" in refused.found
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setenv("FLASHINFER_WORKSPACE_BASE", str(tmp_path / "file"))
    refused = check_writable(tmp_path, on_card=True)
    assert refused.state == "no" and f"FLASHINFER_WORKSPACE_BASE ({tmp_path}/file/.cache/flashinfer)" in refused.found


def test_kernels_that_are_kept_in_memory_are_compiled_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE"):
        monkeypatch.setenv(name, str(tmp_path / "a b" / name))
    mounts = tmp_path / "mounts"
    on_disk = f"overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n/dev/sda {tmp_path} ext4 rw 0 0\n"
    mounts.write_text(on_disk)
    assert check_caches_stay(mounts).state == "ok"
    (tmp_path / "a b").mkdir()
    mounts.write_text(on_disk + f"tmpfs {tmp_path}/a\\040b tmpfs rw 0 0\n")
    kept = check_caches_stay(mounts)
    assert kept.state == "warning" and kept.found.count(str(tmp_path / "a b")) == 3 and "mount a folder" in kept.remedy
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "disk"))
    assert check_caches_stay(mounts).found.count("VLLM_CACHE_ROOT") == 0
    assert check_caches_stay(tmp_path / "nowhere").state == "ok"  # a system that does not tell


@pytest.mark.slow
def test_the_command_says_it_with_its_exit_code() -> None:
    command = [sys.executable, "-m", "chartdistill", "doctor", "configs/gpu-80gb.yaml", "--cards", "l4", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 9, answer.stderr
    assert json.loads(answer.stdout)["go"] is False
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_a_run_that_asks_it_first_begins_nothing_where_it_says_no(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "a.txt").write_text("Seen for a cough. Start codeine at night.")
    folder = tmp_path / "run"
    done = forked(
        "run", "configs/demo.yaml", "--records", str(tmp_path / "charts"), "--run-dir", str(folder), "--doctor"
    )
    assert done.returncode == 9
    assert "doctor: no-go" in done.stderr and "models for charts" in done.stderr
    assert "nothing was begun" in done.stderr and "make demo" not in done.stderr
    assert not folder.exists()


EMBEDDED = ROOT / "src/chartdistill/demo/models"


@pytest.mark.parametrize("records", [{"type": "folder", "path": "charts"}, {"type": "written"}])
def test_the_demo_s_models_are_no_go_for_other_charts_than_synthetic(tmp_path: Path, records: dict[str, str]) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "a.txt").write_text("Seen for a cough. Chest film ordered. Start codeine at night.")
    run = run_with(tmp_path, EMBEDDED / "teacher", records=[records], student={"model": str(EMBEDDED / "student")})
    check = named(diagnose(run), "models for charts")
    assert check.state == "no"
    assert "the teacher and the student are embedded models of the demo" in check.found
    assert "configs/cpu-smollm2.yaml" in check.remedy


def test_a_copy_of_a_demo_model_is_known_again_and_synthetic_charts_are_a_go(tmp_path: Path, tiny_model: Path) -> None:
    copy = tmp_path / "my-model"
    shutil.copytree(EMBEDDED / "student", copy)
    mixed = [{"type": "synthetic", "count": 2}, {"type": "written"}]
    run = run_with(tmp_path, tiny_model, records=mixed, student={"model": str(copy)})
    assert "the student is an embedded model" in named(diagnose(run), "models for charts").found
    alone = diagnose(run_with(tmp_path, copy, records=[{"type": "synthetic", "count": 2}]))
    assert "models for charts" not in [check.name for check in alone.checks]
