"""`predict`: answer the tasks for new charts with a trained adapter.

One JSON line per record: its id and source, and for each task the items found, each with the character span in the
original chart that decides it (the mention which says that a drug is stopped, not the first one of the drug); an item
that cannot be found there, under any of its names, has `span` null, and should not be trusted. `grounded` is also false
where the chart has the name but not the item's numbers, which `not_in_chart` lists. Drugs have their dosage as data,
`dose`, `route`, `frequency`, `as_needed`, `duration` (`clinical.text.dosage`): as the answer says it, and what the
answer leaves open as the chart says it at the span.
Each item has its `confidence`, the calibrated probability that text and status are right (`confidence.py`), or, where
the validation records had no gold, that the teacher's label has them, which a warning says; null where there is no
calibration for this adapter; why is said once. With `min_confidence` items that are less sure, or
have none, and answers that failed go to a review file (`review_split.py`).
With `filters`, the config's filters are put on the answers: `dropped` names each item that is gone, with filter and
reason, and an answer that is rejected as a whole is a failure `rejected`, never "none found".
Where the config has trust gates, an adapter that they do not approve is used all the same, with a warning.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from chartdistill import __version__
from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.vocabulary import mark_of
from chartdistill.config import Run
from chartdistill.curation import AnyFilter, screen
from chartdistill.demo.embedded import is_embedded
from chartdistill.engines import Generation, Generator, Request, Told, require_fit
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.evaluation.confidence import AGREES, read_calibration
from chartdistill.evaluation.formats import JSONL
from chartdistill.evaluation.formats.converting import CHANGED, convert, require_place
from chartdistill.evaluation.generation import answer_mark, logprobs_of, require_same_examples
from chartdistill.evaluation.judgement import student_warnings
from chartdistill.evaluation.review_split import DividedLines, require_both, require_review_place
from chartdistill.evaluation.student_arms import student_constraint
from chartdistill.labelling import SPANS, constrained
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import Cleaned, SourceEntry, clean, say_passed_over, source_for
from chartdistill.runtime.adapter_folder import CONFIG, WEIGHTS, adapter_rank
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import read_manifest, require_manifest
from chartdistill.runtime.tombstones import adapter_warning
from chartdistill.schema import Item, Record, RejectedRecord, Task, content_hash

_FIRST_WINDOW, _LARGEST_WINDOW = 16, 256
"""Charts that go to the engine together: what a kill can lose. They become more while that costs no minute."""
_QUICK_S = 30.0
_Entry = SourceEntry | RejectedRecord
_EMBEDDED = (
    "the student is an embedded model of the demo. It knows synthetic charts only; of other charts it makes up drugs, "
    "diagnoses and tests. Use its answers for nothing but a look at their form"
)
_EMPTY = "empty: the chart holds no text once markup, control characters and what was glued on are taken out"
_TRUNCATED = {  # of `schema.CUT`
    "length": "truncated: the answer did not end within evaluate.max_answer_tokens",
    "repetition": "truncated: the answer only repeated itself, and was ended",
}
_AGREES_ONLY = (
    "a confidence says how likely an item agrees with the teacher's kept labels, not how likely it is right: the "
    "validation records had too little gold to learn that from"
)


class Student:
    """A run's trained student, to be asked about charts. Its engine starts with the first question, and ends with the
    block.

    Answers are held to what the student's are in `evaluate` (`evaluate.constrain`), so that what is used is what was
    measured. `with_filters`: the config's filters are put on them.

    Raises:
        ArtefactError: the run has no finished adapter.
        ModelError: the student's model is not here.
    """

    def __init__(self, run: Run, with_filters: bool = False) -> None:
        trained = require_manifest(run.dir / "adapter", "train")
        self._written = _written(run.dir / "adapter")
        evaluated = read_manifest(run.dir / "predictions") or {}
        self._run, self._adapter, self._model = run, run.dir / "adapter", run.model_folder("student")
        self.warnings = student_warnings(run.config.gates, trained, evaluated.get("fingerprint"))
        """What to say before it is used."""
        if (warning := adapter_warning(trained)) is not None:
            self.warnings.insert(0, warning)
        if is_embedded(self._model):
            self.warnings.insert(0, _EMBEDDED)
        self._builder = run.prompt_builder("student")
        require_same_examples(self._adapter, self._builder)
        self._held_to = student_constraint(run.config.evaluate.constrain, run.config.label.constrain)
        require_fit(run.config.student.engine, self._builder, "student", constrained=bool(self._held_to))
        self._filters = run.config.filters if with_filters else None
        answers = answer_mark(run, self._adapter)
        self._calibration, self.no_confidence = read_calibration(self._adapter, answers)
        """`no_confidence`: why items have none; empty where they have one."""
        if self._calibration is not None and self._calibration.meaning == AGREES:
            self.warnings.append(_AGREES_ONLY)
        self._open = ExitStack()
        self._engine: Generator | None = None
        self._in_use: Path | None = None
        self.mark = content_hash(
            [trained["fingerprint"], answers.adapter], run.model_mark("student"),
            [task.model_dump() for task in run.tasks],
            run.config.model_dump(mode="json", include={"system", "student", "evaluate", "label", "filters"}),
            with_filters, self._calibration and self._calibration.model_dump(mode="json"),
            *filter(None, [mark_of(run.tasks)]),
        )  # fmt: skip
        """Changes with whatever decides an answer."""

    def __enter__(self) -> Student:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = self._in_use = None
        self._open.__exit__(kind, error, trace)

    def start(self) -> None:
        """Start the engine, which the first question does otherwise."""
        if self._engine is None:
            ranks = [adapter_rank(folder) for folder in (self._adapter, self._run.start()) if folder is not None]
            opened = self._run.config.student.engine.open(
                self._model, lora_rank=max(ranks), with_spans=self._held_to == SPANS
            )
            self._engine = self._open.enter_context(opened)

    def read(
        self, texts: Sequence[str], as_base: bool = False, told: Told | None = None
    ) -> list[dict[str, dict[str, Any]]]:
        """For each chart: task -> `items` (or None with a `failure`), as `predict` writes them.

        Args:
            as_base: as the student answered before it was trained, the arm `base` of `evaluate`.
            told: called with how many charts are answered, as far as one can tell: their answers come in any order.
        """
        charts = [clean(text) for text in texts]
        asked = [self.requests(chart, as_base) for chart in charts]
        requests = [request for of_one in asked for request in of_one]
        if requests:
            self.start()
        adapter = self._run.start() if as_base else self._adapter
        of_charts = None if told is None else lambda answered: told(answered // len(self._run.tasks))
        try:
            answers = iter(self._generated(requests, adapter, of_charts))
        except BaseException:  # Ctrl-C in a notebook, say: it answers no more, and the next charts start another
            self.__exit__(None, None, None)
            raise
        return [self.answers(chart, list(islice(answers, len(of)))) for chart, of in zip(charts, asked, strict=True)]

    def _generated(self, requests: list[Request], adapter: Path | None, told: Told | None) -> Sequence[Generation]:
        if self._engine is None or not requests:
            return ()
        if adapter == self._in_use or adapter != self._adapter:
            self._in_use = adapter
            return self._engine.generate(requests, adapter, told)
        self.require_as_it_was()
        said = self._engine.generate(requests, adapter, told)  # which reads it from the disk
        self.require_as_it_was()
        self._in_use = adapter
        return said

    def require_as_it_was(self) -> None:
        """That the adapter is the one whose calibration and warnings are said.

        Raises:
            ArtefactError: it was trained again meanwhile.
        """
        if _written(self._adapter) != self._written:
            raise ArtefactError(
                f"{self._adapter} was trained again since this program looked at it: what is known of the student "
                "(confidence, gates) is of the one before. Start the same again."
            )

    @property
    def with_spans(self) -> bool:
        """Whether answers are held to the words of their chart."""
        return self._held_to == SPANS

    def requests(self, chart: Cleaned, as_base: bool = False) -> list[Request]:
        """What the engine is asked of one chart: a request for each task, in order; nothing where it holds no text."""
        if not chart.text.strip():
            return []
        room, end = self._run.config.evaluate.max_answer_tokens, self._builder.end_id
        prefix = self._builder.prefix(chart.text)
        return [
            constrained(
                Request(
                    [*prefix, *self._builder.branch(task.question)],
                    room,
                    end,
                    messages=self._builder.messages(chart.text, task.question),
                    template_options=self._run.config.student.template_options,
                    ends_repetition=as_base,
                    logprobs=self._calibration is not None and not as_base,
                ),
                self._held_to,
                task,
                chart.text,
            )
            for task in self._run.tasks
        ]

    def answers(self, chart: Cleaned, generations: Sequence[Generation]) -> dict[str, dict[str, Any]]:
        """What the engine's answers to `requests` say of the chart: task -> `items`, as `read` gives them."""
        if not chart.text.strip():
            return {task.name: {"items": None, "failure": _EMPTY} for task in self._run.tasks}
        return {
            task.name: _answer(generation, task, chart, self._filters, self._confidences(generation, task))
            for task, generation in zip(self._run.tasks, generations, strict=True)
        }

    def _confidences(self, answer: Generation, task: Task) -> dict[Item, float | None]:
        """Of the items of an answer; of those that are not in it nothing is known."""
        if self._calibration is None or answer.text is None:
            return {}
        items = parse_answer(answer.text, task) or ()
        known = logprobs_of(answer, items, task, self._builder)
        return {item: self._calibration.confidence(task.name, of) for item, of in zip(items, known, strict=False)}


