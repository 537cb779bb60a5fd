"""The report of a study, as Markdown and as one self-contained page: each question with verdict, figures and plot.

In: the figures of a study (study.json). Out: text without record text. What must hold: answers first; every figure
with its interval; what could not be trained is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from chartdistill.metrics import ALL_TASKS, HEADLINE
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME, ROBUSTNESS_METRICS, MetricInfo
from chartdistill.reporting import plots
from chartdistill.reporting.memorisation import memorisation_plots, memorisation_tables
from chartdistill.reporting.study_findings import ANY_NOISE, TOKENS, direction, study_limits, write_p
from chartdistill.reporting.tables import arm_title, write_cell

TEMPLATE = "study.html.j2"
GUTTER = 156
"""Room for the arms' names in a plot."""
_CHANGED = {metric.name: metric for metric in ROBUSTNESS_METRICS}
_CROSSED = {
    "consistent_right": ("right", "always the same, right"),
    "inconsistent_right": ("right-once", "right at first, then other"),
    "inconsistent_wrong": ("wrong-once", "wrong at first, then other"),
    "consistent_wrong": ("wrong", "always the same, wrong"),
}
_CONTRASTS = {
    "itself": ("joint_f1", (("self_raw", "base"), ("self_filtered", "base"), ("self_filtered", "self_raw"))),
    "confabulation": (
        "confabulation_rate",
        (
            ("distilled_raw", "base"), ("distilled_filtered", "distilled_raw"), ("distilled_filtered", "teacher_chain"),
            ("self_raw", "base"), ("self_filtered", "self_raw"),
        ),
    ),
    "imported": ("joint_f1", (("audited", "imported_raw"), ("imported_raw", "base"), ("audited", "base"))),
}  # fmt: skip
"""Question -> the metric and the pairs of its plot."""

