"""What every engine takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """One prompt, as token ids."""

    prompt_ids: Sequence[int]
    max_tokens: int
    """Room for the answer, in tokens."""
    stop_id: int
    """The answer ends at this id; the id itself is not part of the text."""
    choices: tuple[str, ...] = ()
    """When given, the answer is exactly one of these texts."""
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Generation:
    """The answer to one request: `text`, or a `failure` in words. Never both, never neither."""

    text: str | None
    finish_reason: str | None = None
    """`stop` or `length`."""
    failure: str | None = None
    probability: float | None = None
    """Of the first token generated, under the engine's (unconstrained) distribution; None if the engine has none."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens not computed again because another prompt shared them."""
    completion_tokens: int = 0


class Generator(Protocol):
    """An open engine."""

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        """Answer all requests, in their order. One that fails gives a Generation with `failure`.

        Args:
            requests: neighbours that share a prefix are computed once, so order them by record.
            adapter: a PEFT adapter folder to apply; None for the model as it is.
        """
        ...
