"""`chartdistill audit`: judge a fine-tuning file that an API version wrote, with no records folder and no model.

In: JSONL, one `{"prompt": "<record>\\n\\nLIST ALL MEDICATION: ", "completion": " ..."}`, chat `{"messages": [...]}` or
another form of
`records/annotations/fine_tuning_lines.py` per line. Out: one :class:`LineVerdict` per line that can be read, one
:class:`BrokenLine` for each that cannot, and counts per task. Must hold: verdicts + broken lines = lines; the verdict
of a line names every reason against it; the file is streamed three times, never held.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from chartdistill.clinical.entities import EntityType
from chartdistill.clinical.free_answers import parse_free_answer
from chartdistill.clinical.vocabulary_file import read_vocabulary
from chartdistill.curation.filters import (
    Aberration,
    Abstention,
    AnyFilter,
    Duplicates,
    Grounding,
    Kind,
    LabelStatistics,
    Status,
    Truncation,
    survey,
)
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import FIELD_SEPARATOR, plain_key
from chartdistill.records import NO_ENDINGS, Endings, chart_and_kind, clean, prompt_and_completion
from chartdistill.runtime.json_lines import read_json_lines
from chartdistill.runtime.outputs import require_writable, whole_file
from chartdistill.schema import Item, Label, Record, Rejection, Row, Task, Vocabulary, content_hash

AUDIT_FILTERS: tuple[AnyFilter, ...] = (
    Truncation(),
    Duplicates(),
    Grounding(word_share=0.7),
    Kind(),
    Status(),
    Abstention(),
    Aberration(max_words=40, max_words_by_task={}),
)
"""The filters that need no model, set for free text: items may be sentences, and say things in other words."""


class LineVerdict(Row):
    """What the audit says of one line."""

    number: int = Field(serialization_alias="line")
    """0-based; written as `line`, which every row already has as a method."""
    task: str
    """As the prompt spells it, for example `MEDICATION`."""
    verdict: Literal["keep", "reject"]
    reasons: tuple[str, ...]
    """Reason codes, each once, in the order of the filters."""
    items: tuple[str, ...]
    """What the completion lists; empty for an answer of none."""
    findings: tuple[Rejection, ...] = ()
    """Every objection, with filter, item, evidence and the span in the cleaned record."""

    def line(self) -> str:
        """The row as one JSON line."""
        return self.model_dump_json(by_alias=True)


class BrokenLine(Row):
    """A line that could not be judged."""

    number: int = Field(serialization_alias="line")
    """0-based."""
    error: str

    def line(self) -> str:
        """The row as one JSON line."""
        return self.model_dump_json(by_alias=True)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line taken apart."""

    record: Record
    removed: str
    """What cleaning cut from the record."""
    task: Task
    task_name: str
    """As the prompt spells it."""
    completion: str
    items: tuple[Item, ...]
    key: str
    """The same for lines with the same prompt and completion."""


@dataclass
class AuditSummary:
    """Counts per task, filled while the verdicts are read."""

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    """Task -> `keep` and `reject`."""
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    """Task -> reason code -> lines."""
    broken: list[int] = field(default_factory=list)
    """0-based numbers of the broken lines."""

    def add(self, row: LineVerdict | BrokenLine) -> None:
        """Count one line."""
        if isinstance(row, BrokenLine):
            self.broken.append(row.number)
            return
        self.verdicts.setdefault(row.task, Counter())[row.verdict] += 1
        self.reasons.setdefault(row.task, Counter()).update(row.reasons)

    def text(self) -> str:
        """The summary as lines of text: task, kept, rejected, reasons."""
        lines = [f"{'task':<12} {'lines':>6} {'keep':>6} {'reject':>6}  reasons"]
        for task, verdicts in sorted(self.verdicts.items()):
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons[task].most_common())
            counts = f"{verdicts.total():>6} {verdicts['keep']:>6} {verdicts['reject']:>6}"
            lines.append(f"{task:<12} {counts}  {reasons or '-'}")
        if self.broken:
            lines.append(f"broken lines: {len(self.broken)}")
        return "\n".join(lines)


def audit(
    path: Path, filters: Sequence[AnyFilter] = AUDIT_FILTERS, vocabulary: Vocabulary | None = None
) -> Iterator[LineVerdict | BrokenLine]:
    """Judge every line of a file, in order. `vocabulary`: the user's names, which win over the lexica.

    Raises:
        InputError: the file is missing, cannot be read, or has no line at all.
    """
    endings = endings_of(path)
    removed: dict[str, str] = {}
    nones: Counter[str] = Counter()
    facts = survey(_surveyed(path, endings, removed, nones, vocabulary), removed)
    none = max(nones, key=lambda text: nones[text], default="")
    first_seen: dict[str, int] = {}
    for read in read_json_lines(path):
        try:
            line = take_apart(read.parsed(), endings, vocabulary)
        except ValueError as error:
            yield BrokenLine(number=read.number - 1, error=str(error))
            continue
        yield _judge(read.number - 1, line, filters, facts, first_seen, none)
    if not first_seen and not _has_lines(path):
        raise InputError(f"{path} has no lines. Expected one JSON object with `prompt` and `completion` per line.")