def predict(
    run: Run,
    records: Path | None,
    out: Path,
    with_filters: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    min_confidence: float | None = None,
    review_file: Path | None = None,
    form: str = JSONL,
) -> int:
    """Answer all charts under `records` into `out`; returns the number of records answered. `form`: one of
    `formats.FORMATS`.

    The file appears when it is complete. What a kill left of it is taken up by the same command: only charts that have
    no line yet are asked about. `with_filters`: the config's filters are put on the answers. `overwrite`: `out` may be
    replaced, then. `min_confidence` and `review_file`, both or neither: what is less sure goes there, not into `out`.

    Raises:
        InputError: no records given, or none readable; or `form` shows their text, and they were changed meanwhile.
        ArtefactError: the run has no finished adapter, or `out` cannot be written.
        ConfigError: `min_confidence` and the run has no confidence to go by; says why.
    """
    require_both(min_confidence, review_file)
    if records is None:
        raise InputError("predict needs --records PATH: a folder of .txt charts, or a .jsonl, .csv or .parquet file.")
    charts_there = records if records.is_file() or out.suffix == ".txt" else None
    require_place(form, out, overwrite, (charts_there, run.dir), records)
    if review_file is not None:
        require_review_place(review_file, out, overwrite, (charts_there, run.dir))
    source = source_for(records)
    charts = iter(source.read())
    with Student(run, with_filters) as student:
        if student.no_confidence and min_confidence is not None:
            raise ConfigError(f"--min-confidence: no item would have a confidence: {student.no_confidence}.")
        window = list(islice(charts, _FIRST_WINDOW))  # is there anything? said before `out` is touched
        say_warnings(student)
        if others := say_passed_over([source]):
            print(f"chartdistill predict: {others}", file=sys.stderr)
        stamp = source.stamp()
        mark = content_hash(student.mark, [stamp, source.model_dump(mode="json")], __version__, min_confidence)
        with DividedLines(out, review_file, min_confidence, mark) as lines:
            if lines.num_lines:
                print(f"chartdistill predict: {lines.num_lines} charts were answered before, going on", file=sys.stderr)
            answered = _answer_all(window, charts, student, lines, progress)
            if form == JSONL:
                lines.finish()
            else:
                if source.stamp() != stamp:  # spans of the charts that were read would point into others
                    raise InputError(CHANGED)
                lines.place_review()
                convert(form, lines.so_far, source.read(), out, run.tasks)
                lines.drop()
        kept, in_review, failed = lines.counts.values()
        if review_file is not None:
            rest = f"{_number(in_review, 'item')} and {_number(failed, 'answer')} without items"
            told = f"{_number(kept, 'item')} kept, {rest} for review in {review_file}"
            print(f"chartdistill predict: {told}", file=sys.stderr)
        elif failed:
            told = f"{_number(failed, 'answer')} without items; the `failure` in their place says why"
            print(f"chartdistill predict: {told}", file=sys.stderr)
    return answered


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say_warnings(student: Student) -> None:
    """On standard error: what to know before its answers are used."""
    for line in student.warnings:
        print(f"chartdistill predict: warning: {line}", file=sys.stderr)
    if student.no_confidence:
        print(f"chartdistill predict: items have no confidence: {student.no_confidence}", file=sys.stderr)


