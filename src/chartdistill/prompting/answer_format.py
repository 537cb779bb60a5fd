"""Answer text and items: the format every arm answers in.

One item per line, its fields separated by ` | `; or exactly `None found` for a record that has none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from chartdistill.schema import Item, Task

NONE_FOUND = "None found"
"""The exact answer for a record that has none of what the task asks for."""

FIELD_SEPARATOR = " | "
"""Between the fields of one answer line."""

EDGE = " \t\r\n.,;:!?'\"`“”‘’"
"""What may stand at the ends of an item and is no part of it."""

_FOUND = (
    r"(?:found|noted|stated|mentioned|listed|reported|given|identified|documented|recorded|known|applicable|ordered"
    r"|prescribed|planned|performed|done|taken|needed|required|indicated|available|active|present|pending)"
)
_WHERE = (
    r"(?:in\s+(?:the|this)\s+(?:chart|record|text|note)|on\s+file|at\s+(?:this\s+time|present)|currently|now|today)"
)
_NONE = re.compile(rf"(?:(?:none|nil|nothing|no|n/a|not)(?:\s+{_FOUND})?(?:\s+{_WHERE})?|nk[dfm]?a)")
_KNOWN = r"(?:known|new|other|active|current|specific|drug|food|medication|medicine|environmental|latex|or|and)"
"""What may stand between "no known" and what there is none of."""
_AROUND = EDGE + "()[]{}<>#*-"


def plain_key(text: str) -> str:
    """An item's text without case, repeated space, and punctuation at its ends."""
    return " ".join(text.casefold().split()).strip(EDGE)


def format_answer(items: tuple[Item, ...] | list[Item]) -> str:
    """Items -> answer text: one per line, `text` or `text | status`; the none token when there are none."""
    lines = [item.text if item.status is None else item.text + FIELD_SEPARATOR + item.status for item in items]
    return "\n".join(lines) or NONE_FOUND


def parse_answer(completion: str, task: Task) -> tuple[Item, ...] | None:
    """Answer text -> items; () for the exact none token; None when it does not follow the task's format.

    Strict on purpose: other spellings of none, an unknown status, an empty line or a missing field are format
    errors, to be counted, not guessed at. Surrounding whitespace is ignored, and so is an item said twice.
    """
    lines = parse_lines(completion, task)
    return None if lines is None else tuple(dict.fromkeys(lines))


def parse_lines(completion: str, task: Task) -> tuple[Item, ...] | None:
    """As `parse_answer`, with an item that is said twice twice."""
    text = completion.strip()
    if text == NONE_FOUND:
        return ()
    items: list[Item] = []
    for line in text.split("\n"):
        fields = [part.strip() for part in line.split(FIELD_SEPARATOR.strip())]
        if len(fields) != (2 if task.statuses else 1) or not all(fields) or says_none(fields[0], task):
            return None
        if task.statuses and fields[1] not in task.statuses:
            return None
        items.append(Item(text=fields[0], status=fields[1] if task.statuses else None))
    return tuple(items)


def answer_pattern(task: Task) -> str:
    """The regular expression of the answers `parse_answer` takes, for constrained decoding.

    Without free white space: a model that may repeat it can do so for ever.
    """
    item = r"[^\s|][^\n|]*"
    if task.statuses:
        item += r" \| (" + "|".join(literal_pattern(status) for status in task.statuses) + ")"
    # Tokenizers with word markers (SentencePiece) begin the first word of a line with a space.
    return rf"({literal_pattern(NONE_FOUND)}|{item}(\n ?{item})*)"


def literal_pattern(text: str) -> str:
    """A regular expression of exactly this text.

    Escaped only where it must be: grammar engines refuse what `re.escape` puts before spaces and dashes.
    """
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)


def says_none(text: str, task: Task) -> bool:
    """Whether an item's text is "none" in other words than the exact ones: "N/A", "None.", "No medications".

    Such an answer breaks the format; taken for an item, it would look like an invention.
    """
    return says_none_of(text, (task.item, task.name))


def says_none_of(text: str, names: tuple[str, str]) -> bool:
    """As `says_none`, of a task's `item` and `name`."""
    said = plain_key(text).strip(_AROUND)
    return _NONE.fullmatch(_no_such(names).sub("no", said)) is not None


@lru_cache(maxsize=64)
def _no_such(names: tuple[str, str]) -> re.Pattern[str]:
    """Of an item such as "no medications" or "no known drug allergies". Longer ones: see chart_spans.MOST_REFUSED."""
    nouns = "|".join(_one_or_many(re.escape(name.casefold())) for name in names)
    return re.compile(rf"^no\s+(?:\w+\s+)?(?:{_KNOWN}\s+){{0,3}}(?:{nouns})\b")


def _one_or_many(noun: str) -> str:
    """A pattern of a noun and its plural: allergy and allergies, diagnosis and diagnoses, test and tests."""
    for ending, either in (
        ("is$|(?<=s)es$", "(?:is|ises|es)"),  # diagnosis, iris; diagnoses
        ("(?<=[^aeiou])y$|ies$", "(?:y|ies)"),
        ("(?<=[^s])s$", "(?:s|ses)?"),  # tests, virus
    ):
        if (found := re.search(ending, noun)) is not None:
            return noun[: found.start()] + either
    return noun + "(?:e?s)?"
