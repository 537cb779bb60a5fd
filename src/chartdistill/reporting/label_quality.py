"""How right the teacher's labels are on training records: tables for all pages of a run.

In: `Scores`. Out: tables without record text. What must hold: precision never stands without recall.
"""

from __future__ import annotations

from chartdistill.evaluation import Scores
from chartdistill.metrics.catalogue import BY_NAME, explain, task_title
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import Table, TableRow, defined_table, task_order, write_cell

ARMS = {
    "raw": "Labels as they came",
    "kept": "Labels kept",
    "kept_of_all": "Kept, a rejected label names nothing",
}


def label_tables(results: RunResults, scores: Scores) -> list[Table]:
    """One table per metric: tasks down; raw and kept labels across. Empty where no training record has gold."""
    arms = [arm for arm in ARMS if arm in scores.labels]
    tasks = [task for task in task_order(results, scores) if any(task in scores.labels[arm] for arm in arms)]
    tables = []
    for metric in (BY_NAME[name] for name in ("precision", "recall", "joint_f1", "confabulation_rate")) if arms else ():
        rows = [
            TableRow(
                task_title(task),
                "",
                [write_cell(scores.labels[arm].get(task, {}).get(metric.name), metric) for arm in arms],
            )
            for task in tasks
        ]
        whose = "teacher's labels" if results.label_file is None else results.teacher_arm
        about = f"{whose}, of training records, against gold: {explain(metric)}"
        tables.append(defined_table(f"{metric.title} of the labels", about, [ARMS[arm] for arm in arms], rows))
    return tables
