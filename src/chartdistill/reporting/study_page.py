"""The report of a study, as Markdown and as one self-contained page: each question with verdict, figures and plot.

In: the figures of a study (study.json). Out: text without record text. What must hold: answers first; every figure
with its interval; what could not be trained is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from chartdistill.metrics import ALL_TASKS, HEADLINE
from chartdistill.metrics.catalogue import MetricInfo
from chartdistill.reporting import plots
from chartdistill.reporting.markdown import inline, write_bullets, write_grids
from chartdistill.reporting.memorisation import memorisation_grids, memorisation_plots
from chartdistill.reporting.page import render_template
from chartdistill.reporting.robustness import EFFECTS, PLACEBOS
from chartdistill.reporting.study_findings import (
    PAIRS,
    TOKENS,
    Figures,
    direction,
    overall_consistency,
    p_value,
    state_family,
    study_limits,
)
from chartdistill.reporting.tables import METRICS, Grid, arm_title, with_estimates, write_cell, write_p

GUTTER = 156
"""Room for the arms' names in a plot."""
_SIZES = MetricInfo("", "", "", "lower", "number")
_CROSSED = {
    "consistent_right": ("right", "always the same, right"),
    "inconsistent_right": ("right-once", "right at first, then other"),
    "inconsistent_wrong": ("wrong-once", "wrong at first, then other"),
    "consistent_wrong": ("wrong", "always the same, wrong"),
}
"""Metric -> style and words of its part of a bar."""
_STYLES = {"better": "good", "worse": "bad"}

SHORT_TITLES = {
    "itself": "Teaching itself", "confabulation": "Confabulation", "teacher": "Reaching the teacher",
    "consolidated": "One question", "consistency": "Consistency", "connected": "Tied to the chart",
    "imported": "API version's file", "memorisation": "Memorisation",
}  # fmt: skip
"""Question -> its entry in the contents."""

Plot = tuple[str, Markup]
"""Caption, drawing."""


def render_study_markdown(written: Figures) -> str:
    """study.md."""
    figures = with_estimates(written)
    parts = [f"# {inline(figures['name'])}", _about(figures)]
    for entry in figures["answers"]:
        parts += [f"**{entry['question']}** {inline(entry['verdict'])}", write_bullets(entry["answer"])]
    parts += ["## Limits", write_bullets(study_limits(figures)), *write_grids(study_grids(figures))]
    return "\n\n".join(parts) + "\n"


def render_study_page(written: Figures) -> str:
    """study.html."""
    figures = with_estimates(written)
    return render_template(
        "study.html.j2",
        figures=figures,
        series={},
        short_titles=SHORT_TITLES,
        about=_about(figures),
        plots={name: list(draw(figures)) for name, draw in _PLOTS.items()},
        grids=study_grids(figures),
        limits=study_limits(figures),
        arms=list(_arm_plots(figures)),
    )


def _about(figures: Figures) -> str:
    made = " synthetic" if figures["synthetic"] else ""
    seeds = len(figures["options"]["seeds"])
    return (
        f"{figures['records']}{made} test records that no student was trained on; arms compared at "
        f"{figures['compared_size']} training records, {seeds} {'seed' if seeds == 1 else 'seeds'}. Figures stand with "
        f"their 95% intervals. {state_family(figures)} No record text is on this page."
    )


def study_grids(figures: Figures) -> list[Grid]:
    """Every table that has rows."""
    arms = {arm_title(arm): of for arm, of in figures["arms"].items()}
    pooled = {title: of[ALL_TASKS] for title, of in arms.items()}
    by_task = [[title, *(_cell(of[task], "joint_f1") for task in figures["gold"])] for title, of in arms.items()]
    gaps = [[_pair_title(pair), *_tested(figures, pair)] for pair in figures["differences"]]
    failed = [[part, " ".join(why.split())] for part, why in figures["failed"].items()]
    grids = [
        _grid(f"Arms at {figures['compared_size']} training records, all tasks, seeds pooled", HEADLINE, pooled),
        Grid("Joint F1 by task", ("Arm", *figures["gold"]), by_task),
        Grid("Differences, first minus second", ("Arms", *_titles(HEADLINE)), gaps),
        _curve_grid(figures),
        _label_grid(figures),
        *_changed_grids(figures),
        *memorisation_grids(figures["memorisation"]),
        Grid("What asking takes, per record with all tasks", ("Arm", *TOKENS.values()), list(_token_rows(figures))),
        Grid("Could not be trained", ("Part", "Why"), failed),
    ]
    return [grid for grid in grids if grid.rows]


