"""What `export` makes of a run, what it refuses, and what a kill leaves. Programs are asked where they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters import rewrite_config
from chartdistill import cli
from chartdistill.errors import ArtefactError, InputError, ModelError, ParityError
from chartdistill.export import export as verb
from chartdistill.export import merging, runtimes
from chartdistill.export.export import export
from chartdistill.export.options import Limits, Wanted
from chartdistill.run_file import read_run
from export_run import SYSTEM, make_base, make_run
from places import MATERIAL


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(autouse=True)
def without_vllm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without vLLM, whose start takes half a minute, unless a test is about it."""
    if request.node.get_closest_marker("vllm") is None:
        monkeypatch.setattr(runtimes, "versions_of", lambda *_: {})


def made(run_dir: Path, out: Path, to: Any = "merged", **options: Any) -> Path:
    return export(read_run(run_dir), Wanted(to, out, **options))


def parity(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads((folder / "parity.json").read_text())["rows"]}


def test_a_merged_model_answers_as_base_and_adapter(run_dir: Path, tmp_path: Path) -> None:
    folder = made(run_dir, tmp_path / "out")
    row = parity(folder)["merged"]
    assert (row["prompts"], row["differing"], row["other_items"]) == (36, 0, 0)
    assert "not installed" in parity(folder)["vllm-merged"]["absent"]
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [2] and generation["do_sample"] is False
    said = (folder / "README.md").read_text()
    assert "0 of " in said and "Not compared: merged (float32), vLLM" in said and SYSTEM in said
    assert (folder / "LICENSE").read_text().startswith("Apache") and "license: apache-2.0" in said
    note = json.loads((folder / "export.json").read_text())
    assert note["compared"] and note["base_sha256"].keys() == {"model.safetensors"}
    assert not (folder / "MODEL_CARD.md").exists(), "PEFT's empty card was taken along"
    assert set(note["files"]) == {path.name for path in folder.iterdir()} - {"export.json"}


def test_no_file_names_a_place_or_a_chart_of_this_machine(run_dir: Path, tmp_path: Path) -> None:
    for to in ("merged", "vllm-adapter"):
        folder = made(run_dir, tmp_path / to, to)
        for path in folder.iterdir():
            held = path.read_bytes()
            assert str(tmp_path).encode() not in held and str(run_dir.parent).encode() not in held, path
            assert b"metformin" not in held, path


