"""Windows of records: what is in the engine together, in one call or in two, changes no label and loses no prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import Run, load_run, load_task
from chartdistill.engines import Generation, OpenAIEngine, Request, VllmEngine
from chartdistill.labelling import Labeler, LabelOptions
from chartdistill.labelling.label import label
from chartdistill.labelling.windows import windows_in_flight
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records.prepare import prepare
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import read_manifest
from chartdistill.schema import Label, Record
from labelling_run import config, rows_of, silent
from places import ROOT

TASK = load_task(ROOT / "configs/tasks/medication.yaml")


class Calls:
    """An engine that says yes, then none; it remembers what came in one call. `slow`: a chart whose list is cut."""

    cache_tokens = None

    def __init__(self, slow: str = "") -> None:
        self.calls: list[list[str]] = []
        self._slow = slow

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        asked, given = [], []
        for request in requests:
            assert request.messages is not None
            chart, _, question = request.messages[1][1].rpartition("\n\n")
            kind = "gate" if question == TASK.gate_question else "list"
            is_cut = kind == "list" and chart == self._slow and request.max_tokens == LabelOptions().max_answer_tokens
            asked.append(
                f"{kind} {chart}" + (" again" if request.max_tokens > LabelOptions().max_answer_tokens else "")
            )
            text = "yes" if kind == "gate" else "Velorim | sta" if is_cut else "None found"
            given.append(Generation(text, "length" if is_cut else "stop", probability=0.9, prompt_tokens=10))
        self.calls.append(asked)
        return given


def asked_in(tokenizer: Path, in_flight: int, slow: str = "", charts: int = 3) -> tuple[list[list[str]], list[Label]]:
    builder = PromptBuilder.from_tokenizer(load_tokenizer(tokenizer), "Answer.")
    labeler = Labeler(builder, [TASK], LabelOptions(), "x")
    records = [
        Record(id=f"r{i}", source="made up", text=f"c{i}", cluster=f"{i}", split="train", segments=())
        for i in range(charts)
    ]
    engine = Calls(slow)
    windows = [[(record, TASK)] for record in records]
    labels = [row for _, rows in labeler.ask_windows(engine, windows, in_flight) for row in rows]
    return engine.calls, sorted(labels, key=lambda row: row.record)


def test_the_lists_of_a_window_go_with_the_gates_of_the_next(tokenizer_folder: Path) -> None:
    alone, labels = asked_in(tokenizer_folder, 1)
    assert alone == [["gate c0"], ["list c0"], ["gate c1"], ["list c1"], ["gate c2"], ["list c2"]]
    together, same = asked_in(tokenizer_folder, 2)
    assert together == [["gate c0"], ["list c0", "gate c1"], ["list c1", "gate c2"], ["list c2"]]
    assert same == labels


def test_an_answer_that_is_cut_holds_up_no_other_window(tokenizer_folder: Path) -> None:
    _, labels = asked_in(tokenizer_folder, 1, slow="c0")
    together, same = asked_in(tokenizer_folder, 2, slow="c0")
    assert together == [
        ["gate c0"], ["list c0", "gate c1"], ["list c0 again", "list c1"], ["gate c2"], ["list c2"],
    ]  # fmt: skip
    assert same == labels
    assert labels[0].prompts == 3 and labels[0].finish_reason == "stop"


@pytest.mark.parametrize("charts", [0, 1, 2, 7])
def test_every_window_is_answered_once(tokenizer_folder: Path, charts: int) -> None:
    for in_flight in (1, 2, 3):
        _, labels = asked_in(tokenizer_folder, in_flight, slow="c1", charts=charts)
        assert [row.record for row in labels] == [f"r{i}" for i in range(charts)]


def with_windows(folder: Path, model: Path, **label_options: Any) -> Run:
    folder.mkdir()
    path = config(folder, model, **label_options)
    values = yaml.safe_load(path.read_text())
    values["teacher"]["engine"]["batch_size"] = 1  # so that no answer depends on which others are in its batch
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return run


@pytest.mark.parametrize("strategy", ["chain", "direct", "verify"])
def test_labels_are_byte_for_byte_the_same(tmp_path: Path, tiny_model: Path, strategy: str) -> None:
    given = []
    for in_flight in (1, 2):
        told: list[tuple[int, int | None]] = []
        run = with_windows(
            tmp_path / str(in_flight), tiny_model, records_per_window=2, windows_in_flight=in_flight, strategy=strategy
        )
        label(run, lambda done, total=None, tokens=0, told=told: told.append((done, total)))
        assert told[-1] == (6, 6) and told == sorted(told)
        given.append((run.dir / "labels" / "labels.jsonl").read_bytes())
    assert given[0] == given[1]
    once = 1 if strategy == "direct" else 2
    assert any(row.prompts > once for row in rows_of(run)), "nothing was cut and asked again"


def test_two_windows_are_for_cards_and_endpoints() -> None:
    assert windows_in_flight(LabelOptions(), VllmEngine()) == 1  # there is no card here
    assert windows_in_flight(LabelOptions(), OpenAIEngine(urls=("http://127.0.0.1:9/v1",))) == 2
    assert windows_in_flight(LabelOptions(windows_in_flight=2), VllmEngine()) == 2
    one, two = LabelOptions(), LabelOptions(windows_in_flight=2)
    assert one.what_determines_an_answer("tests") == two.what_determines_an_answer("tests"), "labels are still good"


class SmallCache(VllmEngine):
    """vLLM whose KV cache holds a few records only."""

    def arguments(self, on_cpu: bool, lora_rank: int | None) -> dict[str, Any]:
        return super().arguments(on_cpu, lora_rank) | {"num_gpu_blocks_override": 129}


@pytest.mark.slow
def test_prefixes_are_found_in_a_cache_that_two_windows_share(tmp_path: Path) -> None:
    """Real vLLM with 4,096 tokens of cache: 48 charts of the demo are four times as many."""
    given: list[list[Label]] = []
    for in_flight in (1, 2):
        values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
        values |= {
            "run_dir": str(tmp_path / str(in_flight)),
            "tasks": [str(ROOT / "configs" / task) for task in values["tasks"]],
            "records": [{"type": "synthetic", "pool": "train", "count": 48, "seed": 5}],
            "label": {**values["label"], "windows_in_flight": in_flight},
        }
        for role in ("teacher", "student"):
            values[role]["model"] = str(ROOT / "configs" / values[role]["model"])
        path = tmp_path / f"{in_flight}.yaml"
        path.write_text(yaml.safe_dump(values))
        loaded = load_run(path)
        engine = SmallCache(**loaded.config.teacher.engine.model_dump() | {"max_model_len_tokens": 1024})
        teacher = loaded.config.teacher.model_copy(update={"engine": engine})
        run = Run(loaded.config.model_copy(update={"teacher": teacher}), loaded.base)
        prepare(run.config.records, run.dir / "records", run.config.prepare)
        label(run, silent)
        manifest = read_manifest(run.dir / "labels")
        assert manifest is not None and manifest["tokens"]["prompt"] > 4 * 4096
        assert manifest["tokens"]["cached_share_of_shareable"] >= 0.97
        given.append([row.model_copy(update={"cached_tokens": 0}) for row in rows_of(run)])
    assert given[0] == given[1]