def _grid(title: str, names: Collection[str], figures: Mapping[str, Figures]) -> Grid:
    """Metrics by arm."""
    rows = [(arm, *(_cell(of, name) for name in names)) for arm, of in figures.items()]
    return Grid(title, ("Arm", *_titles(names)), rows)


def _titles(names: Collection[str]) -> list[str]:
    return [METRICS[name].title for name in names]


def _cell(figures: Figures, name: str, signed: bool = False) -> str:
    return write_cell(figures[name], METRICS[name], signed).line()


def _pair_title(pair: str) -> str:
    return " \u2212 ".join(map(arm_title, pair.split("-")))


def _tested(figures: Figures, pair: str) -> Iterator[str]:
    """Differences; those that the page gives a verdict on with corrected p and the verdict of the answers."""
    for name in HEADLINE:
        test = p_value(figures, pair, name)
        cell = write_cell(figures["differences"][pair][ALL_TASKS][name], METRICS[name], True, test)
        if cell.note and test.holm is not None:
            cell = replace(cell, note=f"{write_p(test.holm)}: {cell.note}")
        yield cell.line()


def _curve_grid(figures: Figures) -> Grid:
    rows = []
    for arm, points in figures["curve"].items():
        for point in points:
            values = (one["joint_f1"] for one in point["seeds"].values())
            seeds = ", ".join("not defined" if value is None else f"{value:.3f}" for value in values)
            label = f"{arm_title(arm)}, {point['size']}"
            rows.append((label, *(_cell(point, name) for name in HEADLINE), seeds))
    return Grid("Learning curve", ("Arm, training records", *_titles(HEADLINE), "Joint F1 of each seed"), rows)


def _label_grid(figures: Figures) -> Grid:
    names = ("confabulation_rate", "precision", "recall")
    rows = [
        (arm_title(arm), f"{of['kept']:,} of {of['read']:,}", *(_cell(of, name) for name in names))
        for arm, of in figures["labels"].items()
    ]
    return Grid("What the students learned from, against gold", ("Arm", "Labels kept", *_titles(names)), rows)


_PLACEBO_NAMES = tuple(name for names in PLACEBOS.values() for name in names)


def _changed_grids(figures: Figures) -> Iterator[Grid]:
    arms = {arm_title(arm): of for arm, of in figures["changed"]["arms"].items()}
    effects = {title: of["effects"][ALL_TASKS] for title, of in arms.items()}
    yield _grid("Charts edited: does the answer follow?", EFFECTS, effects)
    beside = {title: of for title, of in effects.items() if all(name in of for name in _PLACEBO_NAMES)}
    if beside:  # a study made before there were placebos has none
        yield _grid("Charts edited elsewhere (placebo), and the difference", _PLACEBO_NAMES, beside)
    consistency = {title: found for title, of in arms.items() if (found := overall_consistency(of))}
    crossed = (*_CROSSED, "share_identical", "alpha")
    yield _grid("Charts in other forms: is the answer the same, and right?", crossed, consistency)
    names = ("share_identical", "consistent_right", "consistent_wrong")
    gaps = [
        (_pair_title(pair), *(_cell(of, name, signed=True) for name in names))
        for pair, of in figures["changed"]["differences"].items()
    ]
    yield Grid("Charts in other forms, differences", ("Arms", *_titles(names)), gaps)


def _token_rows(figures: Figures) -> Iterator[list[str]]:
    for arm, of in figures["tokens"].items():
        yield [_pair_title(arm), *(write_cell(of[name], _SIZES, signed="-" in arm).line() for name in TOKENS)]


def _by_arm(names: Collection[str], figures: Mapping[str, Figures]) -> Iterator[tuple[MetricInfo, Markup]]:
    """A plot per metric, one row per arm."""
    for metric in (METRICS[name] for name in names):
        named = ((arm, arm_title(arm), of[metric.name]) for arm, of in figures.items())
        rows = [(title, [plots.Interval(0, title, found, aside=arm == "base")]) for arm, title, found in named]
        yield metric, plots.metric_plot(metric, rows, GUTTER)


def _arm_plots(figures: Figures) -> Iterator[Plot]:
    for metric, plot in _by_arm(HEADLINE, {arm: of[ALL_TASKS] for arm, of in figures["arms"].items()}):
        yield f"{metric.title}: {metric.meaning}; {metric.better} is better.", plot


