"""report.md: the findings and tables without record text; and the Markdown that the model card shares with it.

In: `RunResults`, findings, verdicts of the trust gates. Out: Markdown. What must hold: no record text; a task name or
reason that holds `|` or a line break cannot break a table.
"""

from __future__ import annotations

from collections.abc import Sequence

from chartdistill.evaluation import GateVerdict, state_approval
from chartdistill.reporting.findings import Findings
from chartdistill.reporting.robustness import consistency_tables, effect_tables, gate_tables, overlap_grid
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.stages import (
    Grid,
    cost_grid,
    curated_grid,
    item_grid,
    label_grid,
    reason_grid,
    stage_grid,
    training_grid,
    version_grid,
)
from chartdistill.reporting.tables import Table, headline_tables, task_tables


def render_markdown(results: RunResults, findings: Findings, verdicts: Sequence[GateVerdict] = ()) -> str:
    """The whole of report.md."""
    parts = [f"# {inline(results.title)}", inline(findings.verdict)]
    if verdicts:
        parts.append(f"**{inline(state_approval(verdicts))}**")
        parts += bullets("Trust gates", [verdict.sentence for verdict in verdicts], "")
    parts += bullets("What can be claimed", findings.claims, "Nothing: no arm has been scored.")
    parts += bullets("What cannot", findings.limits, "No limits beyond the intervals.")
    if results.scores is not None:
        parts.append("## Headline")
        parts += [write_table(table) for table in headline_tables(results, results.scores)]
        parts.append("## All figures, by task")
        parts += [write_table(table) for table in task_tables(results, results.scores)]
        parts += _section("Changed charts: does the answer follow?", effect_tables(results, results.scores))
        parts += _section("The same chart in other forms", consistency_tables(results, results.scores))
        parts += _section("Right and wrong gates", gate_tables(results, results.scores))
    for title, grid, absent in (
        ("Leak check", overlap_grid(results.scores), "Not checked in this run."),
        ("Cost by arm", cost_grid(results), "No cost was recorded."),
        ("Stages", stage_grid(results), ""),
        ("Training", training_grid(results), "Training has not finished in this run."),
        ("Teacher labels", label_grid(results), "Labelling has not finished in this run."),
        ("Curation", curated_grid(results), "Curation has not finished in this run."),
        ("Kept items by status", item_grid(results), "No kept items."),
        ("Rejected labels by reason", reason_grid(results, "curated"), "None."),
        ("Rejected records by reason", reason_grid(results, "records"), "None."),
        ("Versions", version_grid(results), "No versions were recorded."),
    ):
        parts += [f"## {title}", write_grid(grid.columns, grid.rows) if isinstance(grid, Grid) else absent]
    return "\n\n".join(parts) + "\n"


def bullets(title: str, sentences: Sequence[str], absent: str) -> list[str]:
    """A section of sentences, or what is said where there are none."""
    return [f"## {title}", "\n".join(f"- {inline(sentence)}" for sentence in sentences) or absent]


def _section(title: str, tables: Sequence[Table]) -> list[str]:
    return [f"## {title}", *map(write_table, tables)] if tables else []


def write_table(table: Table) -> str:
    """A table of figures under its own heading."""
    rows = [
        (f"{row.label} ({row.meaning})" if row.meaning else row.label, *(cell.line() for cell in row.cells))
        for row in table.rows
    ]
    return f"### {inline(table.title)}\n\n{inline(table.meaning)}\n\n" + write_grid(("", *table.columns), rows)


def write_grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(inline(field) for field in line) + " |" for line in lines)


def inline(text: str) -> str:
    """Text that stays on its line and in its cell, and is not read as HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
