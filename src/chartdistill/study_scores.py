"""The figures of a study: arms pooled over seeds, contrasts, the learning curve, and answers in words.

In: answers by arm. Out: the content of study.json. Seeds are nested in records: a record's answers under all seeds
are resampled together, so an interval holds the variation over records, with the seeds drawn as they are. Arms
without seeds (teacher, base, rules) stand beside each seed unchanged, which changes no ratio. `n` counts each seed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from chartdistill.config import Run
from chartdistill.evaluate import VARIANTS
from chartdistill.interventions import read_variants, score_interventions
from chartdistill.metrics import HEADLINE, difference, score_arm
from chartdistill.metrics.comparison import as_json, compare_arms
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.schema import Prediction, Record
from chartdistill.store import read_rows

MARGIN = 0.02
"""The student reaches the teacher when the interval of its joint F1, minus the teacher's, is above minus this."""

CONTRASTS = (
    ("self_filtered", "base"), ("self_raw", "base"), ("self_filtered", "self_raw"),
    ("distilled_filtered", "distilled_raw"), ("distilled_raw", "base"), ("distilled_filtered", "base"),
    ("distilled_filtered", "teacher_chain"), ("teacher_direct", "teacher_chain"),
    ("distilled_filtered", "self_filtered"), ("distilled_filtered", "gold_trained"), ("distilled_filtered", "rules"),
)  # fmt: skip
"""First minus second; fixed before any data are seen."""

_PART = re.compile(r"(?P<arm>\w+)-n(?P<size>\d+)-s(?P<seed>\d+)")
Answers = Mapping[str, Sequence[Prediction]]


def score_study(
    answers: Answers, changed: Answers, run: Run, options: Mapping[str, Any], failed: Mapping[str, str]
) -> dict[str, Any]:
    """All figures; see the module. `changed`: arm -> answers to records in changed form."""
    evaluation = run.config.evaluate
    seed, resamples, seeds = evaluation.seed, evaluation.bootstrap_resamples, list(options["seeds"])
    records = [r for r in read_rows(run.dir / "records" / "records.jsonl", Record) if r.split == evaluation.split]
    spread = {f"{r.id}@{s}": r.model_copy(update={"id": f"{r.id}@{s}"}) for r in records for s in seeds}
    largest = max(options["sizes"])
    pooled = {arm: rows for (arm, size), rows in pool(answers, seeds).items() if size in (None, largest)}
    pairs = [pair for pair in CONTRASTS if set(pair) <= set(pooled)]
    figures = compare_arms(pooled, spread, run.tasks, pairs, seed, resamples)
    curve = _curve(answers, seeds, spread, {r.id: r for r in records}, run, pooled["teacher_chain"])
    found: dict[str, Any] = {
        "name": options["name"],
        "options": dict(options),
        "records": len(records),
        "synthetic": all(record.source.startswith("synthetic:") for record in records),
        "failed": dict(failed),
        **figures,
        "curve": curve,
        "crossing": {arm: crossing(points) for arm, points in curve.items()},
        "tokens": {arm: tokens(answers[arm]) for arm in ("teacher_chain", "teacher_direct", "base")},
        "consistency": _consistency(answers, changed, records, run),
    }
    return found | {"answers": answer_questions(found)}


def pool(answers: Answers, seeds: Sequence[int]) -> dict[tuple[str, int | None], list[Prediction]]:
    """(arm, training records or None) -> its predictions under all seeds, records named `id@seed`."""
    pooled: dict[tuple[str, int | None], list[Prediction]] = {}
    for name, rows in answers.items():
        part = _PART.fullmatch(name)
        arm, size = (name, None) if part is None else (part["arm"], int(part["size"]))
        for seed in seeds if part is None else [int(part["seed"])]:
            pooled.setdefault((arm, size), []).extend(
                row.model_copy(update={"record": f"{row.record}@{seed}", "arm": arm}) for row in rows
            )
    return pooled


def _curve(
    answers: Answers,
    seeds: Sequence[int],
    spread: Mapping[str, Record],
    records: Mapping[str, Record],
    run: Run,
    teacher: Sequence[Prediction],
) -> dict[str, list[dict[str, Any]]]:
    """Arm -> points in order of size: pooled figures, those of each seed, and the gap to the teacher."""
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    points: dict[str, list[dict[str, Any]]] = {}
    for (arm, size), rows in sorted(pool(answers, seeds).items(), key=lambda entry: (entry[0][0], entry[0][1] or 0)):
        if size is None:
            continue
        scores = score_arm(rows, spread, run.tasks, seed, resamples)
        gap = difference(rows, teacher, spread, run.tasks, seed, resamples)
        by_seed = {}
        for name, own in answers.items():
            part = _PART.fullmatch(name)
            if part is not None and (part["arm"], int(part["size"])) == (arm, size):
                one = score_arm(own, records, run.tasks, seed, 100)[ALL_TASKS]
                by_seed[part["seed"]] = {metric: one[metric].value for metric in HEADLINE}
        points.setdefault(arm, []).append(
            {
                "size": size,
                **as_json({ALL_TASKS: {metric: scores[ALL_TASKS][metric] for metric in HEADLINE}})[ALL_TASKS],
                "gap_to_teacher": gap[ALL_TASKS]["joint_f1"].model_dump(),
                "seeds": by_seed,
            }
        )
    return points


