"""Values of options of the command line that are numbers: what is allowed, and what is said of another one."""

from __future__ import annotations

import argparse
from contextlib import suppress


def share(text: str) -> float:
    """From 0 to 1.

    Raises:
        ArgumentTypeError: it is none; says what is allowed.
    """
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a number from 0 to 1")


def positive(text: str) -> int:
    """From 1 on.

    Raises:
        ArgumentTypeError: it is none; says what is allowed.
    """
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a whole number from 1 on")
    return int(text)


def port(text: str) -> int:
    """Of TCP; 0: any that is free.

    Raises:
        ArgumentTypeError: it is none; says what is allowed.
    """
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a whole number from 0 to 65535")
    return int(text)
