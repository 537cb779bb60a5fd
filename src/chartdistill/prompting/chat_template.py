"""A tokenizer's chat template, rendered once around marks: what stands before a record and behind a question.

In: a tokenizer, the system text, template options. Out: text, with what had to be done so that it can be used. Must
hold: the system text and the user's text are in it whole; two renderings are the same on any day; the place of the
answer is not inside a thought, unless `opens_thought` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.prompting.thoughts import closing_mark, has_closed_thought, open_thought

PINNED_DAY = datetime(2024, 7, 26)
"""What a template that asks for today's date is told: the date that those of Llama 3 print where there is no clock.
Otherwise the labels of two days would answer different prompts. A template that takes a date as an option
(`template_options: {date_string: ...}`) does not ask."""
THINKING = "enable_thinking"
"""The template option that most models know."""

_RECORD, _QUESTION, _ANSWER = "\ue000RECORD\ue001", "\ue000QUESTION\ue001", "\ue000ANSWER\ue001"


@dataclass(frozen=True)
class TemplateCut:
    """A rendered chat template, cut at the record and at the question."""

    head: str
    """All before the record, without worked examples."""
    tail: str
    """All between question and answer."""
    after_answer: str
    system_in_user: bool
    """The template has no place for the system text, so it opens the user's turn."""
    system_was_dropped: bool
    """The template takes a system turn, and leaves its text out without a word."""
    asks_date: bool
    """It prints today's date, and was told `PINNED_DAY`."""
    opens_thought: str | None
    """The mark of a thought that `tail` leaves open: what a model writes begins inside it."""
    closed_thought: bool
    """`tail` ends with a thought that was opened by the template and closed here, since thinking is to be off."""
    thinks_unless_told: bool
    """Whether the template lets the model think, and would not with `enable_thinking: false`."""
    around_turns: tuple[str, ...] = ()
    """With n turns before the record: what stands before, between and behind their 2 n texts (asked, answered, ...)."""

    @property
    def departures(self) -> dict[str, Any]:
        """What makes the prompts other than the template alone would: for hashes of what was asked with."""
        found = {
            "system_in_user": self.system_was_dropped,
            "date": f"{PINNED_DAY:%Y-%m-%d}" if self.asks_date else None,
            "closed_thought": self.closed_thought,
        }
        return {name: value for name, value in found.items() if value}


def cut_template(tokenizer: Any, system: str, options: dict[str, Any], num_turns: int = 0) -> TemplateCut:
    """Render a tokenizer's chat template and cut it, with `num_turns` questions and answers before the record.

    Raises:
        ModelError: it drops, repeats or reorders the user's text, or drops the system text wherever it is put.
    """
    user = {"role": "user", "content": _RECORD + _QUESTION}
    template = _Template(tokenizer, system, options)
    rendered = template.render([user], True)
    if rendered.count(_RECORD + _QUESTION) != 1:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path!r} does not keep the user's text once and in order "
            f"(found {rendered.count(_RECORD)} times), so record and question cannot be placed. "
            "Fix the template or use another model."
        )
    head, _, tail = rendered.partition(_RECORD + _QUESTION)
    around_turns = _cut_turns(template, user, num_turns, tail) if num_turns else ()
    closing = template.render([user, {"role": "assistant", "content": _ANSWER}], False)
    opened, closed_thought = open_thought(tail), False
    if opened is not None and options.get(THINKING) is False:
        tail, closed_thought = tail + _closing(tokenizer, tail, opened), True
    return TemplateCut(
        head=head,
        tail=tail,
        after_answer=closing.rsplit(_ANSWER, 1)[-1],
        system_in_user=template.system_in_user,
        system_was_dropped=template.system_was_dropped,
        asks_date=template.asks_date,
        opens_thought=None if closed_thought else opened,
        closed_thought=closed_thought,
        thinks_unless_told=opened is None and _thinks_unless_told(template, user, tail, options),
        around_turns=around_turns,
    )