def crossing(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the curve first reaches the teacher's joint F1: between two sizes, interpolated over log size.

    `size` is None with a `reason` where it does not, or where it is above from the first point on.
    """
    gaps = [(point["size"], point["gap_to_teacher"]["value"]) for point in points]
    known = [(size, gap) for size, gap in gaps if gap is not None]
    if len(known) < 2:
        return {"size": None, "reason": "fewer than two sizes with a figure"}
    if known[0][1] >= 0:
        return {"size": None, "reason": f"at or above the teacher from the smallest size on ({known[0][0]})"}
    for (low, below), (high, above) in pairwise(known):
        if above >= 0:
            share = -below / (above - below)
            return {"size": round(math.exp(math.log(low) + share * math.log(high / low))), "between": [low, high]}
    return {"size": None, "reason": f"below the teacher at every size up to {known[-1][0]}"}


def tokens(rows: Sequence[Prediction]) -> dict[str, float]:
    """Prompt and answer tokens per record."""
    records = max(1, len({row.record for row in rows}))
    return {
        "prompt_per_record": round(sum(row.prompt_tokens for row in rows) / records, 1),
        "completion_per_record": round(sum(row.completion_tokens for row in rows) / records, 1),
    }


def _consistency(answers: Answers, changed: Answers, records: Sequence[Record], run: Run) -> dict[str, Any]:
    variants = read_variants(Path(run.dir).parent / VARIANTS) if changed else []
    evaluation = run.config.evaluate
    return {
        arm: score_interventions(
            variants,
            {(row.record, row.task): row for row in answers[arm]},
            {(row.record, row.task): row for row in rows},
            {record.id: record for record in records},
            run.tasks,
            evaluation.seed,
            evaluation.bootstrap_resamples,
        )
        for arm, rows in changed.items()
    }


def answer_questions(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The study's questions, each with what the figures allow to be said."""
    filtered = _contrast(found, "distilled_filtered", "distilled_raw", "confabulation_rate")
    tuned = _contrast(found, "distilled_raw", "base", "confabulation_rate")
    direct = "; ".join(_contrast(found, "teacher_direct", "teacher_chain", metric) for metric in HEADLINE[:2])
    used = "; ".join(
        f"{arm} {cost['prompt_per_record']:,.0f} prompt + {cost['completion_per_record']:,.0f} answer tokens per record"
        for arm, cost in found["tokens"].items()
    )
    return [
        {"question": "Can a model teach itself?", "answer": "; ".join(
            _contrast(found, arm, "base", "joint_f1") for arm in ("self_filtered", "self_raw"))},
        {"question": "Does the filter, or the tuning, remove confabulation?",
         "answer": f"Filter: {filtered}. Tuning: {tuned}"},
        {"question": "Does the student reach the teacher, and where does the curve cross?", "answer": _reach(found)},
        {"question": "Does one consolidated prompt cost or gain, against the chain?", "answer": f"{direct}. {used}"},
        {"question": "Is the student more consistent?", "answer": _consistent(found, "share_identical")},
        {"question": "Is it consistently right, or consistently wrong?",
         "answer": _consistent(found, "consistent_right") + ". " + _consistent(found, "consistent_wrong")},
    ]  # fmt: skip


def _contrast(found: Mapping[str, Any], first: str, second: str, metric: str) -> str:
    """One difference in words: value, interval, corrected p, and what it shows."""
    name = f"{first}-{second}"
    if name not in found["differences"]:
        missing = [arm for arm in (first, second) if arm not in found["arms"]]
        why = "; ".join(f"{part}: {why}" for part, why in found["failed"].items() if part.split("-n")[0] in missing)
        return (
            f"{first} against {second}: not known, no figures of {' and '.join(missing)} ({why or 'not in the study'})"
        )
    estimate = found["differences"][name][ALL_TASKS][metric]
    if estimate["value"] is None:
        return f"{first} against {second}, {metric}: not defined ({estimate['reason']})"
    if estimate["low"] is None:
        return f"{first} against {second}, {metric}: {estimate['value']:+.3f}, no interval: nothing is shown"
    p = found["p_values"][name][ALL_TASKS][metric]["holm"]
    surely = not estimate["low"] <= 0 <= estimate["high"] and p is not None and p < 0.05
    rises = (estimate["value"] > 0) == (metric != "confabulation_rate")
    shown = ("better" if rises else "worse") if surely else "no difference shown"
    p_text = "no p" if p is None else f"p {p:.4f}"
    span = f"{estimate['value']:+.3f} [{estimate['low']:+.3f}, {estimate['high']:+.3f}], {p_text}"
    return f"{first} against {second}, {metric}: {shown} ({span})"


def _reach(found: Mapping[str, Any]) -> str:
    name = "distilled_filtered-teacher_chain"
    text = _contrast(found, "distilled_filtered", "teacher_chain", "joint_f1")
    low = found["differences"].get(name, {}).get(ALL_TASKS, {}).get("joint_f1", {}).get("low")
    if low is not None:
        reached = "not worse than the teacher by more than" if low > -MARGIN else "not shown to be within"
        text += f"; {reached} {MARGIN} of joint F1"
    crossed = found["crossing"].get("distilled_filtered")
    if crossed is None:
        return f"{text}; no learning curve"
    if crossed["size"] is None:
        return f"{text}; curve: {crossed['reason']}"
    low_size, high_size = crossed["between"]
    return (
        f"{text}; the curve crosses the teacher at about {crossed['size']} records (between {low_size} and {high_size})"
    )


def _consistent(found: Mapping[str, Any], metric: str) -> str:
    parts = []
    for arm, figures in found["consistency"].items():
        estimate = figures["consistency"].get("any", {}).get(ALL_TASKS, {}).get(metric)
        if estimate is None or estimate["value"] is None:
            parts.append(f"{arm}: not defined")
        else:
            span = "no interval" if estimate["low"] is None else f"{estimate['low']:.2f} to {estimate['high']:.2f}"
            parts.append(f"{arm} {estimate['value']:.2f} [{span}]")
    if not parts:
        return f"{metric}: not known, no record was asked in changed form (evaluate.interventions.records is 0)"
    return f"{metric}: " + ", ".join(parts)
