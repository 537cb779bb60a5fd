"""What a study's figures show, in words: its questions, each with a verdict and the sentences it rests on.

In: the figures of a study (study.json). Out: plain text. What must hold: a difference is called better or worse only if
it is in `FAMILY`, declared here before any data are seen, and `tables.verdict` says so; what was not measured is said,
never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from chartdistill.metrics import ALL_TASKS, HEADLINE
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import write_estimate
from chartdistill.metrics.significance import LEAST_DISCORDANT, PValue
from chartdistill.reporting.memorisation import claim_memorisation
from chartdistill.reporting.robustness import ANY_NOISE
from chartdistill.reporting.tables import (
    ALPHA,
    METRICS,
    NO_DIFFERENCE,
    NO_INTERVAL,
    arm_title,
    in_words,
    verdict,
    with_estimates,
    write_p,
)

MARGIN = 0.02
"""A student reaches the teacher when the interval of its joint F1, minus the teacher's, is above minus this."""
NOT_KNOWN = "Not known."
PAIRS = {
    "itself": ("self_filtered-base", "self_raw-base", "self_filtered-self_raw"),
    "confabulation": (
        "distilled_raw-base", "distilled_filtered-distilled_raw", "distilled_filtered-teacher_chain", "self_raw-base",
        "self_filtered-self_raw",
    ),
    "imported": ("audited-imported_raw", "imported_raw-base", "audited-base"),
}  # fmt: skip
"""Question -> the pairs of arms it compares."""
_TO_TEACHER, _ONE_QUESTION = "distilled_filtered-teacher_chain", "teacher_direct-teacher_chain"
_ITSELF_METRICS = ("joint_f1", "confabulation_rate")
FAMILY = tuple(
    dict.fromkeys(
        [
            *product(PAIRS["itself"], _ITSELF_METRICS),
            *product(PAIRS["confabulation"], ("confabulation_rate",)),
            *product((_TO_TEACHER, _ONE_QUESTION), HEADLINE),
            ("distilled_filtered-gold_trained", "joint_f1"),
            ("distilled_filtered-rules", "joint_f1"),
            *product(PAIRS["imported"], HEADLINE),
            ("distilled_filtered-audited", "joint_f1"),
        ]
    )
)
"""(pair, metric) of every difference that the page gives a verdict on; p values are corrected over all of them."""
TOKENS = {
    "prompts": "prompts",
    "prompt": "prompt tokens",
    "computed": "prompt tokens that were computed (not found in the cache)",
    "answer": "answer tokens",
}
"""What is counted per record -> its name."""
_EFFECTS = {
    "vanish_rate": "deleted items vanish",
    "appear_rate": "inserted items appear",
    "flip_rate": "a flipped status follows",
}
_TAKEN = ("lines", "labels", "audited")
"""Counts of an imported file that are not of lines left out."""

Figures = Mapping[str, Any]
Answer = tuple[str, list[str]]
"""Verdict, and the sentences it rests on."""


def answer_questions(written: Figures) -> list[dict[str, Any]]:
    """{"id", "question", "verdict", "answer": sentences} of each question of the study."""
    found = with_estimates(written)
    entries = []
    for name, (question, answer) in _QUESTIONS.items():
        if name != "imported" or found["imported"]:  # only asked where a file of an API version was taken in
            verdict, sentences = answer(found)
            entries.append({"id": name, "question": question, "verdict": verdict, "answer": sentences})
    return [*entries, claim_memorisation(written["memorisation"])]


def direction(found: Figures, pair: str, metric: str) -> str:
    """`better`, `worse` or `NO_DIFFERENCE` of the first arm against the second; `NO_INTERVAL` without figures."""
    estimate = found["differences"].get(pair, {}).get(ALL_TASKS, {}).get(metric)
    return NO_INTERVAL if estimate is None else verdict(estimate, METRICS[metric], p_value(found, pair, metric))[0]


def p_value(found: Figures, pair: str, metric: str) -> PValue:
    """The test of a difference over all tasks."""
    return PValue.model_validate(found["p_values"][pair][ALL_TASKS][metric])


