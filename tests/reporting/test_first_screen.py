"""What a clinician reads first: plain sentences, dangerous confusions, the worst charts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chartdistill.metrics import score_arm
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.harm import HARMFUL
from chartdistill.metrics.matching import harmful_pairs
from chartdistill.reporting.error_summary import Confusion, _of_100, confusions, plain_figures, plain_table
from chartdistill.reporting.findings import state_findings
from chartdistill.reporting.run_facts import Models, run_grid
from chartdistill.reporting.run_results import RunResults, read_results
from chartdistill.runtime.run_folder import read_manifest, read_rows, write_text
from chartdistill.schema import CuratedLabel, Item, Prediction, Record, Rejection
from report_page import page_of
from report_run import TASKS, invent_scores, write_manifest, write_rows, write_run

MEDICATION = TASKS[0]


def scored(run: Path) -> RunResults:
    """The run, with scores of the student's stored answers in the place of the invented ones."""
    found = read_results(run, TASKS, "Scored")
    rows = [one for answers in found.predictions.values() for one in answers.values() if one.arm == "student"]
    figures = score_arm(rows, found.scored_records, TASKS, resamples=50)
    written = {task: {name: one.model_dump() for name, one in of.items()} for task, of in figures.items()}
    scores = {"gold": {task.name: True for task in TASKS}, "arms": {"student": written}}
    write_text(run / "predictions" / "scores.json", json.dumps(scores))
    return read_results(run, TASKS, "Scored")


def items(*pairs: tuple[str, str]) -> tuple[Item, ...]:
    return tuple(Item(text=text, status=status) for text, status in pairs)


@pytest.mark.parametrize(
    ("gold", "said", "found"),
    [
        ((("Velolol", "stop"),), (("Velolol", "continue"),), [("stop", {"continue"})]),
        ((("Velolol", "stop"),), (("Velolol 5 mg", "start"), ("Velolol", "continue")),
         [("stop", {"start", "continue"})]),
        ((("Velolol", "stop"),), (("Velolol", "hold"),), []),
        ((("Velolol", "stop"), ("Velolol", "start")), (("Velolol", "start"),), []),
        ((("Velolol", "continue"), ("Xenol", "avoid")), (("Velolol", "stop"), ("Xenol", "given-once")),
         [("continue", {"stop"}), ("avoid", {"given-once"})]),
        ((("Velolol", "start"),), (("Velolol", "stop"),), []),
        ((("Velolol", "stop"),), (), []),
    ],
)  # fmt: skip
def test_a_confusion_is_a_pair_of_statuses(
    gold: tuple[tuple[str, str], ...], said: tuple[tuple[str, str], ...], found: list[tuple[str, set[str]]]
) -> None:
    assert list(harmful_pairs(items(*said), items(*gold), MEDICATION)) == found


def test_an_optional_gold_item_is_in_no_confusion() -> None:
    optional = (Item(text="Velolol", status="stop", optional=True),)
    assert list(harmful_pairs(items(("Velolol", "continue")), optional, MEDICATION)) == []


