"""report.html: one self-contained page with figures, plots and ten example records.

In: `RunResults`, findings, the judgement, the models' names. Out: HTML. What must hold: the first screen says in plain
words what the student does, what harm it can do and whether it is approved; all else is folded; everything from outside
is escaped (Jinja autoescape); the page forbids scripts and outside resources to itself; it says whether it holds record
text, and where it may not, the template is given none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from chartdistill.evaluation import NOT_JUDGED, Judgement, Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.catalogue import explain, task_title
from chartdistill.reporting import plots, robustness, stages
from chartdistill.reporting.confidence import confidence_part
from chartdistill.reporting.error_summary import CLASSES, confusions, plain_figures, plain_table, weakest_task
from chartdistill.reporting.examples import GOLD, WRONG, choose_examples, without_text
from chartdistill.reporting.findings import Findings
from chartdistill.reporting.label_quality import label_tables
from chartdistill.reporting.run_facts import Models, run_grid
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import (
    PAIRED,
    arm_in_text,
    arm_title,
    headline_metrics,
    headline_tables,
    measured_tasks,
    task_order,
    task_tables,
)

NO_SCORES = Scores(gold={}, arms={}, costs={})


def render_page(
    results: RunResults,
    findings: Findings,
    judgement: Judgement = NOT_JUDGED,
    shows_text: bool = True,
    models: Models | None = None,
    include_text: bool | None = None,
) -> str:
    """The whole of report.html; without `shows_text` no record text, item or raw answer is in it. `include_text`: what
    the config says of it, which is the cause that the page names."""
    examples, tally = choose_examples(results)
    rejects = results.rejects
    if not shows_text:
        examples, rejects = tuple(map(without_text, examples)), tuple(reject.without_text() for reject in rejects)
    found = results, results.scores or NO_SCORES
    return render_template(
        "page.html.j2",
        title=results.title,
        findings=findings,
        judgement=judgement,
        verdicts=sorted(judgement.verdicts, key=lambda verdict: verdict.passed),
        figures=plain_figures(*found),
        confusions=confusions(*found),
        by_task_plainly=plain_table(*found),
        weakest=weakest_task(*found),
        worst=[example for example in examples if example.is_worst],
        this_run=run_grid(results, models),
        classes=CLASSES,
        wrong=WRONG,
        privacy=_privacy(results, shows_text, include_text),
        shows_text=shows_text,
        held_out=results.held_out_in_words("chart"),
        has_gold=found[1].has_gold(ALL_TASKS),
        num_held_out=len(results.predictions),
        rejects=rejects,
        series={arm: place for place, arm in enumerate(results.arms)},
        letters=_letters(results.arms),
        arm_title=_answerer,
        arm_in_text=lambda arm: "gold" if arm == GOLD else arm_in_text(arm),
        arms_in_words="; ".join(map(arm_in_text, results.arms)),
        legend_mark=plots.legend_mark,
        headline=headline_tables(*found),
        paired=PAIRED,
        plots=list(_interval_plots(*found)),
        by_task=task_tables(*found),
        sure=confidence_part(results.scores),
        label_quality=label_tables(*found),
        effects=robustness.effect_tables(*found),
        consistency=robustness.consistency_tables(*found),
        gate_questions=robustness.gate_tables(*found),
        loss_plot=_loss_plot(results),
        label_plot=_label_plot(results),
        reject_plot=_reject_plot(results),
        grids=stages.run_grids(results),
        examples=examples,
        tally=tally,
    )


def render_template(name: str, **values: Any) -> str:
    """One of the templates of this folder; what is not given is an error, what is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chartdistill", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)


def _privacy(results: RunResults, shows_text: bool, include_text: bool | None) -> tuple[str, str]:
    """What the banner says of record text: in bold, and the rest, with the cause."""
    if not shows_text:
        others = results.num_records - results.num_synthetic
        why = "the config says report: {include_text: false}"
        if include_text is None:
            why = (
                f"{others:,} of {results.num_records:,} records are not synthetic, and the config does not ask for text"
            )
        return (
            "Holds no record text and no item text.",
            f"Examples and rejects are shown as counts and record ids, because {why}. To see their text, set "
            "report: {include_text: true} in the config, run the report again, and handle this page like the charts.",
        )
    if results.num_records and results.num_records == results.num_synthetic:
        return "Contains record text, of synthetic charts only.", "No patient's words are in it."
    return (
        "Contains record text; handle like the charts.",
        "report.md and report.json beside this file hold the same figures without record text.",
    )


def _answerer(arm: str) -> str:
    return "Gold" if arm == GOLD else arm_title(arm)


def _letters(arms: tuple[str, ...]) -> dict[str, str]:
    """One letter per arm, G for gold: the arm's first letter that is still free, else its number."""
    letters = {GOLD: "G"}
    for number, arm in enumerate(arms, 1):
        free = (letter.upper() for letter in arm if letter.isalpha() and letter.upper() not in letters.values())
        letters[arm] = next(free, str(number))
    return letters


def _interval_plots(results: RunResults, scores: Scores) -> Iterator[tuple[str, str, Markup]]:
    """(title, meaning, plot) per headline metric."""
    tasks = task_order(results, scores)
    for metric in headline_metrics(scores, tasks):
        rows = []
        for task in measured_tasks(metric, scores, tasks):
            marks = [
                plots.Interval(place, arm_title(arm), estimate, aside=arm == "base")
                for place, arm in enumerate(results.arms)
                if (estimate := scores.estimate(arm, task, metric.name)) is not None
            ]
            rows.append((task_title(task), marks))
        yield metric.title, explain(metric), plots.metric_plot(metric, rows)


def _loss_plot(results: RunResults) -> Markup | None:
    loss = tuple((float(row.step), row.loss) for row in results.log if row.loss is not None)
    checks = tuple((float(row.step), row.validation_loss) for row in results.log if row.validation_loss is not None)
    lines = [plots.Line("loss", "training loss", loss), plots.Line("validation", "validation loss", checks)]
    lines = [line for line in lines if line.points]
    return plots.line_plot("Loss over steps, log axis", lines, "step") if lines else None


def _label_plot(results: RunResults) -> Markup | None:
    rows = []
    for task, counts in stages.curated_tasks(results).items():
        none_found = counts.get("none_found", 0)
        parts = (
            ("kept", "kept, with items", counts.get("kept", 0) - none_found),
            ("none", "kept, none found", none_found),
            ("rejected", "rejected", counts.get("rejected", 0)),
        )
        rows.append((task, parts))
    return plots.bar_plot("Labels by task", rows) if rows else None


def _reject_plot(results: RunResults) -> Markup | None:
    counts = stages.reasons(results, "curated")
    rows = [(reason, (("rejected", reason, count),)) for reason, count in counts.items()]
    return plots.bar_plot("Rejected labels by reason", rows) if rows else None
