"""Thoughts of models that reason before they answer: the one place that knows how they are marked.

In: text that a model wrote, or the end of a prompt. Out: what stands behind the last thought, or the mark that a prompt
leaves open. Must hold: what stands inside a thought is never given as an answer, however it ended.

The marks are those of the chat templates and reasoning parsers of DeepSeek, Qwen, GLM, Magistral, Kimi, Command,
MedGemma, Gemma 4, MiniMax, Seed-OSS, OpenThinker, Granite and gpt-oss (harmony channels), in any case of letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_NAME = (
    r"(?:\w+[:_])?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|cot|antthinking)"
    r"(?:_process)?"
)
_BRACKETED = r"(?:think|thinking|thoughts?|reasoning)"
_OPENS = re.compile(
    rf"<{_NAME}(?:\s[^<>]*)?>|\[{_BRACKETED}\]|◁{_NAME}▷|<\|(?!end_)(?:{_NAME}|(?:start|begin)_(?:of_)?{_NAME}|{_NAME}_start)\|>"
    r"|<unused94>|<\|channel\|>\s*(?:analysis|commentary)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>|<\|channel>thought"
    r"|<\|open\|>think<\|sep\|>|\A\s*here(?:'s| is) my thought process:?",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_NAME}\s*>|\[/{_BRACKETED}\]|◁/{_NAME}▷|<\|(?:/{_NAME}|end_(?:of_)?{_NAME}|{_NAME}_end)\|>"
    r"|<unused95>|<\|channel\|>\s*final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>|<channel\|>|<\|close\|>think<\|sep\|>"
    # Harmony channels, decoded without their control tokens.
    r"|\A\s*analysis(?=.*assistantfinal).*assistantfinal"
    r"|\A\s*here(?:'s| is) my thought process\b.*here(?:'s| is) my response:?",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPED = r"(?:answer|response|solution|output|final_answer)"
_WRAPPER = re.compile(
    rf"<(?:{_WRAPPED}|\|(?:start|begin)_(?:of_)?{_WRAPPED}\|)>(.*?)(?:<(?:/{_WRAPPED}|\|end_(?:of_)?{_WRAPPED}\|)>)?",
    re.IGNORECASE | re.DOTALL,
)
"""What some models put around the answer that follows a thought."""


@dataclass(frozen=True)
class Thought:
    """Text that holds a thought, and what stands behind it."""

    answer: str | None
    """Without space around it; None where the thought did not end, or nothing stands behind it."""
    ended: bool


def find_thought(text: str, opened: bool = False) -> Thought | None:
    """The last thought in what a model wrote, and the answer behind it; None where it wrote none.

    Args:
        opened: the prompt left a thought open, so that the text begins inside it.
    """
    closing = None
    for closing in _CLOSES.finditer(text):  # noqa: B007  (the last one is wanted)
        pass
    rest = text if closing is None else text[closing.end() :]
    if closing is None and not opened and _OPENS.search(text) is None:
        return None
    if closing is None or _OPENS.search(rest) is not None:
        return Thought(None, ended=False)
    rest = rest.strip()
    wrapped = _WRAPPER.fullmatch(rest)
    return Thought((wrapped[1].strip() if wrapped else rest) or None, ended=True)


def thought_text(text: str, opened: bool = False) -> str:
    """What stands in the thoughts before an answer, without the outermost marks and the space around them."""
    ends = list(_CLOSES.finditer(text))
    inside = text[: ends[-1].start()] if ends else text
    first = None if opened else _OPENS.search(inside)
    return inside[first.end() if first else 0 :].strip()


def end_of_thought(text: str) -> int | None:
    """Where the first thought in a text is over, behind its closing mark; None where none is."""
    closing = _CLOSES.search(text)
    return None if closing is None else closing.end()


def begins_thought(text: str) -> bool:
    """Whether a thought is begun in a text."""
    return _OPENS.search(text) is not None


def closing_ids(tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a thought by themselves, whatever model they are of: `</think>`, `[/THINK]`, ..."""
    added = tokenizer.added_tokens_decoder.items()
    return tuple(sorted(i for i, token in added if _CLOSES.fullmatch(str(token.content).strip())))


def gap_behind(closing: str) -> str:
    """What models write between a closing mark and their answer: those that write tags a blank line, the others
    nothing."""
    return "\n\n" if closing.startswith("</") else ""


def open_thought(prompt_end: str) -> str | None:
    """The mark of a thought that the end of a prompt leaves open, as `<think>`; None where it leaves none."""
    opened = None
    for opened in _OPENS.finditer(prompt_end):  # noqa: B007
        pass
    if opened is None or _CLOSES.search(prompt_end, opened.end()) is not None:
        return None
    return opened.group()


def has_closed_thought(prompt_end: str) -> bool:
    """Whether the end of a prompt holds a thought that is over, as templates write it to keep a model from thinking."""
    return _CLOSES.search(prompt_end) is not None and open_thought(prompt_end) is None


def closing_mark(opening: str) -> str | None:
    """`<think>` -> `</think>`; None for a mark that has no plain counterpart."""
    if opening.lower() == "<unused94>":
        return "<unused95>"
    for start, end in (("start_", "end_"), ("begin_", "end_"), ("_start|", "_end|")):
        if start in opening.lower():
            place = opening.lower().index(start)
            return opening[:place] + (end.upper() if opening[place].isupper() else end) + opening[place + len(start) :]
    first = re.match(r"(<|\[|◁|<\|)(?=\w)", opening)
    name = re.match(r"[^\s>]+", opening)
    if first is None or name is None or "channel" in opening:
        return None
    mark = first[1] + "/" + name.group()[len(first[1]) :]
    return mark if mark[-1] in ">]▷" else mark + ">"