Figures = Mapping[str, Any]
Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, rows."""
Plot = tuple[str, Markup]
"""Caption, drawing."""


def study_tables(figures: Figures) -> list[Table]:
    """Every table that has rows."""
    heads = [BY_NAME[name].title for name in HEADLINE]
    arms = [[arm_title(arm), *_headline(scores[ALL_TASKS])] for arm, scores in figures["arms"].items()]
    gaps = [[_pair_title(pair), *_tested(figures, pair)] for pair in figures["differences"]]
    curve = [
        [f"{arm_title(arm)}, {point['size']}", *_headline(point), _seeds(point)]
        for arm, points in figures["curve"].items()
        for point in points
    ]
    by_task = [
        [arm_title(arm), *(_cell(scores[task]["joint_f1"], BY_NAME["joint_f1"]) for task in figures["gold"])]
        for arm, scores in figures["arms"].items()
    ]
    names = ("confabulation_rate", "precision", "recall")
    labels = [
        [arm_title(arm), f"{of['kept']:,} of {of['read']:,}", *(_cell(of[name], BY_NAME[name]) for name in names)]
        for arm, of in figures["labels"].items()
    ]
    failed = [[part, " ".join(why.split())] for part, why in figures["failed"].items()]
    size = figures["compared_size"]
    tables = [
        (f"Arms at {size} training records, all tasks, seeds pooled", ["Arm", *heads], arms),
        ("Joint F1 by task", ["Arm", *figures["gold"]], by_task),
        ("Differences, first minus second", ["Arms", *heads], gaps),
        ("Learning curve", ["Arm, training records", *heads, "Joint F1 of each seed"], curve),
        ("What the students learned from, against gold", ["Arm", "Labels kept", *(BY_NAME[n].title for n in names)],
         labels),
        *_changed_tables(figures),
        *memorisation_tables(figures["memorisation"]),
        *_token_tables(figures),
        ("Could not be trained", ["Part", "Why"], failed),
    ]  # fmt: skip
    return [table for table in tables if table[2]]


def _headline(scores: Mapping[str, Any]) -> list[str]:
    return [_cell(scores[name], BY_NAME[name]) for name in HEADLINE]


def _tested(figures: Figures, pair: str) -> list[str]:
    """Differences with their corrected p; called better or worse by the same rule as in the answers."""
    first, _, second = pair.partition("-")
    cells = []
    for name in HEADLINE:
        cell = write_cell(_estimate(figures["differences"][pair][ALL_TASKS][name]), BY_NAME[name], signed=True)
        shown = direction(figures, first, second, name)
        if shown is not None:
            p = write_p(figures["p_values"][pair][ALL_TASKS][name]["holm"])
            cell = replace(cell, note=f"{p}: {'no difference shown' if shown == 'same' else shown}")
        cells.append(cell.line())
    return cells


def _cell(written: Mapping[str, Any], metric: MetricInfo, signed: bool = False) -> str:
    return write_cell(_estimate(written), metric, signed).line()


def _pair_title(pair: str) -> str:
    first, _, second = pair.partition("-")
    return f"{arm_title(first)} \u2212 {arm_title(second)}"


def _seeds(point: Mapping[str, Any]) -> str:
    values = (one["joint_f1"] for one in point["seeds"].values())
    return ", ".join("not defined" if value is None else f"{value:.3f}" for value in values)


def _changed_tables(figures: Figures) -> Iterator[Table]:
    arms = figures["changed"]["arms"]
    for title, names, of in (
        ("Charts edited: does the answer follow?", ("vanish_rate", "appear_rate", "flip_rate"), "effects"),
        (
            "Charts in other forms: is the answer the same, and right?",
            (*_CROSSED, "share_identical", "alpha"),
            "consistency",
        ),
    ):
        rows = []
        for arm, found in arms.items():
            scores = found[of] if of == "effects" else found[of].get(ANY_NOISE, {})
            if ALL_TASKS in scores:
                rows.append([arm_title(arm), *(_cell(scores[ALL_TASKS][name], _CHANGED[name]) for name in names)])
        yield title, ["Arm", *(_CHANGED[name].title for name in names)], rows
    names = ("share_identical", "consistent_right", "consistent_wrong")
    yield (
        "Charts in other forms, differences",
        ["Arms", *(_CHANGED[name].title for name in names)],
        [
            [_pair_title(pair), *(_cell(of[name], _CHANGED[name], signed=True) for name in names)]
            for pair, of in figures["changed"]["differences"].items()
        ],
    )


def _token_tables(figures: Figures) -> Iterator[Table]:
    number = MetricInfo("", "", "", "lower", "number")
    yield (
        "What asking takes, per record with all tasks",
        ["Arm", *TOKENS.values()],
        [
            [
                _pair_title(arm) if "-" in arm else arm_title(arm),
                *(_cell(of[name], number, signed="-" in arm) for name in TOKENS),
            ]
            for arm, of in figures["tokens"].items()
        ],
    )


def render_study_markdown(figures: Figures) -> str:
    """study.md."""
    parts = [f"# {_inline(figures['name'])}", _about(figures)]
    for entry in figures["answers"]:
        parts.append(f"**{entry['question']}** {_inline(entry['verdict'])}")
        parts.append("\n".join(f"- {_inline(sentence)}" for sentence in entry["answer"]))
    parts += ["## Limits", "\n".join(f"- {_inline(limit)}" for limit in study_limits(figures))]
    for title, columns, rows in study_tables(figures):
        lines = [columns, ["---"] * len(columns), *rows]
        table = "\n".join("| " + " | ".join(_inline(field) for field in line) + " |" for line in lines)
        parts += [f"## {title}", table]
    return "\n\n".join(parts) + "\n"


def render_study_page(figures: Figures) -> str:
    """study.html."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chartdistill", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        figures=figures,
        about=_about(figures),
        plots={name: list(draw(figures)) for name, draw in _PLOTS.items()},
        tables=study_tables(figures),
        limits=study_limits(figures),
        arms=list(_arm_plots(figures)),
    )


def _about(figures: Figures) -> str:
    made = " synthetic" if figures["synthetic"] else ""
    seeds = len(figures["options"]["seeds"])
    return (
        f"{figures['records']}{made} test records that no student was trained on; arms compared at "
        f"{figures['compared_size']} training records, {seeds} {'seed' if seeds == 1 else 'seeds'}. Figures stand with "
        "their 95% intervals. No record text is on this page."
    )


def _arm_plots(figures: Figures) -> Iterator[Plot]:
    for name in HEADLINE:
        metric = BY_NAME[name]
        rows = [
            (arm_title(arm), [plots.Interval(0, arm_title(arm), _estimate(scores[ALL_TASKS][name]))])
            for arm, scores in figures["arms"].items()
        ]
        full = metric.better != "lower"
        plot = plots.interval_plot(metric.title, rows, metric.form == "share", full, GUTTER)
        yield f"{metric.title}: {metric.meaning}; {metric.better} is better.", plot


