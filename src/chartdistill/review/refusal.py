"""What the page is told when something cannot be done: a sentence, and an HTTP status."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """The sentence is for a person; it holds no record text."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def text_of(given: dict[str, Any], name: str, limit: int = 1000) -> str:
    """A text among what the page sent.

    Raises:
        RefusedError: it is missing, none, or too long.
    """
    value = given.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise RefusedError(f"`{name}` must be a text of at most {limit:,} characters.")
    return value


def number_of(given: dict[str, Any], name: str, default: int) -> int:
    """A whole number from 0 on among what the page sent.

    Raises:
        RefusedError: it is none.
    """
    value = given.get(name, default)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):  # JSON of Python has Infinity
        number = -1
    if number < 0 or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise RefusedError(f"`{name}` must be a whole number from 0 on.")
    return number
