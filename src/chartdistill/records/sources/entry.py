"""What every source yields, and how a row with named fields becomes it.

In: rows of JSONL, tables and data sets. Out: one :class:`SourceEntry` or one `RejectedRecord` per row, so that
nothing read is lost without a reason. Must hold: details name file, line and field, never record text.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import says_none_of
from chartdistill.records.annotations.options import AnnotationFile
from chartdistill.records.decoding import foreign_format
from chartdistill.runtime.json_lines import parse_json
from chartdistill.schema import Item, RejectedRecord, Split

MAX_BYTES = 5_000_000
"""Default for the largest text taken in, in bytes of UTF-8 (for files: bytes on disk)."""

Gold = dict[str, tuple[Item, ...]]
_GOLD: TypeAdapter[Gold] = TypeAdapter(Gold)
_EXACT_FLOATS = 2.0**53
"""From here on a float of 64 bits stands for several whole numbers."""
_HALF_PAIR = "has half of a surrogate pair, which UTF-8 cannot hold; repair the export"
BAD_GROUP = "bad_group"
"""Reason of a row whose group is neither text nor a whole number."""
_SHOWN = 30
"""Characters of a key in an error."""
_SPLITS: dict[str, Split] = {split: split for split in get_args(Split)}


@dataclass(frozen=True)
class SourceEntry:
    """One text as the source has it, before cleaning."""

    id: str
    source: str
    """File path, or `file:row`."""
    text: str
    split: Split | None = None
    """Where the record must go; None leaves it to the cluster hash."""
    gold: Gold | None = None
    encoding: str = "utf-8"
    """What the bytes were decoded as."""
    repaired: int = 0
    """Bytes that were not of that encoding: see `records.decoding`."""
    group: str | None = None
    """Whose chart it is, as `group_text` reads it: all entries of one group stay on one side of the split. None: of
    nobody known. May name a patient: it is never written."""
    id_shows_group: bool = False
    """Whether the id that the source gives holds the group's value."""
    filed_as: str | None = None
    """The id that a file of gold may know it by, where it has another one because this one shows its group, or because
    rows of an earlier source are named so."""


