"""score: two files to figures; every line that cannot be used is named; what an arm leaves out is counted."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from chartdistill.commands.score import run_score
from chartdistill.errors import InputError
from chartdistill.evaluation import score_summary
from chartdistill.evaluation.review_split import divide
from chartdistill.evaluation.score import score_files
from chartdistill.evaluation.score_summary import write_summary
from chartdistill.metrics import METRICS, score_arm
from chartdistill.reporting import terminal
from chartdistill.schema import Prediction, Record, Task
from line_files import write

TEXT = "Headache. Stop Yasadol 20 mg daily. Begin Febenor. Order an EEG."
GOLD: list[dict[str, Any]] = [
    {"id": "a", "text": TEXT, "gold": {"medication": [{"text": "Yasadol", "status": "stop"}], "tests": ["EEG"]}},
    {"id": "b", "text": TEXT + " He rests.", "gold": {"medication": [], "tests": []}},
    {"id": "c", "text": "A note of other words, about nothing that matters here at all.", "gold": {"tests": []}},
]


def said(record: str, completion: str | None, task: str = "medication", arm: str = "student") -> dict[str, Any]:
    failure = None if completion is not None else "engine: died"
    return {"record": record, "task": task, "arm": arm, "completion": completion, "failure": failure}


def test_figures_are_those_of_the_metrics(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    rows = [said("a", "Yasadol 20 mg | stop\nHeadache | stop"), said("b", "None found"),
            said("a", "EEG\nMRI", "tests"), said("b", "None found", "tests"), said("c", "none", "tests")]  # fmt: skip
    found = score_files([write(tmp_path / "p.jsonl", *rows)], gold, resamples=100)
    student = found["arms"]["student"]
    assert student["medication"]["precision"]["value"] == 0.5
    assert (student["medication"]["wrong_kind_rate"]["value"], student["medication"]["invented_rate"]["value"]) == (
        0.5,
        0,
    )
    assert student["tests"]["invented_rate"]["value"] == 0.5, "MRI is nowhere in the text"
    assert student["tests"]["format_valid_rate"]["value"] == pytest.approx(2 / 3)
    assert found["missing"] == {"student": 0}
    assert found["clusters"] == 2, "b repeats a: their texts are near-duplicates"
    assert found["matching"]["drug_lexicon"]
    json.dumps(found, allow_nan=False)
    assert "student" in write_summary(found)


def test_the_forms_of_a_prediction_are_one(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    item = {"text": "Yasadol", "status": "stop", "span": [15, 22], "grounded": True, "match": "exact"}
    by_record = [
        {"id": "a", "source": "x", "tasks": {"medication": {"items": [item]}, "tests": {"items": ["EEG"]}}},
        {"id": "b", "tasks": {"medication": {"items": None, "failure": "truncated: too long"}, "tests": {"items": []}}},
        {"id": "c", "tasks": {"medication": {"items": []}, "tests": {"items": None, "failure": "engine: died"}}},
    ]
    by_answer = [
        said("a", "Yasadol | stop"), said("a", "EEG", "tests"), said("b", "None found", "tests"),
        said("c", "None found"), {**said("b", "Yasad"), "finish_reason": "length"}, said("c", None, "tests"),
    ]  # fmt: skip
    one = score_files([write(tmp_path / "student.jsonl", *by_record)], gold, resamples=100)
    two = score_files([write(tmp_path / "other.jsonl", *by_answer)], gold, resamples=100)
    assert one["arms"] == two["arms"]
    assert one["arms"]["student"]["medication"]["truncated_rate"]["value"] == pytest.approx(1 / 3)
    assert one["arms"]["student"]["tests"]["recall"]["unscored"] == 1


@pytest.mark.parametrize(
    "said_of", [{"failure": "empty"}, {"tasks": {"tests": {"items": None, "failure": "bad_format"}}}]
)
def test_a_chart_of_which_all_is_in_the_review_file_is_unscored(tmp_path: Path, said_of: Any) -> None:
    kept, review = divide({"id": "a", "source": "x", **said_of}, 0.9)
    assert review is not None and kept["tasks"] == {}
    found = score_files(
        [write(tmp_path / "kept.jsonl", kept)], write(tmp_path / "gold.jsonl", GOLD[0]), resamples=100
    )["arms"]["kept"]  # fmt: skip
    assert [found[task]["recall"]["unscored"] for task in ("medication", "tests")] == [1, 1]


def test_what_is_in_the_review_file_is_no_none_found(tmp_path: Path) -> None:
    names = (("Yasadol", 0.9), ("Zoloft", 0.1))
    sure, unsure = (
        {"text": name, "status": "stop", "confidence": of, "span": [0, 6], "grounded": True} for name, of in names
    )
    listed = {"a": [sure, unsure], "b": [unsure]}
    lines = [{"id": name, "source": "x", "tasks": {"medication": {"items": of}}} for name, of in listed.items()]
    path = write(tmp_path / "kept.jsonl", *(divide(line, 0.5)[0] for line in lines))
    found = score_files([path], write(tmp_path / "gold.jsonl", *GOLD), resamples=100)["arms"]["kept"]["medication"]
    assert found["precision"]["value"] == 1 and found["precision"]["unscored"] == 1
    assert found["abstention_specificity"]["value"] is None and found["none_rate"]["value"] == 0


@pytest.mark.parametrize(("items", "valid"), [(None, 0), ([{"text": "Yasadol", "status": "stop"}], 1), ([], 1)])
def test_items_win_over_the_completion_they_were_made_of(tmp_path: Path, items: Any, valid: int) -> None:
    """The filtered arm of a run: what the filters rejected as a whole keeps the completion that was rejected."""
    row = {**said("a", "Yasadol | stop\nZoloft | start"), "items": items}
    found = score_files(
        [write(tmp_path / "p.jsonl", row)], write(tmp_path / "gold.jsonl", GOLD[0]), resamples=100
    )["arms"]["student"]["medication"]  # fmt: skip
    assert found["format_valid_rate"]["value"] == valid
    assert found["recall"]["value"] == (1 if items else 0)
    assert found["invented_rate"]["value"] == (0 if items else None)


def test_what_an_arm_leaves_out_is_counted(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    found = score_files([write(tmp_path / "p.jsonl", said("a", "Yasadol | stop"))], gold, resamples=100)
    assert found["missing"] == {"student": 4}
    assert found["arms"]["student"]["medication"]["recall"]["unscored"] == 1
    assert found["arms"]["student"]["tests"]["recall"]["reason"] == "no prediction could be scored"
    assert "4 answers MISSING" in write_summary(found)


def test_records_without_gold_yet_are_left_out_and_said(tmp_path: Path) -> None:
    """As after `review --gold` of a part of the held-out records."""
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    rows = [said(name, "Yasadol | stop") for name in ("a", "b", "c")]
    rows += [said("a", "None found", "tests"), said("b", "None found", "tests"), said("c", "None found", "tests")]
    part = [said("y", "Zoloft | stop"), said("z", "Zoloft | stop"), said("z", "None found", "tests")]
    found = score_files([write(tmp_path / "p.jsonl", *rows, *part)], gold, resamples=100)
    of_read = score_files([write(tmp_path / "q.jsonl", *rows)], gold, resamples=100)
    assert found["without_gold"] == {"student": 2} and of_read["without_gold"] == {"student": 0}
    assert found["arms"] == of_read["arms"] and found["missing"] == of_read["missing"]
    assert "2 more records have answers and NO GOLD" in write_summary(found)
    assert "NO GOLD" not in write_summary(of_read)


def test_arms_are_compared_in_pairs(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "gold": {"tests": ["EEG"] if i % 2 else []}} for i in range(40)]
    gold = write(tmp_path / "gold.jsonl", *rows)
    good = write(tmp_path / "good.jsonl", *(
        {"record": row["id"], "task": "tests", "items": row["gold"]["tests"]} for row in rows
    ))  # fmt: skip
    bad = write(tmp_path / "bad.jsonl", *({"record": row["id"], "task": "tests", "items": ["MRI"]} for row in rows))
    found = score_files([good, bad], gold, resamples=200)
    assert list(found["differences"]) == ["good-bad"]
    assert found["differences"]["good-bad"]["all"]["joint_f1"]["value"] == 1
    tested = found["p_values"]["good-bad"]["all"]["joint_f1"]
    assert tested["p"] < 0.001
    assert tested["p"] <= tested["holm"] <= 3 * tested["p"]
    invented = found["arms"]["bad"]["all"]["invented_rate"]
    assert invented["value"] is None
    assert "the text of the records was not given" in invented["reason"]
    assert found["arms"]["bad"]["all"]["confabulation_rate"]["value"] == 1, "needs no text"


def test_a_run_folder_scores_as_it_did(tmp_path: Path) -> None:
    task = Task(name="tests", item="test", gate_question="?", extraction_question="?", question="?")
    records = [
        Record(id=row["id"], source="s", text=row["text"], cluster=f"c{i}", split="test", segments=((0, 3, 4),),
               gold={"tests": ()})
        for i, row in enumerate(GOLD)
    ]  # fmt: skip
    answers = [
        Prediction(key="k", record=record.id, task="tests", arm="base", completion="None found", items=(),
                   finish_reason="stop", prompt_tokens=3)
        for record in records
    ]  # fmt: skip
    gold = write(tmp_path / "records.jsonl", *(record.line() for record in records))
    found = score_files([write(tmp_path / "base.jsonl", *(a.line() for a in answers))], gold, [task], resamples=100)
    expected = score_arm(answers, {record.id: record for record in records}, [task], resamples=100)
    assert set(found["arms"]["base"]["tests"]) == set(METRICS)
    for metric, estimate in expected["tests"].items():
        assert found["arms"]["base"]["tests"][metric] == estimate.model_dump()


@pytest.mark.parametrize(
    ("predictions", "gold", "problem"),
    [
        (
            [said("zz", "None found")],
            GOLD,
            r"has none of the 1 records that the arm 'student' .*'zz', .*'a',",
        ),
        ([said("zz", "None found")] * 2, GOLD, r"p\.jsonl:2: arm 'student' has an answer for record 'zz'"),
        ([said("a", "None found", "prognosis")], GOLD, r"p\.jsonl:1: task 'prognosis' is not among medication, tests"),
        ([said("a", "None found"), said("a", "None found")], GOLD, r"p\.jsonl:2: arm 'student' has an answer"),
        ([{"record": "a", "task": "tests"}], GOLD, r"p\.jsonl:1: .*none of completion, items and failure"),
        ([{"id": "a"}], GOLD, r"p\.jsonl:1: holds neither tasks nor failure"),
        ([{**said("a", "x"), "temprature": 1}], GOLD, r"p\.jsonl:1: temprature: unknown key"),
        (["{torn"], GOLD, r"p\.jsonl:1: not JSON"),
        ([said("a", "None found")], [GOLD[0], GOLD[0]], r"gold\.jsonl:2: record 'a' stands in line 1 already"),
        ([said("a", "None found")], [{"id": "a"}], "no record of the gold file has `gold`"),
        ([said("a", "None found")], [{"id": "a", "gold": {"tests": [{"txt": "EEG"}]}}], r"gold\.jsonl:1: gold\.tests"),
        (
            [said("a", "None found")],
            [{"id": "a", "gold": {"medication": [{"text": "x", "status": "stop"}, "y"]}}],
            r"gold\.jsonl:1: task 'medication': an item has no status",
        ),
        ([said("a", "None found")], [{"id": "a", "gold": {"tests": ["None found"]}}], r"gold\.jsonl:1: .* says none;"),
        (
            [said("a", "None found")],
            [{"id": "a", "gold": {"tests": [" "]}}],
            r"gold\.jsonl:1: .* is blank; leave it out",
        ),
        ([said("a", "None found")], [], "is empty"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, predictions: Any, gold: Any, problem: str) -> None:
    files = write(tmp_path / "p.jsonl", *predictions), write(tmp_path / "gold.jsonl", *gold)
    with pytest.raises(InputError, match=problem) as raised:
        score_files([files[0]], files[1], resamples=100)
    assert "Yasadol" not in str(raised.value), "no record text in errors"


def test_all_faulty_lines_are_told_at_once(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    rows = ['{"record": "zz"}', said("a", "None found"), "{", said("a", "x", "nope")]
    with pytest.raises(InputError, match="3 lines cannot be used") as raised:
        score_files([write(tmp_path / "p.jsonl", *rows)], gold)
    assert [f":{number}:" in str(raised.value) for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_a_status_outside_the_task_is_a_broken_answer(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD[:1])
    rows = [{"record": "a", "task": "medication", "items": [{"text": "Yasadol", "status": "paused"}]}]
    found = score_files([write(tmp_path / "p.jsonl", *rows)], gold, resamples=100)
    assert found["arms"]["p"]["medication"]["format_valid_rate"]["value"] == 0


def test_one_record_without_text_leaves_the_others_in_their_clusters(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "text": TEXT + f" Seen {i} times.", "gold": {"tests": ["EEG"]}} for i in range(6)]
    rows += [{"id": "bare", "gold": {"tests": []}}, {"id": "bare too", "text": "", "gold": {"tests": []}}]
    answers = [{"record": row["id"], "task": "tests", "items": ["EEG"]} for row in rows]
    found = score_files([write(tmp_path / "p.jsonl", *answers)], write(tmp_path / "gold.jsonl", *rows), resamples=100)
    assert found["clusters"] == 3, "six copies are one; a record without text is one by itself"


@pytest.mark.parametrize(
    ("items", "completion"),
    [
        (["EEG", "EEG", "MRI"], "EEG\nEEG\nMRI"),
        (["EEG", "eeg", "E.E.G."], "EEG\neeg\nE.E.G."),
        ([], "None found"),
        (["N/A"], "N/A"),
        (["No tests"], "No tests"),
        (["EEG", " "], "EEG\n "),
        (["EEG | daily"], "EEG | daily"),
        (["  EEG "], "EEG"),
        ([{"text": "EEG", "status": "done"}], "EEG | done"),
    ],
)
def test_items_are_read_as_the_completion_that_lists_them(tmp_path: Path, items: Any, completion: str) -> None:
    gold = write(tmp_path / "gold.jsonl", {"id": "a", "text": TEXT, "gold": {"tests": ["EEG"]}})
    arms = []
    for how in ({"items": items}, {"completion": completion}):
        row = {"record": "a", "task": "tests", "arm": "x", **how}
        arms.append(score_files([write(tmp_path / "p.jsonl", row)], gold, resamples=100)["arms"])
    assert arms[0] == arms[1]


def test_what_an_answer_repeats_is_counted(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", {"id": "a", "text": TEXT, "gold": {"medication": [
        {"text": "Yasadol", "status": "stop"}]}})  # fmt: skip
    said_twice = "Yasadol | stop\nYasadol | stop\nyasadol 20 mg | stop\nYasadol | continue"
    task = Task(name="medication", item="medication", statuses=("stop", "continue"), gate_question="?",
                extraction_question="?", question="?")  # fmt: skip
    found = score_files([write(tmp_path / "p.jsonl", said("a", said_twice))], gold, [task], resamples=100)
    figures = found["arms"]["student"]["medication"]
    assert (figures["duplicate_rate"]["value"], figures["duplicate_rate"]["n"]) == (2 / 4, 4)
    assert figures["precision"]["n"] == 3, "an exact repeat is one item, as before"


def test_optional_gold_is_read_and_counts_neither_way(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": TEXT, "gold": {"tests": ["EEG", {"text": "MRI", "optional": True}]}}]
    gold = write(tmp_path / "gold.jsonl", *rows)
    for items in (["EEG"], ["EEG", "MRI"]):
        answer = {"record": "a", "task": "tests", "items": items}
        found = score_files([write(tmp_path / "p.jsonl", answer)], gold, resamples=100)["arms"]["p"]["tests"]
        for name in ("precision", "recall", "joint_f1", "record_exact"):
            assert found[name]["value"] == 1, name
        assert (found["invented_rate"]["value"], found["invented_rate"]["n"], found["recall"]["n"]) == (0, 1, 1)


def test_broken_answers_stand_beside_confabulation(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *GOLD)
    broken = [said(row["id"], "I cannot say.\n\nSorry", task) for row in GOLD for task in row["gold"]]
    summary = write_summary(score_files([write(tmp_path / "p.jsonl", *broken)], gold, resamples=100))
    for line in summary.splitlines():
        if "confabulation_rate" in line and not line.startswith("student-"):
            assert "confabulation_rate not defined (no emitted items); format_valid_rate 0.000" in line
    assert "in 0 records" not in summary


def test_unmatched_pairs_are_counted_as_written_and_may_go_to_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = write(tmp_path / "gold.jsonl", {"id": "a", "gold": {"tests": ["E\u2028EG"]}})
    answers = write(tmp_path / "p.jsonl", said("a", "MRI", "tests"))
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    threads = [
        Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True),
        Thread(target=run_score, daemon=True, args=[Namespace(
            predictions=answers, gold=gold, against=[], same_as=None, vocabulary=None, tasks=None, out=None,
            unmatched=pipe, overwrite=False,
        )]),
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it waits for somebody to write what it has written itself"
    assert "1 unmatched pairs in" in capsys.readouterr().out, "a line separator within a name ends no line"
    assert len(read[0].split(b"\n")) == 2


def test_no_pair_of_arms_is_lost_behind_another_of_its_name(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", GOLD[0])
    files = [
        write(tmp_path / f"{arm}.jsonl", {**said("a", "None found"), "arm": arm}) for arm in ("a", "b-c", "a-b", "c")
    ]
    with pytest.raises(InputError, match="two pairs have the same name"):
        score_files(files, gold, resamples=100)
    assert len(score_files(files[:3], gold, resamples=100)["differences"]) == 3


@pytest.mark.parametrize("turned", [False, True])
def test_an_array_is_told_to_be_lines(tmp_path: Path, turned: bool) -> None:
    paths = [write(tmp_path / "p.json", [said("a", "None found")]), write(tmp_path / "gold.jsonl", *GOLD)]
    predictions, gold = reversed(paths) if turned else paths
    with pytest.raises(InputError, match=r"p\.json:1: a JSON list; write one object per line"):
        score_files([predictions], gold)


@pytest.mark.parametrize("shown", [score_summary._shown, terminal._shown])
def test_a_rare_error_is_not_written_as_none(shown: Callable[[Any], str]) -> None:
    row = {"low": 0.0, "high": 0.001, "n": 5000, "unscored": 0, "records": None, "discordant": None}
    assert shown(row | {"value": 2 / 5000}).startswith("0.0004 [0.000, 0.001] n")
    assert shown(row | {"value": 0.0}).startswith("0.000 [")
