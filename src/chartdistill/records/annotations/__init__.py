"""Drawer of annotation formats: labels that somebody has given already, as a teacher or as gold.

A reader is one file with `read`, which yields what each line or document says (answer.py), and `fits` where an object
of JSON tells the format. To add one: a file here, a line in `_READERS` and in `_BY_ENTRY` or `_format_of`, its name in
`options.Format`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from chartdistill.errors import InputError
from chartdistill.records.annotations import brat, doccano, fine_tuning, label_studio, prodigy, rows
from chartdistill.records.annotations.answer import Answer, Document, Finding, Reading, Said, shown, where
from chartdistill.records.annotations.entries import read_entries
from chartdistill.records.annotations.meaning import Meanings, answers_of
from chartdistill.records.annotations.options import AnnotationFile
from chartdistill.records.cleaning import clean
from chartdistill.records.decoding import foreign_bytes
from chartdistill.records.near_duplicates import body_hash
from chartdistill.schema import Task

__all__ = ["AnnotationFile", "Answer", "Finding", "Reading", "annotations_sha256", "read_annotations"]

_Read = Callable[[Path, str, Sequence[Task]], Iterator[Said | Document | Finding]]
_READERS: dict[str, _Read] = {
    "rows": rows.read,
    "fine_tuning": fine_tuning.read,
    "brat": lambda path, sha256, tasks: brat.read(path),
    "label_studio": lambda path, sha256, tasks: label_studio.read(path, sha256),
    "prodigy": lambda path, sha256, tasks: prodigy.read(path, sha256),
    "doccano": lambda path, sha256, tasks: doccano.read(path, sha256),
}
_BY_ENTRY = (
    ("rows", rows.fits), ("label_studio", label_studio.fits), ("prodigy", prodigy.fits), ("doccano", doccano.fits),
    ("fine_tuning", fine_tuning.fits),
)  # fmt: skip
"""What an object of JSON is told by, in this order."""
_ENTRIES_LOOKED_AT = 20
_BYTES_LOOKED_AT = 4096


def read_annotations(options: AnnotationFile, tasks: Sequence[Task]) -> Reading:
    """All that a file says about records, for the tasks of this run.

    Raises:
        InputError: it is not there, of no known format, holds nothing, or the options name what is not there.
    """
    path = options.path
    if not path.exists():
        raise InputError(f"{path} does not exist. Give a file of labels, or brat's folder of .ann files.")
    known = _format_of(path) if options.format == "auto" else options.format
    if path.is_dir() and known != "brat":
        raise InputError(f"{path} is a folder, which only the format brat is; name one file.")
    if known == "brat" and path.is_file() and path.suffix.lower() != ".ann":
        raise InputError(f"{path} is no .ann file, as the format brat has them; name one, or their folder.")
    reading = Reading(path.resolve().name, annotations_sha256(path), known)
    meanings = Meanings(options, tasks)
    documents: list[Document] = []
    said: list[Said] = []
    for found in _READERS[known](path, reading.sha256, tasks):
        reading.documents += 1
        if isinstance(found, Document):
            documents.append(found)
        elif isinstance(found, Said):
            said.append(found)
        else:
            reading.findings.append(found)
    if not reading.documents:
        raise InputError(f"{path} is empty; it holds no label.")
    reading.spans_by_label = dict(Counter(span.label for one in documents for span in one.spans).most_common())
    unmapped: Counter[str] = Counter()
    for answer in answers_of(documents, meanings, options, unmapped):
        if isinstance(answer, Said):
            said.append(answer)
        else:
            reading.findings.append(answer)
    reading.unmapped = dict(unmapped.most_common())
    _take(said, tasks, reading)
    return reading


def annotations_sha256(path: Path) -> str:
    """Of a file its sha256, as `sha256sum` prints it; of a folder that of the names and hashes of its .ann and .txt
    files, and of what says which lists are not whole.

    Raises:
        InputError: one of them cannot be read.
    """
    try:
        if path.is_file():
            return _sha256(path)
        whole = hashlib.sha256()
        for file in sorted(one for one in path.rglob("*") if _counts(one, path) and one.is_file()):
            whole.update(f"{_sha256(file)}  {file.relative_to(path).as_posix()}\n".encode())
    except OSError as error:
        what = error.filename or path
        raise InputError(f"{what} cannot be read: {error.strerror}. Give labels that you may read.") from None
    return whole.hexdigest()


def _counts(file: Path, folder: Path) -> bool:
    """Whether a file of brat's folder decides what is read."""
    return file.suffix in (".ann", ".txt") or file == folder / brat.SKIPPED


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _take(said: Sequence[Said], tasks: Sequence[Task], reading: Reading) -> None:
    """Answers to tasks of this run; those to others are named."""
    by_name = {task.name: task for task in tasks}
    bodies: dict[str, str] = {}
    for one in said:
        task = by_name.get(one.task)
        if task is None:
            detail = f"task {shown(one.task)} is not among this run's tasks ({', '.join(by_name)})"
            finding = Finding(code="other_task", place=where(one.origin), record=one.key, task=one.task, detail=detail)
            reading.findings.append(finding)
            continue
        if one.text is not None and one.text not in bodies:
            bodies[one.text] = body_hash(clean(one.text).text)
        body = None if one.text is None else bodies[one.text]
        reading.answers.append(Answer(one.origin, one.key, body, task, one.items, one.completion))


def _format_of(path: Path) -> str:
    if path.is_dir() or path.suffix.lower() == ".ann":
        return "brat"
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; it holds no label.")
    with path.open("rb") as stream:
        foreign = foreign_bytes(stream.read(_BYTES_LOOKED_AT))
    if foreign is not None:
        raise InputError(f"{path} {foreign.detail.partition(';')[0]}, in which no labels are read. Give it unpacked.")
    problems = []
    for place, entry in islice(read_entries(path), _ENTRIES_LOOKED_AT):
        if isinstance(entry.value, dict):
            found = next((name for name, fits in _BY_ENTRY if fits(entry.value)), None)
            if found is not None:
                return found
        problems.append(f" ({place}: {entry.problem})" if entry.problem else "")
    if not problems:
        raise InputError(f"{path} holds nothing but blank lines, so no label.")
    raise InputError(
        f"{path}: its format is not known{next(filter(None, problems), '')}. Read are keyed rows, fine-tuning lines, "
        "Prodigy, doccano and Label Studio (JSONL or an array, in UTF-8), and brat (a folder of .ann files); examples "
        "stand in docs/existing-labels.md. Where it is one of them, set `format`."
    )
