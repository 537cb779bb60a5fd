"""What the figures allow to be said, and what they do not.

In: `RunResults`. Out: a verdict, claims and limits, as plain sentences that hold no record text. What must hold: a
claim carries its interval and n; a paired interval that includes 0 is "no difference shown"; without gold nothing is
said about correctness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chartdistill.evaluation import Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import (
    GOLD_HEADLINE,
    SMALL_N,
    UNUSABLE_BESIDE,
    MetricInfo,
    complement,
    metric_in_text,
    task_title,
    write_figure,
    write_n,
)
from chartdistill.metrics.significance import LEAST_DISCORDANT, PValue
from chartdistill.records import split_in_words
from chartdistill.reporting.erasures import erasure_limits
from chartdistill.reporting.quoting import quoting_limits
from chartdistill.reporting.robustness import changed_claims, gold_overlap_cautions, overlap_limits
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import (
    ALPHA,
    METRICS,
    NO_DIFFERENCE,
    arm_in_text,
    arm_title,
    headline_metrics,
    in_words,
    pair_arms,
    task_order,
    verdict,
)
from chartdistill.schema import LABELS_OF

JOINT = METRICS["joint_f1"]
JOINT_TO_TEACHER = "teacher_joint_f1"
USUAL_ARMS = ("teacher", "base", "student")


@dataclass(frozen=True)
class Findings:
    """The sentences of a report."""

    verdict: str
    claims: tuple[str, ...]
    limits: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    """What to know before any figure is read: beside the verdict, on the first screen."""


def state_findings(results: RunResults) -> Findings:
    """Put the figures into sentences."""
    scores = results.scores
    if scores is None:
        opening = "No arm has been scored in this run: it shows preparation, labels and training only."
        return Findings(opening, (), (*_missing_stages(results), *_stage_limits(results)))
    tasks = task_order(results, scores)
    gold = [task for task in tasks if scores.has_gold(task)]
    plain = [task for task in tasks if not scores.has_gold(task)]
    claims = [
        *_gold_claims(results, scores, gold),
        *_plain_claims(scores, plain),
        *changed_claims(results, scores),
        *_reject_claims(results),
    ]
    limits = [
        *overlap_limits(scores.overlap),
        *_gold_limits(gold, plain),
        *_missing_stages(results),
        *_number_limits(results, scores, tasks),
        *_stage_limits(results),
    ]
    cautions = (
        *_gold_cautions(results, gold),
        *_choice_cautions(results),
        *_same_weights_cautions(results),
        *gold_overlap_cautions(scores.overlap),
    )
    return Findings(_state_verdict(results, scores), tuple(claims), tuple(limits), cautions)


def _gold_cautions(results: RunResults, gold: list[str]) -> Iterator[str]:
    """Where gold is there for a part of the scored records or tasks: figures pooled over it speak for that part."""
    number, known = len(results.scored_records), results.num_with_gold
    if gold and any(of < number for of in known.values()):
        parts = ", ".join(f"{task.name} {known[task.name] or 'none'}" for task in results.tasks)
        yield (
            f"Right answers (gold) are there for a part only, of {number} held-out records: {parts}. What is right in "
            "the others is not known, and is in no figure that says what is right."
        )


def _choice_cautions(results: RunResults) -> Iterator[str]:
    """Where the records scored on are those by which training chose what to keep."""
    evaluated, trained = (results.manifests.get(stage) or {} for stage in ("predictions", "adapter"))
    options = trained.get("options") or {}
    chosen = options.get("keep") == "best" or options.get("stop_after_worse") is not None
    if evaluated.get("split") == "validation" and chosen and options.get("validation_passes"):
        yield (
            "The scored records are the validation records, by which training chose the adapter that it kept: the "
            "student's figures are likely too good. Records that chose nothing are those of evaluate.split: test."
        )


def _same_weights_cautions(results: RunResults) -> Iterator[str]:
    """Where a student starts as its own teacher: two arms that look like two models."""
    labels, predictions = (results.manifests.get(stage) or {} for stage in ("labels", "predictions"))
    if "base" not in results.arms or not labels.get("model") or labels["model"] != predictions.get("model"):
        return
    adapters = [made.get(key) for made, key in ((labels, "teacher_adapter"), (predictions, "student_adapter"))]
    if adapters[0] == adapters[1]:
        yield (
            f"Teacher and base student are one model{' with one adapter' if adapters[0] else ''}: their rows differ "
            "only by how each is asked. What this run can show is what training on the kept labels adds."
        )


def _state_verdict(results: RunResults, scores: Scores) -> str:
    student = "student" if "student" in scores.arms else next(iter(scores.arms), None)
    if student is None:
        return "No arm has been scored in this run."
    held_out = results.held_out_in_words("record")
    joint = scores.estimate(student, ALL_TASKS, "joint_f1") if scores.has_gold(ALL_TASKS) else None
    if joint is None or joint.value is None:
        grounded = scores.estimate(student, ALL_TASKS, "invented_rate")
        found = f" {_grounded(arm_title(student), grounded)}" if grounded and grounded.value is not None else ""
        return f"Whether the answers are right is not known: no gold to compare with on {held_out}.{found}"
    if (with_gold := results.num_with_gold[ALL_TASKS]) < len(results.scored_records):
        held_out = f"{with_gold} of {held_out}, those that have gold"
    opening = f"{arm_title(student)}: joint F1 {write_figure(joint, JOINT)} on {held_out}."
    words = ("better than", "worse than", "not shown to differ from", "not compared, for want of an interval, with")
    parts = [
        f"{in_words(verdict(estimate, JOINT, scores.p_value(pair, ALL_TASKS, 'joint_f1'))[0], *words)} "
        f"the {arm_in_text(other)}"
        for other in ("base", results.teacher_arm)
        if (estimate := scores.difference(pair := f"{student}-{other}", ALL_TASKS, "joint_f1")) is not None
    ]
    return f"{opening} It is {' and '.join(parts)}." if parts else opening


def _grounded(who: str, invented: Estimate) -> str:
    """The share of listed items found in the chart: the complement of the invented rate."""
    found = write_figure(complement(invented), METRICS["invented_rate"])
    return f"{who}: {found} of the emitted items are found in the chart."


def _gold_claims(results: RunResults, scores: Scores, tasks: list[str]) -> Iterator[str]:
    """Pooled: the three headline metrics, arms and differences. Per task: the differences in joint F1."""
    for task in tasks:
        for metric in (METRICS[name] for name in GOLD_HEADLINE) if task == ALL_TASKS else (JOINT,):
            head = f"{task_title(task)}, {metric_in_text(metric)}"
            gaps = [gap for pair in scores.differences if (gap := _compare(pair, task, metric, scores))]
            if task != ALL_TASKS and gaps:
                yield f"{head}: {'; '.join(gaps)}."
                continue
            found = ((arm, scores.estimate(arm, task, metric.name)) for arm in results.arms)
            arms = [
                f"{arm_in_text(arm)} {write_figure(one, metric)}{_broken(arm, task, metric, scores)}"
                for arm, one in found
                if one is not None
            ]
            if arms:
                yield f"{head} ({metric.meaning}): {'; '.join(arms)}."
            yield from (f"{head}: {gap}." for gap in gaps)


def _broken(arm: str, task: str, metric: MetricInfo, scores: Scores) -> str:
    """The share of broken answers, beside a rate that an arm keeps low by giving them; else empty."""
    beside = UNUSABLE_BESIDE.get(metric.name)
    valid = None if beside is None else scores.estimate(arm, task, beside)
    if valid is None or valid.value is None:
        return ""
    return f" with broken answers {write_figure(complement(valid), METRICS[str(beside)])}"


def _compare(pair: str, task: str, metric: MetricInfo, scores: Scores) -> str:
    """One paired difference in words; empty when it was not computed. Verdicts only in the family that was tested."""
    estimate = scores.difference(pair, task, metric.name)
    if estimate is None:
        return ""
    first, second = (arm_in_text(arm) for arm in pair_arms(pair, scores))
    if estimate.value is None:
        return f"the difference between {first} and {second} is {write_figure(estimate, metric)}"
    if estimate.low is None or estimate.high is None:
        return f"{first} and {second} are not compared: {estimate.reason or 'no interval'} ({write_n(estimate)})"
    gap = metric.write(estimate.value, signed=True)
    span = f"{gap}, 95% interval {metric.write_range(estimate.low, estimate.high, signed=True)}, {write_n(estimate)}"
    found = scores.p_value(pair, task, metric.name)
    test = _tested(found)
    if not test:
        return f"{first} minus {second} {span}"
    shown, _ = verdict(estimate, metric, found)
    if shown != NO_DIFFERENCE:
        return f"{first} is {shown} than {second} ({span}{test})"
    said = f"no difference shown between {first} and {second} ({span}{test})"
    worst = -estimate.low if metric.better == "higher" else estimate.high
    margin = metric.write(worst, signed=True).lstrip("+")
    # The interval may leave out 0 where the corrected p does not bear it out: then there is no "worse" in it.
    return (
        said
        if worst <= 0 or margin == metric.write(0.0, signed=True)
        else f"{said}; {first} may be as much as {margin} worse"
    )


def _tested(test: PValue | None) -> str:
    """The corrected p value; empty where the difference is not in the family of tests."""
    if test is None or test.holm is None:
        return ""
    return f", corrected p {'below 0.001' if test.holm < 0.001 else f'{test.holm:.3f}'}"


def _plain_claims(scores: Scores, tasks: list[str]) -> Iterator[str]:
    """What can be said without gold: grounding, format, agreement with the teacher."""
    for task in tasks:
        for arm in scores.arms:
            invented = scores.estimate(arm, task, "invented_rate")
            if invented is not None and invented.value is not None:
                yield f"{task_title(task)}, no gold. {_grounded(arm_title(arm), invented)}"
            found = ((name, scores.estimate(arm, task, name)) for name in _WITHOUT_GOLD)
            others = [
                f"{_WITHOUT_GOLD[name]} {write_figure(estimate, METRICS[name])}"
                for name, estimate in found
                if estimate is not None
            ]
            if others:
                yield f"{task_title(task)}, no gold. {arm_title(arm)}: {'; '.join(others)}."


_WITHOUT_GOLD = {"format_valid_rate": "valid format", JOINT_TO_TEACHER: "joint F1 to the teacher"}


def _reject_claims(results: RunResults) -> Iterator[str]:
    counts = results.counts("curated")
    if counts and counts.get("read"):
        reasons = ", ".join(f"{name} {count}" for name, count in (counts.get("by_reason") or {}).items())
        yield (
            f"Curation read {counts['read']} labels, kept {counts.get('kept')} and rejected {counts.get('rejected')}"
            + (f" (reasons, of which a label may have several: {reasons})." if reasons else ".")
        )


def _gold_limits(gold: list[str], plain: list[str]) -> Iterator[str]:
    if plain:
        names = "any task" if not gold else ", ".join(task_title(task) for task in plain)
        yield (
            f"Correctness cannot be claimed for {names}: the records have no gold for it. Shown are only grounding, "
            "answer format, agreement with the teacher (who may be wrong too), and rejects."
        )
    if gold:
        if plain:
            yield "Pooled figures of correctness cover only the tasks that have gold."
        yield "Figures of correctness are as good as the gold; who made it, and how well they agree, is not known here."


def _missing_stages(results: RunResults) -> Iterator[str]:
    for stage, what in (
        ("labels", "the teacher's labels are not described"),
        ("curated", "what was filtered out is not described"),
        ("adapter", "training is not described"),
    ):
        if stage not in results.manifests:
            yield f"{stage}/ is not finished in this run: {what}."
    if results.scores is None:
        why = results.unscored or "no scores were found"
        yield f"Nothing is claimed about any model: {why}. Run `chartdistill evaluate CONFIG`."
        return
    if older := results.scores_older_than:
        yield (
            f"The scores are older than what is in {' and '.join(older)} now: the student learned from the labels "
            "before, and the figures of the teacher and of the labels against gold are of those. Run `chartdistill "
            "train CONFIG`, then `evaluate`, or `chartdistill run CONFIG`."
        )
    yield from _label_file_limits(results, results.scores)
    usual = [arm for arm in USUAL_ARMS if arm != "teacher" or results.label_file is None]
    if missing := [arm_in_text(arm) for arm in usual if arm not in results.scores.arms]:
        yield f"Not scored in this run: {', '.join(missing)}. Nothing is claimed about them."


def _label_file_limits(results: RunResults, scores: Scores) -> Iterator[str]:
    """What a file of labels in the place of a teacher model leaves open."""
    if results.label_file is None:
        return
    counts, name = results.counts("labels") or {}, results.label_file["file"]
    if results.teacher_arm not in scores.arms:
        yield (
            f"There is no teacher model: the student learned from the labels of {name}, which has none of the held-out "
            "records. How right such labels are there, and whether the student reaches them, is not known."
        )
    else:
        yield (
            f"There is no teacher model: what is called {results.teacher_arm} are labels that existed, made by whoever "
            "made the file and not asked for here."
        )
    if without := counts.get("records_without_label"):
        yield f"{without} of {results.num_records} records have no label in {name}, and taught nothing."
    if guessed := counts.get("statuses_from_chart"):
        yield (
            f"{guessed} items of {name} came without a status; theirs was read from the chart by rules "
            "(missing_status: from_chart), so it says nothing of whoever made the labels."
        )


def _number_limits(results: RunResults, scores: Scores, tasks: tuple[str, ...]) -> Iterator[str]:
    few: list[str] = []
    undefined: list[str] = []
    unscored = dict.fromkeys(scores.arms, 0)
    without_teacher = compared = 0
    shown = [(task, metric) for task in tasks for metric in headline_metrics(scores, tasks)]
    for task, metric in shown:
        if metric.needs_gold and not scores.has_gold(task):
            continue
        gaps = [scores.difference(pair, task, metric.name) for pair in scores.differences]
        compared += sum(gap is not None and gap.value is not None for gap in gaps)
        found = {arm: scores.estimate(arm, task, metric.name) for arm in scores.arms}
        known = {arm: estimate for arm, estimate in found.items() if estimate is not None}
        name = f"{task_title(task)} {metric_in_text(metric)}"
        least = min((estimate.n for estimate in known.values()), default=SMALL_N)
        few += [f"{name} (n {least})"] if least < SMALL_N else []
        undefined += [name] if any(estimate.value is None for estimate in known.values()) else []
        for arm, estimate in known.items():
            if metric.name == JOINT_TO_TEACHER:
                without_teacher = max(without_teacher, estimate.unscored)
            else:
                unscored[arm] = max(unscored[arm], estimate.unscored)
    if few:
        yield f"Small n, below {SMALL_N}, where only large differences could be seen: {', '.join(few)}."
    if undefined:
        yield f"Not defined for at least one arm (reasons in the tables): {', '.join(undefined)}."
    for arm, count in unscored.items():
        if count:
            why = "the file has no label there" if arm.startswith(LABELS_OF) else "engine failure"
            yield f"{arm_title(arm)}: {count} answers missing ({why}); its figures leave them out."
    if without_teacher:
        yield (
            f"{without_teacher} answers are not compared with the teacher: it has no usable answer to that question "
            "(cut off, or not in the format)."
        )
    if compared:
        yield _family_limit(scores, compared)
    if "student" in scores.arms:
        yield "One training run: how much the student would vary over seeds is not in the intervals."


def _family_limit(scores: Scores, compared: int) -> str:
    """How many verdicts the page makes, by what rule, and what the other differences are."""
    if scores.verdicts is None:
        return (
            "Whether arms differ is not said: these scores were made before verdicts had a declared family. Run "
            "`chartdistill evaluate CONFIG` again; stored answers are not asked again."
        )
    others = "stand with intervals and without a verdict: of those with no true difference about 1 in 20 excludes 0."
    if not scores.verdicts:
        return f"This page makes no verdict: none of its {compared} differences is in what needs gold. They {others}"
    return (
        f"This page makes {scores.verdicts} verdicts on differences: the headline metrics that need gold, over all "
        "tasks, of each pair of arms. One says better or worse only where the interval leaves out 0, p (approximate "
        f"randomisation) is below {ALPHA} when corrected over all {scores.verdicts} (Holm), and the arms differ in "
        f"{LEAST_DISCORDANT} clusters or more. All other differences, {compared - scores.verdicts} of headline metrics "
        f"among them, {others} No difference shown does not mean that there is none."
    )


def _stage_limits(results: RunResults) -> Iterator[str]:
    if results.num_synthetic:
        yield (
            f"{results.num_synthetic} of {results.num_records} records are synthetic charts, made by templates or "
            "invented; figures on them do not carry over to real charts."
        )
    prepared = results.manifests.get("records")
    if prepared is not None and results.num_synthetic < results.num_records and (said := split_in_words(prepared)):
        yield said
    if (results.manifests.get("labels", {}).get("options") or {}).get("constrain") and results.scores is not None:
        yield (
            "All arms could give only answers in the format (label.constrain), so valid format says nothing about how "
            "well a model knows it."
        )
    yield from quoting_limits(results)
    yield from erasure_limits(results)
    for stage in ("records", "curated"):
        counts = results.counts(stage) or {}
        read, kept, rejected = (counts.get(key) for key in ("read", "kept", "rejected"))
        if read is not None and kept is not None and rejected is not None and kept + rejected != read:
            yield f"Stage {stage} does not add up: read {read}, kept {kept}, rejected {rejected}. Run it again."
