"""Where in a prompt the question stands: behind the chart, before it, or beside it in the system text.

Charts themselves speak of medications, labs and diagnoses, so that a paragraph which names a kind of finding need not
be a question. Where one place asks in the form of a question and another only names a kind, the question is the first.
"""

from __future__ import annotations

import re

from chartdistill.clinical.entities import ENTITY_TYPES, EntityType, asked_for

_LIST_ALL = re.compile(r"\bLIST\s+ALL\s+(?P<task>[A-Za-z][A-Za-z ]*?)\s*:?\s*\Z")

_REQUEST = re.compile(
    r"(?:^|[.!?\n]\s*|\bplease\s+|\byou\s+(?:\w+\s+)?|\b(?:task|job)\s+is\s+to\s+|\b(?:question|instructions?|task|q)\s*:\s*)"
    r"(?:list\b(?!\s+of)|extract|identify|enumerate|summari[sz]e|what\b|which\b|tell\s+me"
    r"|(?:name|give|find|provide|return|state|write|output)\s+"
    r"(?:me|out|down|all|every|each|only|the|an?\s+(?:complete\s+|full\s+)?list)\b)",
    re.IGNORECASE,
)
"""How a request begins. "Return in 2 weeks for labs", "Please report any drug reaction" and "List of medications
reviewed" are none."""
_MAX_HEADING_WORDS = 6
_MAX_BARE_WORDS = 3


def asks(text: str) -> bool:
    """Whether a text names a kind of finding in the form of a request or a question."""
    text = text.strip()
    return asked_for(text) is not None and (text.endswith("?") or _REQUEST.search(text) is not None)


def chart_and_question(prompt: str) -> tuple[str, str] | None:
    """A prompt in its two parts; None where neither end of it asks for a kind of finding.

    The last paragraph is the question, in whatever words, unless it only names a kind while another place asks for one:
    its own last lines, the prompt's first line or its first paragraph. A line that asks for nothing stays with the
    chart, since a chart that loses a line costs more than one that has an instruction too many.
    """
    text = prompt.strip()
    body, gap, last = text.rpartition("\n\n")
    lines = last.split("\n")
    first_asking = next((at for at, line in enumerate(lines) if asks(line)), None)
    if first_asking and (gap or first_asking == len(lines) - 1):
        return body + gap + "\n".join(lines[:first_asking]), "\n".join(lines[first_asking:])
    beginnings = (text.partition(separator)[0] for separator in ("\n", "\n\n"))
    if gap and (asks(last) or (_is_caption(last) and not any(_asks_for_another(first, last) for first in beginnings))):
        return body, last
    for separator in ("\n", "\n\n"):
        first, found, below = text.partition(separator)
        if found and below.strip() and asks(first):
            return below, first
    return (body, last) if gap and asked_for(last) is not None else None


def chart_and_kind(prompt: str) -> tuple[str, str, EntityType]:
    """A prompt as (chart, the kind as the question spells it, or empty, the kind of finding that is asked for).

    Raises:
        ValueError: no question is found; never with the record's text.
    """
    chart, question = chart_and_question(prompt) or ("", "")
    match = _LIST_ALL.search(question)
    spelled = match["task"].strip() if match else ""
    asked = asked_for(spelled or question)
    if asked is None:
        known = ", ".join(one.task_name for one in ENTITY_TYPES)
        raise ValueError(
            f"no question about one of {known} was found: write it behind the chart after an empty line, for example "
            "`LIST ALL MEDICATION:`, before the chart, or in the system text of a chat"
        )
    return chart, spelled, asked


def with_question_of(asked: str, instructions: str) -> str:
    """The user's text, with the system's text behind it where that alone asks for a kind of finding."""
    if not instructions or asked_for(instructions) is None:
        return asked
    parts = chart_and_question(asked)
    if parts is not None:
        caption = _is_caption(parts[1]) and not _asks_for_another(instructions, parts[1])
        if caption or asks(parts[1]):
            return asked
    return f"{asked.rstrip()}\n\n" + " ".join(instructions.split())


def _asks_for_another(request: str, caption: str) -> bool:
    """Whether a request is for one kind alone, and the words of a caption without a colon name another: "Labs pending"
    then ends the chart."""
    kinds = [
        one for one in ENTITY_TYPES if one.question_words and re.search(one.question_words, request, re.IGNORECASE)
    ]
    other = len(kinds) == 1 and asked_for(caption) is not kinds[0]
    return other and asks(request) and not caption.rstrip().endswith(":")


def _is_caption(text: str) -> bool:
    """`Medications:` or `All diagnoses`, by itself: what a prompt ends with, and a chart seldom."""
    text = text.strip()
    if asked_for(text) is None:
        return False
    words = len(text.split())
    return (text.endswith(":") and words <= _MAX_HEADING_WORDS) or (
        words <= _MAX_BARE_WORDS and re.search(r"[.,;:\d]", text) is None
    )