def contrast(found: Figures, pair: str, name: str) -> str:
    """One difference in a sentence: what it shows, value, interval, corrected p."""
    metric, arms = METRICS[name], pair.split("-")
    one, two = map(arm_title, arms)
    if pair not in found["differences"]:
        missing = [arm for arm in arms if arm not in found["arms"]]
        why = "; ".join(f"{part}: {why}" for part, why in found["failed"].items() if part.split("-n")[0] in missing)
        return f"{one} against {two}: not known, no figures of {' and '.join(missing)} ({why or 'not in this study'})."
    gaps = found["differences"][pair][ALL_TASKS]
    estimate = gaps[name]
    if estimate.value is None:
        return f"{metric.title}, {one} against {two}: not defined ({estimate.reason})."
    if estimate.low is None:
        value = metric.write(estimate.value, signed=True)
        return f"{metric.title}, {one} against {two}: {value}, no interval: nothing is shown."
    figures = f"{_written(gaps, name, signed=True)}, {_differ(estimate)}, {write_p(p_value(found, pair, name).holm)}"
    shown = direction(found, pair, name)
    if shown == NO_DIFFERENCE:
        return f"{metric.title}: no difference is shown between {one} and {two} ({figures})."
    return f"{metric.title}: {one} is {shown} than {two} ({figures})."


def _differ(estimate: Estimate) -> str:
    return f"{estimate.discordant} of {estimate.clusters} clusters differ"


def _written(figures: Figures, name: str, signed: bool = False) -> str:
    return write_estimate(figures[name], METRICS[name], signed)


def _teaches_itself(found: Figures) -> Answer:
    filtered, raw = (
        in_words(direction(found, pair, "joint_f1"), "yes, it gains", "no, it loses", "no gain is shown", "not known")
        for pair in ("self_filtered-base", "self_raw-base")
    )
    text = f"On its own labels {filtered} with the filter; {raw} without."
    sentences = [contrast(found, pair, metric) for pair in PAIRS["itself"] for metric in _ITSELF_METRICS]
    return NOT_KNOWN if filtered == raw == "not known" else text, sentences


def _removes_confabulation(found: Figures) -> Answer:
    name, words = "confabulation_rate", ("lowers it", "raises it", "is not shown to change it", "is not known")
    tuning, filtering = (in_words(direction(found, pair, name), *words) for pair in PAIRS["confabulation"][:2])
    sentences = [contrast(found, pair, name) for pair in PAIRS["confabulation"]]
    for arm in ("distilled_raw", "distilled_filtered", "self_raw", "self_filtered"):
        if arm in found["labels"]:
            labels = found["labels"][arm]
            sentences.append(
                f"{arm_title(arm)} learned from {labels['kept']:,} of {labels['read']:,} labels, with confabulation "
                f"{_written(labels, name)}."
            )
    return f"Tuning on the teacher's labels {tuning}; filtering these labels {filtering}.", sentences


def _reaches_teacher(found: Figures) -> Answer:
    points = found["curve"].get("distilled_filtered", [])
    sentences = [contrast(found, _TO_TEACHER, metric) for metric in HEADLINE]
    sentences += [contrast(found, f"distilled_filtered-{arm}", "joint_f1") for arm in ("gold_trained", "rules")]
    if not points:
        return NOT_KNOWN, [*sentences, "There is no learning curve in this study."]
    size, gap = points[-1]["size"], points[-1]["gap_to_teacher"]
    if gap.low is None:
        text = NOT_KNOWN
    elif gap.low > -MARGIN:
        text = f"Yes: at {size} records it is not more than {MARGIN} of joint F1 below."
    elif gap.high < 0:
        text = f"No: at {size} records, the most tried, it is below the teacher."
    else:
        text = f"Not shown: at {size} records it is neither within {MARGIN} nor clearly below."
    value = write_estimate(gap, METRICS["joint_f1"], signed=True)
    sentences.insert(0, f"Joint F1, Distilled, filtered at {size} records minus Teacher, chain: {value}.")
    if len(points) > 1:
        sentences += _crossing(found["crossing"]["distilled_filtered"], points[0]["size"], size)
    return text, sentences


def _crossing(crossed: Figures, smallest: int, largest: int) -> list[str]:
    if crossed["size"] is None:
        where = f"Learning curve: {crossed['reason']}."
    else:
        low, high = crossed["between"]
        where = (
            f"Learning curve: the student's joint F1 crosses the teacher's at about {crossed['size']} records (between "
            f"{low} and {high}, by the point estimates, and is not below it at any larger size)."
        )
    until, reached = crossed["below_until"], crossed["reached_from"]
    below = "at none" if until is None else f"up to {until} records"
    within = "at none" if reached is None else f"from {reached} records on"
    return [
        where,
        f"By the 95% intervals, of sizes {smallest} to {largest}: it is below the teacher {below}; it is not more than "
        f"{MARGIN} below it {within}.",
    ]


