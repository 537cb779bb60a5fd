"""A run's student, held against charts with gold that are none of the run's: every arm, with intervals.

    python scripts/compare_on_gold.py CONFIG GOLD.jsonl OUT_FOLDER [--run-dir DIR] [--without base ...]

GOLD: a chart a line, as for `chartdistill score`, with its text: {"id": ..., "text": ..., "gold": {task: [items]}}, and
`cluster` where charts are of one patient.
Arms, whatever `evaluate.constrain` says: the model as it comes (`base`), or with the config's `student.adapter`;
`student`; `student constrained`, which can only quote the chart; `student filtered` and `student constrained filtered`,
these two behind the config's filters; `rules`, names of the training labels and words nearby, no model. Answers are
kept in OUT_FOLDER: interrupted, it goes on.

Written: OUT_FOLDER/*.jsonl, one per arm; scores.json, as `chartdistill score` gives it; table.md, which is printed too.
Refused: charts that are near-duplicates of any that the student has seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.errors import ChartDistillError, InputError
from chartdistill.evaluation.contamination import example_records, ids_seen
from chartdistill.evaluation.generation import Sheet, ask_sheets, plain_questions, stored_answers
from chartdistill.evaluation.rule_baseline import ARM as RULES
from chartdistill.evaluation.rule_baseline import known_names, predict_by_rules
from chartdistill.evaluation.score import check_gold, read_gold, score_files
from chartdistill.evaluation.student_arms import FILTERED, arm_file, filtered
from chartdistill.labelling import SPANS
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import clean
from chartdistill.runtime.adapter_folder import read_adapter
from chartdistill.runtime.run_folder import RowWriter, read_rows, require_manifest, write_text
from chartdistill.runtime.start import prepare_process
from chartdistill.schema import Item, Record, Task, TrainExample, content_hash

CONSTRAINED = "student constrained"
ARMS = (RULES, "base", "student", CONSTRAINED, FILTERED, f"{CONSTRAINED} filtered")
ASKED = ("base", "student", CONSTRAINED)
COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "joint_f1": "joint F1",
    "confabulation_rate": "confabulation",
    "invented_rate": "invented",
    "wrong_kind_rate": "wrong kind",
    "contradicted_rate": "contradicted",
    "abstention_specificity": "none found, rightly",
    "format_valid_rate": "usable",
}
WITH_INTERVAL = ("f1", "joint_f1", "confabulation_rate", "abstention_specificity")


def main() -> int:
    """Ask, score, print."""
    prepare_process()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("gold", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run-dir", type=Path, help="where the run wrote, if not where the config says")
    parser.add_argument("--without", nargs="+", choices=ASKED, default=[], help="arms not to ask")
    args = parser.parse_args()
    try:
        run = load_run(args.config, run_dir=args.run_dir)
        table = compare(run, args.gold, args.out, args.without)
    except ChartDistillError as error:
        print(f"compare_on_gold: {error}", file=sys.stderr)
        return error.exit_code
    print(table)
    return 0


def compare(run: Run, gold: Path, out: Path, without: Sequence[str] = ()) -> str:
    """Every arm's answers and figures into the folder `out`, but for those `without`; returns the table in Markdown."""
    adapter = run.dir / "adapter"
    trained = require_manifest(adapter, "train")
    out.mkdir(parents=True, exist_ok=True)
    records = charts_of(gold, run.tasks)
    write_text(out / "gold.jsonl", "".join(one.model_dump_json() + "\n" for one in records))
    examples = list(read_rows(run.dir / "curated" / "train.jsonl", TrainExample))
    refuse_seen(run.dir, {row.record for row in examples}, records, run.tasks)
    questions = [asked for asked in plain_questions(records, run.tasks) if asked[1].name in (asked[0].gold or {})]
    mark = content_hash(trained["fingerprint"], read_adapter(adapter).mark)  # trained again it may have other weights
    sheets = [
        Sheet("student", out / arm_file("student"), "student", adapter, mark, questions, True),
        Sheet(CONSTRAINED, out / arm_file(CONSTRAINED), CONSTRAINED, adapter, mark, questions, SPANS),
        Sheet("base", out / arm_file("base"), "base", run.start(), None, questions, True),  # last: it may ramble
    ]
    sheets = [sheet for sheet in sheets if sheet.arm not in without]
    ask_sheets(run, sheets, lambda done, total=None, tokens=0: print(f"{done}/{total} charts", file=sys.stderr))
    filters = run.config.filters or DEFAULT_FILTERS  # gold that taught was not judged; answers are
    by_id = {record.id: record for record in records}
    for arm in ("student", CONSTRAINED):
        if arm not in without:
            kept = filtered(stored_answers(out / arm_file(arm)), by_id, run.tasks, filters)
            with RowWriter(out / arm_file(f"{arm} filtered")) as rows:
                rows.write(*(row.model_copy(update={"arm": f"{arm} filtered"}) for row in kept))
    with RowWriter(out / arm_file(RULES)) as rows:
        by_rules = predict_by_rules(records, run.tasks, known_names(taught(examples, run.tasks)))
        rows.write(*(row for row in by_rules if row.task in (by_id[row.record].gold or {})))
    asked = [arm for arm in ARMS if arm.removesuffix(" filtered") not in without]
    scores = score_files([out / arm_file(arm) for arm in asked], out / "gold.jsonl", run.tasks)
    write_text(out / "scores.json", json.dumps(scores, indent=1) + "\n")
    table = as_table(scores, run.tasks)
    write_text(out / "table.md", table + "\n")
    return table


