"""What an answer hangs on: tables of records in changed form, of wrong gates, and of what test and training share.

In: `Scores`. Out: tables and sentences without record text. What must hold: consistency is never shown without
whether the answers are right; where there is no gold, the table says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from chartdistill.evaluation import Overlap, Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME, ROBUSTNESS_METRICS, MetricInfo, explain, task_title
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.stages import Grid, write_count
from chartdistill.reporting.tables import Table, TableRow, arm_title, write_cell

EFFECTS = ("vanish_rate", "appear_rate", "flip_rate")
CROSSED = ("consistent_right", "consistent_wrong", "inconsistent_right", "inconsistent_wrong")
ANY_NOISE = "any"
KINDS = {
    ANY_NOISE: "all of these together",
    "resampled": "drawn again at a temperature",
    "rephrased": "the question put in other words",
    "tailed": "keywords glued to the end",
    "respaced": "white space changed",
    "reheaded": "headings in lower case",
    "renamed": "a drug under another name",
    "irrelevant": "a sentence that says nothing added",
}
CONDITIONS = {
    "wrong yes": "gate yes, but the chart has none",
    "right yes": "gate yes, and the chart has some",
    "wrong no": "gate no, but the chart has some",
    "right no": "gate no, and the chart has none",
    "unclear": "gate unclear",
}
_BY_NAME = {metric.name: metric for metric in ROBUSTNESS_METRICS}


def _arms(results: RunResults, scores: Scores) -> list[str]:
    return [arm for arm in results.arms if arm in scores.interventions]


def effect_tables(results: RunResults, scores: Scores) -> tuple[Table, ...]:
    """One table per intervention: tasks down, arms across. Empty when no record was changed."""
    arms = _arms(results, scores)
    tables = []
    for metric in (_BY_NAME[name] for name in EFFECTS) if arms else ():
        rows = []
        for task in _tasks(results, scores):
            found = [scores.interventions[arm].effects.get(task, {}).get(metric.name) for arm in arms]
            if any(estimate is not None and (estimate.n or estimate.unscored) for estimate in found):
                rows.append(TableRow(task_title(task), "", tuple(write_cell(one, metric) for one in found)))
        if rows:
            tables.append(Table(metric.title, explain(metric), tuple(map(arm_title, arms)), tuple(rows)))
    return tuple(tables)


def consistency_tables(results: RunResults, scores: Scores) -> tuple[Table, ...]:
    """Consistency crossed with correctness, over all changes; then by kind of change; then by task."""
    arms = _arms(results, scores)
    if not arms or not any(scores.interventions[arm].consistency for arm in arms):
        return ()
    titles = tuple(map(arm_title, arms))
    has_gold = scores.has_gold(ALL_TASKS)
    names = (*(CROSSED if has_gold else ()), "share_identical", "alpha")
    about = "all tasks; the record as it is and in all its changed forms. " + (
        "The first four add up to 100%."
        if has_gold
        else "No gold: whether the same answer is the right one is not known."
    )
    first = Table(
        "Same answer, and is it right?" if has_gold else "Same answer?",
        about,
        titles,
        tuple(_row(_BY_NAME[name].title, _BY_NAME[name], ANY_NOISE, ALL_TASKS, arms, scores) for name in names),
    )
    shown = ("consistent_right", "consistent_wrong") if has_gold else ("share_identical",)
    kinds = [kind for kind in KINDS if any(kind in scores.interventions[arm].consistency for arm in arms)]
    by_kind = [
        Table(
            f"{_BY_NAME[name].title}, by change",
            explain(_BY_NAME[name]),
            titles,
            tuple(_row(KINDS[kind], _BY_NAME[name], kind, ALL_TASKS, arms, scores) for kind in kinds),
        )
        for name in shown
    ]
    by_task = [
        Table(
            f"{_BY_NAME[name].title}, by task",
            explain(_BY_NAME[name]),
            titles,
            tuple(
                _row(task_title(task), _BY_NAME[name], ANY_NOISE, task, arms, scores)
                for task in _tasks(results, scores)
            ),
        )
        for name in shown
    ]
    return (first, *by_kind, *by_task)


def _row(label: str, metric: MetricInfo, kind: str, task: str, arms: list[str], scores: Scores) -> TableRow:
    found = (scores.interventions[arm].consistency.get(kind, {}).get(task, {}).get(metric.name) for arm in arms)
    meaning = metric.meaning if label == metric.title else ""
    return TableRow(label, meaning, tuple(write_cell(estimate, metric) for estimate in found))


def _tasks(results: RunResults, scores: Scores) -> list[str]:
    known = {task for found in scores.interventions.values() for task in found.effects}
    return [task for task in (ALL_TASKS, *(task.name for task in results.tasks)) if task in known]


def gate_tables(results: RunResults, scores: Scores) -> tuple[Table, ...]:
    """Per arm with gates: what followed right and wrong gates, all tasks together, then by task."""
    metrics = [
        BY_NAME[name] for name in ("confabulation_rate", "invented_rate", "wrong_kind_rate", "contradicted_rate")
    ]
    tables = []
    for arm in results.arms:
        rows = []
        for task, conditions in sorted(scores.gates.get(arm, {}).items(), key=lambda pair: pair[0] != ALL_TASKS):
            for condition in (name for name in CONDITIONS if name in conditions):
                found = conditions[condition]
                cells = (found.get(metric.name) for metric in metrics)
                label = f"{task_title(task)}: {condition}"
                meaning = f"{CONDITIONS[condition]}; {write_count(found.get('records'))} records"
                rows.append(
                    TableRow(
                        label,
                        meaning,
                        tuple(
                            write_cell(cell if isinstance(cell, Estimate) else None, metric)
                            for cell, metric in zip(cells, metrics, strict=True)
                        ),
                    )
                )
        if rows:
            about = (
                "items that the chart does not bear out, by what the gate question was answered before; against gold"
            )
            title = f"{arm_title(arm)}: after right and wrong gates"
            tables.append(Table(title, about, tuple(metric.title for metric in metrics), tuple(rows)))
    return tuple(tables)


def overlap_grid(scores: Scores | None) -> Grid | None:
    """What the scored records share with those learned from; None when it was not checked."""
    if scores is None or scores.overlap is None:
        return None
    found = scores.overlap
    run = found.longest_run
    where = f" ({run.scored_record} with {run.trained_record})" if run.scored_record else ""
    rows = [
        ("records scored / learned from", f"{write_count(found.scored)} / {write_count(found.trained)}"),
        ("scored records also learned from", write_count(found.same_id)),
        ("with the same words as one learned from", write_count(found.same_text)),
        ("in a cluster of near-duplicates with one learned from", write_count(found.same_cluster)),
        ("sharing 80% or more of their 5-word runs with one", write_count(found.near_duplicates)),
        ("largest such share", "\u2013" if found.largest_share is None else f"{100 * found.largest_share:.0f}%"),
        ("longest run of words shared", f"{write_count(run.words)} words{where}"),
        *((f"sharing {size} words in a row or more", write_count(n)) for size, n in run.records_by_words.items()),
    ]
    naive = found.naive_leak
    if naive is not None:
        share = "not defined" if naive.expected_leak is None else f"{100 * naive.expected_leak:.1f}%"
        rows.append(
            (
                "had single entries been split at random, held-out entries with a near-duplicate in training",
                f"{share} (of {write_count(naive.entries)} entries in {write_count(naive.clusters)} clusters; "
                f"{write_count(naive.dropped_duplicates)} duplicates were dropped)",
            )
        )
    return Grid(("Leak check", "Found"), tuple(rows), prose=True)


def overlap_limits(overlap: Overlap | None) -> Iterator[str]:
    """What the leak check takes away from the figures."""
    if overlap is None:
        yield "What scored records have in common with those learned from was not checked in this run."
        return
    if overlap.same_text or overlap.same_id or overlap.same_cluster:
        yield (
            f"LEAK: {max(overlap.same_text, overlap.same_id, overlap.same_cluster)} scored records were learned from "
            "too; no figure of the student can be trusted. Run `chartdistill prepare` again."
        )
    if overlap.near_duplicates:
        yield (
            f"{overlap.near_duplicates} of {overlap.scored} scored records share 80% or more of their 5-word runs with "
            "a record learned from (template text, or a near-duplicate that clustering did not see)."
        )


def changed_claims(results: RunResults, scores: Scores) -> Iterator[str]:
    """One sentence per arm: whether its answers are tied to the chart, and whether they stay the same."""
    for arm in _arms(results, scores):
        found = scores.interventions[arm]
        parts = [
            f"{words} {_share(estimate)}"
            for name, words in (
                ("vanish_rate", "a deleted item vanishes in"),
                ("appear_rate", "an inserted item appears in"),
                ("flip_rate", "a flipped status follows in"),
            )
            if (estimate := found.effects.get(ALL_TASKS, {}).get(name)) is not None
        ]
        if parts:
            yield f"{arm_title(arm)}, changed charts (needs no gold): {'; '.join(parts)}."
        crossed = found.consistency.get(ANY_NOISE, {}).get(ALL_TASKS, {})
        right, wrong = crossed.get("consistent_right"), crossed.get("consistent_wrong")
        if right is not None and wrong is not None and right.value is not None and wrong.value is not None:
            yield (
                f"{arm_title(arm)}, the same chart in other forms: always the same and right {_share(right)}; "
                f"always the same and WRONG {_share(wrong)}."
            )
        elif (same := crossed.get("share_identical")) is not None and same.value is not None:
            yield (
                f"{arm_title(arm)}, the same chart in other forms: the same answer {_share(same)}; whether it is the "
                "right one is not known without gold."
            )


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"(not defined: {estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.0f}% (n {estimate.n})"
    span = f"95% interval {100 * estimate.low:.0f} to {100 * estimate.high:.0f}%"
    return f"{100 * estimate.value:.0f}% ({span}, n {estimate.n})"