class Source(BaseModel):
    """Base of all sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Split | None = None
    """Split of all records of this source; a split named in the record itself wins. Default: by cluster hash."""
    gold: AnnotationFile | None = Field(default=None, exclude_if=lambda gold: gold is None)
    """A file of gold, or {path, format, meaning, ...}: keyed rows, brat, Label Studio, Prodigy, doccano; see
    docs/existing-labels.md. (Left out of the manifest where there is none.)"""

    @model_validator(mode="after")
    def _has_one_gold(self) -> Self:
        if self.gold is not None and (getattr(self, "gold_field", None) is not None or self.has_gold_of_its_own):
            own = "gold_field" if not self.has_gold_of_its_own else "charts of this type have gold of their own"
            raise ValueError(f"gold from a file and also {own}; leave one of them out")
        return self

    @property
    def has_gold_of_its_own(self) -> bool:
        """Whether the charts come with gold."""
        return False

    def passed_over(self) -> Counter[str]:
        """Ending -> files that lie there and that the source does not take: nothing of them is read, kept or
        rejected."""
        return Counter()

    def grouped_by(self) -> str | None:
        """The option that says whose chart an entry is, with its value; None where none does."""
        return None


class FieldSource(Source):
    """Base of the sources whose rows have named fields."""

    text_field: str = "text"
    """Field with the record text."""
    text_end: str | None = Field(default=None, min_length=1)
    """The text ends before the last place where this stands: API fine-tuning prompts end in a question, which is not
    part of the chart (for example `"\\n\\nLIST ALL"`). Default: the whole field."""
    id_field: str = "id"
    """Field with the record id (text, or a whole number, also as 1001.0). A row without it is named by `called`."""
    called: str | None = Field(default=None, min_length=1, exclude_if=lambda name: name is None)
    """Rows without an id are named `called:row`. Default: the file's name without its ending; where an earlier source
    of the run has that name, with a number behind it (`charts-2:1`). Gold of the source knows them without it too."""
    split_field: str | None = None
    """Field with the split of the row: train, validation or test. Empty: the source's `split`."""
    gold_field: str | None = None
    """Field with gold: `{task: [{"text": ..., "status": ...}]}`, or that as JSON text."""
    group_field: str | None = Field(default=None, exclude_if=lambda field: field is None)
    """Field that says whose chart it is (a patient's number): the `groups` of scikit-learn's GroupKFold. All charts of
    one value stay on one side of the split, whatever source they come from. (Left out of the manifest where it is not
    set, as are the options like it: a run prepared before it was there is still done.)"""
    ids_show_group: bool = Field(default=False, exclude_if=lambda allowed: not allowed)
    """Ids may hold the group's value. They stand in reports, so that is refused unless this is true."""

    def grouped_by(self) -> str | None:
        """`group_field`, where it is set."""
        return None if self.group_field is None else f"group_field: {self.group_field}"

    def entry(
        self, row: Mapping[str, object], where: str, default_id: str, max_bytes: int
    ) -> SourceEntry | RejectedRecord:
        """One row as an entry, or why not. `where` is the row's `file:number`."""
        record_id, plain_id = None, default_id
        default_id = plain_id if self.called is None else f"{self.called}:{plain_id.rpartition(':')[2]}"
        try:
            record_id = self._id(row, default_id)
            text, split, group = self._text(row, max_bytes), self._split(row), self._group(row)
            gold = None if self.gold_field is None else _parse_gold(self.gold_field, row.get(self.gold_field))
        except _FieldError as error:
            return RejectedRecord(source=where, id=record_id, reason=error.reason, detail=error.detail)
        shown = group is not None and not self.ids_show_group and record_id != default_id and _names(record_id, group)
        filed_as = plain_id if record_id == default_id != plain_id else None
        return SourceEntry(record_id, where, text, split, gold, group=group, id_shows_group=shown, filed_as=filed_as)

    def _id(self, row: Mapping[str, object], default_id: str) -> str:
        value = row.get(self.id_field)
        try:
            record_id = id_text(value)
        except ValueError as error:
            raise _FieldError("bad_id", self.id_field, str(error)) from None
        return default_id if record_id is None else record_id

    def _text(self, row: Mapping[str, object], max_bytes: int) -> str:
        text = row.get(self.text_field)
        if not isinstance(text, str):
            raise _FieldError(
                "missing_text", self.text_field, f"is {_kind(text)}; set text_field to the one with the text"
            )
        if self.text_end is not None:
            text, found, _ = text.rpartition(self.text_end)
            if not found:
                raise _FieldError("missing_text_end", self.text_field, f"does not hold text_end ({self.text_end!r})")
        problem = text_problem(text, max_bytes)
        if problem is not None:
            raise _FieldError(problem[0], self.text_field, problem[1])
        return text

    def _split(self, row: Mapping[str, object]) -> Split | None:
        value = None if self.split_field is None else row.get(self.split_field)
        if value is None or value == "":
            return self.split
        if not isinstance(value, str) or value not in _SPLITS:
            raise _FieldError("bad_split", self.split_field, f"must be one of {', '.join(_SPLITS)}, or empty")
        return _SPLITS[value]

    def _group(self, row: Mapping[str, object]) -> str | None:
        try:
            return None if self.group_field is None else group_text(row.get(self.group_field))
        except ValueError as error:
            raise _FieldError(BAD_GROUP, self.group_field, str(error)) from None


class _FieldError(ValueError):
    """A field makes its row unusable. Holds no field value."""

    def __init__(self, reason: str, field: str | None, problem: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = f"field {field!r} {problem}"


def text_problem(text: str, max_bytes: int) -> tuple[str, str] | None:
    """(reason, detail) when a decoded text cannot become a record."""
    if not text.strip():
        return "empty", "holds no text"
    if not is_encodable(text):
        return "bad_text", _HALF_PAIR
    size = len(text.encode())
    if size > max_bytes:
        return "too_large", f"holds {size} bytes; at most {max_bytes} are taken: split the record or raise max_bytes"
    if (found := foreign_format(text)) is not None:
        return found.reason, found.detail
    return None


def id_text(value: object) -> str | None:
    """A record id as text; None where there is none.

    A column of whole numbers with one missing becomes one of floats (pandas), so 1001.0 is 1001 and NaN is missing.
    Ids that are text stay as they are: "001", "01" and "1" are three.

    Raises:
        ValueError: it is of another kind, or a float that holds no whole number exactly. Holds no value.
    """
    if isinstance(value, float | Decimal):
        if not value.is_finite() if isinstance(value, Decimal) else not math.isfinite(value):
            if value != value:
                return None
            raise ValueError("is infinite; give text or a whole number")
        if value != int(value):
            raise ValueError("is a number with a fraction; give text or a whole number")
        if isinstance(value, float) and abs(value) >= _EXACT_FLOATS:
            raise ValueError("is a float too large to hold every digit of an id; write the column as text")
        value = int(value)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"is {_kind(value)}; give text or a whole number")
    if not is_encodable(str(value)):
        raise ValueError(_HALF_PAIR)
    return str(value)


