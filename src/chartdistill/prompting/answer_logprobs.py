"""From the log-probabilities of an answer's tokens to those of its items: the one place, for teacher and student.

In: an answer's text, its token ids and their log-probabilities (natural log). Out: for each item the log-probabilities
of the tokens that wrote it, those of its status apart. What must hold: the line break before an item belongs to it (to
begin another line, or to end, is the decision that there is one more), and so does the `|` behind its text (the text
ends here); the token that ends the answer belongs to none; a token that writes parts of two lines belongs to both;
nothing is given where the tokens do not write the lines of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chartdistill.prompting.answer_format import FIELD_SEPARATOR, parse_lines
from chartdistill.schema import Item, ItemLogprobs, Task

_BAR = FIELD_SEPARATOR.strip()


@dataclass
class _Line:
    """One line of what the tokens wrote."""

    written: str = ""
    text: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)


def item_logprobs(
    answer: str, token_ids: Sequence[int], logprobs: Sequence[float] | None, task: Task, tokenizer: Any, end_id: int
) -> dict[Item, ItemLogprobs]:
    """Item -> log-probabilities of its tokens; of an item that is said twice, those of the first time.

    Args:
        answer: its text, in the answer format.
        token_ids: of the whole answer, the id that ends it included or not.
        logprobs: one for each of `token_ids`; None where the engine gave none.
        end_id: the id that ends an answer; the tokenizer's own eos does, too.

    Returns:
        Nothing where there are no log-probabilities, no items, or the tokens are not those of the text.
    """
    if not logprobs or len(logprobs) != len(token_ids):
        return {}
    ends = token_ids[-1] in (end_id, tokenizer.eos_token_id)
    ids = token_ids[:-1] if ends else token_ids
    known: dict[int, str] = {}
    for one in ids:
        if one not in known:
            known[one] = str(tokenizer.decode([one], skip_special_tokens=True))
    return logprobs_of_items(answer, [known[one] for one in ids], logprobs[: len(ids)], task)


def logprobs_of_items(
    answer: str, pieces: Sequence[str], logprobs: Sequence[float], task: Task
) -> dict[Item, ItemLogprobs]:
    """As `item_logprobs`, of the text that each token wrote (half a character as U+FFFD, spaces or not)."""
    items = parse_lines(answer, task)
    lines = _lines(pieces, logprobs)
    texts = answer.strip().split("\n")
    if not items or len(lines) != len(texts):
        return {}
    if any(_letters(line.written) != _letters(text) for line, text in zip(lines, texts, strict=True)):
        return {}
    found: dict[Item, ItemLogprobs] = {}
    for item, line in zip(items, lines, strict=True):
        found.setdefault(item, ItemLogprobs(text=tuple(line.text), status=tuple(line.status)))
    return found


def _lines(pieces: Sequence[str], logprobs: Sequence[float]) -> list[_Line]:
    """The lines that the tokens wrote, without blank ones before and behind."""
    lines = [_Line()]
    for piece, logprob in zip(pieces, logprobs, strict=True):
        own, *others = piece.split("\n")
        if own or not others:
            _add(lines[-1], own, logprob)
        for other in others:
            lines.append(_Line())
            _add(lines[-1], other, logprob)
    while lines and not lines[0].written.strip():
        lines.pop(0)
    while lines and not lines[-1].written.strip():
        lines.pop()
    return lines


def _add(line: _Line, written: str, logprob: float) -> None:
    """A token, or the part of it in this line, to the field that it writes; one that writes both is of the status."""
    behind = _BAR in line.written or bool(written.partition(_BAR)[2].strip())
    (line.status if behind else line.text).append(logprob)
    line.written += written


def _letters(text: str) -> str:
    """What of a text is sure to stand in its tokens one by one: no white space, no part of a character."""
    return "".join(one for one in text if one.isascii() and not one.isspace())
