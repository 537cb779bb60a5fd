"""What a study's figures show, in words: its questions, each with a verdict and the sentences it rests on.

In: the figures of a study (study.json). Out: plain text. What must hold: a difference is called better or worse only
where its interval leaves out 0 and its corrected p value is below 0.05; what was not measured is said, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chartdistill.metrics import ALL_TASKS, HEADLINE
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME, ROBUSTNESS_METRICS, write_estimate
from chartdistill.reporting.memorisation import claim_memorisation
from chartdistill.reporting.tables import arm_title

MARGIN = 0.02
"""A student reaches the teacher when the interval of its joint F1, minus the teacher's, is above minus this."""
LEVEL = 0.05
NOT_KNOWN = "Not known."
ANY_NOISE = "any"
_CHANGED = {metric.name: metric for metric in ROBUSTNESS_METRICS}
_EFFECTS = (("vanish_rate", "deleted items vanish"), ("appear_rate", "inserted items appear"),
            ("flip_rate", "a flipped status follows"))  # fmt: skip

Figures = Mapping[str, Any]


def answer_questions(found: Figures) -> list[dict[str, Any]]:
    """{"id", "question", "verdict", "answer": sentences} of each question of the study."""
    return [
        _teaches_itself(found),
        _removes_confabulation(found),
        _reaches_teacher(found),
        _one_question(found),
        _consistent(found),
        _connected(found),
        *([_imported(found)] if found["imported"] else []),
        claim_memorisation(found["memorisation"]),
    ]


def direction(found: Figures, first: str, second: str, metric: str) -> str | None:
    """`better`, `worse` or `same` (no difference shown) of first against second; None where there are no figures."""
    pair = f"{first}-{second}"
    estimate = found["differences"].get(pair, {}).get(ALL_TASKS, {}).get(metric)
    if estimate is None or estimate["value"] is None or estimate["low"] is None:
        return None
    p = found["p_values"][pair][ALL_TASKS][metric]["holm"]
    if estimate["low"] <= 0 <= estimate["high"] or p is None or p >= LEVEL:
        return "same"
    return "better" if (estimate["value"] > 0) == (BY_NAME[metric].better == "higher") else "worse"


def contrast(found: Figures, first: str, second: str, metric_name: str) -> str:
    """One difference in a sentence: what it shows, value, interval, corrected p."""
    pair, metric = f"{first}-{second}", BY_NAME[metric_name]
    one, two = arm_title(first), arm_title(second)
    if pair not in found["differences"]:
        missing = [arm for arm in (first, second) if arm not in found["arms"]]
        why = "; ".join(f"{part}: {why}" for part, why in found["failed"].items() if part.split("-n")[0] in missing)
        return f"{one} against {two}: not known, no figures of {' and '.join(missing)} ({why or 'not in this study'})."
    estimate = Estimate.model_validate(found["differences"][pair][ALL_TASKS][metric_name])
    if estimate.value is None:
        return f"{metric.title}, {one} against {two}: not defined ({estimate.reason})."
    if estimate.low is None:
        value = metric.write(estimate.value, signed=True)
        return f"{metric.title}, {one} against {two}: {value}, no interval: nothing is shown."
    p = found["p_values"][pair][ALL_TASKS][metric_name]["holm"]
    figures = f"{write_estimate(estimate, metric, signed=True)}, {write_p(p)}"
    shown = direction(found, first, second, metric_name)
    if shown == "same":
        return f"{metric.title}: no difference is shown between {one} and {two} ({figures})."
    return f"{metric.title}: {one} is {shown} than {two} ({figures})."


def write_p(value: float | None) -> str:
    """A p value as text."""
    if value is None:
        return "no p"
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def _teaches_itself(found: Figures) -> dict[str, Any]:
    pairs = (("self_filtered", "base"), ("self_raw", "base"), ("self_filtered", "self_raw"))
    shown = [direction(found, arm, "base", "joint_f1") for arm in ("self_filtered", "self_raw")]
    words = {"better": "yes, it gains", "worse": "no, it loses", "same": "no gain is shown", None: "not known"}
    filtered, raw = (words[one] for one in shown)
    return _entry(
        "itself", "Can a model teach itself?",
        f"On its own labels {filtered} with the filter; {raw} without." if any(shown) else NOT_KNOWN,
        [contrast(found, *pair, metric) for pair in pairs for metric in ("joint_f1", "confabulation_rate")],
    )  # fmt: skip