def test_each_pair_of_statuses_stands_with_its_count_and_adds_up_to_the_scores(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    records = [one for one in read_rows(run / "records" / "records.jsonl", Record) if one.split == "test"]
    answers = []
    for place, record in enumerate(records):
        gold = (record.gold or {})["medication"]
        said = tuple(
            item.model_copy(update={"status": sorted(HARMFUL[item.status])[0]})
            if item.status in HARMFUL and place % 2
            else item
            for item in gold
        )
        answers.append(
            Prediction(key="k", record=record.id, task="medication", arm="student", completion="x", items=said)
        )
    write_rows(run / "predictions" / "student.jsonl", *answers)
    results = scored(run)
    assert results.scores is not None
    *rows, total = confusions(results, results.scores)
    assert [row.chart_says for row in rows] == ["stopped", "to avoid", "on hold", "past", "continued"]
    assert {word for row in rows for word, _ in row.said} == {word for of in HARMFUL.values() for word in of}
    counted = Counter(row.chart_says for row in rows if any(number for _, number in row.said))
    assert counted, "some confusion was planted"
    rows = [row for row in rows if row.count != "none in the charts"]
    assert len(rows) > 2
    for row in rows:
        number, of = (int(part) for part in row.count.split(" of "))
        assert sum(number or 0 for _, number in row.said) == number
        assert 0 <= number <= of
    assert int(total.count.split(" of ")[0]) == sum(int(row.count.split(" of ")[0]) for row in rows)
    assert re.fullmatch(r"\d+\.\d%, at most \d+\.\d%; of the \d+ it lists \d+\.\d%, at most \d+\.\d%", total.share)
    page = page_of(run)
    for row in rows:
        for word, number in row.said:
            assert f"{word} {number}" in page


def test_pairs_are_not_counted_where_the_scores_were_made_by_other_rules(tmp_path: Path) -> None:
    results = scored(write_run(tmp_path))
    scores = results.scores
    assert scores is not None
    figures = scores.arms["student"]["all"]
    wrong = figures["hold_as_continue_rate"].model_copy(update={"value": 1.0})
    changed = {**scores.arms["student"], "all": {**figures, "hold_as_continue_rate": wrong}}
    rows = {
        row.chart_says: row for row in confusions(results, scores.model_copy(update={"arms": {"student": changed}}))
    }
    assert [number for _, number in rows["on hold"].said] == [None, None]
    assert all(number is not None for _, number in rows["stopped"].said)


def test_a_status_that_scores_do_not_have_is_said_not_to_be_measured(tmp_path: Path) -> None:
    results = scored(write_run(tmp_path))
    scores = results.scores
    assert scores is not None
    figures = dict(scores.arms["student"]["all"])
    del figures["past_as_continue_rate"]
    arms = {"student": {**scores.arms["student"], "all": figures}}
    rows = confusions(results, scores.model_copy(update={"arms": arms}))
    past = next(row for row in rows if row.chart_says == "past")
    assert (past.count, past.share) == ("not measured in this run", "")
    assert isinstance(past, Confusion)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.974, "97"), (0.976, "98"), (1.0, "100"), (0.0, "0"), (0.997, "99.7"), (0.002, "0.2"),
     (0.9999, "more than 99.9"), (0.0001, "fewer than 0.1")],
)  # fmt: skip
def test_of_100_never_rounds_to_all_or_none(value: float, shown: str) -> None:
    estimate = Estimate(value=value, low=value, high=value, n=1200, unscored=0, clusters=300)
    figure = _of_100("Of 100 items,", estimate, "are right")
    assert figure.number == shown
    assert "n 1200 in 300 clusters" in figure.line()


def test_the_sentences_have_the_scored_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    figures = invent_scores(gold=True)["arms"]["student"]["all"]
    page = page_of(run)
    first = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.partition('<section id="run"')[0]))
    confabulated, recall, stopped = (
        figures[name] for name in ("confabulation_rate", "recall", "stop_as_continue_rate")
    )
    right = round(100 * (1 - confabulated["value"]))
    assert f"Of 100 items the distilled student lists, {right} are borne out by the chart." in first
    assert f"Of 100 items in the charts, it finds {round(100 * recall['value'])}." in first
    called = round(stopped["value"] * stopped["n"])
    assert f"Of {stopped['n']} stopped drugs, it called {called} continued, started or changed." in first
    assert f"{100 * stopped['value']:.1f}%, at most {100 * stopped['high']:.1f}%; n {stopped['n']}" in first


def test_without_gold_it_says_what_is_not_known(tmp_path: Path) -> None:
    results = read_results(write_run(tmp_path, gold=False), TASKS, "No gold")
    assert results.scores is not None
    said = " ".join(one.line() for one in plain_figures(results, results.scores))
    assert "are found in the chart" in said
    assert "borne out" not in said
    assert "Not known, for want of gold" in said
    assert confusions(results, results.scores) == ()
    assert plain_table(results, results.scores) is None


@pytest.mark.parametrize("gold", [True, False])
def test_the_first_sentence_says_whether_there_was_gold_to_compare_with(tmp_path: Path, gold: bool) -> None:
    first = page_of(write_run(tmp_path, gold=gold)).partition('<ul class="plainly">')[0]
    assert ("compared with gold" in first) == gold and ("There is no gold" in first) != gold


