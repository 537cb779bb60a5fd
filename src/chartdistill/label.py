"""`label`: the teacher answers every task for every record. Reads records/, writes labels/labels.jsonl.

One row per record x task: a completion, or a failure in words; never a default answer. Records go to the engine
in windows, record-major, so all prompts of a record hit its cached prefix. A window that is finished is on disk;
after a kill the next run asks only for what is missing (rows go by content hash, so changed prompts, tasks or
models relabel exactly what they affect).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from chartdistill.asking import Asker
from chartdistill.config import Run
from chartdistill.engines import Generator
from chartdistill.errors import EngineError
from chartdistill.model_folder import load_tokenizer, model_fingerprint
from chartdistill.progress import ProgressCallback
from chartdistill.prompts import PromptBuilder
from chartdistill.schema import Label, Record, Task, content_hash
from chartdistill.store import (
    Journal,
    begin,
    fingerprint,
    is_done,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
)

_CACHE_SHARE = 0.8
"""Share of the engine's KV cache that the prompts of one window may fill: its records must still be cached when
their second question comes."""


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
    per_task = [(task.model_dump(), options.what_determines_an_answer(task.name)) for task in run.tasks]
    mark = fingerprint(records_manifest["fingerprint"], asked_with, per_task)
    if is_done(folder, mark):
        return read_manifest(folder) or {}
    started = begin(folder)
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), run.config.system, teacher.template_options)
    asker = Asker(builder, run.tasks, options, asked_with)
    seconds = {"engine_start": 0.0, "generate": 0.0}
    with Journal(folder / "labels.jsonl", Label) as journal:
        work = _Work(asker, journal, records_manifest["counts"]["kept"], progress)
        if any(work.missing_of(record) for record in read_rows(records_path, Record)):
            engine_start = time.monotonic()
            with teacher.engine.open(model) as generator:
                seconds["engine_start"] = time.monotonic() - engine_start
                work.label_missing(read_rows(records_path, Record), generator)
            seconds["generate"] = work.seconds
        keys = (asker.key(record, task) for record in read_rows(records_path, Record) for task in run.tasks)
        journal.finish(keys)
    facts = _counts(read_rows(folder / "labels.jsonl", Label))
    return write_manifest(
        folder,
        mark,
        started,
        model=str(model),
        engine=teacher.engine.model_dump(),
        engine_start_seconds=round(seconds["engine_start"], 2),
        generate_seconds=round(seconds["generate"], 2),
        speed=work.speed(),
        options=options.model_dump(),
        versions={name: version(name) for name in ("chartdistill", "transformers")},
        **facts,
    )


def _what_determines_an_answer(run: Run, model: Path) -> str:
    """The model and its surroundings; what of the options matters is each task's own (see `Asker.key`)."""
    teacher = run.config.teacher
    return content_hash(
        model_fingerprint(model),
        teacher.template_options,
        teacher.engine.what_determines_an_answer(),
        run.config.system,
    )


class _Work:
    """What is missing, window by window."""

    def __init__(self, asker: Asker, journal: Journal[Label], total: int, progress: ProgressCallback) -> None:
        self._asker, self._journal, self._total, self._progress = asker, journal, total, progress
        self._made = self._tokens = self._records = 0
        self._failures: Counter[str] = Counter()
        self.seconds = 0.0
        """Spent asking, since the engine was open."""

    def missing_of(self, record: Record) -> list[tuple[Record, Task]]:
        """The tasks of a record that have no label yet."""
        return [(record, task) for task in self._asker.tasks if self._asker.key(record, task) not in self._journal]

    def label_missing(self, records: Iterable[Record], generator: Generator) -> None:
        """Label what is missing; each finished window is durable.

        Raises:
            EngineError: more labels failed than allowed.
        """
        done = 0
        for window in self._windows(records, generator.cache_tokens):
            wanted = [pair for record in window for pair in self.missing_of(record)]
            begin_window = time.monotonic()
            labels = self._asker.ask(generator, wanted)
            self.seconds += time.monotonic() - begin_window
            self._journal.add(labels)
            done += len(window)
            self._made += len(labels)
            self._records += len({record.id for record, _ in wanted})
            self._tokens += sum(row.prompt_tokens + row.completion_tokens for row in labels)
            self._failures.update(row.failure.split(":")[0] for row in labels if row.failure)
            self._progress(done, self._total, self._tokens)
            self._stop_if_too_many_failed(done == self._total)

    def _windows(self, records: Iterable[Record], cache_tokens: int | None) -> Iterator[list[Record]]:
        """As many records as the options allow and the KV cache holds, so that each is computed once."""
        room = float("inf") if cache_tokens is None else _CACHE_SHARE * cache_tokens
        window: list[Record] = []
        used = 0
        for record in records:
            size = self._asker.num_tokens(record)
            if window and (len(window) == self._asker.options.records_per_window or used + size > room):
                yield window
                window, used = [], 0
            window.append(record)
            used += size
        if window:
            yield window

    def _stop_if_too_many_failed(self, at_the_end: bool) -> None:
        failed, allowed = self._failures.total(), self._asker.options.max_failure_fraction
        if failed > allowed * self._made and (failed >= 20 or at_the_end):
            counts = ", ".join(f"{name}: {count}" for name, count in self._failures.most_common())
            raise EngineError(
                f"{failed} of {self._made} labels failed, more than label.max_failure_fraction = {allowed} allows "
                f"({counts}). Finished labels are kept. For prompt_too_long raise teacher.engine.max_model_len_tokens "
                "or set label.window_tokens, or leave such records out; then run the same command again."
            )

    def speed(self) -> dict[str, float] | None:
        """Of this process; None when nothing was missing."""
        if not self.seconds:
            return None
        return {
            "records_per_second": round(self._records / self.seconds, 3),
            "tokens_per_second": round(self._tokens / self.seconds, 1),
        }


def _counts(labels: Iterable[Label]) -> dict[str, Any]:
    """Counts of labels.jsonl, whose rows stand record by record."""
    totals: Counter[str] = Counter()
    gates: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    shareable = 0
    for _, group in groupby(labels, key=lambda row: row.record):
        prefixes = prompts = 0
        for row in group:
            totals.update(labels=1, failures=row.failure is not None, prompts=row.prompts)
            totals.update(prompt=row.prompt_tokens, cached=row.cached_tokens, completion=row.completion_tokens)
            gates.update([row.gate.answer] if row.gate is not None else [])
            failures.update([row.failure.split(":")[0]] if row.failure else [])
            prefixes, prompts = prefixes + row.prefix_tokens, prompts + row.prompts
        # All prompts of a record but the first could find its tokens computed.
        shareable += prefixes - prefixes // prompts if prompts else 0
    tokens = {name: totals[name] for name in ("prompt", "cached", "completion")}
    return {
        "counts": {
            "labels": totals["labels"],
            "failures": totals["failures"],
            "failures_by_reason": dict(failures.most_common()),
            "gate_answers": dict(gates.most_common()),
            "prompts": totals["prompts"],
        },
        "tokens": {
            **tokens,
            "shareable": shareable,
            "cached_share_of_shareable": round(tokens["cached"] / shareable, 4) if shareable else None,
        },
    }