def _removes_confabulation(found: Figures) -> dict[str, Any]:
    verdicts = {"better": "lowers it", "worse": "raises it", "same": "is not shown to change it", None: "is not known"}
    filtering, tuning = (
        verdicts[direction(found, first, second, "confabulation_rate")]
        for first, second in (("distilled_filtered", "distilled_raw"), ("distilled_raw", "base"))
    )
    pairs = (
        ("distilled_raw", "base"), ("distilled_filtered", "distilled_raw"), ("distilled_filtered", "teacher_chain"),
        ("self_raw", "base"), ("self_filtered", "self_raw"),
    )  # fmt: skip
    sentences = [contrast(found, *pair, "confabulation_rate") for pair in pairs]
    for arm in ("distilled_raw", "distilled_filtered", "self_raw", "self_filtered"):
        if arm in found["labels"]:
            labels = found["labels"][arm]
            rate = Estimate.model_validate(labels["confabulation_rate"])
            sentences.append(
                f"{arm_title(arm)} learned from {labels['kept']:,} of {labels['read']:,} labels, with confabulation "
                f"{write_estimate(rate, BY_NAME['confabulation_rate'])}."
            )
    return _entry(
        "confabulation", "Does the filter, or the tuning, remove confabulation?",
        f"Tuning on the teacher's labels {tuning}; filtering these labels {filtering}.", sentences,
    )  # fmt: skip


def _reaches_teacher(found: Figures) -> dict[str, Any]:
    points = found["curve"].get("distilled_filtered", [])
    sentences = [contrast(found, "distilled_filtered", "teacher_chain", metric) for metric in HEADLINE]
    sentences.append(contrast(found, "distilled_filtered", "gold_trained", "joint_f1"))
    sentences.append(contrast(found, "distilled_filtered", "rules", "joint_f1"))
    if not points:
        return _entry("teacher", _REACH, NOT_KNOWN, [*sentences, "There is no learning curve in this study."])
    last, gap = points[-1], points[-1]["gap_to_teacher"]
    if gap["low"] is None:
        verdict = NOT_KNOWN
    elif gap["low"] > -MARGIN:
        verdict = f"Yes: at {last['size']} records it is not more than {MARGIN} of joint F1 below."
    elif gap["high"] < 0:
        verdict = f"No: at {last['size']} records, the most tried, it is below the teacher."
    else:
        verdict = f"Not shown: at {last['size']} records it is neither within {MARGIN} nor clearly below."
    value = write_estimate(Estimate.model_validate(gap), BY_NAME["joint_f1"], signed=True)
    sentences.insert(0, f"Joint F1, Distilled, filtered at {last['size']} records minus Teacher, chain: {value}.")
    if len(points) > 1:
        sentences += _crossing(found["crossing"]["distilled_filtered"], points[0]["size"], last["size"])
    return _entry("teacher", _REACH, verdict, sentences)


def _crossing(crossed: Mapping[str, Any], smallest: int, largest: int) -> list[str]:
    if crossed["size"] is None:
        where = f"Learning curve: {crossed['reason']}."
    else:
        low, high = crossed["between"]
        where = (
            f"Learning curve: the student's joint F1 crosses the teacher's at about {crossed['size']} records (between "
            f"{low} and {high}, by the point estimates)."
        )
    until, reached = crossed["below_until"], crossed["reached_from"]
    below = "at none" if until is None else f"up to {until} records"
    within = "at none" if reached is None else f"from {reached} records on"
    return [
        where,
        f"By the 95% intervals, of sizes {smallest} to {largest}: it is below the teacher {below}; it is within "
        f"{MARGIN} of it {within}.",
    ]


