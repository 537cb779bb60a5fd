"""`label`: the teacher answers every task for every record. Reads records/, writes labels/labels.jsonl.

One row per record x task: a completion, or a failure in words; never a default answer. Records go to the engine
in windows, record-major, so all prompts of a record hit its cached prefix. A window that is finished is on disk;
after a kill the next run asks only for what is missing (rows go by content hash, so changed prompts, tasks or
models relabel exactly what they affect).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from chartdistill.answers import NONE_FOUND
from chartdistill.config import LabelOptions, Run
from chartdistill.engines import Generation, Generator, Request
from chartdistill.errors import EngineError
from chartdistill.model_folder import load_tokenizer, model_fingerprint
from chartdistill.progress import ProgressCallback
from chartdistill.prompts import PromptBuilder
from chartdistill.schema import Gate, Label, Record, Task, content_hash
from chartdistill.store import (
    Journal,
    begin,
    count_by,
    fingerprint,
    is_done,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
)

GATE_ANSWERS: tuple[Literal["yes", "no", "unclear"], ...] = ("yes", "no", "unclear")
_GATE_TOKENS = 8
_RETRY_FACTOR = 4


def label(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Label all records of a run and return the manifest.

    Raises:
        EngineError: the engine did not start, or more requests failed than `label.max_failure_fraction`.
    """
    options, teacher = run.config.label, run.config.teacher
    folder, records_path = run.dir / "labels", run.dir / "records" / "records.jsonl"
    records_manifest = require_manifest(run.dir / "records", "prepare")
    model = run.model_folder("teacher")
    asked_with = _what_determines_an_answer(run, model)
    mark = fingerprint(records_manifest["fingerprint"], asked_with, [task.model_dump() for task in run.tasks])
    if is_done(folder, mark):
        return read_manifest(folder) or {}
    started = begin(folder)
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), run.config.system, teacher.template_options)
    teller = _Teller(builder, run.tasks, options, asked_with)
    total = records_manifest["counts"]["kept"]
    with Journal(folder / "labels.jsonl", Label) as journal:
        missing = sum(1 for record in read_rows(records_path, Record) if not teller.is_labelled(record, journal))
        engine_start = time.monotonic()
        if missing:
            with teacher.engine.open(model) as generator:
                engine_seconds = time.monotonic() - engine_start
                _label_missing(read_rows(records_path, Record), generator, teller, journal, total, progress)
        else:
            engine_seconds = 0.0
        keys = (teller.key(record, task) for record in read_rows(records_path, Record) for task in run.tasks)
        journal.finish(keys)
    return write_manifest(
        folder,
        mark,
        started,
        model=str(model),
        engine=teacher.engine.model_dump(),
        engine_start_seconds=round(engine_seconds, 2),
        options=options.model_dump(),
        **_counts(read_rows(folder / "labels.jsonl", Label)),
    )


def _what_determines_an_answer(run: Run, model: Path) -> str:
    teacher, options = run.config.teacher, run.config.label
    return content_hash(
        model_fingerprint(model),
        teacher.template_options,
        getattr(teacher.engine, "dtype", None),
        getattr(teacher.engine, "quantization", None),
        run.config.system,
        options.strategy,
        options.max_answer_tokens,
    )


def _label_missing(
    records: Iterable[Record],
    generator: Generator,
    teller: _Teller,
    journal: Journal[Label],
    total: int,
    progress: ProgressCallback,
) -> None:
    made = failed = done = tokens = 0
    reasons: list[str] = []
    options = teller.options
    for window in _windows(records, options.records_per_window):
        wanted = [
            (record, task) for record in window for task in teller.tasks if teller.key(record, task) not in journal
        ]
        labels = teller.ask(generator, wanted)
        journal.add(labels)
        done, made = done + len(window), made + len(labels)
        tokens += sum(row.prompt_tokens + row.completion_tokens for row in labels)
        reasons += [row.failure.split(":")[0] for row in labels if row.failure]
        failed = len(reasons)
        progress(done, total, tokens)
        if failed > options.max_failure_fraction * made and (failed >= 20 or done == total):
            counts = ", ".join(f"{name}: {count}" for name, count in count_by(reasons).items())
            raise EngineError(
                f"{failed} of {made} labels failed, more than label.max_failure_fraction = "
                f"{options.max_failure_fraction} allows ({counts}). Finished labels are kept. For prompt_too_long "
                "raise teacher.engine.max_model_len_tokens, or leave such records out; then run the same command again."
            )


