"""`predict`: answer the tasks for new charts with a trained adapter.

One JSON line per record: its id and source, and for each task the items found, each with the character span in the
original chart that decides it (the mention which says that a drug is stopped, not the first one of the drug); an item
that cannot be found there, under any of its names, has `span` null, and should not be trusted. `grounded` is also false
where the chart has the name but not the item's numbers, which `not_in_chart` lists. Drugs have their dosage as data,
`dose`, `route`, `frequency`, `as_needed`, `duration` (`clinical.text.dosage`): as the answer says it, and what the
answer leaves open as the chart says it at the span.
With `filters`, the config's filters are put on the answers: `dropped` names each item that is gone, with filter and
reason, and an answer that is rejected as a whole is a failure `rejected`, never "none found".
Where the config has trust gates, an adapter that they do not approve is used all the same, with a warning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.config import Run
from chartdistill.curation import AnyFilter, screen
from chartdistill.demo.embedded import is_embedded
from chartdistill.engines import Generation, Request, require_fit
from chartdistill.errors import InputError
from chartdistill.evaluation.generation import require_same_examples
from chartdistill.evaluation.judgement import doubts
from chartdistill.evaluation.student_arms import student_constraint
from chartdistill.labelling import SPANS, constrained
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import Cleaned, clean, source_for
from chartdistill.runtime.adapter_folder import adapter_rank
from chartdistill.runtime.run_folder import disk_errors, read_manifest, require_manifest
from chartdistill.schema import Item, Record, RejectedRecord, Task

_RECORDS_PER_WINDOW = 256
_EMBEDDED = (
    "the student is an embedded model of the demo. It knows synthetic charts only; of other charts it makes up drugs, "
    "diagnoses and tests. Use its answers for nothing but a look at their form"
)


def predict(run: Run, records: Path | None, out: Path, with_filters: bool = False) -> int:
    """Answer all charts under `records` into the JSONL file `out`; returns the number of records answered.

    Answers are held to what the student's are in `evaluate` (`evaluate.constrain`). `with_filters`: the config's
    filters are put on them.

    Raises:
        InputError: no records given, or none readable.
        ArtefactError: the run has no finished adapter.
    """
    if records is None:
        raise InputError("predict needs --records PATH: a folder of .txt charts, or a .jsonl, .csv or .parquet file.")
    trained = require_manifest(run.dir / "adapter", "train")
    evaluated = read_manifest(run.dir / "predictions") or {}
    for line in doubts(run.config.gates, trained, evaluated.get("fingerprint")):
        print(f"chartdistill predict: warning: {line}", file=sys.stderr)
    model, adapter = run.model_folder("student"), run.dir / "adapter"
    if is_embedded(model):
        print(f"chartdistill predict: warning: {_EMBEDDED}", file=sys.stderr)
    student = run.config.student
    builder = run.prompt_builder("student")
    require_same_examples(adapter, builder)
    held_to = student_constraint(run.config.evaluate.constrain, run.config.label.constrain)
    require_fit(student.engine, builder, "student", constrained=bool(held_to))
    filters = run.config.filters if with_filters else None
    entries = iter(source_for(records).read())
    answered = 0
    with (
        disk_errors(out),
        out.open("w", encoding="utf-8") as stream,
        student.engine.open(model, lora_rank=adapter_rank(adapter), with_spans=held_to == SPANS) as engine,
    ):
        while window := list(islice(entries, _RECORDS_PER_WINDOW)):
            charts = [(e, clean(e.text)) for e in window if not isinstance(e, RejectedRecord)]
            for entry in window:
                if isinstance(entry, RejectedRecord):
                    stream.write(json.dumps({"id": entry.id, "source": entry.source, "failure": entry.reason}) + "\n")
            requests = [
                constrained(
                    Request(
                        builder.prompt(cleaned.text, task.question),
                        run.config.evaluate.max_answer_tokens,
                        builder.end_id,
                    ),
                    held_to,  # as in `evaluate`, so that what is used is what was measured
                    task,
                    cleaned.text,
                )
                for _, cleaned in charts
                for task in run.tasks
            ]
            answers: Iterator[Generation] = iter(engine.generate(requests, adapter))
            for entry, cleaned in charts:
                tasks = {task.name: _answer(next(answers), task, cleaned, filters) for task in run.tasks}
                stream.write(json.dumps({"id": entry.id, "source": entry.source, "tasks": tasks}) + "\n")
                answered += 1
    return answered


def _answer(
    generation: Generation, task: Task, cleaned: Cleaned, filters: Sequence[AnyFilter] | None = None
) -> dict[str, Any]:
    if generation.text is None:
        return {"items": None, "failure": generation.failure}
    if generation.finish_reason == "length":
        return {"items": None, "failure": "truncated: the answer did not end within evaluate.max_answer_tokens"}
    items = parse_answer(generation.text, task)
    if items is None:
        return {"items": None, "failure": "bad_format: the answer does not follow the task's answer format"}
    if filters is None:
        return {"items": _listed(items, task, cleaned)}
    record = Record(id="", source="", text=cleaned.text, cluster="", split="test", segments=cleaned.segments)
    found = screen(items, record, task, filters)
    said: dict[str, Any] = {"items": None if found.items is None else _listed(found.items, task, cleaned)}
    if found.failure is not None:
        said["failure"] = found.failure
    said["dropped"] = [
        {**one.item.model_dump(exclude_none=True), "filter": one.filter, "reason": one.reason}
        for one in found.dropped
        if one.item is not None
    ]
    return said


def _listed(items: Sequence[Item], task: Task, cleaned: Cleaned) -> list[dict[str, Any]]:
    return [{**item.model_dump(exclude_none=True), **_grounds(item, task, cleaned)} for item in items]


def _grounds(item: Item, task: Task, cleaned: Cleaned) -> dict[str, Any]:
    """Where in the original the item is decided, whether its numbers hold, and how it is taken."""
    entity, chart = entity_of(task), cleaned.text
    said, found = entity.dosage(item.text), entity.decided_at(item, chart, "auto")
    if found is None:
        return {"span": None, "grounded": False, **(said.as_fields() if said else {})}
    holder = Record(id="", source="", text="", cluster="", split="test", segments=cleaned.segments)
    place: dict[str, Any] = {"span": holder.original_span(found.start, found.end), "grounded": True, "match": found.how}
    if wrong := entity.wrong_details(item.text, chart, "auto"):
        place |= {"grounded": False, "not_in_chart": wrong}
    told = entity.dosage_told((found.start, found.end), chart, "auto")
    dosage = said.or_else(told) if said and told else said
    return {**place, **(dosage.as_fields() if dosage else {})}