_REACH = "Does the student reach the teacher, and where does the curve cross?"


_TAKEN = ("lines", "labels", "audited")
"""Counts of an imported file that are not of lines left out."""


def _imported(found: Figures) -> dict[str, Any]:
    """Only asked where a file of an API version was taken in."""
    counts = found["imported"]
    shown = direction(found, "audited", "imported_raw", "joint_f1")
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "same": "is not shown to differ from",
        None: "is not compared with",
    }
    left_out = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count and reason not in _TAKEN)
    sentences = [
        f"Of {counts['lines']:,} lines {counts['labels']:,} are labels that can be learned from"
        + (f" ({left_out})" if left_out else "")
        + f"; the audit keeps {counts['audited']:,}. It judges the file as it stands, without statuses, so a stopped "
        "drug in a list speaks against it; to learn from, the statuses that the rules read were put in."
    ]
    pairs = (("audited", "imported_raw"), ("imported_raw", "base"), ("audited", "base"))
    sentences += [contrast(found, *pair, metric) for pair in pairs for metric in HEADLINE]
    sentences.append(contrast(found, "distilled_filtered", "audited", "joint_f1"))
    return _entry(
        "imported", "Are the labels of an API version worth learning from, and are they better audited?",
        f"A student of its audited labels {words[shown]} one of all of them, in joint F1.", sentences,
    )  # fmt: skip


def _one_question(found: Figures) -> dict[str, Any]:
    pair = ("teacher_direct", "teacher_chain")
    words = {"better": "gains", "worse": "costs", "same": "makes no difference that is shown in", None: "not known in"}
    quality = words[direction(found, *pair, "joint_f1")]
    tokens = found["tokens"]
    less = tokens["-".join(pair)]
    sentences = [contrast(found, *pair, metric) for metric in HEADLINE]
    for name, unit in TOKENS.items():
        chain, direct, gap = (tokens[arm][name] for arm in (pair[1], pair[0], "-".join(pair)))
        sentences.append(
            f"{unit.capitalize()} per record: chain {_number(chain)}, one question {_number(direct)} "
            f"(difference {_number(gap, '+')})."
        )
    wrong = found["gates"].get("teacher_chain", {}).get(ALL_TASKS, {}).get("wrong yes")
    if wrong is not None:
        same = found["gates"]["teacher_direct"][ALL_TASKS]["wrong yes"]
        rates = [
            write_estimate(Estimate.model_validate(one["confabulation_rate"]), BY_NAME["confabulation_rate"])
            for one in (wrong, same)
        ]
        sentences.append(
            f"Where the gate wrongly said yes ({wrong['records']} answers): confabulation of the chain {rates[0]}; of "
            f"the one question on the same charts {rates[1]}."
        )
    else:
        sentences.append("The gate never said yes where the chart has none, so what a wrong yes does cannot be seen.")
    computed = less["computed"]["value"]
    saved = "fewer" if computed is not None and computed < 0 else "no fewer"
    return _entry(
        "consolidated", "Does one consolidated question cost or gain, against the chain?",
        f"One question {quality} joint F1 of the teacher, at {saved} computed prompt tokens.", sentences,
    )  # fmt: skip


TOKENS = {
    "prompts": "prompts",
    "prompt": "prompt tokens",
    "computed": "prompt tokens that were computed (not found in the cache)",
    "answer": "answer tokens",
}
"""What is counted per record -> its name."""


def _number(written_estimate: Mapping[str, Any], sign: str = "") -> str:
    estimate = Estimate.model_validate(written_estimate)
    if estimate.value is None:
        return f"not defined ({estimate.reason})"
    text = f"{estimate.value:{sign},.1f}"
    if estimate.low is not None:
        text += f" ({estimate.low:{sign},.1f} to {estimate.high:{sign},.1f})"
    return text.replace("-", "\u2212")


