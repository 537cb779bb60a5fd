"""Which records are in the engine together: as many as its KV cache holds, in one window or in two, a step apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chartdistill.engines import AnyEngine, OpenAIEngine
from chartdistill.labelling.options import LabelOptions

T = TypeVar("T")
_CACHE_SHARE = 0.8
"""Share of the engine's KV cache that the prompts of all windows in flight may fill: their records must still be cached
when their second question comes."""


def windows_in_flight(options: LabelOptions, engine: AnyEngine) -> int:
    """By `label.windows_in_flight`; `auto` is two where the engine has a card, or an endpoint probably one."""
    if options.windows_in_flight != "auto":
        return options.windows_in_flight
    import torch

    return 2 if isinstance(engine, OpenAIEngine) or torch.cuda.is_available() else 1


def cache_windows(
    records: Iterable[T], num_tokens: Callable[[T], int], cache_tokens: int | None, most: int
) -> Iterator[list[T]]:
    """As many records at a time as the KV cache holds, `most` at most, so that each is computed once.

    Args:
        num_tokens: what an engine holds while it answers about a record.
        cache_tokens: of the engine (`Generator.cache_tokens`).
    """
    room = float("inf") if cache_tokens is None else _CACHE_SHARE * cache_tokens
    window: list[T] = []
    used = 0
    for record in records:
        size = num_tokens(record)
        if window and (len(window) == most or used + size > room):
            yield window
            window, used = [], 0
        window.append(record)
        used += size
    if window:
        yield window
