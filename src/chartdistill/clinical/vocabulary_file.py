"""Reads a user's vocabulary: names of the house that no list has, and names that a list has wrongly.

In: YAML (a list of entries), CSV or TSV (a header, an entry a row) or JSONL (an entry a line), UTF-8. An entry:

    name: Zorbi              # as charts write it, in any case, without dose
    kind: medication         # what it is
    same-as: zorblaxin       # another name of the same thing: one, or a list (in CSV separated by `;`)
    not-a-drug: yes          # instead of `kind`, or beside another kind: it is not of this one

Out: a `Vocabulary`. Must hold: an entry that cannot be meant is an error with file and line, and so are two entries
that contradict each other; nothing is skipped.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from chartdistill.clinical.entities import ENTITY_TYPES
from chartdistill.clinical.lexica.ingredients import drug_key, is_shipped
from chartdistill.clinical.vocabulary import grouped
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Task, Vocabulary, VocabularyEntry, content_hash

KINDS = {word: one.name for one in ENTITY_TYPES for word in one.names}
"""What `kind` may say -> the kind's own name; beside these the `item` of a task that none of them is."""

_NOT_A = re.compile(r"not[-_ ]an?[-_ ](?P<kind>.+)")
_YES, _NO = ("yes", "true", "1", "x"), ("no", "false", "0", "")
_BETWEEN = ";"
_PROBLEMS_SHOWN = 20

Values = Mapping[str, str | list[str]]
"""One entry as read: key -> its text, or texts."""


class _Line(NamedTuple):
    """An entry and where it stands."""

    number: int
    entry: VocabularyEntry


def with_vocabulary(tasks: Iterable[Task], path: Path) -> list[Task]:
    """The tasks, each with the names that a file gives; what they call their items are kinds too.

    Raises:
        InputError: see `read_vocabulary`.
    """
    tasks = list(tasks)
    vocabulary = read_vocabulary(path, [task.item for task in tasks])
    return [task.model_copy(update={"vocabulary": vocabulary}) for task in tasks]


def read_vocabulary(path: Path, items: Iterable[str] = ()) -> Vocabulary:
    """Read and check a vocabulary. `items`: the `item` of the tasks at hand, which are kinds too.

    Raises:
        InputError: naming file, line, value and what is allowed, for every entry that is wrong (up to 20).
    """
    kinds = {**{item.casefold(): item.casefold() for item in items}, **KINDS}
    lines, problems = [], []
    for number, values in _rows(path):
        try:
            lines.append(_Line(number, _entry(values, kinds)))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    problems += [f"{path}:{number}: {fault}" for number, fault in _contradictions(lines)]
    if problems:
        more = f"\n... and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        raise InputError("the vocabulary cannot be used:\n" + "\n".join(problems[:_PROBLEMS_SHOWN]) + more)
    if not lines:
        raise InputError(f"{path} has no entries. Give at least one with `name` and `kind`, or leave `vocabulary` out.")
    entries = tuple(line.entry for line in lines)
    return Vocabulary(entries=entries, digest=content_hash([entry.model_dump() for entry in entries]))


def _entry(values: Values, kinds: Mapping[str, str]) -> VocabularyEntry:
    """An entry from its keys and values; a ValueError says what is wrong."""
    name, kind, same_as, not_a = "", None, list[str](), list[str]()
    for key, value in values.items():
        texts = [" ".join(text.split()) for text in (value if isinstance(value, list) else [value])]
        wanted = key.strip().casefold().replace("_", "-")
        if wanted == "same-as":
            same_as = [text for text in texts if text]
        elif len(texts) != 1:
            raise ValueError(f"`{key}` holds {len(texts)} values; only `same-as` may hold several")
        elif wanted == "name":
            name = texts[0]
        elif wanted == "kind":
            kind = _kind(texts[0], kinds) if texts[0] else None
        elif match := _NOT_A.fullmatch(wanted):
            not_a += [_kind(match["kind"], kinds)] if _is_yes(key, texts[0]) else []
        else:
            near = difflib.get_close_matches(wanted, ["name", "kind", "same-as", "not-a-drug"], n=1, cutoff=0.6)
            hint = (
                f"did you mean `{near[0]}`?" if near else "allowed: name, kind, same-as, not-a-drug (or another kind)"
            )
            raise ValueError(f"unknown key {key!r}; {hint}")
    for text in (name, *same_as):
        if not plain_key(text):
            raise ValueError(
                f"{'`name`' if text == name else '`same-as`'} is {text!r}; give a name with letters or digits"
            )
    if kind is None and not not_a:
        raise ValueError(f"{name!r} has neither `kind` nor `not-a-...: yes`; kinds: {', '.join(kinds)}")
    if kind in not_a:
        raise ValueError(f"{name!r} is said to be a {kind} and not to be one; leave one of the two out")
    if same_as and kind is None:
        raise ValueError(f"{name!r} has `same-as` without `kind`; say what both are, one of {', '.join(kinds)}")
    return VocabularyEntry(name=name, kind=kind, same_as=tuple(same_as), not_a=tuple(not_a))


def _kind(word: str, kinds: Mapping[str, str]) -> str:
    said = word.casefold().replace("-", " ")
    for known, kind in kinds.items():
        if said in (known, known.replace("-", " ")):
            return kind
    near = difflib.get_close_matches(said, list(kinds), n=1, cutoff=0.6)
    hint = f"did you mean `{near[0]}`?" if near else "use one of these, or the `item` of a task of this run"
    raise ValueError(f"unknown kind {word!r}; allowed: {', '.join(kinds)}; {hint}")