def _imported(found: Figures) -> Answer:
    counts = found["imported"]
    shown = in_words(
        direction(found, "audited-imported_raw", "joint_f1"),
        "is better than", "is worse than", "is not shown to differ from", "is not compared with",
    )  # fmt: skip
    left_out = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count and reason not in _TAKEN)
    sentences = [
        f"Of {counts['lines']:,} lines {counts['labels']:,} are labels that can be learned from"
        + (f" ({left_out})" if left_out else "")
        + f"; the audit keeps {counts['audited']:,}. It judges the file as it stands, without statuses, so a stopped "
        "drug in a list speaks against it; to learn from, the statuses that the rules read were put in.",
        *(contrast(found, pair, metric) for pair in PAIRS["imported"] for metric in HEADLINE),
        contrast(found, "distilled_filtered-audited", "joint_f1"),
    ]
    return f"A student of its audited labels {shown} one of all of them, in joint F1.", sentences


def _one_question(found: Figures) -> Answer:
    pair, tokens = _ONE_QUESTION, found["tokens"]
    quality = in_words(
        direction(found, pair, "joint_f1"), "gains", "costs", "makes no difference that is shown in", "not known in"
    )
    sentences = [contrast(found, pair, metric) for metric in HEADLINE]
    for name, unit in TOKENS.items():
        chain, direct = (_number(tokens[arm][name]) for arm in ("teacher_chain", "teacher_direct"))
        gap = _number(tokens[pair][name], "+")
        sentences.append(f"{unit.capitalize()} per record: chain {chain}, one question {direct} (difference {gap}).")
    wrong = found["gates"].get("teacher_chain", {}).get(ALL_TASKS, {}).get("wrong yes")
    if wrong is not None:
        same = found["gates"]["teacher_direct"][ALL_TASKS]["wrong yes"]
        chain, direct = (_written(one, "confabulation_rate") for one in (wrong, same))
        sentences.append(
            f"Where the gate wrongly said yes ({wrong['records']} answers): confabulation of the chain {chain}; of "
            f"the one question on the same charts {direct}."
        )
    else:
        sentences.append("The gate never said yes where the chart has none, so what a wrong yes does cannot be seen.")
    more = _number(tokens[pair]["computed"], "+")
    return f"One question {quality} joint F1 of the teacher; computed prompt tokens per chart: {more}.", sentences


def _number(estimate: Estimate, sign: str = "") -> str:
    if estimate.value is None:
        return f"not defined ({estimate.reason})"
    text = f"{estimate.value:{sign},.1f}"
    if estimate.low is not None:
        text += f" ({estimate.low:{sign},.1f} to {estimate.high:{sign},.1f})"
    return text.replace("-", "\u2212")


def _consistent(found: Figures) -> Answer:
    arms, gaps = found["changed"]["arms"], found["changed"]["differences"]
    if not arms:
        return NOT_KNOWN, ["No record was asked in changed form (interventions.records is 0)."]
    by_arm = {arm: overall_consistency(of) for arm, of in arms.items()}
    crossed = {"consistent_right": "same and right", "consistent_wrong": "same and WRONG"}
    sentences = []
    for arm, of in by_arm.items():
        parts = [f"{words} {_written(of, name)}" for name, words in crossed.items() if name in of]
        sentences.append(f"{arm_title(arm)}: all answers the {'; all the '.join(parts)}.")
    for pair in (
        "distilled_filtered-teacher_chain", "distilled_filtered-base", "self_filtered-base",
        "distilled_filtered-distilled_raw",
    ):  # fmt: skip
        minus = " minus ".join(map(arm_title, pair.split("-")))
        sentences += [
            f"{METRICS[name].title}, {minus}: {_written(gaps[pair], name, signed=True)}."
            for name in ("share_identical", *crossed)
            if pair in gaps
        ]
    parts = [
        f"minus {words} {_written(gap, 'share_identical', signed=True)}"
        for other, words in (("teacher_chain", "the teacher"), ("base", "the base student"))
        if (gap := gaps.get(f"distilled_filtered-{other}")) is not None
    ]
    text = f"Same answer in every form of a chart, the distilled student {', '.join(parts)} (intervals, not tested)"
    if not parts:
        text = "The distilled student was not asked"
    own = by_arm.get("distilled_filtered")
    if own and own["consistent_right"].value is not None:
        right, wrong = (METRICS[name].write(own[name].value) for name in crossed)
        text += f"; always the same and right {right}, always the same and wrong {wrong}"
    return f"{text}.", sentences


