"""Labels that a person readmits, by reason or one by one, and what each filter alone rejects."""

from __future__ import annotations

from pathlib import Path

import pytest

from chartdistill.cli import main
from chartdistill.curation.ablation import Ablation, ablation
from chartdistill.curation.curate import curate, judge
from chartdistill.curation.filters import DEFAULT_FILTERS, Aberration, Grounding, Status
from chartdistill.curation.readmission import Readmissions
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.runtime import run_folder
from chartdistill.schema import (
    Item,
)
from curation_cases import DRUGS, TESTS, label, make_run, make_small_run, record, rows_of
from places import ROOT

DEMO = ROOT / "configs" / "demo.yaml"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_small_run(tmp_path)


def test_readmission_by_reason_is_recorded_and_remembered(run_dir: Path) -> None:
    counts = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["invented"])["counts"]
    assert (counts["kept"], counts["rejected"], counts["readmitted"]) == (6, 2, {"invented": 1})
    row = next(row for row in rows_of(run_dir, "kept.jsonl") if (row.record, row.task) == ("b", "medication"))
    assert row.items == (Item(text="Bisolukast", status="start"),)
    assert {one.reason for one in row.readmitted} == {"invented"}
    assert row.rejections == ()
    manifest = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)  # as the next `run` does
    assert manifest["counts"]["kept"] == 6
    assert manifest["options"]["readmit"] == ["invented"]
    curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["d:tests"])
    assert {row.record for row in rows_of(run_dir, "rejected.jsonl")} == {"c"}  # a failure has nothing to keep
    assert curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["nothing"])["counts"]["kept"] == 5


def test_what_is_remembered_and_no_longer_rejected_stops_no_later_call(run_dir: Path) -> None:
    curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["invented"])
    others = [one for one in DEFAULT_FILTERS if not isinstance(one, Grounding)]
    assert curate(run_dir, [DRUGS, TESTS], others)["options"]["readmit"] == ["invented"]
    with pytest.raises(InputError, match="--readmit invented: no label"):
        curate(run_dir, [DRUGS, TESTS], others[1:], readmit=["invented"])
    assert curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)["counts"]["readmitted"] == {"invented": 1}


def test_readmission_of_one_record_leaves_the_others(run_dir: Path) -> None:
    counts = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["b"])["counts"]
    assert (counts["kept"], counts["readmitted"]) == (6, {"invented": 1})
    assert {row.record for row in rows_of(run_dir, "rejected.jsonl")} == {"c", "d"}


def test_readmitting_what_was_never_rejected_names_the_reasons_there_are(run_dir: Path) -> None:
    with pytest.raises(InputError, match=r"--readmit no_such.* Reasons here: failed, invented, truncated"):
        curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=["no_such"])
    assert run_folder.read_manifest(run_dir / "curated") is None
    assert curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)["options"]["readmit"] == []
    before = {path: path.read_bytes() for path in (run_dir / "curated").iterdir()}
    for slip in (["no_such"], ["invented", "no_such"], ["d:no_task"], ["nothing", "no_such"]):
        with pytest.raises(InputError):
            curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, readmit=slip)
        after = {path: path.read_bytes() for path in (run_dir / "curated").iterdir() if path.name != "refused.jsonl"}
        assert after == before, "a slip leaves what was finished finished"


def test_the_command_line_readmits(run_dir: Path) -> None:
    main(["curate", str(DEMO), "--run-dir", str(run_dir), "--quiet", "--readmit", "invented", "--readmit", "d"])
    manifest = run_folder.require_manifest(run_dir / "curated", "curate")
    assert manifest["options"]["readmit"] == ["invented", "d"]
    assert manifest["counts"]["kept"] == 7


