"""Numbers on the command line: what is allowed, and that the rest is refused in words."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from chartdistill.runtime import option_values


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (option_values.share, "0", 0.0), (option_values.share, "0.95", 0.95), (option_values.share, "1", 1.0),
        (option_values.positive, "1", 1), (option_values.positive, "64", 64),
        (option_values.port, "0", 0), (option_values.port, "65535", 65535),
    ],
)  # fmt: skip
def test_what_is_allowed_is_taken(kind: Callable[[str], float], text: str, value: float) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((option_values.share, text) for text in ("", "-0.1", "1.01", "nan", "inf", "95%", "0,9")),
        *((option_values.positive, text) for text in ("", "0", "-1", "1.5", "1e3", "٣", "²")),
        *((option_values.port, text) for text in ("", "-1", "65536", "http", "80 ", "٣")),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(kind: Callable[[str], float], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"give a (whole )?number from [01] (to|on)"):
        kind(text)
