"""report.html: one self-contained page with figures, plots and ten example records.

In: `RunFacts`, findings, verdicts of the trust gates. Out: HTML. What must hold: the first screen answers whether the
student is good enough, what it gets wrong and whether it is approved; everything from outside is escaped (Jinja
autoescape); the page forbids scripts and outside resources to itself; it says whether it holds record text, and where
it may not, the template is given none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chartdistill.evaluation.scores import Scores
from chartdistill.evaluation.trust_gates import GateVerdict, is_approved, state_approval
from chartdistill.metrics.catalogue import MetricInfo, explain, task_title
from chartdistill.reporting import plots, robustness, stages
from chartdistill.reporting.error_summary import CLASSES, glance
from chartdistill.reporting.examples import GOLD, choose_examples, without_text
from chartdistill.reporting.findings import Findings
from chartdistill.reporting.run_results import RunFacts, ShownReject
from chartdistill.reporting.tables import arm_title, headline_metrics, headline_tables, task_order, task_tables

TEMPLATE = "page.html.j2"


def render_page(
    facts: RunFacts, findings: Findings, verdicts: Sequence[GateVerdict] = (), shows_text: bool = True
) -> str:
    """The whole of report.html; without `shows_text` no record text, item or raw answer is in it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chartdistill", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    examples, tally = choose_examples(facts)
    if not shows_text:
        examples = tuple(map(without_text, examples))
    scores = facts.scores
    return environment.get_template(TEMPLATE).render(
        title=facts.title,
        findings=findings,
        approval=state_approval(verdicts),
        approved=is_approved(verdicts),
        verdicts=sorted(verdicts, key=lambda verdict: verdict.passed),
        glance=glance(facts, scores) if scores else (),
        classes=CLASSES,
        privacy=_privacy(facts, shows_text),
        shows_text=shows_text,
        num_held_out=len(facts.predictions),
        rejects=[_Reject.of(row, shows_text) for row in facts.rejects],
        series={arm: place for place, arm in enumerate(facts.arms)},
        letters=_letters(facts.arms),
        arm_title=_answerer,
        legend_mark=plots.legend_mark,
        headline=headline_tables(facts, scores) if scores else (),
        plots=_interval_plots(facts, scores) if scores else (),
        by_task=task_tables(facts, scores) if scores else (),
        effects=robustness.effect_tables(facts, scores) if scores else (),
        consistency=robustness.consistency_tables(facts, scores) if scores else (),
        gates=robustness.gate_tables(facts, scores) if scores else (),
        loss_plot=_loss_plot(facts),
        label_plot=_label_plot(facts),
        reject_plot=_reject_plot(facts),
        grids={
            "stages": stages.stage_grid(facts),
            "overlap": robustness.overlap_grid(scores),
            "cost": stages.cost_grid(facts),
            "training": stages.training_grid(facts),
            "labels": stages.label_grid(facts),
            "curated": stages.curated_grid(facts),
            "items": stages.item_grid(facts),
            "label_reasons": stages.reason_grid(facts, "curated"),
            "record_reasons": stages.reason_grid(facts, "records"),
            "versions": stages.version_grid(facts),
        },
        examples=examples,
        tally=tally,
    )


def _privacy(facts: RunFacts, shows_text: bool) -> tuple[str, str]:
    """What the banner says of record text: in bold, and the rest."""
    if not shows_text:
        return (
            "Holds no record text and no item text.",
            "Example records, rejected items and raw answers are shown as counts and record ids, because not all "
            "records are synthetic or report.include_text is false. To see their text, set report: "
            "{include_text: true} in the config, run the report again, and handle this page like the charts.",
        )
    if facts.num_records and facts.num_records == facts.num_synthetic:
        return "Contains record text, of synthetic charts only.", "No patient's words are in it."
    return (
        "Contains record text; handle like the charts.",
        "report.md and report.json beside this file hold the same figures without record text.",
    )


@dataclass(frozen=True)
class _Reject:
    """A rejected label as the page shows it. Evidence may name the item, so it goes with the item's text."""

    why: str
    task: str
    record: str
    item: str = ""
    status: str = ""
    evidence: str = ""

    @classmethod
    def of(cls, row: ShownReject, shows_text: bool) -> _Reject:
        rejection = row.rejection
        why = f"{rejection.filter}: {rejection.reason}"
        if not shows_text:
            return cls(why, row.task, row.record)
        item = rejection.item
        return cls(
            why, row.task, row.record, item.text if item else "", (item.status if item else None) or "",
            rejection.evidence,
        )  # fmt: skip


def _answerer(arm: str) -> str:
    return "Gold" if arm == GOLD else arm_title(arm)


def _letters(arms: tuple[str, ...]) -> dict[str, str]:
    """One letter per arm, G for gold: the arm's first letter that is still free, else its number."""
    letters = {GOLD: "G"}
    for number, arm in enumerate(arms, 1):
        free = (letter.upper() for letter in arm if letter.isalpha() and letter.upper() not in letters.values())
        letters[arm] = next(free, str(number))
    return letters


def _interval_plots(facts: RunFacts, scores: Scores) -> tuple[tuple[str, str, Markup], ...]:
    """(title, meaning, plot) per headline metric."""
    tasks = task_order(facts, scores)
    return tuple(
        (metric.title, explain(metric), _interval_plot(facts, scores, metric, tasks))
        for metric in headline_metrics(scores, tasks)
    )


def _interval_plot(facts: RunFacts, scores: Scores, metric: MetricInfo, tasks: tuple[str, ...]) -> Markup:
    rows = []
    for task in tasks:
        if metric.needs_gold and not scores.has_gold(task):
            continue
        marks = [
            plots.Interval(place, arm_title(arm), estimate)
            for place, arm in enumerate(facts.arms)
            if (estimate := scores.estimate(arm, task, metric.name)) is not None
        ]
        rows.append((task_title(task), marks))
    return plots.interval_plot(metric.title, rows, metric.form == "share", full=metric.better != "lower")


def _loss_plot(facts: RunFacts) -> Markup | None:
    loss = tuple((float(row.step), row.loss) for row in facts.log if row.loss is not None)
    checks = tuple((float(row.step), row.validation_loss) for row in facts.log if row.validation_loss is not None)
    lines = [plots.Line("loss", "training loss", loss), plots.Line("validation", "validation loss", checks)]
    lines = [line for line in lines if line.points]
    return plots.line_plot("Loss over steps", lines, "step") if lines else None


def _label_plot(facts: RunFacts) -> Markup | None:
    rows = []
    for task, counts in stages.curated_tasks(facts).items():
        none_found = counts.get("none_found", 0)
        parts = (
            ("kept", "kept, with items", counts.get("kept", 0) - none_found),
            ("none", "kept, none found", none_found),
            ("rejected", "rejected", counts.get("rejected", 0)),
        )
        rows.append((task, parts))
    return plots.bar_plot("Labels by task", rows) if rows else None


def _reject_plot(facts: RunFacts) -> Markup | None:
    counts = stages.reasons(facts, "curated")
    rows = [(reason, (("rejected", reason, count),)) for reason, count in counts.items()]
    return plots.bar_plot("Rejected labels by reason", rows) if rows else None