def test_the_ablation_counts_what_each_filter_alone_rejects(tmp_path: Path) -> None:
    gold = (Item(text="Yasadol", status="stop"), Item(text="Febenor", status="start"))
    records = [record(name).model_copy(update={"gold": {"medication": gold}}) for name in "abcd"]
    right, wrong, long = "Yasadol | stop\nFebenor | start", "Bisolukast | start", "Yasadol | stop\n- Yasadol now | stop"
    labels = [label("a", right), label("b", wrong), label("c", long), label("d", "Yasadol | stop")]
    filters = [Grounding(), Aberration()]
    found = curate(make_run(tmp_path, records, labels), [DRUGS], filters)["ablation"]
    assert found["labels_with_gold"] == 4
    assert found["kept_with_all"] == {"labels": 2, "items": 3, "precision": 1.0, "recall": 0.75, "labels_exact": 0.5}
    assert found["kept_with_none"]["precision"] == round(4 / 6, 4)
    grounding, aberration = found["filters"]["grounding"], found["filters"]["aberration"]
    assert (grounding["labels_alone"], aberration["labels_alone"]) == (1, 0)  # both object to c
    assert grounding["kept_without_it"]["precision"] == 0.75
    pairs = [(one, tuple(parse_answer(str(one.completion), DRUGS) or ())) for one in labels]
    assert ablation(pairs, {one.id: one for one in records}, [DRUGS], filters) == found


def test_without_gold_the_ablation_claims_nothing_about_correctness(run_dir: Path) -> None:
    found = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)["ablation"]
    assert found["labels_with_gold"] == 0
    assert found["filters"]["grounding"] == {"labels_alone": 1, "items_alone": 1}
    assert "kept_with_all" not in found


def test_the_ablation_counts_optional_gold_neither_way(run_dir: Path) -> None:
    wanted, maybe = Item(text="Yasadol", status="stop"), Item(text="Febenor", status="start", optional=True)
    counts = Ablation([])
    for answer in ((wanted,), (wanted, Item(text="Febenor", status="continue"))):
        counts.add(answer, [], (wanted, maybe), DRUGS)
    kept = counts.summary()["kept_with_all"]
    assert (kept["items"], kept["precision"], kept["recall"], kept["labels_exact"]) == (2, 1, 1, 1)


def test_a_reason_that_is_readmitted_leaves_the_verdict_on_other_items(run_dir: Path) -> None:
    answer, asked = label("a", "Zyzzamab | start\nFebenor 70 mg | start"), Readmissions(("invented",))
    judged = judge(answer, record("a"), DRUGS, [Grounding()], readmissions=asked)
    assert judged.items is None, "the rest of the answer is not taught"
    assert [(one.reason, one.item and one.item.text) for one in judged.rejections] == [
        ("invented_number", "Febenor 70 mg"), ("invented_number", None)
    ]  # fmt: skip
    turned = label("a", "Febenor 70 mg | start\nZyzzamab | start")
    assert judge(turned, record("a"), DRUGS, [Grounding()], readmissions=asked).items is None
    both = Readmissions(("invented", "invented_number"))
    assert len(judge(answer, record("a"), DRUGS, [Grounding()], readmissions=both).items or ()) == 2
    dropping = judge(answer, record("a"), DRUGS, [Grounding(on_item="drop_item")], readmissions=asked)
    assert dropping.items == (Item(text="Zyzzamab", status="start"),)


def test_the_ablation_leaves_out_that_all_items_were_dropped(tmp_path: Path) -> None:
    filters = [Grounding(on_item="drop_item"), Status(on_item="drop_item")]
    labels = [label("a", "Zyzzamab | start\nYasadol | continue"), label("b", "Febenor | start")]
    found = curate(make_run(tmp_path, [record("a"), record("b")], labels), [DRUGS], filters)["ablation"]
    assert {name: of["labels_alone"] for name, of in found["filters"].items()} == {"grounding": 1, "status": 1}


def test_what_lost_all_its_items_is_readmitted_by_that_reason(tmp_path: Path) -> None:
    labels = [label("a", "Zyzzamab | start"), label("b", "Febenor | start\nXyzzacin | start"), label("c", "None found")]
    make_run(tmp_path, [record(name) for name in "abc"], labels)
    filters = [Grounding(on_item="drop_item")]
    assert curate(tmp_path, [DRUGS], filters)["counts"]["by_reason"] == {"invented": 1, "all_dropped": 1}
    counts = curate(tmp_path, [DRUGS], filters, readmit=["all_dropped"])["counts"]
    assert (counts["kept"], counts["readmitted"]) == (3, {"invented": 1, "all_dropped": 1})
    kept = {row.record: row for row in rows_of(tmp_path, "kept.jsonl")}
    assert kept["a"].items == (Item(text="Zyzzamab", status="start"),) and not kept["a"].rejections
    assert kept["b"].items == (Item(text="Febenor", status="start"),), "what was dropped of another label stays so"
