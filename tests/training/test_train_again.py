"""The verb `train` called again: after a kill, a full disk or other options, and when records were erased."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chartdistill.erasure.erase import erase
from chartdistill.errors import ArtefactError, TrainingError
from chartdistill.runtime.run_folder import (
    make_folder,
    read_manifest,
    write_manifest,
)
from chartdistill.runtime.tombstones import adapter_warning
from chartdistill.training import TrainOptions
from chartdistill.training.train import _begin, train
from curated_run import make_run, silent


def test_a_manifest_that_finds_no_place_costs_no_step(tiny_model: Path, tmp_path: Path) -> None:
    """The disk is full, say, or the machine goes down: the checkpoints stay until the manifest is there."""
    run = make_run(tmp_path, tiny_model)
    manifest, steps = run.dir / "adapter/manifest.json", list[int]()

    def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
        steps.append(done)
        if done == total:
            manifest.mkdir(exist_ok=True)

    with pytest.raises(ArtefactError, match="cannot write"):
        train(run, progress)
    manifest.rmdir()
    steps.clear()
    facts = train(run, lambda done, total=None, tokens=0: steps.append(done))
    assert steps == [facts["steps"]] and read_manifest(run.dir / "adapter") == facts
    left = make_folder(run.dir / "adapter/checkpoints/checkpoint-1")  # killed just behind the manifest
    train(run, silent)
    assert not left.exists()


@pytest.mark.parametrize(
    ("change", "taken_up"),
    [
        ({"tokens_per_pass": 64}, True),
        ({"gradient_checkpointing": True}, True),
        ({"checkpoints": 2}, True),
        ({"learning_rate": 2e-2}, False),
    ],
)
def test_what_is_advised_where_memory_ran_out_loses_no_step(
    change: dict[str, Any], taken_up: bool, tiny_model: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"records_per_step": 1, "checkpoints": 4, "validation_passes": 0}
    begun: list[int] = []

    def stopped(done: int, total: int | None = None, tokens: int = 0) -> None:
        if done == 3:
            raise MemoryError

    with pytest.raises(TrainingError, match=r"Lower train\.tokens_per_pass .* the result stays the same"):
        train(make_run(tmp_path, tiny_model, **values), stopped)
    facts = train(
        make_run(tmp_path, tiny_model, **{**values, **change}), lambda done, total=None, tokens=0: begun.append(done)
    )
    assert begun[0] == (2 if taken_up else 0) and facts["steps"] == 4


def test_what_is_only_kept_of_a_training_does_not_repeat_it() -> None:
    plain = TrainOptions()
    assert TrainOptions(checkpoints=3, tensorboard=True).what_determines_an_adapter() == (
        plain.what_determines_an_adapter()
    )
    earlier = plain.model_dump(exclude={"parallel"})
    assert plain.what_determines_an_adapter() == earlier, "a student of an earlier version is not trained again"


def test_a_sharded_run_does_not_go_on_from_the_checkpoint_of_a_whole_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, tiny_model)
    train(run, silent)
    adapter = run.dir / "adapter"
    (adapter / "manifest.json").unlink()  # as if it had been killed
    left = adapter / "checkpoints/checkpoint-1/half"
    left.parent.mkdir(parents=True)
    left.touch()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr("chartdistill.training.train.load_model", _stop)
    with pytest.raises(StopIteration):
        train(run, silent)
    assert not left.exists()


def test_the_folder_is_made_ready_by_the_first_process_while_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may clear the folder of an adapter of other options; one that looked into it meanwhile ended with an error."""
    adapter, waits = tmp_path / "adapter", list[bool]()
    monkeypatch.setattr("chartdistill.training.train._wait_for_all", lambda: waits.append(adapter.exists()))
    monkeypatch.setenv("RANK", "1")
    _begin(adapter, "mark", TrainOptions(dtype="float32"))
    assert waits == [False, False] and not adapter.exists()
    monkeypatch.setenv("RANK", "0")
    _begin(adapter, "mark", TrainOptions(dtype="float32"))
    assert waits[2:] == [False, True] and (adapter / "dtype").read_text() == "float32"


def test_an_adapter_that_is_half_removed_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the adapter of other options goes, and its options are put back: it is no adapter any more."""
    write_manifest(make_folder(tmp_path / "adapter"), "before", 0.0)
    monkeypatch.setattr("chartdistill.training.train.shutil.rmtree", lambda *_, **__: _stop())
    with pytest.raises(StopIteration):
        _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))
    assert read_manifest(tmp_path / "adapter") is None


def test_a_checkpoint_of_other_options_that_cannot_be_removed_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = make_folder(tmp_path / "adapter/checkpoints/checkpoint-1") / "trainer_state.json"
    left.write_text("{}")
    monkeypatch.setattr("chartdistill.training.train.shutil.rmtree", lambda path, ignore_errors: None)
    with pytest.raises(ArtefactError, match=rf"{left} is of a training with other options .* cannot be removed"):
        _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))
    left.rename(left.with_name(".nfs0001"))  # open in another process
    _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))


def test_a_sharded_student_is_checked_once_it_is_distributed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before, on one core of the CPU: the check is left to the training. Two processes show it of real shards."""
    monkeypatch.setattr("chartdistill.training.train.check_rows", _stop)
    left: list[Any] = []

    def keep(*_: Any, check: Any, **others: Any) -> None:
        left.append(check)
        raise InterruptedError

    monkeypatch.setattr("chartdistill.training.trainer.run_training", keep)
    with pytest.raises(StopIteration):
        train(make_run(tmp_path, tiny_model), silent)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InterruptedError):
        train(make_run(tmp_path, tiny_model, parallel="fsdp"), silent)
    with pytest.raises(StopIteration):
        left[0](None)


def _stop(*_: Any) -> None:
    raise StopIteration


def test_a_student_that_learned_from_erased_records_is_trained_again_and_no_other(
    tmp_path: Path, tiny_model: Path
) -> None:
    run = make_run(tmp_path, tiny_model)
    first = train(run, silent)
    erase([run.dir], ["r4"], say=lambda line: None)  # of the test split
    assert train(run, silent) == first
    erase([run.dir], ["r0"], say=lambda line: None)
    marked = read_manifest(run.dir / "adapter") or {}
    assert "learned from 1 chart that was erased" in str(adapter_warning(marked))
    again = train(run, silent)
    assert again["fingerprint"] != first["fingerprint"] and adapter_warning(again) is None
    assert again["counts"]["records"]["train"] == first["counts"]["records"]["train"] - 1
    assert train(run, silent) == again
