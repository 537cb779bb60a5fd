"""What an answer hangs on: tables of records in changed form, of wrong answers to the gate question, and of what test
and training share.

In: `Scores`. Out: tables and sentences without record text. What must hold: consistency is never shown without
whether the answers are right; where there is no gold, the table says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chartdistill.evaluation import Overlap, Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import explain, task_title, write_figure
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import (
    METRICS,
    MISSING,
    Cell,
    Grid,
    Table,
    TableRow,
    arm_title,
    defined_table,
    write_cell,
    write_count,
)

EFFECTS = {
    "vanish_rate": "a deleted item vanishes in",
    "appear_rate": "an inserted item appears in",
    "flip_rate": "a flipped status follows in",
}
PLACEBOS = {
    "vanish_rate": ("vanish_placebo_rate", "vanish_effect"),
    "appear_rate": ("appear_placebo_rate", "appear_effect"),
    "flip_rate": ("flip_placebo_rate", "flip_effect"),
}
"""Rate -> the same of an edit that does not concern the item, and the one minus the other."""
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
    "wrong yes": "answered yes, but the chart has none",
    "right yes": "answered yes, and the chart has some",
    "wrong no": "answered no, but the chart has some",
    "right no": "answered no, and the chart has none",
    "unclear": "answered unclear",
}
GATE_METRICS = ("confabulation_rate", "invented_rate", "wrong_kind_rate", "contradicted_rate")


def _arms(results: RunResults, scores: Scores) -> list[str]:
    return [arm for arm in results.arms if arm in scores.interventions]


def effect_tables(results: RunResults, scores: Scores) -> list[Table]:
    """One table per intervention: tasks down, each with its placebo and the difference, arms across. Empty when no
    record was changed."""
    arms = _arms(results, scores)
    tables = []
    for metric in (METRICS[name] for name in EFFECTS) if arms else ():
        rows = []
        for task in _tasks(results, scores):
            for name in (metric.name, *PLACEBOS[metric.name]):
                found = [scores.interventions[arm].effects.get(task, {}).get(name) for arm in arms]
                if any(estimate is not None and (estimate.n or estimate.unscored) for estimate in found):
                    which = "" if name == metric.name else METRICS[name].title.partition(",")[2]
                    is_gap = name == PLACEBOS[metric.name][1]
                    cells = [write_cell(one, METRICS[name], signed=is_gap) for one in found]
                    rows.append(TableRow(f"{task_title(task)}{which and ','}{which}", "", cells))
        if rows:
            tables.append(defined_table(metric.title, explain(metric), list(map(arm_title, arms)), rows))
    return tables


def consistency_tables(results: RunResults, scores: Scores) -> list[Table]:
    """Consistency crossed with correctness, over all changes; then by kind of change; then by task."""
    arms = _arms(results, scores)
    known = {kind for arm in arms for kind in scores.interventions[arm].consistency}
    if not known:
        return []

    def cells(name: str, kind: str, task: str) -> list[Cell]:
        found = (scores.interventions[arm].consistency.get(kind, {}).get(task, {}).get(name) for arm in arms)
        return [write_cell(estimate, METRICS[name]) for estimate in found]

    heads, has_gold = list(map(arm_title, arms)), scores.has_gold(ALL_TASKS)
    about = "all tasks; the record as it is and in all its changed forms. " + (
        "The first four add up to 100%."
        if has_gold
        else "No gold: whether the same answer is the right one is not known."
    )
    metrics = [METRICS[name] for name in (*(CROSSED if has_gold else ()), "share_identical", "alpha")]
    rows = [TableRow(metric.title, metric.meaning, cells(metric.name, ANY_NOISE, ALL_TASKS)) for metric in metrics]
    tables = [defined_table("Same answer, and is it right?" if has_gold else "Same answer?", about, heads, rows)]
    splits = {
        "change": [(words, kind, ALL_TASKS) for kind, words in KINDS.items() if kind in known],
        "task": [(task_title(task), ANY_NOISE, task) for task in _tasks(results, scores)],
    }
    for what, places in splits.items():
        for name in CROSSED[:2] if has_gold else ("share_identical",):
            rows = [TableRow(label, "", cells(name, kind, task)) for label, kind, task in places]
            title = f"{METRICS[name].title}, by {what}"
            tables.append(defined_table(title, explain(METRICS[name]), heads, rows))
    return tables


def _tasks(results: RunResults, scores: Scores) -> list[str]:
    known = {task for found in scores.interventions.values() for task in found.effects}
    return [task for task in (ALL_TASKS, *(task.name for task in results.tasks)) if task in known]


def gate_tables(results: RunResults, scores: Scores) -> list[Table]:
    """Per arm that was asked the gate question: what followed right and wrong answers to it, over all tasks, then by
    task."""
    about = "items that the chart does not bear out, by what the gate question was answered before; against gold"
    heads = [METRICS[name].title for name in GATE_METRICS]
    tables = []
    for arm in results.arms:
        rows = []
        for task, conditions in sorted(scores.gates.get(arm, {}).items(), key=lambda pair: pair[0] != ALL_TASKS):
            for condition in (name for name in CONDITIONS if name in conditions):
                found = conditions[condition]
                meaning = f"{CONDITIONS[condition]}; {write_count(found.get('records'))} answers"
                figures = ((METRICS[name], found.get(name)) for name in GATE_METRICS)
                cells = [write_cell(one if isinstance(one, Estimate) else None, metric) for metric, one in figures]
                rows.append(TableRow(f"{task_title(task)}: {condition}", meaning, cells))
        if rows:
            title = f"{arm_title(arm)}: after right and wrong answers to the gate question"
            tables.append(defined_table(title, about, heads, rows))
    return tables


def overlap_grid(scores: Scores | None) -> Grid:
    """What the scored records share with those learned from."""
    overlap = None if scores is None else scores.overlap
    rows = [] if overlap is None else _overlap_rows(overlap)
    return Grid("Leak check", ("Leak check", "Found"), rows, "Not checked in this run.", prose=True)


def _overlap_rows(found: Overlap) -> list[tuple[str, str]]:
    run = found.longest_run
    where = f" ({run.scored_record} with {run.trained_record})" if run.scored_record else ""
    rows = [
        ("records scored / learned from", f"{write_count(found.scored)} / {write_count(found.trained)}"),
        *([("worked examples, counted as learned from", write_count(found.examples))] if found.examples else []),
        ("scored records also learned from", write_count(found.same_id)),
        ("with the same words as one learned from", write_count(found.same_text)),
        (
            "in a cluster (of near-duplicates, and of groups where the split is by them) with one learned from",
            write_count(found.same_cluster),
        ),
        ("sharing 80% or more of their 5-word runs with one", write_count(found.near_duplicates)),
        ("largest such share", MISSING if found.largest_share is None else f"{100 * found.largest_share:.0f}%"),
        ("longest run of words shared", f"{write_count(run.words)} words{where}"),
        *((f"sharing {size} words in a row or more", write_count(n)) for size, n in run.records_by_words.items()),
    ]
    rows += [
        (
            f"gold items also in the gold of a record learned from, {task_title(task).lower()}",
            f"{write_count(of.items_known)} of {write_count(of.items)} ({100 * of.share:.1f}%; distinct names "
            f"{write_count(of.names_known)} of {write_count(of.names)})",
        )
        for task, of in found.gold.items()
    ]
    naive = found.naive_leak
    if naive is not None:
        share = "not defined" if naive.expected_leak is None else f"{100 * naive.expected_leak:.1f}%"
        rows.append(
            (
                "had single entries been split at random, held-out entries with one of their cluster in training",
                f"{share} (of {write_count(naive.entries)} entries in {write_count(naive.clusters)} clusters; "
                f"{write_count(naive.dropped_duplicates)} duplicates were dropped)",
            )
        )
    return rows


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


KNOWN_SHARE = 0.5
"""Of a task's gold items known from training gold: from here on it is said on the first screen."""


