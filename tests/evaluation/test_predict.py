"""What `predict` writes of an answer: where each item is decided, whether it holds, how a drug is taken."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.curation import DEFAULT_FILTERS
from chartdistill.engines import Generation
from chartdistill.errors import InputError
from chartdistill.evaluation.predict import _answer, predict
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import clean
from chartdistill.schema import CUT, Prediction
from places import ROOT


class Reading:
    """What `predict` asks of a student, but for its answers."""

    no_confidence, warnings, mark = "", (), "student"

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("finish", CUT)
def test_what_was_cut_is_a_failure_where_it_is_used_as_where_it_is_measured(finish: str) -> None:
    task, answer = load_task(ROOT / "configs/tasks/medication.yaml"), "Zocor | stop\nZestril | stop"
    found = _answer(Generation(answer, finish_reason=finish), task, clean("Stop Zocor. Stop Zestril."))
    assert found["items"] is None and found["failure"].startswith("truncated: the answer ")
    measured = Prediction(
        key="k", record="r", task="medication", arm="student", completion=answer, finish_reason=finish,
        items=parse_answer(answer, task),
    )  # fmt: skip
    assert measured.items is None


def answered(task: str, chart: str, answer: str) -> list[dict[str, Any]]:
    found = _answer(
        Generation(answer, finish_reason="stop"), load_task(ROOT / f"configs/tasks/{task}.yaml"), clean(chart)
    )
    assert isinstance(found["items"], list)
    return list(found["items"])


@pytest.mark.parametrize(
    ("task", "chart", "answer", "around"),
    [
        ("medication", "HPI: took Zocor for years.\nPLAN: discontinue Zocor.", "Zocor | stop", "discontinue |Zocor"),
        ("medication", "Started Zocor in May. Zocor makes her tired.", "Zocor | start", "Started |Zocor"),
        ("medication", "Zocor held, then resumed Zocor. Ask about Zocor.", "Zocor | continue", "resumed |Zocor"),
        ("medication", "His wife takes Zocor. He uses Zocor.", "Zocor | continue", "He uses |Zocor"),
        ("medication", "Zestril 5 mg daily.", "lisinopril 5 mg | continue", "|Zestril 5 mg"),
        ("medication", "Zestril 5 mg daily.", "lisinopril | continue", "|Zestril"),
        ("diagnosis", "Mother had asthma.\nIMPRESSION: Asthma.\nPLAN: call if it flares.", "asthma", "ION: |Asthma"),
        ("diagnosis", "No gout in the hand. Gout of the toe.", "gout", "hand. |Gout"),
        ("diagnosis", "Known COPD.", "chronic obstructive pulmonary disease", "Known |COPD"),
        ("tests", "A CBC was normal. We will repeat the CBC in May.", "CBC", "repeat the |CBC"),
        ("prognosis", "She is better. She should recover fully.", "should recover fully", "She |should recover fully"),
        ("allergy", "Her son is allergic to latex. Allergies: latex (hives).", "latex | hives", "Allergies: |latex"),
        ("procedure", "Had a colectomy in 2001. Scheduled for colectomy.", "colectomy | planned", "for |colectomy"),
        ("medication", "Takes \ufb02uvo-\nxamine 50 mg.", "fluvoxamine 50 mg | continue", "|\ufb02uvo-\nxamine 50 mg"),
    ],
)
def test_a_span_is_the_mention_that_decides(task: str, chart: str, answer: str, around: str) -> None:
    (item,) = answered(task, chart, answer)
    start, end = item["span"]
    before, _, said = around.partition("|")
    assert (chart[start - len(before) : start], chart[start:end]) == (before, said)
    assert item["grounded"] is True


def test_what_nothing_grounds_has_no_span_and_a_wrong_dose_is_named() -> None:
    wrong, absent = answered("medication", "Takes Zestril 5 mg daily.", "lisinopril 10 mg | continue\nZocor | stop")
    assert (absent["span"], absent["grounded"]) == (None, False)
    assert (wrong["span"], wrong["grounded"], wrong["not_in_chart"]) == ((6, 13), False, ["10 mg"])


def test_behind_the_filters_what_is_gone_is_named_and_a_rejected_answer_is_a_failure() -> None:
    task, chart = load_task(ROOT / "configs/tasks/medication.yaml"), clean("Takes Zestril 5 mg daily.")

    def said(answer: str) -> dict[str, Any]:
        return _answer(Generation(answer, finish_reason="stop"), task, chart, DEFAULT_FILTERS)

    some = said("Zestril 5 mg | continue\nZocor | stop")
    assert [item["text"] for item in some["items"]] == ["Zestril 5 mg"] and some["items"][0]["grounded"]
    assert some["dropped"] == [{"text": "Zocor", "status": "stop", "filter": "grounding", "reason": "invented"}]
    assert "failure" not in some
    none = said("Zocor | stop")
    assert none["items"] is None and none["failure"] == "rejected: all 1 items were dropped"
    assert said("None found")["failure"].startswith("rejected: false_none")
    assert "dropped" not in said("no format")


def test_drugs_have_their_dosage_and_other_findings_none() -> None:
    chart = "PLAN: Start Keflex 500 mg p.o. q.i.d. for 7 days, and Motrin as needed."
    keflex, motrin = answered("medication", chart, "cephalexin 250 mg | start\nMotrin | start")
    assert {name: keflex[name] for name in ("dose", "route", "frequency", "duration")} == {
        "dose": {"number": 250, "unit": "mg"},  # the answer's own
        "route": "oral",
        "frequency": {"times": 4, "days": 1},
        "duration": {"days": 7},
    }
    assert motrin["as_needed"] is True
    assert "dose" not in motrin
    assert "dose" not in answered("diagnosis", "Has gout.", "gout")[0]


def test_an_answer_is_never_shown_with_a_chart_that_was_edited_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart, out = tmp_path / "charts" / "a.txt", tmp_path / "out.csv"
    chart.parent.mkdir()
    chart.write_text("Takes Zocor daily.")
    edits = ["No drugs. Takes Zocor daily."]

    class Student(Reading):
        """Finds what stands at characters 6 to 11, while somebody edits the chart."""

        def read(self, texts: list[str], told: Any = None) -> list[dict[str, Any]]:
            found = [{"text": text[6:11], "span": [6, 11], "grounded": True, "confidence": None} for text in texts]
            if edits:
                chart.write_text(edits.pop())
            return [{"medication": {"items": [one]}} for one in found]

    monkeypatch.setattr("chartdistill.evaluation.predict.Student", Student)
    run: Any = SimpleNamespace(dir=tmp_path / "run", tasks=[load_task(ROOT / "configs/tasks/medication.yaml")])
    with pytest.raises(InputError, match="charts were changed while they were answered"):
        predict(run, chart.parent, out, form="csv")
    assert not out.exists()
    assert predict(run, chart.parent, out, form="csv") == 1
    assert not list(tmp_path.glob(".*"))


def test_the_rate_after_a_kill_counts_only_what_is_asked_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charts, out = tmp_path / "charts", tmp_path / "out.jsonl"
    charts.mkdir()
    for number in range(100):
        (charts / f"{number:02}.txt").write_text(f"Visit {number}. Takes Zocor daily.")
    killed, told = [True], list[int]()

    class Student(Reading):
        """Is killed once, at the chart of visit 60."""

        def read(self, texts: list[str], told: Any = None) -> list[dict[str, Any]]:
            if any("Visit 60." in text for text in texts) and killed.pop():
                raise KeyboardInterrupt
            return [{"medication": {"items": []}} for _ in texts]

    monkeypatch.setattr("chartdistill.evaluation.predict.Student", Student)
    run: Any = SimpleNamespace(dir=tmp_path / "run", tasks=[load_task(ROOT / "configs/tasks/medication.yaml")])
    with pytest.raises(KeyboardInterrupt):
        predict(run, charts, out)
    before = len(next(tmp_path.glob(".out.jsonl.*.partial")).read_text().splitlines())
    killed.append(False)
    assert predict(run, charts, out, progress=lambda done, total=None, tokens=0: told.append(done)) == 100
    assert 0 < before < told[0] and told[-1] == 100, "the first call begins what the rate counts"