def test_gold_of_a_part_of_the_charts_and_tasks_is_not_taken_for_all_of_them(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    whole = read_results(run, TASKS, "Whole")
    assert not any("for a part only" in one for one in state_findings(whole).cautions)
    assert "on 24 held-out records" in state_findings(whole).verdict
    path = run / "records" / "records.jsonl"
    parts = [
        one.model_copy(update={"gold": {"medication": (one.gold or {})["medication"]} if place < 9 else None})
        for place, one in enumerate(read_rows(path, Record))
    ]
    write_rows_anew(path, parts)
    scores = invent_scores(gold=True) | {"gold": {task.name: task.name == "medication" for task in TASKS}}
    write_text(run / "predictions" / "scores.json", json.dumps(scores))
    page = page_of(run)
    said = "of 24 held-out records: medication 9, prognosis none, diagnosis none, tests none."
    assert said in page.partition('<section id="run"')[0]
    assert all(said in (run / place).read_text() for place in ("report/report.md", "adapter/README.md"))
    assert "on 9 of 24 held-out records, those that have gold." in page


@pytest.mark.parametrize(
    ("split", "options", "said"),
    [
        ("validation", {"keep": "best", "validation_passes": 3}, True),
        ("validation", {"keep": "last", "stop_after_worse": 2, "validation_passes": 3}, True),
        ("validation", {"keep": "last", "stop_after_worse": None, "validation_passes": 3}, False),
        ("validation", {"keep": "best", "validation_passes": 0}, False),
        ("test", {"keep": "best", "validation_passes": 3}, False),
    ],
)
def test_charts_by_which_training_chose_are_named(
    tmp_path: Path, split: str, options: dict[str, Any], said: bool
) -> None:
    run = write_run(tmp_path)
    write_manifest(run / "adapter", seconds=1.0, options=options)
    write_manifest(run / "predictions", seconds=1.0, split=split)
    first = page_of(run).partition('<section id="run"')[0]
    assert ("by which training chose the adapter that it kept" in first) == said


@pytest.mark.parametrize("shows", [True, False])
def test_the_worst_charts_come_first_and_name_what_was_missed_where_text_may_be_shown(
    tmp_path: Path, shows: bool
) -> None:
    run = write_run(tmp_path)
    records = [one for one in read_rows(run / "records" / "records.jsonl", Record) if one.split == "test"]
    gold = {"medication": items(("Qwzstopped", "stop"), ("Qwzleftout", "continue")), "tests": ()}
    bad = records[7].model_copy(update={"text": records[7].text + " Qwzstopped Qwzleftout", "gold": gold})
    path = run / "records" / "records.jsonl"
    write_rows_anew(path, [bad if one.id == bad.id else one for one in read_rows(path, Record)])
    said = {"medication": items(("Qwzstopped", "continue")), "tests": (Item(text="Qwzinvented"),)}
    right = [
        Prediction(key="k", record=record.id, task=task, arm="student", completion="x",
                   items=said[task] if record.id == bad.id else (record.gold or {})[task])
        for record in records
        for task in said
    ]  # fmt: skip
    (run / "predictions" / "student.jsonl").unlink()
    write_rows(run / "predictions" / "student.jsonl", *right)
    page = page_of(run, include_text=shows)
    worst = page.partition('<div class="worst">')[2].partition("</section>")[0]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", worst))
    assert worst.count("<article>") == 1, "all other charts were read without a fault"
    assert bad.id in text
    assert re.findall(r'<article class="example">\s*<details>\s*<summary><h3>([^<]+)</h3>', page)[0] == bad.id
    if shows:
        assert "Qwzstopped : called continue, the chart says stop" in text
        assert "missed Qwzleftout continue" in text
        assert "invented Qwzinvented" in text
    else:
        assert "Qwz" not in page
        assert all(words in text for words in ("1 dangerous status", "1 missed", "1 invented"))


def write_rows_anew(path: Path, rows: list[Record]) -> None:
    path.unlink()
    write_rows(path, *rows)


@pytest.mark.parametrize("of_patients", [0, 1])
@pytest.mark.parametrize("source", ["synthetic:heldout:1", "written:a:letter"])
def test_charts_of_nobody_are_counted_as_synthetic_on_every_page(tmp_path: Path, source: str, of_patients: int) -> None:
    run = write_run(tmp_path)
    path = run / "records" / "records.jsonl"
    records = [
        one if place < of_patients else one.model_copy(update={"source": source})
        for place, one in enumerate(read_rows(path, Record))
    ]
    write_rows_anew(path, records)
    page = page_of(run)
    assert f"{60 - of_patients} of 60 records are synthetic charts" in page
    assert f"| of these synthetic | {60 - of_patients} |" in (run / "adapter/README.md").read_text()
    assert ("Contains record text, of synthetic charts only." in page) == (not of_patients)
    assert ("1 of 60 records are not synthetic, and the config does not ask" in page) == bool(of_patients)
    assert ("on 24 held-out records." if of_patients else "on 24 held-out synthetic records.") in page


def test_the_cause_of_hidden_text_is_the_one_that_holds(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert "60 of 60 records are not synthetic, and the config does not ask for text" in page_of(run)
    page = page_of(run, include_text=False)
    assert "because the config says report: {include_text: false}" in page
    assert "are not synthetic, and" not in page


def test_a_rejected_item_is_shown_once_with_all_that_spoke_against_it(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run / "curated" / "rejected.jsonl").unlink()
    item = Item(text="Nosuchtest")

    def why(filter_: str, reason: str, of: Item | None = None) -> Rejection:
        return Rejection(filter=filter_, reason=reason, item=of, evidence=f"seen by {filter_}")

    write_rows(
        run / "curated" / "rejected.jsonl",
        CuratedLabel(record="chart-001", task="tests", items=None, rejections=(
            why("grounding", "invented", item), why("grounding", "invented"), why("kind", "not_a_test", item),
            why("kind", "not_a_test"))),
        CuratedLabel(record="chart-002", task="tests", items=None, rejections=(
            why("duplicates", "carried_over"), why("grounding", "invented", item), why("grounding", "invented"))),
    )  # fmt: skip
    shown = [(one.record, one.item and one.item.text, one.reasons) for one in read_results(run, TASKS, "R").rejects]
    assert sorted(shown, key=str) == [
        ("chart-001", "Nosuchtest", ("grounding: invented", "kind: not_a_test")),
        ("chart-002", "Nosuchtest", ("grounding: invented",)),
        ("chart-002", None, ("duplicates: carried_over",)),
    ]


def test_this_run_says_what_it_was_made_with_and_what_nobody_recorded(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    bare = dict(run_grid(read_results(run, TASKS, "Bare"), None).rows)
    assert bare["Teacher"] == bare["LoRA"] == bare["Date"] == bare["Labelling speed"] == "not recorded"
    trained = read_manifest(run / "adapter") or {}
    options = {"lora": {"rank": 16, "alpha": 32, "dropout": 0.0, "use_dora": False}, "epochs": 4.0, "seed": 7}
    write_manifest(run / "adapter", **{**trained, "options": options, "trainable_parameters": 233472, "processes": 1,
                                       "versions": {"torch": "2.13.0+cpu"}})  # fmt: skip
    write_manifest(
        run / "labels",
        model="/home/someone/models/teacher",
        speed={"records_per_second": 1.5, "tokens_per_second": 2049.8},
        engine_start_seconds=71.2,
        tokens={"prompt": 1000, "cached": 750, "cached_share_of_shareable": 0.99},
    )
    registered = {"registered": {"time": "2026-11-28T12:03:46+00:00", "verb": "evaluate"}}
    write_manifest(run / "predictions", seconds=3.0, **registered)
    models = Models("org/teacher", "aa55", "org/student", None)
    found = dict(run_grid(read_results(run, TASKS, "Full"), models).rows)
    assert found["Teacher"] == "org/teacher, revision aa55"
    assert found["Student, before training"] == "org/student, revision not recorded"
    assert found["LoRA"] == "rank 16, alpha 32, dropout 0, epochs 4, 233,472 trainable parameters"
    assert found["Seeds"] == "training 7"
    assert found["Machine"].endswith("builds for CPUs; torch 2.13.0+cpu; trained in 1 process")
    machine = {"cpu": "A CPU", "cores": 2, "memory_gib": 16.0, "cards": [], "os": "An OS", "python": "3.11.7"}
    card = {"name": "L4", "memory_gib": 22.5, "driver": "580.1"}
    for verb_folder, cards in (("adapter", []), ("predictions", []), ("labels", [card, card])):
        manifest = read_manifest(run / verb_folder) or {}
        write_manifest(run / verb_folder, **{**manifest, "machine": machine | {"cards": cards}})
    said = dict(run_grid(read_results(run, TASKS, "Full"), models).rows)["Machine"]
    assert "label on A CPU, 2 cores, 16.0 GiB, 2 x L4 (22.5 GiB, driver 580.1), An OS, Python 3.11.7" in said
    assert "train, evaluate on A CPU, 2 cores, 16.0 GiB, no card, An OS" in said
    assert found["Date"].startswith("2026-11-28 12:03:46 UTC")
    assert (
        found["Labelling speed"] == "1.5 charts per second, 2,050 tokens per second, without the engine's start (71 s)"
    )
    assert found["Prompt tokens from the cache"] == "750 of 1,000 (75.0%; 99.0% of those that could be)"
    assert "/home" not in page_of(run)


@pytest.mark.parametrize(("broken", "kind"), [(0.0, "good"), (1 / 64, "bad")])
def test_what_should_not_happen_looks_like_a_fault_only_where_it_did(broken: float, kind: str, tmp_path: Path) -> None:
    found = read_results(write_run(tmp_path), TASKS, "Marked")
    assert found.scores is not None
    valid = Estimate(value=1 - broken, low=0.9, high=1.0, n=64, unscored=0)
    arms = {**found.scores.arms, "student": {"all": {"format_valid_rate": valid}}}
    scores = found.scores.model_copy(update={"arms": arms})
    (shown,) = [one for one in plain_figures(found, scores) if "no usable format" in one.after]
    assert (shown.kind, shown.number) == (kind, f"{broken * 64:.0f}")