def gold_overlap_cautions(overlap: Overlap | None) -> Iterator[str]:
    """Where most of what is to be found was already in training, and what that takes away from the figures."""
    gold = {} if overlap is None else overlap.gold
    known = {task: of for task, of in gold.items() if task != ALL_TASKS and of.share >= KNOWN_SHARE}
    if known:
        shares = ", ".join(
            f"{task} {100 * of.share:.0f}% ({of.items_known} of {of.items})" for task, of in known.items()
        )
        yield (
            f"Of what the held-out gold lists, this also occurs in training gold: {shares}. There the figures show "
            "that known names are found again, not that new ones are found."
        )


def changed_claims(results: RunResults, scores: Scores) -> Iterator[str]:
    """One sentence per arm: whether its answers are tied to the chart, and whether they stay the same."""
    for arm in _arms(results, scores):
        found = scores.interventions[arm]
        effects = found.effects.get(ALL_TASKS, {})
        parts = [f"{words} {_figure(effects[name], name)}{_placebo(name, effects)}"
                 for name, words in EFFECTS.items() if name in effects]  # fmt: skip
        if parts:
            yield f"{arm_title(arm)}, changed charts (needs no gold): {'; '.join(parts)}."
        crossed = found.consistency.get(ANY_NOISE, {}).get(ALL_TASKS, {})
        right, wrong = crossed.get("consistent_right"), crossed.get("consistent_wrong")
        if right is not None and wrong is not None and right.value is not None and wrong.value is not None:
            yield (
                f"{arm_title(arm)}, the same chart in other forms: always the same and right "
                f"{_figure(right, 'consistent_right')}; always the same and WRONG "
                f"{_figure(wrong, 'consistent_wrong')}."
            )
        elif (same := crossed.get("share_identical")) is not None and same.value is not None:
            yield (
                f"{arm_title(arm)}, the same chart in other forms: the same answer "
                f"{_figure(same, 'share_identical')}; whether it is the right one is not known without gold."
            )


def _placebo(name: str, effects: Mapping[str, Estimate]) -> str:
    """What an edit that does not concern the item did; empty where that was not tried."""
    rate = PLACEBOS[name][0]
    placebo = effects.get(rate)
    return "" if placebo is None or placebo.value is None else f", as placebo {_figure(placebo, rate)}"


def _figure(estimate: Estimate, name: str) -> str:
    if estimate.value is None:
        return f"(not defined: {estimate.reason})"
    return write_figure(estimate, METRICS[name])
