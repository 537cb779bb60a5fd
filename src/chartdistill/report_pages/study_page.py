"""The report of a study, as Markdown and as one self-contained page with plots.

In: the figures of a study (study.json). Out: text without record text. What must hold: answers first; every figure
with its interval; what could not be trained is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from chartdistill.metrics import ALL_TASKS, HEADLINE
from chartdistill.metrics.intervals import Estimate
from chartdistill.report_pages import charts
from chartdistill.report_pages.tables import BY_NAME, write_cell

TEMPLATE = "study.html.j2"


def study_tables(figures: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) of every table."""
    metrics = [BY_NAME[name] for name in HEADLINE]
    heads = [metric.title for metric in metrics]
    arms = [
        [arm, *(write_cell(_estimate(scores[ALL_TASKS][metric.name]), metric).line() for metric in metrics)]
        for arm, scores in figures["arms"].items()
    ]
    gaps = [
        [
            pair,
            *(write_cell(_estimate(scores[ALL_TASKS][metric.name]), metric, signed=True).line() for metric in metrics),
        ]
        for pair, scores in figures["differences"].items()
    ]
    curve = [
        [f"{arm}, {point['size']}", *(write_cell(_estimate(point[metric.name]), metric).line() for metric in metrics)]
        for arm, points in figures["curve"].items()
        for point in points
    ]
    failed = [[part, " ".join(why.split())] for part, why in figures["failed"].items()]
    return [
        ("Arms, all tasks, seeds pooled", ["Arm", *heads], arms),
        ("Differences, first minus second", ["Arms", *heads], gaps),
        ("Learning curve", ["Arm, training records", *heads], curve),
        ("Could not be trained", ["Part", "Why"], failed),
    ]


def study_limits(figures: Mapping[str, Any]) -> list[str]:
    """What the study cannot say."""
    seeds, limits = figures["options"]["seeds"], []
    if figures["synthetic"]:
        limits.append("All records are synthetic charts written by templates: no figure carries over to real charts.")
    limits.append(
        f"Intervals hold the variation over records; how the {len(seeds)} seeds differ stands in study.json only "
        "(curve, seeds). n counts every seed."
    )
    limits.append("p values are corrected (Holm) over the three headline metrics of a pair, not over the pairs.")
    return limits


def render_study_markdown(figures: Mapping[str, Any]) -> str:
    """study.md."""
    parts = [f"# {_inline(figures['name'])}", f"{figures['records']} test records."]
    parts += [f"**{entry['question']}** {_inline(entry['answer'])}." for entry in figures["answers"]]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in study_limits(figures))]
    for title, columns, rows in study_tables(figures):
        if rows:
            lines = [columns, ["---"] * len(columns), *rows]
            table = "\n".join("| " + " | ".join(_inline(field) for field in line) + " |" for line in lines)
            parts += [f"## {title}", table]
    return "\n\n".join(parts) + "\n"


def render_study_page(figures: Mapping[str, Any]) -> str:
    """study.html."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chartdistill", "report_pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        figures=figures,
        tables=[table for table in study_tables(figures) if table[2]],
        limits=study_limits(figures),
        plots=list(_plots(figures)),
    )


def _plots(figures: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    for name in HEADLINE:
        metric = BY_NAME[name]
        rows = [
            (arm, [charts.Interval(0, arm, _estimate(scores[ALL_TASKS][name]))])
            for arm, scores in figures["arms"].items()
        ]
        plot = charts.interval_plot(metric.title, rows, metric.form == "share", full=metric.better != "lower")
        yield f"{metric.title}: {metric.meaning}", plot
    teacher = figures["arms"].get("teacher_chain", {}).get(ALL_TASKS, {}).get("joint_f1", {}).get("value")
    for arm, points in figures["curve"].items():
        known = [(float(p["size"]), p["joint_f1"]["value"]) for p in points if p["joint_f1"]["value"] is not None]
        if len(known) < 2:
            continue
        lines = [charts.Line("validation", arm, tuple(known))]
        if teacher is not None:
            lines.append(charts.Line("loss", "teacher", ((known[0][0], teacher), (known[-1][0], teacher))))
        yield (
            f"Joint F1 of {arm} by training records (dots); the teacher's (line)",
            charts.line_plot(f"Joint F1 of {arm}", lines, "training records"),
        )


def _estimate(written: Mapping[str, Any]) -> Estimate:
    return Estimate.model_validate(written)


def _inline(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
