"""brat standoff: a folder with NAME.ann beside NAME.txt.

    T1<tab>Drug 15 22<tab>aspirin                  a span; `15 22;30 34` where it is discontinuous
    A1<tab>Status T1 stop                          an attribute with its value; `A2<tab>Negated T1` without
    E1<tab>Drug:T1                                 an event; its attributes count as those of its trigger

Relations, notes, normalisations and equivalences are left aside. The id is the path below the folder, without suffix.
Format: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from chartdistill.errors import InputError
from chartdistill.records.annotations.answer import Document, Finding, Span
from chartdistill.records.decoding import Unreadable, decode
from chartdistill.schema import Origin

_SPAN = re.compile(r"(T\S+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
_ATTRIBUTE = re.compile(r"[AM]\S+\t(\S+) (\S+)(?: (.+))?")
_EVENT = re.compile(r"(E\S+)\t[^\s:]+:(T\S+).*")


def read(path: Path) -> Iterator[Document | Finding]:
    """All .ann files of a folder and those below it, in the order of their names; or one .ann file.

    Raises:
        InputError: there is none.
    """
    files = sorted(path.rglob("*.ann")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no .ann file, nor do its sub-folders.")
    for file in files:
        name = file.relative_to(path) if path.is_dir() else Path(file.name)
        data = file.read_bytes()
        origin = Origin(file=name.as_posix(), sha256=hashlib.sha256(data).hexdigest(), place="")
        found = decode(data) if data.strip() else None
        key = name.with_suffix("").as_posix()
        if isinstance(found, Unreadable):
            yield Finding(code="bad_line", place=origin.file, record=key, detail=found.detail)
            continue
        problem, spans = _spans([] if found is None else found.text.split("\n"))
        if problem is not None:
            yield Finding(code="bad_line", place=f"{origin.file}: {problem[0]}", record=key, detail=problem[1])
            continue
        yield Document(origin, key, _text(file.with_suffix(".txt")), spans)


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = decode(path.read_bytes())
    return None if isinstance(found, Unreadable) else found.text


def _spans(lines: list[str]) -> tuple[tuple[str, str] | None, tuple[Span, ...]]:
    """(place and fault of a line that cannot be read, the spans): a list without one of its items is a wrong one."""
    bound: dict[str, tuple[str, str, str | None]] = {}
    attributes: dict[str, list[tuple[str, str | None]]] = {}
    trigger: dict[str, str] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        if line.startswith("T"):
            match = _SPAN.fullmatch(line)
            if match is None:
                return (f"line {number}", "is no text-bound annotation `T1<tab>Label START END<tab>text`"), ()
            bound[match[1]] = (match[2], match[3], match[4])
        elif line.startswith(("A", "M")):
            match = _ATTRIBUTE.fullmatch(line)
            if match is None:
                return (f"line {number}", "is no attribute `A1<tab>Name T1 value`"), ()
            attributes.setdefault(match[2], []).append((match[1], match[3]))
        elif line.startswith("E") and (match := _EVENT.fullmatch(line)):
            trigger[match[1]] = match[2]
    for event, of in trigger.items():
        attributes.setdefault(of, []).extend(attributes.get(event, ()))
    spans = []
    for name, (label, offsets, said) in bound.items():
        numbers = [tuple(map(int, piece.split(" "))) for piece in offsets.split(";")]
        pieces = tuple((start, end) for start, end in numbers)
        spans.append(Span(label, pieces, said, tuple(attributes.get(name, ()))))
    return None, tuple(spans)