def overall_consistency(changed: Figures) -> Figures:
    """An arm's consistency over all changes and tasks; empty where it has none."""
    found: Figures = changed["consistency"].get(ANY_NOISE, {}).get(ALL_TASKS, {})
    return found


def _connected(found: Figures) -> Answer:
    arms = {arm: of["effects"][ALL_TASKS] for arm, of in found["changed"]["arms"].items()}
    if not arms:
        return NOT_KNOWN, ["No record was edited (interventions.records is 0)."]
    sentences = []
    for arm, of in arms.items():
        parts = (f"{words} {_written(of, name)} (n {of[name].n})" for name, words in _EFFECTS.items())
        sentences.append(f"{arm_title(arm)}: {'; '.join(parts)}.")
    own = arms.get("distilled_filtered", {})
    shares = [
        f"{_EFFECTS[name]} {METRICS[name].write(own[name].value)}"
        for name in _EFFECTS
        if own and own[name].value is not None
    ]
    return f"Distilled student, charts edited: {', '.join(shares)}." if shares else NOT_KNOWN, sentences


_QUESTIONS: dict[str, tuple[str, Callable[[Figures], Answer]]] = {
    "itself": ("Can a model teach itself?", _teaches_itself),
    "confabulation": ("Does the filter, or the tuning, remove confabulation?", _removes_confabulation),
    "teacher": ("Does the student reach the teacher, and where does the curve cross?", _reaches_teacher),
    "consolidated": ("Does one consolidated question cost or gain, against the chain?", _one_question),
    "consistency": (
        "Is the student more consistent, and is it consistently right or consistently wrong?", _consistent
    ),
    "connected": ("Are the answers connected to the chart?", _connected),
    "imported": (
        "Are the labels of an API version worth learning from, and are they better audited?", _imported
    ),
}  # fmt: skip
"""Name -> the question, and what gives its verdict and sentences."""


def state_family(figures: Figures) -> str:
    """How many verdicts the page gives, and by what rule."""
    return (
        f"This page gives {figures['verdicts']} verdicts on differences between arms. One says better or worse only "
        f"where the interval leaves out 0, p (approximate randomisation) is below {ALPHA} when corrected over all "
        f"{figures['verdicts']} (Holm), and the arms differ in {LEAST_DISCORDANT} clusters or more."
    )


def study_limits(figures: Figures) -> list[str]:
    """What the study cannot say."""
    options, overlap, train = figures["options"], figures["overlap"], figures["training"]
    seeds = len(options["seeds"])
    limits = list(options["limits"])
    if figures["synthetic"]:
        limits.append("All records are synthetic charts written by templates: no figure carries over to real charts.")
    limits += [
        f"Intervals hold the variation over {figures['clusters']} clusters of {figures['records']} test records, with "
        f"{seeds} seeds as they were drawn; how far the seeds lie apart stands in the learning curve's table. Of an "
        "arm with seeds n counts every seed.",
        f"{state_family(figures)} All other differences stand with intervals and without a verdict: of those without "
        "any true difference about 1 in 20 would exclude 0. The learning curve is judged by intervals at every size.",
        f"Each student is trained for {train['epochs']:g} epochs: with fewer records it also takes fewer steps, so the "
        "curve does not part the two.",
        "Each student is its last state; none was chosen by validation records, so it learned from nothing but its "
        "training records' labels.",
        f"Arms are compared at {figures['compared_size']} training records, the curve goes up to "
        f"{max(options['sizes'])}; the rules know the names in the teacher's labels of all training records.",
        f"Leak check: of {overlap['scored']} test records {overlap['same_cluster']} are near-duplicates of one learned "
        f"from by cluster, {overlap['same_text']} have the same words, {overlap['near_duplicates']} share 80% or more "
        f"of their 5-word runs; longest shared run {overlap['longest_run']['words']} words.",
        "Teacher and students are held to the answer format in decoding; a cut answer of the teacher is asked again "
        "with more room, a student's is not.",
        "Records were asked in changed form with the first seed only; differences of consistency have intervals and no "
        "p values. Where an answer is drawn again, the chain's gate is not drawn but answered as before.",
    ]
    memorisation = figures["memorisation"]
    if memorisation is None or "reason" in memorisation:
        return [*limits, "Memorisation (planted canaries) is not measured here."]
    return [
        *limits,
        f"Memorisation is measured on one student with {memorisation['canaries']} canaries, by greedy decoding from "
        "exact leads: a stronger attack may draw out more. Whether planting shows is tested by sign flips over the "
        f"canaries of a place and number of records, corrected over all {memorisation['tests']} of these (Holm).",
    ]
