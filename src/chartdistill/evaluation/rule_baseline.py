"""A baseline without any model: names from a lexicon, statuses and exclusions from words nearby.

In: what training labels name, and records. Out: predictions of the arm `rules`. The names are those of the training
labels, the installed drug lexicon's, and, for drugs, words that stand before a dose or right behind a verb of
prescribing. It shows what reading a chart is worth beyond looking words up; it is not meant to be good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from chartdistill.clinical.lexica.drugs import lexicon
from chartdistill.clinical.lexica.ingredients import match_key
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.sentences import sentence_spans
from chartdistill.evaluation.directional import is_drug_task
from chartdistill.prompting.answer_format import format_answer
from chartdistill.schema import Item, Prediction, Record, Task

ARM = "rules"

_CUES = (
    ("avoid", r"allerg|avoid|intoleran|hives|must not"),
    ("stop", r"discontinu|stop|d/c|no longer|replaced by"),
    ("hold", r"\bhold|on hold|withh"),
    ("given-once", r"single dose|one dose|given once|\bx1\b"),
    ("past", r"in the past|previous|failed|years ago|prior course|in (?:19|20)\d\d"),
    ("change", r"increas|decreas|reduc|taper|titrat|doubled|\bchange\b"),
    ("start", r"\bstart|begin|initiat|prescri|\brx\b|\badd(?:ed)?\b|a trial of|\btry\b|treat with|switch"),
)
"""Status -> words of its sentence, the first that occurs decides; `continue` where none does."""
_EXCLUDED = re.compile(
    r"\b(?:mother|father|sister|brother|aunt|uncle|grand\w+|son|daughter|spouse|family|denies|never|no evidence"
    r"|ruled out|rule out|screening|if|consider|may be|declined|no need)\b",
    re.IGNORECASE,
)
_ORDERED = re.compile(r"\b(?:order|obtain|schedul|check|repeat|send|will need)", re.IGNORECASE)
_DOSED = re.compile(r"\b([A-Za-z][A-Za-z-]{4,})\s+\d[\d.,]*\s?(?:mg|mcg|g|units?|ml)\b")
_PRESCRIBED = re.compile(
    r"\b(?:start|begin|continue|discontinue|stop|hold|resume|avoid|increase|decrease|taper|takes|taking|remains on|d/c)"
    r"\s+([A-Za-z][A-Za-z-]{4,})",
    re.IGNORECASE,
)
_OUTLOOK = re.compile(r"prognosis(?: is|:| remains) ([^.]+)|(expected to [^.]+)|(will likely [^.]+)", re.IGNORECASE)


def known_names(answers: Iterable[tuple[str, Sequence[Item]]]) -> dict[str, list[str]]:
    """Task name -> the names its training labels hold, longest first. `answers`: (task name, items)."""
    found: dict[str, set[str]] = {}
    for task, items in answers:
        found.setdefault(task, set()).update(item.text for item in items)
    return {task: sorted(names, key=lambda name: (-len(name), name)) for task, names in found.items()}


def predict_by_rules(
    records: Iterable[Record], tasks: Sequence[Task], names: Mapping[str, Sequence[str]]
) -> list[Prediction]:
    """One prediction per record and task."""
    answers = []
    for record in records:
        for task in tasks:
            items = read(record.text, task, names.get(task.name, ()))
            answers.append(
                Prediction(
                    key="", record=record.id, task=task.name, arm=ARM, completion=format_answer(items),
                    finish_reason="stop", items=items,
                )
            )  # fmt: skip
    return answers


def read(text: str, task: Task, names: Sequence[str]) -> tuple[Item, ...]:
    """The items of one task, in reading order, each once; of one named twice the later status holds."""
    found: dict[str, Item] = {}
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        if task.item == "prognosis":
            matches = (match for match in _OUTLOOK.finditer(sentence))
            said = [next(group for group in match.groups() if group).strip() for match in matches]
        elif _EXCLUDED.search(sentence) or (task.item == "test" and not _ORDERED.search(sentence)):
            continue
        else:
            said = _named(sentence, task, names)
        for name in said:
            found[match_key(name, task)] = Item(text=name, status=_status(sentence, task))
    return tuple(found.values())


def status_of(name: str, text: str, task: Task) -> str | None:
    """The status of an item, by the last sentence that names it; where none does, the one without cues. None for a
    task without statuses."""
    spans = (text[start:end] for start, end in sentence_spans(text))
    naming = [sentence for sentence in spans if next(occurrences(name, sentence), None) is not None]
    return _status(naming[-1] if naming else "", task)


def _named(sentence: str, task: Task, names: Sequence[str]) -> list[str]:
    """Names in a sentence, in reading order; a name inside a longer one does not count."""
    spans = [span for name in names if (span := next(occurrences(name, sentence), None)) is not None]
    if is_drug_task(task):
        drugs = lexicon("auto")
        spans += drugs.find(sentence) if drugs is not None else []
        spans += [match.span(1) for pattern in (_DOSED, _PRESCRIBED) for match in pattern.finditer(sentence)]
    kept: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if not any(span[0] < end and start < span[1] for start, end in kept):
            kept.append(span)
    return [sentence[start:end] for start, end in sorted(kept)]


def _status(sentence: str, task: Task) -> str | None:
    if not task.statuses:
        return None
    cued = (status for status, cue in _CUES if status in task.statuses and re.search(cue, sentence, re.IGNORECASE))
    return next(cued, "continue" if "continue" in task.statuses else task.statuses[0])
