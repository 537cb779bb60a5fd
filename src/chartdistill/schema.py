"""The rows that pass between verbs, one class per kind of line. One word for one thing: docs/development.md, "Words".

Every row is one JSON object on one line. Unknown keys are errors, so a file of another version fails loudly.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Split = Literal["train", "validation", "test"]
ByPerson = Literal["kept", "changed", "readmitted", "rejected"]
"""What a person made of a label: what the filters kept, other items, what they had rejected, or nothing."""
_KEPT_AS = re.compile(r"kept as record (.+)$")
CUT = ("length", "repetition")
"""`finish_reason` of answers that did not end by themselves: what they would have listed is not known."""
LABELS_OF = "labels of "
"""How the arm of a file of labels is called, before the file's name."""


class Row(BaseModel):
    """Base of all rows: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> str:
        """The row as one JSON line, without the newline."""
        return self.model_dump_json()


class Item(Row):
    """One thing found in a record."""

    text: str = Field(min_length=1)
    status: str | None = None
    """One of the task's statuses; None for tasks without statuses."""
    optional: bool = Field(default=False, exclude_if=lambda optional: not optional)
    """Of gold: counts neither way, whether an arm emits it or not. Written only where it is true."""

    @field_validator("optional", mode="before")
    @classmethod
    def _empty_is_no(cls, optional: object) -> object:
        """A table has the column for every item."""
        return False if optional is None else optional


class VocabularyEntry(Row):
    """What a user's vocabulary says of one name."""

    name: str = Field(min_length=1)
    kind: str | None = None
    """What the name is: the own name of a kind of finding (`medication`), or the `item` of a task; None: not said."""
    same_as: tuple[str, ...] = ()
    """Other names of the same thing, of the same kind."""
    not_a: tuple[str, ...] = ()
    """Kinds that the name is not of."""


class Vocabulary(Row):
    """What the user says of names: it wins over the lexica. Read and asked by `clinical.vocabulary`.

    Two are equal when they say the same, whatever their files are called; hashing one costs nothing.
    """

    entries: tuple[VocabularyEntry, ...]
    digest: str
    """Hash of the entries, for fingerprints."""

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.digest == self.digest


class WorkedExample(Row):
    """A chart and the right answer to a task's question about it, to be shown before a record."""

    chart: str = Field(min_length=1)
    """Its text. Invented: it stands in every prompt, and in the task's file."""
    answer: str = Field(min_length=1)
    """In the answer format: one item a line, `item | status` where the task has statuses, or `None found`."""

    @field_validator("chart", "answer", mode="before")
    @classmethod
    def _without_space_around(cls, text: object) -> object:
        return text.strip() if isinstance(text, str) else text


