"""The student's prompt as text, for programs that take no token ids: what stands around chart and question.

In: the run's `PromptBuilder`. Out: the text before the chart, that between question and answer, what ends an answer.
Must hold: head + chart + blank line + question + tail is what the training prompt spells. A program that cuts this text
into tokens by itself may cut it otherwise where the parts meet (training joins them as ids): parity.py counts that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.prompting.prompts import QUESTION_SEPARATOR, PromptBuilder
from chartdistill.runtime.run_folder import write_text
from chartdistill.schema import Task

PROMPT_FILE = "prompt.json"


@dataclass(frozen=True)
class PromptForm:
    """Text around a chart and its question."""

    head: str
    """Before the chart; control tokens spelled out, worked examples in it."""
    tail: str
    """Between the question and the answer."""
    end: str
    """Spelling of the token that ends an answer."""
    end_id: int
    bos: str | None
    """What `head` begins with, where programs put it there by themselves."""
    bos_id: int | None
    system: str
    template_options: dict[str, Any]

    @classmethod
    def of(cls, builder: PromptBuilder, template_options: dict[str, Any]) -> PromptForm:
        """Of the prompts of a builder."""
        tokenizer, head = builder.tokenizer, builder.cut.head
        if builder.turns:
            before, *around = builder.cut.around_turns
            texts = [text for turn in builder.turns for text in (_asked(turn), turn.answer)]
            head = before + "".join(text + behind for text, behind in zip(texts, around, strict=True))
        bos = str(getattr(tokenizer, "bos_token", None) or "")
        # A template that opens every turn with the "first" token (ChatML) has no token that only begins.
        begins = bool(bos) and head.startswith(bos) and head.count(bos) == 1 and bos not in builder.cut.tail
        return cls(
            head=head,
            tail=builder.cut.tail,
            end=str(tokenizer.convert_ids_to_tokens(builder.end_id)),
            end_id=builder.end_id,
            bos=bos if begins else None,
            bos_id=int(tokenizer.bos_token_id) if begins else None,
            system=builder.system,
            template_options=template_options,
        )

    @property
    def head_without_bos(self) -> str:
        """Of programs that put the first token there by themselves."""
        return self.head.removeprefix(self.bos) if self.bos else self.head

    def asked(self, chart: str, question: str) -> str:
        """The user's text."""
        return chart + QUESTION_SEPARATOR + question

    def text(self, chart: str, question: str) -> str:
        """The whole prompt, without what a program puts first by itself."""
        return self.head_without_bos + self.asked(chart, question) + self.tail

    def write(self, folder: Path, tasks: Sequence[Task], max_answer_tokens: int) -> None:
        """As data, for who asks by a program."""
        values = {
            "head": self.head,
            "between_chart_and_question": QUESTION_SEPARATOR,
            "tail": self.tail,
            "system": self.system,
            "questions": {task.name: task.question for task in tasks},
            "statuses": {task.name: task.statuses for task in tasks},
            "chat_template_kwargs": self.template_options,
            "decoding": {
                "temperature": 0,
                "max_tokens": max_answer_tokens,
                "stop": [self.end],
                "stop_token_ids": [self.end_id],
            },
        }
        write_text(folder / PROMPT_FILE, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _asked(turn: Any) -> str:
    return str(turn.question if turn.chart is None else turn.chart + QUESTION_SEPARATOR + turn.question)