def _contrast_plot(question: str) -> Callable[[Figures], Iterator[Plot]]:
    name, pairs = _CONTRASTS[question]

    def draw(figures: Figures) -> Iterator[Plot]:
        metric, rows = BY_NAME[name], []
        for first, second in pairs:
            of = figures["differences"].get(f"{first}-{second}")
            if of is not None:
                shown = direction(figures, first, second, name)
                rows.append((_pair_title(f"{first}-{second}"), _estimate(of[ALL_TASKS][name]), _STYLES[shown]))
        if rows:
            better = "right" if metric.better == "higher" else "left"
            yield (
                f"{metric.title}, first minus second; {better} of the line the first is better.",
                plots.difference_plot(metric.title, rows, metric.form == "share"),
            )

    return draw


_STYLES = {"better": "good", "worse": "bad", "same": "even", None: "even"}


def _curve_plots(figures: Figures) -> Iterator[Plot]:
    teacher = _estimate(figures["arms"]["teacher_chain"][ALL_TASKS]["joint_f1"])
    for arm, points in figures["curve"].items():
        known = [
            (
                point["size"],
                _estimate(point["joint_f1"]),
                [one["joint_f1"] for one in point["seeds"].values() if one["joint_f1"] is not None],
            )
            for point in points
        ]
        if len(known) > 1:
            yield (
                f"Joint F1 of {arm_title(arm).lower()} by training records (log axis). Small dots: single seeds. "
                "Line and band: the teacher by chain.",
                plots.curve_plot(f"Joint F1, {arm_title(arm)}", known, teacher, "training records"),
            )


def _one_question_plots(figures: Figures) -> Iterator[Plot]:
    pair = "teacher_direct-teacher_chain"
    if pair in figures["differences"]:
        rows = []
        for name in HEADLINE:
            shown = direction(figures, "teacher_direct", "teacher_chain", name)
            of = figures["differences"][pair][ALL_TASKS][name]
            rows.append((f"{BY_NAME[name].title} ({BY_NAME[name].better} is better)", _estimate(of), _STYLES[shown]))
        yield "Teacher, one question minus chain.", plots.difference_plot("One question minus chain", rows, True)
    tokens = figures["tokens"]
    scale = max((tokens[arm][name]["value"] or 0) for arm in ("teacher_chain", "teacher_direct") for name in TOKENS)
    rows_by_name = []
    for name in ("prompt", "computed", "answer"):
        marks = [
            plots.Interval(series, arm_title(arm), plots.scaled(_estimate(tokens[arm][name]), scale))
            for series, arm in ((0, "teacher_chain"), (2, "teacher_direct"))
        ]
        rows_by_name.append((f"{name} tokens", marks))
    if scale:
        yield (
            f"Tokens per record, of {scale:,.0f}: chain (circle), one question (diamond).",
            plots.interval_plot("Tokens per record", rows_by_name, True, True, GUTTER),
        )


def _consistency_plots(figures: Figures) -> Iterator[Plot]:
    rows: list[tuple[str, Sequence[tuple[str, str, float]]]] = []
    for arm, found in figures["changed"]["arms"].items():
        of = found["consistency"].get(ANY_NOISE, {}).get(ALL_TASKS, {})
        if of and all(of[name]["value"] is not None for name in _CROSSED):
            bars = [(style, words, of[name]["value"]) for name, (style, words) in _CROSSED.items()]
            rows.append((arm_title(arm), bars))
    if rows:
        yield (
            "Answers to the same chart in other forms. From left: always the same and right; right at first, then "
            "other; wrong at first, then other; always the same and wrong. Intervals: in the table.",
            plots.share_bars("Consistent and right?", rows, GUTTER),
        )


def _effect_plots(figures: Figures) -> Iterator[Plot]:
    arms = figures["changed"]["arms"]
    for name in ("vanish_rate", "appear_rate", "flip_rate") if arms else ():
        rows = [
            (arm_title(arm), [plots.Interval(0, arm_title(arm), _estimate(of["effects"][ALL_TASKS][name]))])
            for arm, of in arms.items()
        ]
        plot = plots.interval_plot(_CHANGED[name].title, rows, True, True, GUTTER)
        yield f"{_CHANGED[name].title}: {_CHANGED[name].meaning}.", plot


_PLOTS: dict[str, Callable[[Figures], Iterator[Plot]]] = {
    "itself": _contrast_plot("itself"),
    "confabulation": _contrast_plot("confabulation"),
    "teacher": _curve_plots,
    "consolidated": _one_question_plots,
    "consistency": _consistency_plots,
    "connected": _effect_plots,
    "imported": _contrast_plot("imported"),
    "memorisation": lambda figures: memorisation_plots(figures["memorisation"], GUTTER),
}
"""Question -> its plots."""


def _estimate(written: Mapping[str, Any]) -> Estimate:
    return Estimate.model_validate(written)


def _inline(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
