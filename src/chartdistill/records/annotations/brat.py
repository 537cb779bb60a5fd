"""brat standoff: a folder with NAME.ann beside NAME.txt.

    T1<tab>Drug 15 22<tab>aspirin                  a span; `15 22;30 34` where it is discontinuous
    A1<tab>Status T1 stop                          an attribute with its value; `A2<tab>Negated T1` without
    E1<tab>Drug:T1                                 an event; its attributes count as those of its trigger

`skipped.tsv`, which `predict --format brat` writes beside them, names tasks of records whose list is not whole (record,
task, `failure` or `review`, what): they have no answer here. Relations, notes, normalisations and equivalences are left
aside; any other line, an id that stands twice and an attribute of a span that is not there make the file unreadable,
since a list that lacks something is a wrong one. The id is the path below the folder, without suffix.
Format: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from chartdistill.errors import InputError
from chartdistill.records.annotations.answer import Document, Finding, Span
from chartdistill.records.annotations.offsets import BYTE_ORDER_MARK
from chartdistill.records.decoding import Unreadable, decode
from chartdistill.schema import Origin

_SPAN = re.compile(r"(T\S+)\t(\S+) ([0-9]{1,9} [0-9]{1,9}(?:;[0-9]{1,9} [0-9]{1,9})*)(?:\t(.*))?")
_ATTRIBUTE = re.compile(r"[AM]\S+\t(\S+) (\S+)(?: (.+))?")
_LINE_END = re.compile(r"\r\n?|\n")
_LEFT_ASIDE = ("R", "N", "#", "*")
SKIPPED = "skipped.tsv"
_SHOWN = 20
"""Characters of an id in an error."""
_EVENT = re.compile(r"(E\S+)\t[^\s:]+:(T\S+).*")


def read(path: Path) -> Iterator[Document | Finding]:
    """All .ann files of a folder and those below it, in the order of their names; or one .ann file.

    Raises:
        InputError: there is none.
    """
    files = sorted(one for one in path.rglob("*.ann") if not one.is_dir()) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no .ann file, nor do its sub-folders.")
    unsaid = _unsaid(path / SKIPPED if path.is_dir() else path.with_name(SKIPPED))
    for file in files:
        name = file.relative_to(path) if path.is_dir() else Path(file.name)
        try:
            data = file.read_bytes()
        except OSError as error:
            yield Finding(code="bad_line", place=name.as_posix(), detail=f"cannot be read: {error.strerror}")
            continue
        origin = Origin(file=name.as_posix(), sha256=hashlib.sha256(data).hexdigest(), place="")
        found = decode(data) if data.strip() else None
        key = name.with_suffix("").as_posix()
        if isinstance(found, Unreadable):
            yield Finding(code="bad_line", place=origin.file, record=key, detail=found.detail)
            continue
        problem, spans = _spans([] if found is None else _LINE_END.split(found.text))
        if problem is not None:
            yield Finding(code="bad_line", place=f"{origin.file}: {problem[0]}", record=key, detail=problem[1])
            continue
        text = _text(file.with_suffix(".txt"), with_mark=True)
        if isinstance(text, Unreadable):
            yield Finding(code="no_text", place=f"{origin.file}: the .txt", record=key, detail=text.detail)
            continue
        yield Document(origin, key, text, spans, unsaid=unsaid.get(key, {}))


def _unsaid(path: Path) -> dict[str, dict[str, str]]:
    """Record -> task -> why its list is not whole."""
    found: dict[str, dict[str, str]] = {}
    text = _text(path)
    lines: list[str] = _LINE_END.split(text) if isinstance(text, str) else []
    for line in lines:
        record, task, code, *_ = [*line.split("\t"), "", ""]
        if code in ("failure", "review"):
            detail = f"{path.name} says that the list is not whole ({code}); delete its line there when it is"
            found.setdefault(record, {})[task] = detail
    return found


def _text(path: Path, with_mark: bool = False) -> str | Unreadable | None:
    """None where there is no such file. `with_mark`: with its byte order mark, which brat counts as a character."""
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        return Unreadable("unreadable", f"cannot be read: {error.strerror}")
    found = decode(data)
    if isinstance(found, Unreadable):
        return found
    return BYTE_ORDER_MARK + found.text if with_mark and data.startswith(codecs.BOM_UTF8) else found.text


def _spans(lines: list[str]) -> tuple[tuple[str, str] | None, tuple[Span, ...]]:
    """(place and fault of a line that cannot be read, the spans): a list without one of its items is a wrong one."""
    bound: dict[str, tuple[str, str, str | None]] = {}
    attributes: dict[str, list[tuple[str, str | None]]] = {}
    trigger: dict[str, str] = {}
    named_at: dict[str, int] = {}
    """What attributes and events are about -> the last line that says so."""
    for number, line in enumerate(lines, 1):
        if line.startswith("T"):
            match = _SPAN.fullmatch(line)
            if match is None:
                return (f"line {number}", "is no text-bound annotation `T1<tab>Label START END<tab>text`"), ()
            if match[1] in bound:
                return (
                    f"line {number}",
                    f"{match[1][:_SHOWN]} stands twice; give each annotation an id of its own",
                ), ()
            bound[match[1]] = (match[2], match[3], match[4])
        elif line.startswith(("A", "M")):
            match = _ATTRIBUTE.fullmatch(line)
            if match is None:
                return (f"line {number}", "is no attribute `A1<tab>Name T1 value`"), ()
            attributes.setdefault(match[2], []).append((match[1], match[3]))
            named_at[match[2]] = number
        elif line.startswith("E"):
            match = _EVENT.fullmatch(line)
            if match is None:
                return (f"line {number}", "is no event `E1<tab>Label:T1`"), ()
            trigger[match[1]] = match[2]
            named_at[match[2]] = number
        elif line.strip() and not line.startswith(_LEFT_ASIDE):
            return (f"line {number}", "is nothing that brat writes; repair the line, or export the file again"), ()
    for of, number in named_at.items():
        if of.startswith(("T", "E")) and of not in bound and of not in trigger:
            return (f"line {number}", f"is about {of[:_SHOWN]}, which the file does not have"), ()
    for event, of in trigger.items():
        attributes.setdefault(of, []).extend(attributes.get(event, ()))
    spans = []
    for name, (label, offsets, said) in bound.items():
        numbers = [tuple(map(int, piece.split(" "))) for piece in offsets.split(";")]
        pieces = tuple((start, end) for start, end in numbers)
        spans.append(Span(label, pieces, said, tuple(attributes.get(name, ()))))
    return None, tuple(spans)