def take_apart(values: Any, endings: Endings = NO_ENDINGS, vocabulary: Vocabulary | None = None) -> AuditLine:
    """One parsed JSON line -> record, task, completion, items. `endings`: what its file puts behind each text.

    Raises:
        ValueError: what is missing or not understood; never with the record's text.
    """
    prompt, completion = endings.without(*prompt_and_completion(values))
    body, spelled, asked = chart_and_kind(prompt)
    cleaned = clean(body)
    end = max((start + length for _, start, length in cleaned.segments), default=0)
    key = content_hash(cleaned.text)
    record = Record(id=key, source="audit", text=cleaned.text, cluster=key, split="train", segments=cleaned.segments)
    task = _task(asked, vocabulary)
    items = _items(completion, task)
    return AuditLine(
        record, body[end:], task, spelled or task.name, completion, items, content_hash(prompt, completion)
    )


def _judge(
    number: int,
    line: AuditLine,
    filters: Sequence[AnyFilter],
    facts: LabelStatistics,
    first_seen: dict[str, int],
    none: str,
) -> LineVerdict:
    label = Label(
        key=line.key, record=line.record.id, task=line.task.name, strategy="audit", completion=line.completion
    )
    findings: list[Rejection] = []
    if line.key in first_seen:
        evidence = f"the same prompt and completion as line {first_seen[line.key]}"
        findings.append(Rejection(filter="audit", reason="duplicate_line", evidence=evidence))
    first_seen.setdefault(line.key, number)
    if not line.completion.strip():
        findings.append(Rejection(filter="audit", reason="empty", evidence="the completion is empty"))
        filters = ()
    elif not line.items and line.completion.strip() != none:
        evidence = f"another way to say none than the file's own, {none!r}: a student would learn both"
        findings.append(Rejection(filter="audit", reason="none_spelling", evidence=evidence))
    for one in filters:
        findings += one.check(label, line.items, line.record, line.task, facts)
    return LineVerdict(
        number=number,
        task=line.task_name,
        verdict="reject" if findings else "keep",
        reasons=tuple(dict.fromkeys(finding.reason for finding in findings)),
        items=tuple(item.text for item in line.items),
        findings=tuple(findings),
    )


def _surveyed(
    path: Path, endings: Endings, removed: dict[str, str], nones: Counter[str], vocabulary: Vocabulary | None
) -> Iterator[tuple[str, str, tuple[Item, ...] | None]]:
    """What `survey` wants of every readable line; collects what cleaning removed and how none is said on the way."""
    seen: set[str] = set()
    for read in read_json_lines(path):
        try:
            line = take_apart(read.parsed(), endings, vocabulary)
        except ValueError:
            continue
        if line.removed:
            removed[line.record.id] = line.removed
        if line.key not in seen:
            seen.add(line.key)
            if not line.items and line.completion.strip():
                nones[line.completion.strip()] += 1
            yield line.record.id, line.task.name, line.items


def endings_of(path: Path) -> Endings:
    """What a file puts behind its prompts and its completions."""
    return Endings.of(_asked_and_taught(path))


def _asked_and_taught(path: Path) -> Iterator[tuple[str, str]]:
    """Prompt and completion of every line that has them."""
    for read in read_json_lines(path):
        with suppress(ValueError):
            yield prompt_and_completion(read.parsed())


def _has_lines(path: Path) -> bool:
    return next(read_json_lines(path), None) is not None


def _task(asked: EntityType, vocabulary: Vocabulary | None) -> Task:
    return Task(
        name=asked.task_name,
        item=asked.name,
        gate_question="-",
        extraction_question="-",
        question="-",
        vocabulary=vocabulary,
    )


def _items(completion: str, task: Task) -> tuple[Item, ...]:
    """The items of a free-form completion, or of one in this package's own format, whose statuses are left aside."""
    text = completion.strip()
    if FIELD_SEPARATOR in text:
        texts = [line.split(FIELD_SEPARATOR)[0].strip() for line in text.split("\n")]
        return tuple(Item(text=one) for one in dict.fromkeys(texts) if plain_key(one))
    return parse_free_answer(text, task).items


def run_audit(
    path: Path,
    out: Path | None = None,
    as_json: bool = False,
    vocabulary: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Audit a file for the command line: a table per task, or one JSON line per verdict (`as_json`).

    The terminal shows counts and reason codes; items only with `as_json`, a record's text never. `out` gets every
    finding, with its item, evidence and span; `overwrite`: it may be replaced. `vocabulary`: a file of names, see
    docs/vocabulary.md.

    Raises:
        InputError: the vocabulary is wrong; the file cannot be read; or, after all other lines were judged, some are
            broken.
    """
    if out is not None:
        require_writable("--out", out, overwrite, read=(path, vocabulary))
    summary = AuditSummary()
    names = None if vocabulary is None else read_vocabulary(vocabulary)
    with nullcontext() if out is None else whole_file(out) as stream:
        for row in audit(path, vocabulary=names):
            summary.add(row)
            if stream is not None:
                stream.write(f"{row.line()}\n")
            if as_json:
                print(row.model_dump_json(by_alias=True, exclude={"findings"}))
            if isinstance(row, BrokenLine):
                print(f"{path}:{row.number + 1}: {row.error}", file=sys.stderr)
    print(summary.text(), file=sys.stderr if as_json else sys.stdout)
    if summary.broken:
        shown = ", ".join(str(number + 1) for number in summary.broken[:20])
        rest = "The others were" if summary.verdicts else "No line was"
        raise InputError(f"{path}: {len(summary.broken)} lines are broken and were not judged: {shown}. {rest}.")