def _cut_turns(template: _Template, user: dict[str, str], num_turns: int, tail: str) -> tuple[str, ...]:
    """What the template writes around earlier turns, and before the record.

    Raises:
        ModelError: it drops, repeats or reorders them, or ends the prompt otherwise because of them.
    """
    from jinja2.exceptions import TemplateError

    marks = [f"\ue000{side} {number}\ue001" for number in range(num_turns) for side in ("ASKED", "ANSWERED")]
    turns = [{"role": ("user", "assistant")[place % 2], "content": mark} for place, mark in enumerate(marks)]
    pieces: list[str] = []
    try:
        rest = template.render([*turns, user], True)
        kept = all(rest.count(mark) == 1 for mark in marks)
    except TemplateError:
        rest, kept = "", False
    for mark in [*marks, _RECORD + _QUESTION]:
        piece, found, rest = rest.partition(mark)
        pieces.append(piece)
        kept = kept and bool(found)
    if not kept or rest != tail:
        raise ModelError(
            f"the chat template of {template.name!r} does not keep earlier questions and answers as they are, so "
            "worked examples cannot stand before the record. Set `examples: false` for this model, or use another one."
        )
    return tuple(pieces)


def _closing(tokenizer: Any, tail: str, opened: str) -> str:
    """What makes of an open thought an empty one, as Qwen3's template writes it: `<think>`, blank line, `</think>`."""
    mark = closing_mark(opened)
    if mark is None:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path!r} opens a thought with {opened!r} in spite of "
            f"`{THINKING}: false`, and it is not known how such a thought is closed. Use another model."
        )
    return "\n" * (1 if tail.endswith("\n") else 2) + mark + "\n\n"


def _thinks_unless_told(template: _Template, user: dict[str, str], tail: str, options: dict[str, Any]) -> bool:
    if has_closed_thought(tail) or options.get(THINKING) is False:
        return False
    silent = template.with_options({**options, THINKING: False}).render([user], True)
    return has_closed_thought(silent.partition(_RECORD + _QUESTION)[2])


class _Template:
    """One tokenizer's template with one system text, which is put where the template keeps it."""

    def __init__(self, tokenizer: Any, system: str, options: dict[str, Any]) -> None:
        self._tokenizer, self._system, self._options = tokenizer, system, options
        self.name = tokenizer.name_or_path
        self.system_in_user = self.system_was_dropped = self.asks_date = False
        self._place_system()

    def with_options(self, options: dict[str, Any]) -> _Template:
        return _Template(self._tokenizer, self._system, options)

    def render(self, turns: list[dict[str, str]], generation_prompt: bool) -> str:
        """The turns behind the system text, as the template writes them."""
        if self.system_in_user:
            # Gemma and others know no system role: its text opens the user's turn instead.
            first = {**turns[0], "content": f"{self._system}\n\n{turns[0]['content']}"}
            messages = [first, *turns[1:]]
        else:
            messages = [{"role": "system", "content": self._system}, *turns]
        return str(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=generation_prompt,
                **{"strftime_now": self._date, **self._options},
            )
        )

    def _place_system(self) -> None:
        from jinja2.exceptions import TemplateError

        user = [{"role": "user", "content": _RECORD}]
        try:
            kept = self._is_in(self.render(user, True))
            self.system_was_dropped = not kept
        except TemplateError:
            kept = False
        if kept:
            return
        self.system_in_user = True
        try:
            kept = self._is_in(self.render(user, True))
        except TemplateError as error:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path!r} refuses a question, with and without a system "
                f"turn ({error}). Fix the template or use another model."
            ) from error
        if not kept:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path!r} leaves out the system text (config: `system`), "
                "as a turn of its own and at the start of the user's turn. Fix the template or use another model."
            )

    def _is_in(self, rendered: str) -> bool:
        """Templates may trim the system text and break its lines otherwise."""
        return "".join(self._system.split()) in "".join(rendered.split())

    def _date(self, form: str) -> str:
        """In place of the clock that transformers gives to templates (`strftime_now`)."""
        self.asks_date = True
        return PINNED_DAY.strftime(form)