_NOBODY = frozenset(
    "#n/a #na -1.#ind -1.#qnan -nan -nat 1.#ind 1.#qnan <na> <null> (null) (blank) n/a n.a. na nan nat none null "
    "unknown unk missing nil undefined tbd #ref! #value! #null!".split()
) | {"not available", "not known", "not applicable", "#n/a n/a", "n / a"}
"""What stands for a missing value: pandas' list, and what people write. So does what has no letter and no digit."""
_MARKS_ANYWHERE = 4
"""Characters from which on a group's value inside a longer word of an id is no chance: see `_IDS_BY_CHANCE`."""


def group_text(value: object) -> str | None:
    """Whose chart it is, as text that is the same however it was stored; None: not given ("", NaN, "N/A", "unknown").

    More forgiving than `id_text`, since taking one patient for two would leak: space, letter case and width, kinds of
    dashes, and characters that nobody sees are not told apart, and 1001.0 is 1001.

    Raises:
        ValueError: as `id_text`.
    """
    found = id_text(value)
    if found is None:
        return None
    found = re.sub(r"(?<=\d)\.0+$", "", _as_seen(found))
    return None if found in _NOBODY or not any(character.isalnum() for character in found) else found


def _as_seen(text: str) -> str:
    """Two texts that a reader takes for the same become the same."""
    kinds = {"Cf": "", "Cc": "", "Pd": "-"}  # zero-width and control characters, dashes
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    spaced = " ".join(folded.split())  # before a tab goes as a control character
    return "".join(kinds.get(unicodedata.category(one), one) for one in spaced).strip()


def _names(record_id: str, group: str) -> bool:
    """Whether an id holds a group's value: as a word of its own, or within one where that is no chance."""
    plain = _as_seen(record_id)
    if len(group) >= _MARKS_ANYWHERE and group in plain:
        return True
    return re.search(rf"(?<![^\W_]){re.escape(group)}(?![^\W_])", plain) is not None


def is_encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_path(path: Path, what: str) -> None:
    """Raise InputError when a path of the config is not there."""
    if not path.exists():
        raise InputError(f"{path} does not exist; expected {what}. Check the path under `records:` (or --records).")


def file_stamp(path: Path) -> list[str | int]:
    """What tells one state of a file from another without reading it."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def _parse_gold(field: str, value: object) -> Gold | None:
    """Gold of one row; None when the field is empty."""
    if isinstance(value, str):
        try:
            value = parse_json(value) if value.strip() else None
        except ValueError as error:
            raise _FieldError("bad_gold", field, f"cannot be read: {error}") from None
    if value is None:
        return None
    if isinstance(value, dict):
        # Columns of a table exist for every row: a task without a list is a task without gold.
        value = {task: items for task, items in value.items() if items is not None}
    try:
        gold = _GOLD.validate_python(value)
    except ValidationError as error:
        raise _FieldError("bad_gold", field, _gold_fault(error)) from None
    if not all(is_encodable(task + item.text + (item.status or "")) for task in gold for item in gold[task]):
        raise _FieldError("bad_gold", field, _HALF_PAIR)
    for task, items in gold.items():
        if any(item.text.isspace() for item in items):
            raise _FieldError("bad_gold", field, f"has an item that is blank (task {task[:_SHOWN]!r}); leave it out")
        if any(says_none_of(item.text, (task, task)) for item in items):
            none = "has an item that says none; where there is none, the list is empty"
            raise _FieldError("bad_gold", field, f"{none} (task {task[:_SHOWN]!r})")
    return gold


def _gold_fault(error: ValidationError) -> str:
    """Which item of which task is wrong. Shows no value, nor a key that may be one put in the wrong place."""
    form = 'gold is {task: [{"text": ..., "status": ..., "optional": true}]}'
    problem = error.errors(include_input=False, include_context=False, include_url=False)[0]
    task, number, key = (*problem["loc"], None, None, None)[:3]
    if task is None:
        return f"is no object; {form}"
    if number is None:
        return f"has a task without a list of items; {form}"
    where = f"has, in item {int(number) + 1} of task {str(task)[:_SHOWN]!r},"
    if key is None:
        return f"{where} no object; {form}"
    match problem["type"]:
        case "extra_forbidden":
            meant = difflib.get_close_matches(str(key), Item.model_fields, n=1)
            fault = f"an unknown key; did you mean {meant[0]!r}?" if meant else "an unknown key;"
        case "missing":
            fault = f"no {key!r};"
        case _:
            fault = f"a wrong {key!r} ({problem['msg']});"
    return f"{where} {fault} {form}"


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
