"""Whether an engine can be given a model's prompts: said before it starts, which may take minutes."""

from __future__ import annotations

from typing import Literal, Protocol

from chartdistill.errors import ConfigError
from chartdistill.prompting.chat_template import PINNED_DAY
from chartdistill.prompting.prompts import PromptBuilder


class _Engine(Protocol):
    @property
    def makes_prompts(self) -> bool: ...

    @property
    def constrains_from_start(self) -> bool: ...


def require_fit(
    engine: _Engine,
    builder: PromptBuilder,
    role: Literal["teacher", "student"],
    constrained: bool,
    thinks: bool = False,
) -> None:
    """Refuse what would make answers of thoughts, or one label of the prompts of two days.

    Args:
        builder: of the model that `engine` runs.
        role: whose options the error names.
        constrained: any answer is held to a format while it is written (gates always are).
        thinks: answers are asked for behind a thought.

    Raises:
        ConfigError: which option to set.
    """
    if engine.makes_prompts:
        _require_one_date(builder, role)
    elif role == "student":
        require_answer_place(builder)
    elif constrained and not thinks and engine.constrains_from_start:
        _require_no_thought(builder)


def require_answer_place(builder: PromptBuilder) -> None:
    """Of the student's prompts: its answers must not stand inside a thought, where they would be learned, too.

    Raises:
        ConfigError: which option to set.
    """
    if builder.cut.opens_thought is not None:
        raise ConfigError(
            f"{_template_of(builder, 'student')} begins every answer inside a thought ({builder.cut.opens_thought}), "
            "and the student learns answers without one. Set student.template_options: {enable_thinking: false}: the "
            "thought is then closed before the answer."
        )


def _template_of(builder: PromptBuilder, role: str) -> str:
    return f"the chat template of the {role} ({builder.tokenizer.name_or_path!r})"


def _require_one_date(builder: PromptBuilder, role: str) -> None:
    if builder.cut.asks_date:
        raise ConfigError(
            f"{_template_of(builder, role)} prints today's date, and with {role}.engine.api: chat the endpoint writes "
            "its own, so that answers of two days would answer different prompts. Use api: completions (the date "
            f"is then always {PINNED_DAY:%d %b %Y}), or where both take it set {role}.template_options: "
            f'{{date_string: "{PINNED_DAY:%d %b %Y}"}}.'
        )


def _require_no_thought(builder: PromptBuilder) -> None:
    if builder.cut.opens_thought is not None:
        raise ConfigError(
            f"{_template_of(builder, 'teacher')} begins every answer inside a thought ({builder.cut.opens_thought}), "
            "and constrained decoding holds an answer to its format from the first token, so a thought would become "
            "items. Set teacher.template_options: {enable_thinking: false}."
        )
    if builder.cut.thinks_unless_told:
        raise ConfigError(
            f"{_template_of(builder, 'teacher')} lets the model think before it answers unless it is told not to, and "
            "constrained decoding leaves no room for that, so it would be made to answer otherwise than it does. Set "
            "teacher.template_options: {enable_thinking: false}, and it answers at once; or {enable_thinking: true}, "
            "and it thinks first (label.thinking.max_tokens is the room for that, and what it costs)."
        )
