"""The figures of a study: arms pooled over seeds, contrasts, the learning curve, labels, tokens, consistency.

In: answers by arm. Out: the content of study.json. Seeds are nested in records: a record's answers under all seeds
are resampled together, so an interval holds the variation over records, with the seeds drawn as they are; how far the
seeds lie apart stands beside it. Against arms that have seeds, an arm without (teacher, base, rules) stands beside
each seed unchanged. `n` of an arm with seeds counts each seed, of an arm without once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, TypeVar

from chartdistill.config import Run
from chartdistill.evaluation.contamination import find_contamination
from chartdistill.evaluation.interventions import compare_consistency, score_interventions
from chartdistill.metrics import HEADLINE, METRICS, difference, score_arm
from chartdistill.metrics.comparison import as_json, compare_arms, correct
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.metrics.means import mean_difference, mean_estimate
from chartdistill.reporting.study_findings import FAMILY, MARGIN, answer_questions
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import CuratedLabel, Label, Prediction, Record
from chartdistill.study.options import StudyConfig, parts_of
from chartdistill.study.predictions import BASE, DIRECT, TEACHER, Answers
from chartdistill.study.records import held_out, records_of

CONTRASTS = (
    ("self_filtered", "base"), ("self_raw", "base"), ("self_filtered", "self_raw"),
    ("distilled_filtered", "distilled_raw"), ("distilled_raw", "base"), ("distilled_filtered", "base"),
    ("distilled_filtered", "teacher_chain"), ("distilled_filtered", "teacher_direct"),
    ("teacher_direct", "teacher_chain"), ("distilled_filtered", "self_filtered"),
    ("distilled_filtered", "gold_trained"), ("distilled_filtered", "rules"),
    ("audited", "imported_raw"), ("imported_raw", "base"), ("audited", "base"), ("distilled_filtered", "audited"),
)  # fmt: skip
"""First minus second; fixed before any data are seen."""
ORDER = (
    TEACHER, DIRECT, BASE, "self_raw", "self_filtered", "distilled_raw", "distilled_filtered", "imported_raw",
    "audited", "gold_trained", "rules",
)  # fmt: skip
LABEL_METRICS = ("confabulation_rate", "precision", "recall")
CONSISTENCY_CONTRASTS = (
    ("distilled_filtered", TEACHER), ("distilled_filtered", BASE), ("distilled_filtered", "distilled_raw"),
    ("self_filtered", BASE),
)  # fmt: skip

_GapT = TypeVar("_GapT")
_PART = re.compile(r"(?P<arm>\w+)-n(?P<size>\d+)-s(?P<seed>\d+)")


def score_study(
    answers: Answers,
    run: Run,
    options: StudyConfig,
    folder: Path,
    failed: Mapping[str, str],
    beside: Mapping[str, Any],
) -> dict[str, Any]:
    """All figures; see the module. `run`: the teacher's; `folder`: the study's, with its parts; `beside`: what was
    measured apart (`memorisation`) or counted before (`imported`); None where the study has none."""
    records = {record.id: record for record in held_out(run, options)}
    spread = _spread(records.values(), options.seeds)
    pooled = pool(answers.plain, options.seeds)
    curve = _curve(answers.plain, pooled, spread, records, run)
    found: dict[str, Any] = {
        "name": options.name,
        "options": options.model_dump(mode="json"),
        "compared_size": options.compared,
        "records": len(records),
        "clusters": len({record.cluster for record in records.values()}),
        "training": run.config.train.model_dump(mode="json"),
        "synthetic": all(record.source.startswith("synthetic:") for record in records.values()),
        "failed": dict(failed),
        **_arms(answers, pooled, spread, records, run, options),
        "curve": curve,
        "crossing": {arm: crossing(points) for arm, points in curve.items()},
        "labels": _labels(folder, run, options, failed),
        "tokens": _tokens(answers, records, run),
        "changed": _changed(answers, records, run),
        "seconds": answers.seconds,
        "overlap": find_contamination(records_of(run.dir, "train"), list(records.values())),
        **beside,
    }
    return found | {"answers": answer_questions(found)}


def _spread(records: Iterable[Record], seeds: Sequence[int]) -> dict[str, Record]:
    return {f"{r.id}@{seed}": r.model_copy(update={"id": f"{r.id}@{seed}"}) for r in records for seed in seeds}


def pool(
    answers: Mapping[str, Sequence[Prediction]], seeds: Sequence[int]
) -> dict[tuple[str, int | None], list[Prediction]]:
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


def _arms(
    answers: Answers,
    pooled: Mapping[tuple[str, int | None], list[Prediction]],
    spread: Mapping[str, Record],
    records: Mapping[str, Record],
    run: Run,
    options: StudyConfig,
) -> dict[str, Any]:
    """Arms, differences and p values: arms without seeds on the records, all others on records x seeds."""
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    alone = {arm: rows for arm, rows in answers.plain.items() if _PART.fullmatch(arm) is None}
    seeded = {arm: rows for (arm, size), rows in pooled.items() if size in (None, options.compared)}
    pairs = [pair for pair in CONTRASTS if set(pair) <= set(seeded)]
    gates = {(row.record, row.task): row.gate.answer for row in answers.labels[TEACHER] if row.gate is not None}
    once = compare_arms(
        alone, records, run.tasks, [pair for pair in pairs if set(pair) <= set(alone)], seed, resamples,
        gates=dict.fromkeys((TEACHER, DIRECT), gates),
    )  # fmt: skip
    found = compare_arms(
        seeded, spread, run.tasks, [pair for pair in pairs if not set(pair) <= set(alone)], seed, resamples
    )
    for kind in ("arms", "differences", "p_values"):
        found[kind] |= once[kind]
    found["arms"] = {arm: found["arms"][arm] for arm in ORDER if arm in found["arms"]}
    found["verdicts"] = correct(found["p_values"], FAMILY)
    return found | {"gates": once["gates"]}


def _curve(
    answers: Mapping[str, Sequence[Prediction]],
    pooled: Mapping[tuple[str, int | None], list[Prediction]],
    spread: Mapping[str, Record],
    records: Mapping[str, Record],
    run: Run,
) -> dict[str, list[dict[str, Any]]]:
    """Arm -> points in order of size: pooled figures, those of each seed, and the gap to the teacher."""
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    metrics = {name: METRICS[name] for name in HEADLINE}
    points: dict[str, list[dict[str, Any]]] = {}
    for (arm, size), rows in sorted(pooled.items(), key=lambda entry: (entry[0][0], entry[0][1] or 0)):
        if size is None:
            continue
        scores = score_arm(rows, spread, run.tasks, seed, resamples, metrics)
        gap = difference(rows, pooled[TEACHER, None], spread, run.tasks, seed, resamples)
        by_seed = {}
        for name, own in answers.items():
            part = _PART.fullmatch(name)
            if part is not None and (part["arm"], int(part["size"])) == (arm, size):
                one = score_arm(own, records, run.tasks, seed, 100, metrics)[ALL_TASKS]
                by_seed[part["seed"]] = {metric: one[metric].value for metric in HEADLINE}
        points.setdefault(arm, []).append(
            {
                "size": size,
                **as_json({ALL_TASKS: scores[ALL_TASKS]})[ALL_TASKS],
                "gap_to_teacher": gap[ALL_TASKS]["joint_f1"].model_dump(),
                "seeds": by_seed,
            }
        )
    return points


def crossing(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the curve comes to reach the teacher's joint F1 for good: between two sizes, interpolated over log size.

    A claim about a size holds at all sizes beyond it that were measured; where a size has no interval nothing is sure
    beyond it. `size` is None with a `reason` where there is no such place, or where it is above from the first point
    on. What is sure at 95%: `below_until`, the largest size at which, as at all smaller ones, it is below the teacher;
    `reached_from`, the smallest at which, as at all larger ones, it is not below by `MARGIN`. Either is None where no
    size is.
    """
    gaps = [(point["size"], point["gap_to_teacher"]) for point in points]
    sure = {
        "below_until": _last_of_run(gaps, lambda gap: gap["high"] is not None and gap["high"] < 0),
        "reached_from": _last_of_run(gaps[::-1], lambda gap: gap["low"] is not None and gap["low"] > -MARGIN),
    }
    known = [(size, gap["value"]) for size, gap in gaps if gap["value"] is not None]
    if len(known) < 2:
        return {"size": None, "reason": "fewer than two sizes with a figure", **sure}
    above = [size for size, value in known if value >= 0]
    from_here = _last_of_run(known[::-1], lambda value: value >= 0)
    if from_here == known[0][0]:
        return {"size": None, "reason": f"at or above the teacher from the smallest size on ({from_here})", **sure}
    if from_here is None:
        but = f", though at or above it at {', '.join(map(str, above))}" if above else ""
        where = f"at {known[-1][0]}, the largest size{but}" if above else f"at every size up to {known[-1][0]}"
        return {"size": None, "reason": f"below the teacher {where}", **sure}
    (low, below), (high, over) = next(pair for pair in pairwise(known) if pair[1][0] == from_here)
    size = round(math.exp(math.log(low) + -below / (over - below) * math.log(high / low)))
    return {"size": size, "between": [low, high], **sure}