def _is_yes(key: str, value: str) -> bool:
    if value.casefold() not in (*_YES, *_NO):
        raise ValueError(f"`{key}` is {value!r}; allowed: yes or no")
    return value.casefold() in _YES


def _contradictions(lines: Sequence[_Line]) -> Iterator[tuple[int, str]]:
    """(line, what it says against an earlier line or the lexicon)."""
    first: dict[tuple[str, str], _Line] = {}
    same: dict[tuple[str, str], _Line] = {}
    for line in lines:
        name, kind, others = line.entry.name, line.entry.kind, line.entry.same_as
        if kind is None:
            continue
        for each in (name, *others):
            first.setdefault((plain_key(each), kind), line)
        if others:
            earlier = same.setdefault((plain_key(name), kind), line)
            if set(map(plain_key, earlier.entry.same_as)) != set(map(plain_key, others)):
                fault = (
                    f"{name!r} is the same as {_listed(others)} here, and as {_listed(earlier.entry.same_as)} in line "
                    f"{earlier.number}; a {kind} means one thing. Put names of one thing into one list"
                )
                yield line.number, fault
    for line in lines:
        for kind in line.entry.not_a:
            if (listed := first.get((plain_key(line.entry.name), kind))) is not None:
                fault = f"{line.entry.name!r} is not a {kind} here, and a {kind} in line {listed.number}; take one out"
                yield line.number, fault
    yield from _different_drugs(lines)


def _different_drugs(lines: Sequence[_Line]) -> Iterator[tuple[int, str]]:
    """Names said to be the same that the lexicon knows as different drugs: mostly the parts of a combination."""
    own = [line for line in lines if line.entry.kind == "medication"]
    renamed = {plain_key(line.entry.name) for line in own if len(line.entry.same_as) == 1}
    last = {plain_key(line.entry.name): line for line in own if line.entry.same_as}
    for group in grouped(line.entry for line in own):
        known = {drug_key(name): name for name in group if name not in renamed and is_shipped(name)}
        if len(known) > 1:
            number, entry = max((last[name] for name in group if name in last), key=lambda line: line.number)
            fault = (
                f"{entry.name!r}: {_listed(known.values())} are different drugs by the lexicon, and would become one. "
                f"For a combination write `same-as: {' + '.join(known.values())}`; to give a known name another "
                "meaning, give it an entry of its own with one `same-as`"
            )
            yield number, fault


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))


def _rows(path: Path) -> Iterator[tuple[int, Values]]:
    """(1-based line, keys and values) of every entry."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give a .yaml, .csv, .tsv or .jsonl file.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: byte {error.object[error.start]:#04x} is not UTF-8; save it as UTF-8."
        ) from None
    match path.suffix.lower():
        case ".yaml" | ".yml":
            yield from _yaml_rows(text, path)
        case ".csv" | ".tsv":
            yield from _csv_rows(text, path)
        case ".jsonl":
            yield from _jsonl_rows(text, path)
        case suffix:
            raise InputError(f"{path}: a vocabulary ends in .yaml, .csv, .tsv or .jsonl, not {suffix!r}.")


def _yaml_rows(text: str, path: Path) -> Iterator[tuple[int, Values]]:
    """Values as they are written: in YAML's own reading the name `NO` is a truth value and `5` a number."""
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}.") from None
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        raise InputError(f"{path}:{root.start_mark.line + 1}: must hold a list: `- name: ...` for each entry.")
    for node in root.value:
        number = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{path}:{number}: must be an entry such as `- name: ...`, with `kind: ...` below.")
        values: dict[str, str | list[str]] = {}
        for key, value in node.value:
            at = f"{path}:{key.start_mark.line + 1}"
            if key.value in values:
                raise InputError(f"{at}: `{key.value}` stands twice in one entry; leave one out.")
            texts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if not all(isinstance(one, yaml.ScalarNode) for one in (key, *texts)):
                raise InputError(f"{at}: `{key.value}` must be a text or a list of texts.")
            empty = not isinstance(value, yaml.SequenceNode) and value.tag.endswith(":null")
            values[key.value] = "" if empty else [one.value for one in texts]
        yield number, values


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Values]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    try:
        columns = next(reader, [])
        before = reader.line_num
        for row in reader:
            number, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                raise InputError(f"{path}:{number}: {len(row)} cells, but the header has {len(columns)}.")
            yield (
                number,
                {
                    key: cell.split(_BETWEEN) if key.strip().casefold() in ("same-as", "same_as") else cell
                    for key, cell in zip(columns, row, strict=True)
                },
            )
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not a readable CSV line: {error}.") from None


def _jsonl_rows(text: str, path: Path) -> Iterator[tuple[int, Values]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values: Any = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            raise InputError(
                f'{path}:{number}: not JSON; expected an object such as {{"name": ..., "kind": ...}}.'
            ) from None
        if not isinstance(values, dict):
            raise InputError(f"{path}:{number}: holds a JSON {type(values).__name__}, not an object.")
        yield (
            number,
            {
                key: [_text(one) for one in value] if isinstance(value, list) else _text(value)
                for key, value in values.items()
            },
        )


def _text(value: Any) -> str:
    """A JSON value as text: true is `yes`."""
    return "" if value is None else "yes" if value is True else "no" if value is False else str(value)