def _effect_plots(figures: Figures) -> Iterator[Plot]:
    arms = {arm: of["effects"][ALL_TASKS] for arm, of in figures["changed"]["arms"].items()}
    for metric, plot in _by_arm(EFFECTS if arms else (), arms):
        yield f"{metric.title}: {metric.meaning}.", plot


def _contrast_plot(name: str, pairs: Sequence[str]) -> Callable[[Figures], Iterator[Plot]]:
    """A metric's differences between pairs of arms, where the study has them."""

    def draw(figures: Figures) -> Iterator[Plot]:
        metric = METRICS[name]
        rows = [_difference(figures, pair, name, _pair_title(pair)) for pair in pairs if pair in figures["differences"]]
        if rows:
            better = "right" if metric.better == "higher" else "left"
            yield (
                f"{metric.title}, first minus second; {better} of the line the first is better.",
                plots.difference_plot(metric.title, rows, metric.form == "share"),
            )

    return draw


def _difference(figures: Figures, pair: str, name: str, label: str) -> plots.Difference:
    style = _STYLES.get(direction(figures, pair, name), "even")
    return label, figures["differences"][pair][ALL_TASKS][name], style


def _curve_plots(figures: Figures) -> Iterator[Plot]:
    teacher = figures["arms"]["teacher_chain"][ALL_TASKS]["joint_f1"]
    for arm, points in figures["curve"].items():
        known = []
        for point in points:
            values = (one["joint_f1"] for one in point["seeds"].values())
            known.append((point["size"], point["joint_f1"], [value for value in values if value is not None]))
        if len(known) > 1:
            yield (
                f"Joint F1 of {arm_title(arm).lower()} by training records (log axis). Small dots: single seeds. "
                "Line and band: the teacher by chain.",
                plots.curve_plot(f"Joint F1, {arm_title(arm)}", known, teacher, "training records"),
            )


def _one_question_plots(figures: Figures) -> Iterator[Plot]:
    pair = "teacher_direct-teacher_chain"
    if pair in figures["differences"]:
        heads = {name: f"{METRICS[name].title} ({METRICS[name].better} is better)" for name in HEADLINE}
        rows = [_difference(figures, pair, name, head) for name, head in heads.items()]
        yield "Teacher, one question minus chain.", plots.difference_plot("One question minus chain", rows, True)
    series = {"teacher_chain": 0, "teacher_direct": 2}
    scale = max(figures["tokens"][arm][name].value or 0 for arm in series for name in TOKENS)
    if not scale:
        return
    rows_by_name = []
    for name in ("prompt", "computed", "answer"):
        found = {arm: plots.scaled(figures["tokens"][arm][name], scale) for arm in series}
        marks = [plots.Interval(series[arm], arm_title(arm), estimate) for arm, estimate in found.items()]
        rows_by_name.append((f"{name} tokens", marks))
    yield (
        f"Tokens per record, of {scale:,.0f}: chain (circle), one question (diamond).",
        plots.interval_plot("Tokens per record", rows_by_name, GUTTER),
    )


def _consistency_plots(figures: Figures) -> Iterator[Plot]:
    rows = []
    for arm, changed in figures["changed"]["arms"].items():
        of = overall_consistency(changed)
        if of and all(of[name].value is not None for name in _CROSSED):
            rows.append((arm_title(arm), [(*look, of[name].value) for name, look in _CROSSED.items()]))
    if rows:
        yield (
            "Answers to the same chart in other forms. From left: always the same and right; right at first, then "
            "other; wrong at first, then other; always the same and wrong. Intervals: in the table.",
            plots.share_bars("Consistent and right?", rows, GUTTER),
        )


_PLOTS: dict[str, Callable[[Figures], Iterator[Plot]]] = {
    "itself": _contrast_plot("joint_f1", ("self_raw-base", "self_filtered-base", "self_filtered-self_raw")),
    "confabulation": _contrast_plot("confabulation_rate", PAIRS["confabulation"]),
    "teacher": _curve_plots,
    "consolidated": _one_question_plots,
    "consistency": _consistency_plots,
    "connected": _effect_plots,
    "imported": _contrast_plot("joint_f1", PAIRS["imported"]),
    "memorisation": lambda figures: memorisation_plots(figures["memorisation"], GUTTER),
}
"""Question -> its plots."""
