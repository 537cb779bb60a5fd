"""What a model wrote before its answer -> the prompt that its answer follows.

In: the ids that an engine gave for a prompt, until the thought was over, its room was, or the model ended. Out: the
thought as text, and the ids to go on with: those that were written, up to the closing mark, and what models write
between it and an answer. Must hold: the ids of the thought are those that the engine wrote, never its text encoded
again (a thought may quote a chart that spells control tokens); what is constrained begins behind the thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.prompting.thoughts import begins_thought, closing_ids, end_of_thought, gap_behind, thought_text

_HARMONY_FINAL = "<|start|>assistant<|channel|>final<|message|>"
"""gpt-oss ends each channel with a token of its own; its answer is another one."""
_HARMONY_TOKENS = {"<|start|>", "<|channel|>", "<|message|>"}


@dataclass(frozen=True)
class Written:
    """What a model wrote before its answer."""

    go_on: tuple[int, ...] | None
    """Ids behind the prompt, which the answer follows; empty where the model did not think. None: the thought did not
    end."""
    text: str
    """The thought without its marks; empty where there is none."""


class ThoughtReader:
    """Reads the thoughts of one model.

    Attributes:
        stop_ids: ids that end a thought, at which an engine may stop.
    """

    def __init__(self, builder: PromptBuilder) -> None:
        self._builder, self._tokenizer = builder, builder.tokenizer
        self._opened = builder.cut.opens_thought
        self.stop_ids = closing_ids(builder.tokenizer)
        known = _HARMONY_TOKENS.issubset(self._tokenizer.get_added_vocab())
        self._final = tuple(self._tokenizer.encode(_HARMONY_FINAL, add_special_tokens=False)) if known else ()

    def read(self, ids: Sequence[int]) -> Written:
        """What was written, the id that ended it included."""
        ended = bool(ids) and ids[-1] in (self._builder.end_id, self._tokenizer.eos_token_id)
        written = tuple(ids[:-1] if ended else ids)
        # By id first: a thought may quote a chart that spells the mark.
        place = next((place for place, one in enumerate(written) if one in self.stop_ids), None)
        if place is not None:
            text = self._text(written[: place + 1])
            return Written((*written[: place + 1], *self._gap(written[place])), self._thought(text))
        text = self._text(written)
        end = end_of_thought(text)
        if end is not None:
            return Written(self._up_to(written, text, end), self._thought(text[:end]))
        if self._opened is None and not begins_thought(text):
            return Written((), "")
        if ended and self._final and text.lstrip().startswith("<|channel|>"):
            return Written((*ids, *self._final), self._thought(text))
        return Written(None, self._thought(text))

    def _thought(self, text: str) -> str:
        return thought_text(text, self._opened is not None)

    def _gap(self, closing_id: int) -> list[int]:
        """Ids of what stands between a closing token and the answer, as they follow it."""
        mark = self._text([closing_id])
        together = self._tokenizer.encode(mark + gap_behind(mark), add_special_tokens=False)
        return list(together[1:]) if together[:1] == [closing_id] else self._builder.plain(gap_behind(mark))

    def _up_to(self, ids: tuple[int, ...], text: str, end: int) -> tuple[int, ...]:
        """The ids of `text[:end]` and of the gap behind it. One that writes more is written anew, as far as it goes."""
        low, high = 0, len(ids)  # the most ids that write no more than that
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self._text(ids[:middle])) <= end else (low, middle - 1)
        whole = len(self._text(ids[:low]))
        rest = text[whole:end] + gap_behind(text[max(0, text.rfind("<", 0, end)) : end])
        # Some tokenizers begin each text with the mark of a word, which does not belong here.
        before = text[max(0, whole - 1) : whole]
        lead, together = self._builder.plain(before), self._builder.plain(before + rest)
        joined = together[: len(lead)] == lead
        return (*ids[:low], *(together[len(lead) :] if joined else self._builder.plain(rest)))

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
