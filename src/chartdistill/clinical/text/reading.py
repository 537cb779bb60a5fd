"""Kinds of finding get texts as they read, and answer in places of the texts as given: see `normalisation.py`.

Put around the public methods of a kind, once, where the class is made: no kind can forget it, and none has to know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from chartdistill.clinical.text.grounding import Alignment
from chartdistill.clinical.text.normalisation import Normalised, normalise
from chartdistill.schema import Item

_READING = ("key", "locate", "evidence", "decided_at", "span", "objection", "overlooked", "contradiction",
            "wrong_details", "details_hold", "dosage")  # fmt: skip
"""Methods with the arguments `text` or `item`, and `chart`, by these names; what they return may hold a place."""


def read_as_normalised(kind: type) -> None:
    """Let the methods that a class defines itself, of those above, see normalised texts."""
    for name in _READING:
        if (method := vars(kind).get(name)) is not None:
            setattr(kind, name, _reading(method))


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def read(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        arguments = given.arguments
        item: Item | None = arguments.get("item")
        words: str = item.text if item is not None else arguments.get("text", "")
        chart: str = arguments.get("chart", "")
        reads, told = normalise(words, chart).text, normalise(chart, words)
        if reads == words and told.text == chart:
            return method(*args, **kwargs)
        as_read = {"text": reads, "item": item and item.model_copy(update={"text": reads}), "chart": told.text}
        arguments.update({name: value for name, value in as_read.items() if name in arguments})
        return _placed(method(*given.args, **given.kwargs), told)

    return read


def _placed(found: Any, told: Normalised) -> Any:
    """What a method returned, with its place (a span, or something that has one) in the original."""
    if isinstance(found, Alignment):
        start, end = told.original_span(found.start, found.end)
        return replace(found, start=start, end=end)
    if isinstance(found, tuple) and isinstance(found[0], int):
        return told.original_span(*found)
    if isinstance(found, tuple) and (span := getattr(found, "span", None)) is not None:
        return found._replace(span=told.original_span(*span))  # type: ignore[attr-defined]
    return found
