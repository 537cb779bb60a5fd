"""What the page asks of its server, and what it gets: without a browser."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from chartdistill.curation.curate import curate
from chartdistill.curation.decisions import decision_file
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.errors import InputError
from chartdistill.evaluation.score import score_files
from chartdistill.records import AnnotationFile, SourceEntry, read_annotations
from chartdistill.records.sources import JsonlSource
from chartdistill.review.gold import GoldView, write_gold
from chartdistill.review.labels import LabelView
from chartdistill.review.readings import cohen_kappa
from chartdistill.review.refusal import RefusedError
from chartdistill.schema import Item
from review_run import ASTRAL, LABELS, RECORDS, TASKS, decide, decision, make_run, write_labels

PLACE = {"record": "a", "task": "medication", "sample": 0}
ALL = {"show": "all", "task": "", "find": ""}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def view(run_dir: Path) -> LabelView:
    return LabelView(run_dir, "Ada")


def keep(view: LabelView, items: list[dict[str, Any]], after: str | None = None) -> dict[str, Any]:
    seen = view.label(PLACE)["seen"]
    return view.decide({**PLACE, "seen": seen, "action": "keep", "items": items, "after": after})


# Labels


def test_the_most_doubtful_labels_come_first_and_say_why(view: LabelView) -> None:
    found = view.queue(ALL)
    doubts = [entry["doubt"] for entry in found["entries"]]
    assert doubts == sorted(doubts, reverse=True) and doubts[0] > 0.5 and doubts[-1] == 0
    why = {(entry["record"], entry["task"]): " ".join(entry["why"]) for entry in found["entries"]}
    assert why["b", "medication"].startswith("rejected for 1 of 2 items: invented (grounding)")
    assert "answered no with a probability of 0.52" in why["b", "tests"]
    assert "2 of 3 votes" in why["e", "medication"]
    assert not why["a", "medication"]


def test_no_label_of_a_held_out_record_is_shown(view: LabelView) -> None:
    assert not [entry for entry in view.queue(ALL)["entries"] if entry["record"].startswith("t")]
    with pytest.raises(RefusedError, match="held-out"):
        view.label({"record": "t1", "task": "medication", "sample": 0})


def test_the_queue_is_cut_by_state_task_and_record(view: LabelView) -> None:
    keep(view, [{"text": "Yasadol", "status": "stop"}])
    assert view.queue({**ALL, "show": "decided"})["total"] == 1
    assert {entry["state"] for entry in view.queue({**ALL, "show": "rejected"})["entries"]} == {"rejected"}
    assert {entry["task"] for entry in view.queue({**ALL, "task": "tests"})["entries"]} == {"tests"}
    assert {entry["record"] for entry in view.queue({**ALL, "find": " D "})["entries"]} == {"d"}
    with pytest.raises(RefusedError, match="`show`"):
        view.queue({**ALL, "show": "best"})


def test_what_is_decided_meanwhile_makes_the_queue_pass_over_nothing(
    view: LabelView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chartdistill.review.labels.PAGE", 2)
    show = {**ALL, "show": "open"}
    every = [(entry["record"], entry["task"]) for entry in view.queue(ALL)["entries"]]
    whole = view.queue({**show, "from": 0})["total"]
    seen: list[tuple[str, str]] = []
    found = view.queue(show)
    while found["entries"]:
        for entry in found["entries"]:
            place = {name: entry[name] for name in ("record", "task", "sample")}
            view.decide({**place, "seen": view.label(place)["seen"], "action": "reject", "after": None})
            seen.append((entry["record"], entry["task"]))
        assert found["left"] == whole - len(seen)
        found = view.queue({**show, "from": found["entries"][-1]["rank"] + 1})
    assert len(seen) == whole > 4 and seen[:2] == every


def test_places_are_characters_of_the_chart(view: LabelView) -> None:
    found = view.label({"record": "d", "task": "medication", "sample": 0})
    assert found["text"].startswith(ASTRAL)
    for item in found["items"]:
        start, end = item["span"]
        assert found["text"][start:end] == item["text"]


def test_a_decision_is_written_before_it_is_answered_and_can_be_undone(view: LabelView, run_dir: Path) -> None:
    said = keep(view, [{"text": "  Yasadol ", "status": "stop"}])["decision"]
    (row,) = decision_file(run_dir).rows()
    assert (row.id, row.by, row.items) == (said["id"], "Ada", (Item(text="Yasadol", status="stop"),))
    seen = view.label(PLACE)["seen"]
    undone = view.decide({**PLACE, "seen": seen, "action": "undo", "after": said["id"]})
    assert undone["decision"] is None and undone["num_decisions"] == 2
    with pytest.raises(RefusedError, match="no decision about this label"):
        view.decide({**PLACE, "seen": seen, "action": "undo", "after": None})


def test_nobody_decides_over_a_decision_not_seen(run_dir: Path) -> None:
    ada, bo = LabelView(run_dir, "Ada"), LabelView(run_dir, "Bo")
    first = keep(ada, [{"text": "Yasadol", "status": "stop"}])["decision"]
    with pytest.raises(RefusedError, match="Ada decided about this label meanwhile") as caught:
        keep(bo, [])
    assert caught.value.status == 409
    assert keep(bo, [], after=first["id"])["decision"]["by"] == "Bo"
    assert [row.by for row in decision_file(run_dir).rows()] == ["Ada", "Bo"]


def test_a_clock_that_was_set_back_puts_no_decision_before_the_last(view: LabelView, run_dir: Path) -> None:
    late = decision(LABELS[0], None, at="2999-12-31T23:59:59.999998Z")
    decide(run_dir, late)
    assert keep(view, [], after=late.id)["decision"]["items"] == []


def test_a_label_that_was_made_anew_is_not_decided(view: LabelView, run_dir: Path) -> None:
    seen = view.label(PLACE)["seen"]
    write_labels(run_dir, RECORDS, [LABELS[0].model_copy(update={"completion": "Febenor 5 mg | start"}), *LABELS[1:]])
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    with pytest.raises(RefusedError, match="made anew"):
        view.decide({**PLACE, "seen": seen, "action": "reject", "after": None})
    assert [item["text"] for item in view.label(PLACE)["items"]] == ["Febenor 5 mg"]


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ("Yasadol", "must be a list"),
        ([3], "needs a `text`"),
        ([{"text": "Yasadol"}], "has no status"),
        ([{"text": "Yasadol", "status": "gone"}], "'gone'"),
        ([{"text": " ", "status": "stop"}], "has no text"),
        ([{"text": "x" * 2001, "status": "stop"}], "2,001 characters"),
        ([{"text": "a\x07b", "status": "stop"}], "control character"),
        ([{"text": "a|b", "status": "stop"}], "cannot be read back"),
        ([{"text": "a", "status": "stop"}] * 2, "twice"),
        ([{"text": "a", "status": "stop"}] * 501, "at most 500"),
    ],
)
def test_items_that_cannot_be_taught_are_refused_in_a_sentence(
    view: LabelView, run_dir: Path, items: Any, says: str
) -> None:
    with pytest.raises(RefusedError, match=says.replace("(", r"\(")):
        keep(view, items)
    assert decision_file(run_dir).rows() == []


def test_what_was_decided_and_curated_is_shown_with_the_filters_objections(view: LabelView, run_dir: Path) -> None:
    decide(run_dir, decision(LABELS[2], [("Yasadol", "stop"), ("Bisolukast", "start")]), decision(LABELS[0], None))
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    found = view.label({"record": "b", "task": "medication", "sample": 0})
    assert found["state"] == "kept" and found["decision"]["action"] == "keep"
    assert [[one["reason"] for one in item["objections"]] for item in found["items"]] == [[], ["invented"]]
    assert not view.label(PLACE)["objections"], "what the person said is no objection of a filter"


# Gold


def answer(*items: tuple[str, str]) -> dict[str, Any]:
    return {"medication": [{"text": text, "status": status} for text, status in items], "tests": [{"text": "EEG"}]}


def read(run_dir: Path, name: str, record: str, items: dict[str, Any]) -> dict[str, Any]:
    view = GoldView(run_dir, name)
    return view.read({"record": record, "seen": view.record({"record": record})["seen"], "items": items})


def test_readers_are_blind_until_both_are_done_then_settle_what_differs(run_dir: Path, tmp_path: Path) -> None:
    read(run_dir, "Ada", "t1", answer(("Yasadol", "stop")))
    read(run_dir, "Ada", "t2", answer(("Yasadol", "stop"), ("Febenor", "start")))
    bo = GoldView(run_dir, "Bo")
    assert "Yasadol" not in json.dumps([{**bo.record({"record": name}), "text": ""} for name in ("t1", "t2")])
    read(run_dir, "Bo", "t1", answer(("yasadol", "stop")))
    overview = read(run_dir, "Bo", "t2", answer(("Yasadol", "continue")))
    assert {one["record"]: one["state"] for one in overview["records"]} == {"t1": "gold", "t2": "differs", "t3": "open"}
    drugs, tests = overview["agreement"]
    assert (drugs["items"], drugs["matched"], drugs["f1"]) == ((3, 2), 2, pytest.approx(4 / 5))
    assert drugs["joint_f1"] == pytest.approx(2 / 5) and drugs["kappa"] == pytest.approx(0.0)
    assert tests["f1"] == 1.0 and tests["kappa"] is None
    shown = GoldView(run_dir, "Cy").record({"record": "t2"})
    assert len(shown["tasks"][0]["differences"]) == 2 and shown["tasks"][1]["agreed"]
    with pytest.raises(RefusedError, match="neither reading changes"):
        read(run_dir, "Bo", "t2", answer())
    with pytest.raises(RefusedError, match="A third person can settle"):
        read(run_dir, "Cy", "t3", answer())
    assert write_gold(run_dir, tmp_path / "gold.jsonl") == (1, 1)
    chosen = {"medication": answer(("Yasadol", "stop"))["medication"]}
    GoldView(run_dir, "Cy").settle({"record": "t2", "seen": shown["seen"], "items": chosen})
    assert write_gold(run_dir, tmp_path / "gold.jsonl", overwrite=True) == (2, 0)
    rows = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    assert {row["id"] for row in rows} == {"t1", "t2"} and rows[0]["gold"]["tests"] == [{"text": "EEG"}]


def test_gold_is_what_score_reads(run_dir: Path, tmp_path: Path) -> None:
    for name in ("Ada", "Bo"):
        read(run_dir, name, "t1", answer(("Yasadol", "stop")))
    write_gold(run_dir, tmp_path / "gold.jsonl")
    (tmp_path / "said.jsonl").write_text('{"record": "t1", "task": "medication", "completion": "Yasadol | stop"}\n')
    figures = score_files([tmp_path / "said.jsonl"], tmp_path / "gold.jsonl", tasks=TASKS)
    assert next(iter(figures["arms"].values()))["medication"]["joint_f1"]["value"] == 1.0


def test_intervals_over_read_gold_are_over_the_runs_clusters(run_dir: Path, tmp_path: Path) -> None:
    path = run_dir / "records/records.jsonl"
    rows = [{**json.loads(line), "cluster": "one patient"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, record in itertools.product(("Ada", "Bo"), ("t1", "t2")):
        read(run_dir, name, record, answer(("Yasadol", "stop")))
    out = tmp_path / "gold.jsonl"
    write_gold(run_dir, out)
    said = tmp_path / "said.jsonl"
    lines = (f'{{"record": "{name}", "task": "medication", "completion": "Yasadol | stop"}}\n' for name in ("t1", "t2"))
    said.write_text("".join(lines))
    figures = score_files([said], out, tasks=TASKS)
    assert (figures["records"], figures["clusters"]) == (2, 1)
    read_back = read_annotations(AnnotationFile(path=out), TASKS).answers
    assert {one.task.name for one in read_back} == {"medication", "tests"}
    assert all(isinstance(one, SourceEntry) and one.gold for one in JsonlSource(path=out, gold_field="gold").read())


def test_gold_without_two_readings_is_no_gold(run_dir: Path, tmp_path: Path) -> None:
    read(run_dir, "Ada", "t1", answer())
    with pytest.raises(InputError, match="no record that two people"):
        write_gold(run_dir, tmp_path / "gold.jsonl")
    assert not (tmp_path / "gold.jsonl").exists()


def test_a_reading_answers_every_task(run_dir: Path) -> None:
    with pytest.raises(RefusedError, match="tests has no answer yet"):
        read(run_dir, "Ada", "t1", {"medication": []})


def test_a_changed_chart_is_read_again(run_dir: Path) -> None:
    for name in ("Ada", "Bo"):
        read(run_dir, name, "t1", answer())
    before = GoldView(run_dir, "Ada")
    changed = [one.model_copy(update={"text": one.text + " More."}) if one.id == "t1" else one for one in RECORDS]
    write_labels(run_dir, changed, LABELS)
    for view in (before, GoldView(run_dir, "Ada")):
        states = {one["record"]: one["state"] for one in view.overview({})["records"]}
        assert states["t1"] == "open"


def test_tasks_that_were_changed_are_the_ones_that_are_read(run_dir: Path) -> None:
    view = GoldView(run_dir, "Ada")
    assert view.record({"record": "t1"})["tasks"][1]["question"] == TASKS[1].question
    curate(run_dir, [TASKS[0], TASKS[1].model_copy(update={"question": "List every test."})], DEFAULT_FILTERS)
    assert view.record({"record": "t1"})["tasks"][1]["question"] == "List every test."


def test_who_decided_about_labels_of_a_record_reads_it_no_more(run_dir: Path) -> None:
    decide(run_dir, decision(LABELS[9], None, by="Ada"))
    with pytest.raises(RefusedError, match="would not be blind"):
        read(run_dir, "Ada", "t1", answer())
    read(run_dir, "Bo", "t1", answer())


def test_a_reader_sees_no_label_of_a_record_that_is_not_read_by_both(run_dir: Path) -> None:
    (run_dir / "predictions").mkdir()
    (run_dir / "predictions" / "manifest.json").write_text('{"fingerprint": "x", "split": "validation"}')
    gold = GoldView(run_dir, "Ada")
    view = LabelView(run_dir, "Ada", gold.hides)
    assert view.label({"record": "c", "task": "medication", "sample": 0})
    read(run_dir, "Ada", "c", answer())
    assert not [entry for entry in view.queue(ALL)["entries"] if entry["record"] == "c"]
    with pytest.raises(RefusedError):
        view.label({"record": "c", "task": "medication", "sample": 0})
    read(run_dir, "Bo", "c", answer())
    assert view.label({"record": "c", "task": "medication", "sample": 0})
    changed = [one.model_copy(update={"text": one.text + " More."}) if one.id == "c" else one for one in RECORDS]
    write_labels(run_dir, changed, LABELS)
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    assert GoldView(run_dir, "Ada").hides("c"), "what both read was another text"


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([], None),
        ([("stop", "stop")] * 5, None),  # chance alone would agree
        ([("stop", "stop"), ("start", "start")], 1.0),
        ([("stop", "start"), ("start", "stop")], -1.0),
        # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o 0.7, p_e 0.5
        ([("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15, 0.4),
    ],
)
def test_cohens_kappa(pairs: list[tuple[str, str]], kappa: float | None) -> None:
    assert cohen_kappa(pairs) == (None if kappa is None else pytest.approx(kappa))