def _answer_all(
    window: list[_Entry],
    more: Iterator[_Entry],
    student: Student,
    lines: DividedLines,
    progress: ProgressCallback | None,
) -> int:
    """Write the lines that are not there yet, a window of charts at a time; the number of charts answered in all."""
    size, answered, done = len(window), 0, 0
    while window:
        begun, missing = time.monotonic(), window[max(0, lines.num_lines - done) :]
        before = done + len(window) - len(missing)

        def told(charts: int, before: int = before) -> None:
            if progress is not None:
                progress(before + charts)

        lines.write(list(_lines(missing, student, told)))
        done += len(window)
        answered += sum(not isinstance(entry, RejectedRecord) for entry in window)
        if missing:  # what was answered before is told with the first that was not: it is no part of the rate
            told(len(missing))
        size = min(2 * size, _LARGEST_WINDOW) if time.monotonic() - begun < _QUICK_S else size
        window = list(islice(more, size))
    return answered


def _written(adapter: Path) -> list[tuple[int, int, int]]:
    """What tells one state of an adapter's files from another without reading them."""
    there = (adapter / name for name in (CONFIG, WEIGHTS))
    found = (path.stat() for path in there if path.exists())
    return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]


def _lines(entries: Sequence[_Entry], student: Student, told: Told) -> Iterator[dict[str, Any]]:
    """What is written of each entry of a source, in order."""
    texts = [entry.text for entry in entries if not isinstance(entry, RejectedRecord)]
    answers = iter(student.read(texts, told=told))
    for entry in entries:
        said = {"failure": entry.reason} if isinstance(entry, RejectedRecord) else {"tasks": next(answers)}
        yield {"id": entry.id, "source": entry.source, **said}