def _last_of_run(points: Sequence[tuple[int, _GapT]], holds: Callable[[_GapT], bool]) -> int | None:
    """The size of the last of those points, from the first on, that `holds` is true of."""
    run = list(takewhile(lambda point: holds(point[1]), points))
    return run[-1][0] if run else None


def _labels(folder: Path, run: Run, options: StudyConfig, failed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Arm -> what it learned from, against gold: the labels of its training records, seeds pooled.

    A rejected label has no items: that costs recall and no precision.
    """
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    by_id = {record.id: record for record in records_of(run.dir, "train")}
    spread = _spread(by_id.values(), options.seeds)
    metrics = {name: METRICS[name] for name in LABEL_METRICS}
    rows: dict[str, list[Prediction]] = {}
    kept: dict[str, int] = {}
    for part in parts_of(options):
        curated = folder / "parts" / part.name / "curated"
        if part.size != options.compared or not (curated / "kept.jsonl").exists():
            continue
        for label in (
            row for name in ("kept", "rejected") for row in read_rows(curated / f"{name}.jsonl", CuratedLabel)
        ):
            if label.record in by_id and label.sample == 0:
                rows.setdefault(part.arm, []).append(
                    Prediction(
                        key="", record=f"{label.record}@{part.seed}", task=label.task, arm=part.arm, completion="-",
                        items=label.items or (),
                    )
                )  # fmt: skip
                kept[part.arm] = kept.get(part.arm, 0) + (label.items is not None)
    return {
        arm: {
            "read": len(rows[arm]),
            "kept": kept[arm],
            **as_json(score_arm(rows[arm], spread, run.tasks, seed, resamples, metrics))[ALL_TASKS],
        }
        for arm in sorted(rows, key=ORDER.index)
    }


def _tokens(answers: Answers, records: Mapping[str, Record], run: Run) -> dict[str, Any]:
    """Per record, over all tasks: prompts, prompt tokens, those of them computed (not found in the cache), answer
    tokens; of the teacher's two ways of asking, and one minus the other."""
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    clusters = {record.id: record.cluster for record in records.values()}
    counts = {arm: _amounts(rows) for arm, rows in answers.labels.items()}
    found: dict[str, Any] = {
        arm: {name: mean_estimate(of, clusters, seed, resamples).model_dump() for name, of in amounts.items()}
        for arm, amounts in counts.items()
    }
    found[f"{DIRECT}-{TEACHER}"] = {
        name: mean_difference(of, counts[TEACHER][name], clusters, seed, resamples).model_dump()
        for name, of in counts[DIRECT].items()
    }
    return found


def _amounts(labels: Iterable[Label]) -> dict[str, dict[str, float]]:
    """What is counted -> record -> amount."""
    found: dict[str, dict[str, float]] = {name: {} for name in ("prompts", "prompt", "computed", "answer")}
    for row in labels:
        own = (row.prompts, row.prompt_tokens, row.prompt_tokens - row.cached_tokens, row.completion_tokens)
        for name, amount in zip(found, own, strict=True):
            found[name][row.record] = found[name].get(row.record, 0) + amount
    return found


def _changed(answers: Answers, records: Mapping[str, Record], run: Run) -> dict[str, Any]:
    """Effects and consistency of each arm asked in changed form, and differences of consistency."""
    seed, resamples = run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples
    both = {
        arm: (
            {(row.record, row.task): row for row in answers.unchanged[arm]},
            {(row.record, row.task): row for row in rows},
        )
        for arm, rows in answers.changed.items()
    }
    return {
        "arms": {
            arm: score_interventions(answers.variants, *pair, records, run.tasks, seed, resamples)
            for arm, pair in both.items()
        },
        "differences": {
            f"{first}-{second}": compare_consistency(answers.variants, both[first], both[second], records, run.tasks)
            for first, second in CONSISTENCY_CONTRASTS
            if first in both and second in both
        },
    }