def _windows(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    iterator = iter(records)
    while window := list(islice(iterator, size)):
        yield window


class _Teller:
    """Turns (record, task) pairs into labels with one engine."""

    def __init__(self, builder: PromptBuilder, tasks: Sequence[Task], options: LabelOptions, asked_with: str) -> None:
        self.tasks, self.options = tasks, options
        self._builder, self._asked_with = builder, asked_with
        self._task_hash = {task.name: content_hash(task.model_dump()) for task in tasks}

    def key(self, record: Record, task: Task) -> str:
        return content_hash(self._asked_with, self._task_hash[task.name], record.id, record.text)

    def is_labelled(self, record: Record, journal: Journal[Label]) -> bool:
        return all(self.key(record, task) in journal for task in self.tasks)

    def ask(self, generator: Generator, wanted: list[tuple[Record, Task]]) -> list[Label]:
        """One label per pair, in order."""
        prefixes = {record.id: self._builder.prefix(record.text) for record, _ in wanted}
        if self.options.strategy == "direct":
            answers = self._answers(generator, wanted, [task.question for _, task in wanted], prefixes)
            return [self._label(pair, answer) for pair, answer in zip(wanted, answers, strict=True)]
        gate_requests = [self._request(prefixes[r.id], t.gate_question, _GATE_TOKENS, GATE_ANSWERS) for r, t in wanted]
        gates = generator.generate(gate_requests)
        # After an unclear gate the question must leave room for "none"; only a clear no needs no second step.
        asked = [i for i, gate in enumerate(gates) if gate.text in ("yes", "unclear")]
        questions = [
            wanted[i][1].extraction_question if gates[i].text == "yes" else wanted[i][1].question for i in asked
        ]
        lists = self._answers(generator, [wanted[i] for i in asked], questions, prefixes)
        answers_by_pair = dict(zip(asked, lists, strict=True))
        return [self._label(pair, answers_by_pair.get(i), gates[i]) for i, pair in enumerate(wanted)]

    def _request(self, prefix: list[int], question: str, max_tokens: int, choices: tuple[str, ...] = ()) -> Request:
        ids = [*prefix, *self._builder.branch(question)]
        return Request(ids, max_tokens, self._builder.end_id, choices)

    def _answers(
        self,
        generator: Generator,
        pairs: list[tuple[Record, Task]],
        questions: list[str],
        prefixes: dict[str, list[int]],
    ) -> list[Generation]:
        """Answers in order; those that were cut are asked once more with more room."""
        room = self.options.max_answer_tokens
        prompts = [prefixes[record.id] for record, _ in pairs]
        answers = generator.generate([self._request(p, q, room) for p, q in zip(prompts, questions, strict=True)])
        cut = [i for i, answer in enumerate(answers) if answer.finish_reason == "length"]
        again = generator.generate([self._request(prompts[i], questions[i], room * _RETRY_FACTOR) for i in cut])
        for i, answer in zip(cut, again, strict=True):
            if answer.failure is None:
                answers[i] = answer
        return answers

    def _label(self, pair: tuple[Record, Task], answer: Generation | None, gate: Generation | None = None) -> Label:
        record, task = pair
        parts = [part for part in (gate, answer) if part is not None]
        failure = next((part.failure for part in parts if part.failure), None)
        said = None
        if gate is not None and gate.failure is None:
            said = next((choice for choice in GATE_ANSWERS if choice == gate.text), None)
            if said is None:
                failure = "gate_unparsed: the gate answer is none of yes, no, unclear"
        completion = answer.text if answer is not None else NONE_FOUND
        return Label(
            key=self.key(record, task),
            record=record.id,
            task=task.name,
            strategy=self.options.strategy,
            gate=None if said is None or gate is None else Gate(answer=said, probability=gate.probability),
            completion=None if failure else completion,
            finish_reason=None if failure or answer is None else answer.finish_reason,
            failure=failure,
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            cached_tokens=sum(part.cached_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
        )


def _counts(labels: Iterable[Label]) -> dict[str, Any]:
    made = failed = prompt = cached = completion = 0
    gates: list[str] = []
    for row in labels:
        made, failed = made + 1, failed + (row.failure is not None)
        prompt, cached = prompt + row.prompt_tokens, cached + row.cached_tokens
        completion += row.completion_tokens
        if row.gate is not None:
            gates.append(row.gate.answer)
    return {
        "counts": {"labels": made, "failures": failed, "gate_answers": count_by(gates)},
        "tokens": {"prompt": prompt, "cached": cached, "completion": completion},
    }
