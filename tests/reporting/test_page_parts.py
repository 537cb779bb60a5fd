"""The pages' parts: verdicts of differences, written values, items found and judged in a text, plots."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from chartdistill.evaluation.scores import Scores
from chartdistill.metrics import score_arm
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME
from chartdistill.metrics.matching import is_located
from chartdistill.metrics.significance import PValue
from chartdistill.reporting.error_summary import plain_figures
from chartdistill.reporting.examples import choose_examples, find, judge, mark
from chartdistill.reporting.findings import state_findings
from chartdistill.reporting.plots import Interval, Line, bar_plot, line_plot, metric_plot
from chartdistill.reporting.run_results import read_results
from chartdistill.reporting.svg import RIGHT, WIDTH
from chartdistill.reporting.tables import (
    TableRow,
    defined_table,
    headline_tables,
    pair_arms,
    task_tables,
    verdict,
    write_cell,
)
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Item, Prediction, Record
from four_drugs import note
from report_run import TASKS, write_manifest, write_rows, write_run

TESTED = PValue(p=0.001, holm=0.01, clusters=40)


@pytest.mark.parametrize(
    ("low", "high", "metric", "shown"),
    [
        (0.01, 0.2, "joint_f1", "better"),
        (-0.2, -0.01, "joint_f1", "worse"),
        (-0.2, -0.01, "confabulation_rate", "better"),
        (0.01, 0.2, "confabulation_rate", "worse"),
        (0.01, 0.2, "none_rate", "higher"),
        (-0.01, 0.2, "joint_f1", "no difference shown"),
        (0.0, 0.2, "joint_f1", "no difference shown"),
        (None, None, "joint_f1", "no interval"),
    ],
)
def test_difference_verdict(low: float | None, high: float | None, metric: str, shown: str) -> None:
    value = 0.1 if low is None or high is None else (low + high) / 2
    estimate = Estimate(value=value, low=low, high=high, n=90, unscored=0, clusters=40, discordant=6)
    assert verdict(estimate, BY_NAME[metric], TESTED)[0] == shown


@pytest.mark.parametrize(
    ("discordant", "test"),
    [
        (5, PValue(p=0.001, holm=0.01, clusters=40)),
        (1, PValue(p=0.001, holm=0.01, clusters=40)),
        (None, PValue(p=0.001, holm=0.01, clusters=40)),
        (20, PValue(p=0.02, holm=0.06, clusters=40)),
        (20, PValue(p=0.001, holm=None, clusters=40)),
        (20, None),
    ],
    ids=["five clusters", "one cluster", "not recorded", "not after Holm", "not in the family", "not tested"],
)
def test_no_verdict_from_few_clusters_or_without_a_corrected_test(discordant: int | None, test: PValue | None) -> None:
    estimate = Estimate(value=0.1, low=0.01, high=0.2, n=90, unscored=0, clusters=40, discordant=discordant)
    assert verdict(estimate, BY_NAME["joint_f1"], test)[0] == "no difference shown"


def test_a_difference_outside_the_family_is_an_interval_without_a_word_and_says_its_clusters() -> None:
    estimate = Estimate(value=0.1, low=0.01, high=0.2, n=90, unscored=0, clusters=40, discordant=7)
    inside, outside = (write_cell(estimate, BY_NAME["joint_f1"], True, test) for test in (TESTED, None))
    assert (inside.note, inside.tone) == ("better", "good")
    assert (outside.note, outside.tone) == ("", "plain")
    assert outside.line() == "+0.100 (+0.010 to +0.200, n 90 in 40 clusters, 7 differ)"


def test_find_marks_every_place_and_falls_back_to_grounding() -> None:
    task = TASKS[0]
    assert find(Item(text="Ada"), "adamant, ADA. Ada", task) == ((9, 12), (14, 17))
    assert find(Item(text="blood  count"), "Blood\ncount", task) == ((0, 11),)
    assert find(Item(text="A+B (x)"), "give a+b (X) now", task) == ((5, 12),)
    assert find(Item(text="Velolol 20 mg daily"), "He takes Velolol.", task) == ((9, 16),)
    assert find(Item(text="Xenol"), "He takes Velolol.", task) == ()


def test_what_the_scores_find_by_initials_or_another_name_is_not_called_invented() -> None:
    item, record = Item(text="Harrow Vale Syndrome"), note("a", None, "IMPRESSION: Stable HVS.")
    assert is_located(item, record, TASKS[2])
    assert find(item, record.text, TASKS[2]) == ((19, 22),)
    drug = Item(text="lisinopril 5 mg", status="continue")
    record = note("b", None, "Takes Zestril 5 mg daily.")
    assert bool(find(drug, record.text, TASKS[0])) == is_located(drug, record, TASKS[0])


def test_how_many_charts_differ_from_gold_is_counted_as_in_the_scores(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    path = run / "records" / "records.jsonl"
    records = list(read_rows(path, Record))
    words = (Item(text="Prognosis for recovery is good"), Item(text="aspirin", status="stop", optional=True))
    gold = {"prognosis": words[:1], "medication": words[1:]}
    path.unlink()
    write_rows(path, *(one.model_copy(update={"gold": gold}) for one in records))
    said = {"prognosis": (Item(text="good prognosis for full recovery"),), "medication": ()}
    for arm in ("teacher", "base", "student"):
        (run / "predictions" / f"{arm}.jsonl").unlink()
        write_rows(run / "predictions" / f"{arm}.jsonl", *(
            Prediction(key="k", record=one.id, task=task, arm=arm, completion="-", items=items)
            for one in records if one.split == "test" for task, items in said.items()
        ))  # fmt: skip
    results = read_results(run, TASKS, "Exact")
    rows = [one for of in results.predictions.values() for one in of.values() if one.arm == "student"]
    assert score_arm(rows, results.scored_records, TASKS, resamples=50)["all"]["record_exact"].value == 1
    counts = dict(choose_examples(results)[1])
    assert counts["student differs from gold"] == counts["student and teacher differ"] == 0


def test_judge_by_gold_and_chart() -> None:
    gold, task = (Item(text="Velol", status="stop"),), TASKS[0]
    assert judge(Item(text="velol 5 mg", status="stop"), gold, True, task) == "right"
    assert judge(Item(text="Velol", status="hold"), gold, True, task) == "status differs"
    assert judge(Item(text="Velol", status="start"), gold, True, task) == "dangerous status"
    optional = (Item(text="Velol", status="stop", optional=True),)
    assert judge(Item(text="Velol", status="start"), optional, True, task) == "not judged", "it counts neither way"
    assert judge(Item(text="gait", status="start"), gold, True, task) == "wrong kind"
    assert judge(Item(text="Xenol", status="start"), gold, False, task) == "invented"
    assert judge(Item(text="gait"), None, True, task) == "not judged"


@pytest.mark.parametrize(
    ("status", "kind", "harmed"),
    [
        ("continue", "dangerous status", 1),
        ("avoid", "status differs", 0),
        ("past", "not judged", 0),
        ("stop", "right", 0),
    ],
)
def test_an_optional_twin_of_a_gold_item_hides_no_harm(status: str, kind: str, harmed: int) -> None:
    gold = (Item(text="Velol", status="stop"), Item(text="Velol 5 mg", status="past", optional=True))
    said = Item(text="velol", status=status)
    assert judge(said, gold, True, TASKS[0]) == kind
    record = Record(id="a", source="s", text="Velol", cluster="c", split="test", segments=(), gold={"medication": gold})
    answer = Prediction(key="", record="a", task="medication", arm="student", completion="-", items=(said,))
    scored = score_arm([answer], {"a": record}, TASKS[:1], resamples=50)["medication"]
    assert scored["stop_as_continue_rate"].value == harmed


def test_mark_keeps_the_text_and_names_all_finders() -> None:
    text = "one two three"
    pieces = mark(text, [(0, 7, "student"), (4, 13, "base")], ("gold", "base", "student"))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.finders for piece in pieces] == [("student",), ("base", "student"), ("base",)]
    assert mark("", [], ("gold",)) == ()


@pytest.mark.parametrize(
    ("metric", "value", "signed", "text"),
    [
        ("joint_f1", 0.8154, False, "0.815"),
        ("joint_f1", -0.0002, True, "0.000"),
        ("joint_f1", -0.02, True, "\u22120.020"),
        ("confabulation_rate", 0.0415, False, "4.2%"),
        ("confabulation_rate", 0.031, True, "+3.1 pp"),
        ("items_per_record", 1.841, False, "1.84"),
        ("confabulation_rate", 2 / 5000, False, "0.04%"),
        ("confabulation_rate", 1 - 2 / 5000, False, "99.96%"),
        ("confabulation_rate", 0.0, False, "0.0%"),
        ("confabulation_rate", 1.0, False, "100.0%"),
        ("confabulation_rate", 1e-9, False, "0.0%"),
        ("joint_f1", 0.99983, False, "0.9998"),
        ("joint_f1", 1.0, False, "1.000"),
        ("joint_f1", 1 - 1e-16, False, "1.000"),
        ("items_per_record", 0.001, False, "0.00"),
    ],
)
def test_values_are_written_by_kind(metric: str, value: float, signed: bool, text: str) -> None:
    assert BY_NAME[metric].write(value, signed) == text


def test_pair_arms_with_hyphens() -> None:
    named = Scores(gold={}, arms={"student-raw": {}, "student": {}, "base": {}}, costs={})
    assert pair_arms("student-raw-base", named) == ("student-raw", "base")
    assert pair_arms("student-base", named) == ("student", "base")


def test_plots_escape_labels_and_keep_the_last_point() -> None:
    bars = bar_plot("Rejects", [("<b>&", (("rejected", "<i>", 3),))])
    assert "<b>" not in bars
    assert "&lt;b&gt;&amp;" in bars
    line = Line("loss", "training loss", tuple((float(step), 1.0) for step in range(5001)))
    points = re.findall(r'points="([^"]+)"', line_plot("Loss", [line], "step"))[0].split()
    assert len(points) <= 402
    assert points[-1].startswith(f"{WIDTH - RIGHT:.1f},")


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01, n=90, unscored=0, clusters=40)


@pytest.mark.parametrize("reason", ["unsupported_forecast", "only_considered", "a_reason_of_28_letters_or_so_"])
def test_the_reason_beside_a_bar_is_not_cut(reason: str) -> None:
    drawn = bar_plot("Rejects", [(reason, (("rejected", reason, 3),)), ("negated", (("rejected", "negated", 2),))])
    assert f">{reason}</text>" in drawn
    assert "\u2026" not in drawn


def test_a_loss_axis_is_logarithmic() -> None:
    line = Line("validation", "validation loss", ((0, 1.0), (1, 0.1), (2, 0.01), (3, 0.0)))
    drawn = line_plot("Loss", [line], "step")
    heights = [float(y) for y in re.findall(r'<circle class="point" cx="[^"]+" cy="([^"]+)"', drawn)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2), "a tenth is as far each time"
    assert heights[3] == heights[2], "0 has no place on a log axis: it lies on the lower edge"
    assert {"1", "0.1", "0.01"} <= set(re.findall(r'text-anchor="end">([^<]+)<', drawn))


@pytest.mark.parametrize("values", [(2.0, 2.0), (0.03, 0.05), (1e-6, 900.0), (0.999, 1.001), (0.0, 0.0)])
def test_a_loss_axis_holds_all_values(values: tuple[float, ...]) -> None:
    drawn = line_plot("Loss", [Line("loss", "loss", tuple((float(i), y) for i, y in enumerate(values)))], "step")
    ticks = [float(tick) for tick in re.findall(r'text-anchor="end">([^<]+)<', drawn) if re.match(r"[\d.e+-]+$", tick)]
    assert min(ticks) <= max(min(values), min(ticks)) <= max(*values, ticks[0]) <= max(ticks)
    assert len(ticks) > 1


@pytest.mark.parametrize(
    ("metric", "base", "others", "written", "axis"),
    [
        ("confabulation_rate", 0.9, (0.03, 0.04), "Base student 90.0% \u25b8", {"0%", "8%"}),
        ("joint_f1", 0.1, (0.9, 0.92), "\u25c2 Base student 0.100", {"0.8", "1"}),
        ("joint_f1", 0.88, (0.9, 0.92), None, {"0.8", "1"}),
        ("joint_f1", 0.3, (0.45, 0.55), None, {"0", "0.6"}),
    ],
)
def test_a_base_far_off_does_not_squeeze_the_others(
    metric: str, base: float, others: tuple[float, float], written: str | None, axis: set[str]
) -> None:
    marks = [Interval(place, f"arm {place}", _estimate(value)) for place, value in enumerate(others)]
    marks.append(Interval(2, "Base student", _estimate(base), aside=True))
    drawn = metric_plot(BY_NAME[metric], [("all", marks)])
    assert axis <= set(re.findall(r">([^<>]+)</text>", drawn))
    assert len(re.findall(r'class="whisker', drawn)) == (2 if written else 3)
    assert (written is not None) == ("\u25b8" in drawn or "\u25c2" in drawn)
    assert written is None or written in drawn


def test_an_axis_that_holds_only_what_may_be_set_aside_is_drawn_around_it() -> None:
    drawn = metric_plot(BY_NAME["confabulation_rate"], [("all", [Interval(0, "Base", _estimate(0.9), aside=True)])])
    assert "whisker" in drawn
    assert "\u25b8" not in drawn


def test_a_row_without_any_value_is_named_below_the_title() -> None:
    nothing = write_cell(Estimate(value=None, low=None, high=None, n=0, unscored=0, reason="nothing listed"),
                         BY_NAME["precision"])  # fmt: skip
    value = write_cell(_estimate(0.5), BY_NAME["precision"])
    rows = [
        TableRow("a", "", [nothing, nothing]),
        TableRow("b", "", [value, nothing]),
        TableRow("c", "", [nothing] * 2),
    ]
    table = defined_table("Title", "meaning", ["x", "y"], rows)
    assert [row.label for row in table.rows] == ["b"]
    assert table.meaning == "meaning. Not defined: a, c (nothing listed)."
    assert defined_table("Title", "meaning", ["x", "y"], rows[1:2]).meaning == "meaning"


def test_broken_answers_are_named_beside_confabulation_everywhere(tmp_path: Path) -> None:
    """An arm that answers nothing usable confabulates nothing; the reader must see which of the two it is."""
    write_run(tmp_path)
    results = read_results(tmp_path, TASKS, "Broken")
    scores = results.scores
    assert scores is not None
    claims = state_findings(results).claims
    claim = next(one for one in claims if one.startswith("All tasks, confabulation ("))
    assert claim.count("with broken answers") == len(results.arms)
    titles = [table.title for table in headline_tables(results, scores)]
    assert titles[titles.index("Confabulation") + 1] == "Format valid"
    assert any("followed no usable format" in figure.line() for figure in plain_figures(results, scores))


def test_a_figure_that_no_arm_has_is_named_with_its_reason_and_has_no_row(tmp_path: Path) -> None:
    write_run(tmp_path)
    results = read_results(tmp_path, TASKS, "Undefined")
    scores = results.scores
    assert scores is not None
    metric = BY_NAME["contradicted_rate"]
    nothing = Estimate(value=None, low=None, high=None, n=0, unscored=0, reason="no statuses")
    arms = {
        arm: {task: {**figures, metric.name: nothing} for task, figures in tasks.items()}
        for arm, tasks in scores.arms.items()
    }
    for table in task_tables(results, scores.model_copy(update={"arms": arms})):
        assert metric.title not in [row.label for row in table.rows]
        assert f"{metric.title} (no statuses)" in table.meaning
        assert table.rows


@pytest.mark.parametrize(("low", "worse"), [(-0.02, "0.020 worse"), (-0.0001, None), (0.001, None)])
def test_how_much_worse_is_said_only_where_the_interval_has_worse(
    low: float, worse: str | None, tmp_path: Path
) -> None:
    write_run(tmp_path)
    results = read_results(tmp_path, TASKS, "Margin")
    scores = results.scores
    assert scores is not None
    figures = scores.differences["student-teacher"]["all"]
    gap = Estimate(value=0.01, low=low, high=0.03, n=24, unscored=0, clusters=24, discordant=15)
    changed = {**scores.differences["student-teacher"], "all": {**figures, "joint_f1": gap}}
    scores = scores.model_copy(update={"differences": {**scores.differences, "student-teacher": changed}})
    claims = state_findings(replace(results, scores=scores)).claims
    claim = next(one for one in claims if "no difference shown between distilled student and teacher (+0.010" in one)
    assert claim.endswith(f"distilled student may be as much as {worse}.") if worse else "worse" not in claim


@pytest.mark.parametrize(("starts_from", "said"), [({"name": "a", "sha256": "1"}, True), (None, False)])
def test_a_student_that_starts_as_its_own_teacher_is_said_to(
    tmp_path: Path, starts_from: dict[str, str] | None, said: bool
) -> None:
    write_run(tmp_path)
    write_manifest(tmp_path / "labels", seconds=1.0, model="M", teacher_adapter={"name": "a", "sha256": "1"})
    write_manifest(tmp_path / "predictions", seconds=1.0, model="M", student_adapter=starts_from)
    cautions = state_findings(read_results(tmp_path, TASKS, "One model")).cautions
    assert any(one.startswith("Teacher and base student are one model with one adapter:") for one in cautions) == said


def test_without_gold_no_verdict_is_counted_or_corrected(tmp_path: Path) -> None:
    write_run(tmp_path)
    results = read_results(tmp_path, TASKS, "No gold")
    assert results.scores is not None
    none = replace(results, scores=results.scores.model_copy(update={"verdicts": 0}))
    limit = next(one for one in state_findings(none).limits if one.startswith("This page makes"))
    assert limit.startswith("This page makes no verdict:") and "Holm" not in limit