def test_a_path_that_the_base_brings_is_refused(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    (tmp_path / "base" / "tokenizer_extra.json").write_text(json.dumps({"from": str(tmp_path / "run")}))
    with pytest.raises(ArtefactError, match=r"tokenizer_extra\.json of the export would hold a path"):
        made(run_dir, tmp_path / "out", prompts=0)
    assert not (tmp_path / "out").exists()


def test_the_merge_is_rounded_once(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base = make_base(tmp_path / "base")
    weights = {name: value.bfloat16() for name, value in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    folder = made(make_run(tmp_path, base), tmp_path / "out", prompts=0)
    merged, lora = (
        load_file(folder / "model.safetensors"),
        load_file(tmp_path / "run/adapter/adapter_model.safetensors"),
    )
    name = "model.layers.1.self_attn.q_proj"
    a, b = (lora[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    exact = weights[f"{name}.weight"].float() + 2 / 4 * (b @ a)
    assert torch.equal(merged[f"{name}.weight"], exact.bfloat16())
    assert torch.equal(merged["model.norm.weight"], weights["model.norm.weight"])


@pytest.mark.parametrize("how", ["a matrix lost", "the adapter forgotten", "two layers changed for each other"])
def test_a_broken_merge_is_caught(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    from safetensors.torch import load_file, save_file

    def broken(base: Path, adapter: Any, folder: Path, end_id: int) -> dict[str, Any]:
        done = merging.merge(base, adapter, folder, end_id)
        weights = load_file(folder / "model.safetensors")
        one, other = (f"model.layers.{layer}.self_attn.v_proj.weight" for layer in (0, 1))
        if how == "a matrix lost":
            weights[one].zero_()
        elif how == "the adapter forgotten":
            weights = load_file(base / "model.safetensors")
        else:
            weights[one], weights[other] = weights[other].clone(), weights[one].clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return done

    monkeypatch.setattr(verb, "merge", broken)
    with pytest.raises(ParityError, match=r"answers \(\d+\.\d%\) are other tokens") as caught:
        made(run_dir, tmp_path / "out")
    assert caught.value.exit_code == 11 and "| merged (float32), transformers |" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_limits_can_be_raised_and_the_card_says_what_they_were(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(base: Path, adapter: Any, folder: Path, end_id: int) -> dict[str, Any]:
        done = merging.merge(base, adapter, folder, end_id)
        shutil.copyfile(base / "model.safetensors", folder / "model.safetensors")
        return done

    monkeypatch.setattr(verb, "merge", forgotten)
    folder = made(run_dir, tmp_path / "out", limits=Limits(1.0, 1.0))
    assert "at most 100.0%" in (folder / "README.md").read_text() and parity(folder)["merged"]["differing"] > 0


def test_what_was_not_compared_says_so(run_dir: Path, tmp_path: Path) -> None:
    folder = made(run_dir, tmp_path / "out", prompts=0)
    assert "**Not compared**" in (folder / "README.md").read_text() and not (folder / "parity.json").exists()
    assert json.loads((folder / "export.json").read_text())["compared"] is False


def test_a_folder_that_is_there_stays(run_dir: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(ArtefactError, match="no export, and stays as it is"):
        made(run_dir, mine, replace=True)
    with pytest.raises(ArtefactError, match="no export, and stays as it is"):
        made(run_dir, run_dir, replace=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtefactError, match="no folder"):
        made(run_dir, tmp_path / "file")
    folder = made(run_dir, tmp_path / "out", "vllm-adapter", prompts=0)
    with pytest.raises(ArtefactError, match="--overwrite"):
        made(run_dir, folder, prompts=0)
    made(run_dir, folder, prompts=0, replace=True)
    assert (folder / "config.json").exists() and not (folder / "adapter_config.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "out"]


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_looks_finished_and_what_was_there(run_dir: Path, tmp_path: Path) -> None:
    def killed(out: Path) -> None:
        command = [sys.executable, str(MATERIAL / "export_run.py"), str(run_dir), str(out)]
        assert subprocess.run(command, timeout=300, capture_output=True, check=False).returncode == -9

    killed(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [".new.partial"]
    made(run_dir, tmp_path / "new", "vllm-adapter", prompts=0)
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    killed(tmp_path / "new")
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before
    made(run_dir, tmp_path / "new", prompts=0, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_disk_that_is_too_small_is_said_before_any_work(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    monkeypatch.setattr(verb, "merge", lambda *_: pytest.fail("it began"))
    with pytest.raises(ArtefactError, match=r"needs about 0\.\d+ GB while it is made, and 0\.00 GB are free"):
        made(run_dir, tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save \(whole modules"),
        ({"bias": "all"}, "bias 'all'"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
    ],
)
def test_what_a_merge_cannot_hold_is_refused_by_name(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    from chartdistill.runtime.adapter_folder import read_adapter

    run_dir = make_run(tmp_path)
    adapter = read_adapter(rewrite_config(run_dir / "adapter", **values))
    with pytest.raises(ModelError, match=said):
        merging.require_mergeable(adapter, tmp_path / "base")


def test_a_quantised_base_is_refused(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "awq"}}))
    with pytest.raises(ModelError, match=r"quantised weights \(awq\).*unquantised"):
        made(run_dir, tmp_path / "out")


def test_an_adapter_on_shared_embeddings_is_refused(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, target_modules=["embed_tokens", "q_proj"])
    with pytest.raises(ModelError, match=r"embed_tokens.*one matrix for input and output"):
        made(run_dir, tmp_path / "out")


def test_dora_is_merged_and_not_given_to_vllm(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, use_dora=True)
    assert parity(made(run_dir, tmp_path / "out"))["merged"]["differing"] == 0
    with pytest.raises(ModelError, match="use_dora"):
        made(run_dir, tmp_path / "adapter", "vllm-adapter")


def test_a_student_trained_over_four_bits_is_compared_with_that_and_it_is_said(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    manifest = run_dir / "adapter" / "manifest.json"
    manifest.write_text(json.dumps({"fingerprint": "f", "dtype": "float32", "options": {"load_in_4bit": True}}))
    folder = made(run_dir, tmp_path / "out", limits=Limits(1.0, 1.0))
    assert "trained over a base in 4 bits (NF4)" in (folder / "README.md").read_text()
    assert parity(folder)["merged"]["differing"] > 0, "the reference was not in 4 bits"


def test_a_run_without_held_out_records_needs_no_check(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, charts=1)
    with pytest.raises(InputError, match="--no-check"):
        made(run_dir, tmp_path / "out")
    made(run_dir, tmp_path / "out", prompts=0)


def test_the_command_line(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["export", str(run_dir), "--to", "vllm-adapter", "--out", str(tmp_path / "out"), "--no-check"])
    assert "is ready" in capsys.readouterr().err
    for wrong in (["--to", "onnx"], ["--to", "gguf", "--type", "q3"], ["--to", "gguf", "--max-differing", "5"],
                  ["--to", "gguf", "--prompts", "0"]):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main(["export", str(run_dir), *wrong])
        assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(tmp_path), "--to", "merged"])
    assert ended.value.code == 5 and "run.json is missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_answers_with_the_adapter_and_the_merged_model_as_in_training(run_dir: Path, tmp_path: Path) -> None:
    rows = parity(made(run_dir, tmp_path / "out"))
    assert {name: row["differing"] for name, row in rows.items()} == {
        "training": 0, "merged": 0, "vllm-adapter": 0, "vllm-merged": 0,
    }  # fmt: skip
    assert all(row["absent"] is None for row in rows.values())