def _answer(
    generation: Generation,
    task: Task,
    cleaned: Cleaned,
    filters: Sequence[AnyFilter] | None = None,
    sure: Mapping[Item, float | None] | None = None,
) -> dict[str, Any]:
    if generation.text is None:
        return {"items": None, "failure": generation.failure}
    if cut := _TRUNCATED.get(generation.finish_reason or ""):
        return {"items": None, "failure": cut}
    items = parse_answer(generation.text, task)
    if items is None:
        return {"items": None, "failure": "bad_format: the answer does not follow the task's answer format"}
    if filters is None:
        return {"items": written_items(items, task, cleaned, sure)}
    record = Record(id="", source="", text=cleaned.text, cluster="", split="test", segments=cleaned.segments)
    found = screen(items, record, task, filters)
    said: dict[str, Any] = {"items": None if found.items is None else written_items(found.items, task, cleaned, sure)}
    if found.failure is not None:
        said["failure"] = found.failure
    said["dropped"] = [
        {**one.item.model_dump(exclude_none=True), "filter": one.filter, "reason": one.reason}
        for one in found.dropped
        if one.item is not None
    ]
    return said


def written_items(
    items: Sequence[Item], task: Task, cleaned: Cleaned, sure: Mapping[Item, float | None] | None = None
) -> list[dict[str, Any]]:
    """Items as `predict` writes them, with their places in the original chart. `sure`: their confidences."""
    return [
        {**item.model_dump(exclude_none=True), "confidence": (sure or {}).get(item), **_grounds(item, task, cleaned)}
        for item in items
    ]


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
