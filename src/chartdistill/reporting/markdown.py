"""report.md: the findings and tables without record text; and the Markdown that all pages share.

In: `RunResults`, findings, the judgement. Out: Markdown. What must hold: no record text; a task name or
reason that holds `|` or a line break cannot break a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chartdistill.evaluation import NOT_JUDGED, Judgement
from chartdistill.reporting.confidence import confidence_part
from chartdistill.reporting.findings import Findings
from chartdistill.reporting.label_quality import label_tables
from chartdistill.reporting.robustness import consistency_tables, effect_tables, gate_tables
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.stages import run_grids
from chartdistill.reporting.tables import PAIRED, Grid, Table, headline_tables, task_tables

LIMITS = "Limits of the config"
"""What the trust gates (`gates:`) are called on all pages, as in the judgement's sentence."""


def render_markdown(results: RunResults, findings: Findings, judgement: Judgement = NOT_JUDGED) -> str:
    """The whole of report.md."""
    parts = [f"# {inline(results.title)}", inline(findings.verdict)]
    parts += [f"**{inline(sentence)}**" for sentence in findings.cautions]
    parts += write_judgement(judgement, "None set in the config.") if judgement else []
    parts += bullets("What can be claimed", findings.claims, "Nothing: no arm has been scored.")
    parts += bullets("What cannot", findings.limits, "No limits beyond the intervals.")
    if results.scores is not None:
        found = results, results.scores
        parts += ["## Headline", PAIRED, *map(write_table, headline_tables(*found))]
        parts += ["## All figures, by task", *map(write_table, task_tables(*found))]
        for title, tables in (
            ("The labels of training records, against gold", label_tables(*found)),
            ("Changed charts: does the answer follow?", effect_tables(*found)),
            ("The same chart in other forms", consistency_tables(*found)),
            ("After right and wrong answers to the gate question", gate_tables(*found)),
        ):
            parts += [f"## {title}", *map(write_table, tables)] if tables else []
        sure = confidence_part(results.scores)
        parts += bullets("How sure it is of an item", sure.sentences, "")
        parts += [write_table(sure.table)] if sure.table else []
    parts += write_grids(run_grids(results).values())
    return "\n\n".join(parts) + "\n"


def write_judgement(judgement: Judgement, absent: str) -> list[str]:
    """Whether the student is approved, each gate, and what of them was changed after the answers existed."""
    outcome = [f"**{inline(judgement.sentence)}**"] if judgement else []
    late = [f"**Warning.** {inline(sentence)}" for sentence in judgement.timing.warnings]
    return [*outcome, *late, *bullets(LIMITS, [one.sentence for one in judgement.verdicts], absent)]


def bullets(title: str, sentences: Sequence[str], absent: str) -> list[str]:
    """A section of sentences, or what is said where there are none."""
    return [f"## {title}", write_bullets(sentences) or absent]


def write_bullets(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {inline(sentence)}" for sentence in sentences)


def write_table(table: Table) -> str:
    """A table of figures under its own heading."""
    rows = [
        (f"{row.label} ({row.meaning})" if row.meaning else row.label, *(cell.line() for cell in row.cells))
        for row in table.rows
    ]
    return f"### {inline(table.title)}\n\n{inline(table.meaning)}\n\n" + write_rows(("", *table.columns), rows)


def write_grids(grids: Iterable[Grid], level: str = "##") -> list[str]:
    """Grids under headings of that level, each as two blocks of Markdown."""
    return [
        part
        for grid in grids
        for part in (f"{level} {grid.title}", write_rows(grid.columns, grid.rows) if grid.rows else grid.absent)
    ]


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(inline(field) for field in line) + " |" for line in lines)


def inline(text: str) -> str:
    """Text that stays on its line and in its cell, and is not read as HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