def charts_of(path: Path, tasks: Sequence[Task]) -> list[Record]:
    """The charts, cleaned as those of a run are, with the clusters that `score` gives them.

    Raises:
        InputError: lines that cannot be used, each named; before anything is asked.
    """
    known, lines = read_gold(path)
    for name, record in known.items():
        if not record.text or record.gold is None:
            raise InputError(f"{path}:{lines[name]}: no chart with gold; give id, text and gold.")
    check_gold(known, lines, tasks, path)
    cleaned = {name: clean(record.text) for name, record in known.items()}
    return [
        record.model_copy(update={"text": cleaned[name].text, "segments": cleaned[name].segments})
        for name, record in known.items()
    ]


def refuse_seen(run_dir: Path, taught_ids: set[str], records: Sequence[Record], tasks: Sequence[Task]) -> None:
    """Figures on charts that the student has seen, in training or as worked examples, are worth nothing.

    Raises:
        InputError: which.
    """
    seen = [row for row in read_rows(run_dir / "records" / "records.jsonl", Record) if row.id in taught_ids]
    if leaked := ids_seen([*seen, *example_records(tasks)], records):
        raise InputError(
            f"{len(leaked)} of {len(records)} charts are near-duplicates of charts the student has seen "
            f"({', '.join(leaked[:5])}): figures on them would be worthless. Leave them out."
        )


def taught(examples: Sequence[TrainExample], tasks: Sequence[Task]) -> list[tuple[str, tuple[Item, ...]]]:
    """What the student was taught to answer: (task, items)."""
    by_name = {task.name: task for task in tasks}
    return [(row.task, parse_answer(row.completion, by_name[row.task]) or ()) for row in examples]


def as_table(scores: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    """A row per task and arm."""
    lines = ["| task | arm | " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * (2 + len(COLUMNS))]
    for task in tasks:
        for arm, figures in scores["arms"].items():
            row = [cell(figures[task.name].get(metric), metric in WITH_INTERVAL) for metric in COLUMNS]
            lines.append(f"| {task.name} | {arm} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def cell(estimate: Mapping[str, Any] | None, with_interval: bool) -> str:
    """`0.61 (0.50 to 0.70)`, or a dash where the figure is undefined."""
    if not estimate or estimate.get("value") is None:
        return "-"
    low, high = estimate.get("low"), estimate.get("high")
    interval = f" ({low:.2f} to {high:.2f})" if with_interval and low is not None and high is not None else ""
    return f"{estimate['value']:.2f}{interval}"


if __name__ == "__main__":
    sys.exit(main())