class Task(Row):
    """What to extract. Written by hand in configs/tasks/*.yaml."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Lower-case letters, digits and _; not `all` or `cost`, which the scores use."""
    item: str = Field(min_length=1)
    """What one item is called, for people and to find its kind: `medication`, `test`, ..."""
    statuses: tuple[str, ...] = ()
    """Allowed statuses; empty when items have none."""
    gate_question: str
    """Answered yes, no or unclear: first step of the chain."""
    extraction_question: str
    """Second step of the chain, asked only after a yes."""
    question: str
    """The consolidated question: the student learns this one; `direct` asks the teacher the same."""

    check_question: str | None = None
    """Asked of each item under `verify`; holds `{item}`, is answered yes, no or unclear. None: a general one."""
    examples: tuple[WorkedExample, ...] = Field(default=(), exclude=True)
    """Worked examples, also of charts that have none. Not part of what is written of a task: the prompts of all tasks
    depend on them, or none does, so that is hashed with the prompts."""
    shown_charts: tuple[str, ...] = Field(default=(), exclude=True)
    """The charts of all tasks' examples, where any prompt of the run has them; from the config, never in a task's file.
    What an answer takes from one of them is `from_example`."""
    vocabulary: Vocabulary | None = Field(default=None, exclude=True)
    """The run's own names, from the config's `vocabulary:`; never in a task's file. Not part of what is written of a
    task: no prompt depends on it, so a label does not go stale with it."""

    @property
    def called(self) -> tuple[str, str]:
        """The words that answers and labels may call it by: its item's, and its name."""
        return self.item, self.name

    def item_question(self, kind: Literal["check", "quote", "status"], item: Item) -> str:
        """A question about one item: whether it holds, which words of the chart say so, or which status it has."""
        if kind == "quote":
            return f'Quote the words of the chart that name the {self.item} "{item.text}".'
        if kind == "status":
            return f'Which status does the {self.item} "{item.text}" have? Answer {", ".join(self.statuses)}.'
        asked = self.check_question or f'Is "{{item}}" a {self.item} of the patient? Answer yes, no or unclear.'
        return asked.replace("{item}", item.text)

    @field_validator("check_question")
    @classmethod
    def _has_item(cls, question: str | None) -> str | None:
        if question is not None and "{item}" not in question:
            raise ValueError("must hold {item}, the place of the item asked about")
        return question

    @field_validator("statuses")
    @classmethod
    def _can_be_answered(cls, statuses: tuple[str, ...]) -> tuple[str, ...]:
        for status in statuses:
            if status != " ".join(status.split()) or not status or "|" in status:
                raise ValueError(f"{status!r} cannot be read back: write words on one line, without `|`")
        if twice := sorted({status for status in statuses if statuses.count(status) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice; name each status once")
        return statuses

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in ("all", "cost"):
            raise ValueError(f"{name!r} is used by the scores; call the task something else")
        return name


class Record(Row):
    """One chart."""

    id: str
    source: str
    """File path, or `file:row`."""
    text: str
    """Cleaned text: what every model sees."""
    cluster: str
    """Near-duplicates share a cluster; a cluster is never divided between splits."""
    split: Split
    segments: tuple[tuple[int, int, int], ...]
    """(start in text, start in the original, length in characters): the parts of `text` taken over verbatim."""
    gold: dict[str, tuple[Item, ...]] | None = None
    """Task name -> items, where the source came with gold. A task left out has no gold."""

    def original_span(self, start: int, end: int) -> tuple[int, int] | None:
        """Where `text[start:end]` stood in the original; None when no verbatim part touches it."""
        first = last = None
        for text_start, original_start, length in self.segments:
            low, high = max(start, text_start), min(end, text_start + length)
            if low < high:
                first = original_start + low - text_start if first is None else first
                last = original_start + high - text_start
        return None if first is None or last is None else (first, last)


class RejectedRecord(Row):
    """A source entry that did not become a record."""

    source: str
    id: str | None = None
    reason: str
    """Reason code, for example `empty`."""
    detail: str
    """What was found and what to do. Never record text."""

    @property
    def kept_as(self) -> str | None:
        """Of a duplicate: the id of the record with the same words."""
        found = _KEPT_AS.search(self.detail) if self.reason == "duplicate" else None
        return None if found is None else found[1]


class Gate(Row):
    """The teacher's answer to the gate question."""

    answer: Literal["yes", "no", "unclear"]
    probability: float | None = None
    """Of the first token of the answer given, among those of the three answers; None where the engine gives none."""


class ItemVote(Row):
    """How many of the samples of one prompt name an item."""

    item: Item
    support: int = Field(ge=1)
    samples: int = Field(ge=1)
    """Samples that gave a well-formed answer; `support` of them name the item."""
    logprob: float | None = None
    """Mean log-probability (natural log) of the item's tokens, over the supporting samples."""


class ItemCheck(Row):
    """The teacher's answer when asked about one item of its own list."""

    item: Item
    """As in `Label.completion`: with the status of the check, where the item held."""
    answer: Literal["yes", "no", "unclear"]
    quote: str | None = None
    """What the teacher quoted from the chart; None when it was not asked or quoted nothing."""
    listed_status: str | None = None
    """The status in the teacher's list, where the check gave another one."""
    probability: float | None = None
    """Of the first token of the answer, as in `Gate`."""


class ItemLogprobs(Row):
    """Log-probability (natural log) of each token that wrote an item."""

    text: tuple[float, ...]
    """Of what is found, from the line break before it on."""
    status: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Over all its tokens."""
        values = (*self.text, *self.status)
        return math.fsum(values) / len(values)


class TopLogprobs(Row):
    """What else the teacher might have said: its most likely tokens at every token of the answer.

    Base64 of little-endian arrays: `token_ids` int32 [tokens], `ids` int32 [tokens, k], `logprobs` float16
    [tokens, k] (natural log), most likely first.
    """

    k: int = Field(ge=1)
    token_ids: str
    ids: str
    logprobs: str


class Origin(Row):
    """Where a label stands that was not asked of a model."""

    file: str
    """Its name, without the folders above."""
    sha256: str
    place: str
    """`line 17`, `task 12`: what a person finds it by in the file."""


class Label(Row):
    """One teacher answer: record x task x sample. Exactly one of `completion` and `failure` is set."""

    key: str
    """Content hash of all that determines the answer; resume goes by it."""
    record: str
    task: str
    sample: int = 0
    strategy: str
    gate: Gate | None = None
    completion: str | None = None
    finish_reason: str | None = None
    """`stop`, or `length` when the answer was cut; None for a failure, and where a gate `no` needed no list."""
    failure: str | None = None
    votes: tuple[ItemVote, ...] | None = None
    """Item-level vote, where several samples were drawn; `completion` then holds the items of the majority."""
    checks: tuple[ItemCheck, ...] | None = None
    """One per item, where the strategy is `verify`."""
    samples: tuple[str, ...] | None = None
    """The raw completions behind `completion`, where several were drawn."""
    windows: tuple[tuple[int, int], ...] | None = None
    """Character spans of the record's text that were read apart, where it was too long to be read at once."""
    top_logprobs: TopLogprobs | None = None
    origin: Origin | None = Field(default=None, exclude_if=lambda origin: origin is None)
    """Of a label that came from a file."""
    prompts: int = 0
    prefix_tokens: int = 0
    """Tokens of the record (and all before it) that the label's prompts begin with, summed over them."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    thought_tokens: int = Field(default=0, exclude_if=lambda tokens: not tokens)
    """Those of `completion_tokens` that were thought."""
    continued_tokens: int = Field(default=0, exclude_if=lambda tokens: not tokens)
    """Of prompts that go on from a thought, the tokens behind the record's: they were computed for that thought."""


class Thought(Row):
    """What a teacher thought before one answer."""

    question: str
    text: str
    tokens: int = 0


class ThoughtRow(Row):
    """One line of labels/thoughts.jsonl: what was thought for one label, which has the same key."""

    key: str
    record: str
    task: str
    thoughts: tuple[Thought, ...]


class Rejection(Row):
    """Why an item, or a whole label (`item` None), was rejected."""

    filter: str
    reason: str
    item: Item | None = None
    evidence: str
    """What the filter saw, in words without record text beyond the item itself."""
    span: tuple[int, int] | None = None
    """Character span in the record's text that speaks against the item."""


class CuratedLabel(Row):
    """A label after curation. Kept when `items` is not None; an empty tuple is the answer "none found"."""

    record: str
    task: str
    sample: int = 0
    items: tuple[Item, ...] | None
    rejections: tuple[Rejection, ...] = ()
    readmitted: tuple[Rejection, ...] = ()
    """Objections that were overridden by hand, with `--readmit` or in review."""
    by_person: ByPerson | None = Field(default=None, exclude_if=lambda said: said is None)
    """Of a label that a person decided in review."""


class TrainExample(Row):
    """One line of train.jsonl: readable by API fine-tuning tools (`prompt`, `completion`) and by `train`."""

    record: str
    task: str
    split: Split
    prompt: str
    completion: str
    weight: float = Field(default=1.0, gt=0)
    rationale: str | None = Field(default=None, exclude_if=lambda thought: thought is None)
    """What the teacher thought before this answer, where the config asks for it. Not trained on."""


class Prediction(Row):
    """What one arm answered for one record and task."""

    key: str
    """Content hash of all that determines the answer; resume goes by it."""
    record: str
    task: str
    arm: str
    completion: str | None
    """None when the engine failed: the record is then unscored for this arm, and counted."""
    finish_reason: str | None = None
    """`stop`, or one of CUT."""
    items: tuple[Item, ...] | None
    """Parsed completion; None when it was cut or does not follow the answer format, which counts as a wrong answer."""
    logprobs: tuple[ItemLogprobs, ...] | None = Field(default=None, exclude_if=lambda logprobs: logprobs is None)
    """One for each of `items`, where they were asked for and the engine gave them."""
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @model_validator(mode="before")
    @classmethod
    def _cut_lists_nothing(cls, given: Any) -> Any:
        """However well its lines read: `predict` gives no item of it; what is measured is what is used."""
        is_cut = isinstance(given, dict) and given.get("finish_reason") in CUT
        return {**given, "items": None, "logprobs": None} if is_cut else given


def content_hash(*parts: Any) -> str:
    """16 hex digits that change when any part changes. Parts must be JSON-serialisable."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