def _consistent(found: Figures) -> dict[str, Any]:
    question = "Is the student more consistent, and is it consistently right or consistently wrong?"
    arms, gaps = found["changed"]["arms"], found["changed"]["differences"]
    if not arms:
        text = "No record was asked in changed form (interventions.records is 0)."
        return _entry("consistency", question, NOT_KNOWN, [text])
    sentences = []
    for arm, figures in arms.items():
        of = figures["consistency"].get(ANY_NOISE, {}).get(ALL_TASKS, {})
        parts = [
            f"{words} {write_estimate(Estimate.model_validate(of[name]), _CHANGED[name])}"
            for name, words in (("consistent_right", "same and right"), ("consistent_wrong", "same and WRONG"))
            if name in of
        ]
        sentences.append(f"{arm_title(arm)}: all answers the {'; all the '.join(parts)}.")
    verdicts = []
    for pair, words in (
        ("distilled_filtered-teacher_chain", "the teacher"),
        ("distilled_filtered-base", "the base student"),
        ("self_filtered-base", "the base student (self-taught)"),
        ("distilled_filtered-distilled_raw", "the student of raw labels"),
    ):
        if pair not in gaps:
            continue
        for name in ("share_identical", "consistent_right", "consistent_wrong"):
            estimate = Estimate.model_validate(gaps[pair][name])
            first, second = pair.split("-")
            sentences.append(
                f"{_CHANGED[name].title}, {arm_title(first)} minus {arm_title(second)}: "
                f"{write_estimate(estimate, _CHANGED[name], signed=True)}."
            )
        if pair in ("distilled_filtered-teacher_chain", "distilled_filtered-base"):
            verdicts.append(f"{_more(gaps[pair]['share_identical'])} consistent than {words}")
    own = arms.get("distilled_filtered", {}).get("consistency", {}).get(ANY_NOISE, {}).get(ALL_TASKS, {})
    text = f"The distilled student is {', '.join(verdicts)}" if verdicts else "The distilled student was not asked"
    if own and own["consistent_right"]["value"] is not None:
        right, wrong = (_CHANGED[name].write(own[name]["value"]) for name in ("consistent_right", "consistent_wrong"))
        text += f"; always the same and right {right}, always the same and wrong {wrong}"
    return _entry("consistency", question, f"{text}.", sentences)


def _more(gap: Mapping[str, Any]) -> str:
    if gap["value"] is None or gap["low"] is None:
        return "not known to be more"
    if gap["low"] <= 0 <= gap["high"]:
        return "not shown to be more or less"
    return "more" if gap["value"] > 0 else "less"


def _connected(found: Figures) -> dict[str, Any]:
    question = "Are the answers connected to the chart?"
    arms = found["changed"]["arms"]
    if not arms:
        text = "No record was edited (interventions.records is 0)."
        return _entry("connected", question, NOT_KNOWN, [text])
    sentences = []
    for arm, figures in arms.items():
        of = figures["effects"][ALL_TASKS]
        parts = (f"{words} {write_estimate(Estimate.model_validate(of[name]), _CHANGED[name])} (n {of[name]['n']})"
                 for name, words in _EFFECTS)  # fmt: skip
        sentences.append(f"{arm_title(arm)}: {'; '.join(parts)}.")
    own = arms.get("distilled_filtered", {}).get("effects", {}).get(ALL_TASKS, {})
    shares = [
        f"{words} {_CHANGED[name].write(own[name]['value'])}"
        for name, words in _EFFECTS
        if own and own[name]["value"] is not None
    ]
    verdict = f"Distilled student, charts edited: {', '.join(shares)}." if shares else NOT_KNOWN
    return _entry("connected", question, verdict, sentences)


def _entry(name: str, question: str, verdict: str, answer: Sequence[str]) -> dict[str, Any]:
    return {"id": name, "question": question, "verdict": verdict, "answer": list(answer)}


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
        "p values are corrected (Holm) over the three headline metrics of a pair, not over the "
        f"{len(figures['differences'])} pairs.",
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
        "exact leads: a stronger attack may draw out more. With so few canaries the intervals of exposure "
        "are too narrow.",
    ]
