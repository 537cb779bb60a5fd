"""brat standoff, for correction: NAME.txt, the chart as it is, with NAME.ann beside it, and annotation.conf.

    T1<tab>medication 15 22<tab>aspirin       a span, labelled with its task; `15 20;21 30` where it crosses a line end
    A1<tab>status T1 stop                     its status
    #1<tab>AnnotatorNotes T1<tab>...          the item, where the chart has it in other words, and its confidence

Offsets are characters of the .txt, which is written as it was given, line ends too. An item without a place in the
chart cannot stand in brat, nor can a failure, or what is in the review file; `skipped.tsv` names them: path of the
record, task, `without_place`, `failure` or `review`, and what it is. Our reader takes no answer of a task that has a
failure or a review there, so its line goes when the task is corrected. Read back by records/annotations/brat.py.
Format: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chartdistill.evaluation.formats.answered import Answered
from chartdistill.runtime.run_folder import make_folder, private_opener
from chartdistill.schema import Task

_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
CONFIGURATION, SKIPPED = "annotation.conf", "skipped.tsv"
_LONGEST_NAME, _LONGEST_PATH = 200, 1000
"""Bytes; file systems take 255 and 4095, and the ending and the folder come on top."""


def write(charts: Iterator[Answered], out: Path, tasks: Sequence[Task]) -> None:
    """Write all charts into an empty folder."""
    _write(out / CONFIGURATION, configuration(tasks))
    skipped: list[str] = []
    for chart in charts:
        if chart.text is None:
            skipped.append(f"{_one_line(chart.id)}\t\tfailure\t{chart.failure or 'the review file says why'}")
            continue
        name = file_name(chart.id)
        if not _is_free(out, name):  # of another chart with this id, as two notes of a patient can have
            name = f"{hashed_name(chart.id)}-{_hash(chart.source)[:8]}"
        path = out / name
        make_folder(path.parent)
        lines, left_out = standoff(chart, tasks)
        _write(path.with_name(f"{path.name}.txt"), chart.text)
        _write(path.with_name(f"{path.name}.ann"), "".join(f"{line}\n" for line in lines))
        skipped += [f"{name}\t{why}" for why in left_out]
    if skipped:
        _write(out / SKIPPED, "".join(f"{line}\n" for line in skipped))


def _is_free(out: Path, name: str) -> bool:
    """Whether no file or folder of another chart stands where this one's files would, or the folders they lie in."""
    taken = any((out / f"{name}{ending}").exists() for ending in (".txt", ".ann"))
    return not taken and not any((out / folder).is_file() for folder in Path(name).parents)


def _one_line(record: str) -> str:
    """A record's id as a cell; ids with tabs or line ends never name a file of theirs."""
    return " ".join(record.split())


def _write(path: Path, text: str) -> None:
    with open(path, "x", encoding="utf-8", errors="replace", newline="", opener=private_opener) as stream:
        stream.write(text)


def file_name(record: str) -> str:
    """Where a record's files stand below the folder: under its id, which brat's reader gives back; where that is no
    path that stays in the folder, under a hash of it. (So do further charts of one id, with their source.)"""
    parts = record.split("/")
    sound = all(part not in ("", ".", "..", CONFIGURATION, SKIPPED) and not part.endswith(" ") for part in parts)
    short = len(record.encode()) <= _LONGEST_PATH and all(len(part.encode()) <= _LONGEST_NAME for part in parts)
    if sound and short and not _UNSAFE.search(record):
        return record
    return hashed_name(record)


def hashed_name(record: str) -> str:
    """What a record's files are called where they cannot be called as it is; with a hash of the source behind it
    those of further charts of its id."""
    return f"record-{_hash(record)[:16]}"


def record_of(name: str, hashed: Mapping[str, str]) -> str | None:
    """The record that a file so named is of. `hashed`: `hashed_name` of the records it may be of -> these."""
    return hashed.get(name) or hashed.get(name.rpartition("-")[0])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def standoff(chart: Answered, tasks: Sequence[Task] = ()) -> tuple[list[str], list[str]]:
    """The lines of the .ann, and what cannot stand in it."""
    text, lines, left_out = chart.text or "", [], []
    number = 0
    for task, said in chart.tasks.items():
        if said.get("items") is None:
            left_out.append(f"{task}\tfailure\t{said.get('failure')}")
    left_out += [f"{task}\treview\t{what}" for task, _, what in chart.waiting(tasks)]
    for task, _, item in chart.items():
        pieces = _pieces(text, item.get("span"))
        if not pieces:
            left_out.append(f"{task}\twithout_place\tan item without a place in the chart")
            continue
        number += 1
        offsets = ";".join(f"{start} {end}" for start, end in pieces)
        words = " ".join(text[start:end] for start, end in pieces).replace("\t", " ")
        lines.append(f"T{number}\t{task} {offsets}\t{words}")
        if item.get("status") is not None:
            lines.append(f"A{number}\tstatus T{number} {item['status']}")
        note = [f"answered: {item['text']}"] if item["text"].casefold() != words.casefold() else []
        note += [f"confidence {item['confidence']:.4f}"] if item.get("confidence") is not None else []
        note += [] if item.get("grounded") else ["not borne out by the chart"]
        if note:
            lines.append(f"#{number}\tAnnotatorNotes T{number}\t{' '.join('; '.join(note).split())}")
    return lines, left_out


def _pieces(text: str, span: Sequence[int] | None) -> list[tuple[int, int]]:
    """A span without the line ends in it, which brat does not take."""
    if span is None:
        return []
    pieces, at = [], span[0]
    for found in _LINE_END.finditer(text, span[0], span[1]):
        pieces.append((at, found.start()))
        at = found.end()
    pieces.append((at, span[1]))
    trimmed = []
    for start, end in pieces:
        words = text[start:end]
        start, end = start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip())
        trimmed += [(start, end)] if start < end else []
    return trimmed


def configuration(tasks: Sequence[Task]) -> str:
    """brat's annotation.conf: a label for each task, and its statuses."""
    statuses = list(dict.fromkeys(status for task in tasks for status in task.statuses))
    attribute = f"status\tArg:<ENTITY>, Value:{'|'.join(statuses)}\n" if statuses else ""
    entities = "".join(f"{task.name}\n" for task in tasks)
    return f"[entities]\n{entities}[relations]\n[events]\n[attributes]\n{attribute}"
