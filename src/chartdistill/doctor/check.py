"""One line of the page: something that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "no"]


@dataclass(frozen=True)
class Check:
    """One thing looked at. Only `no` forbids the run."""

    name: str
    state: State
    found: str
    remedy: str = ""
    """What to do, when the state is not ok."""
    command: str = ""
    """What does it, to be copied as it is."""
