"""The diagnosis as a page for a person: what was looked at, then the figures with their formulas, then the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from chartdistill.doctor.diagnosis import Diagnosis
from chartdistill.doctor.machine import MIB
from chartdistill.runtime.machine import GIB

_MARKS = {"ok": " ok ", "warning": "look", "no": " NO "}
_WIDTH = 120
_COLUMN = 31
"""Where what was found begins."""


def show(diagnosis: Diagnosis, config: Path, brief: bool = False) -> str:
    """The page; `brief`: only what is amiss, and the verdict."""
    lines = [f"doctor: {config}"]
    for check in diagnosis.checks:
        if brief and check.state == "ok":
            continue
        lines += _hanging(f"  {_MARKS[check.state]}  {check.name:<22} ", check.found)
        lines += _hanging(" " * _COLUMN + "-> ", check.remedy) if check.remedy else []
        lines += [f"          {check.command}"] if check.command else []  # unbroken, so that it can be copied
    lines += [] if brief else _figures(diagnosis)
    return "\n".join([*lines, _verdict(diagnosis)])


def _verdict(diagnosis: Diagnosis) -> str:
    wrong = sum(check.state == "no" for check in diagnosis.checks)
    if wrong:
        return f"NO-GO: {wrong} {'thing' if wrong == 1 else 'things'} to put right, see above"
    return "GO, by plan: what is marked `look` must be there first" if diagnosis.planned else "GO"


def _hanging(head: str, text: str) -> list[str]:
    """Text after a head, its further lines under its first; words (paths, commands) are never broken."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _figures(diagnosis: Diagnosis) -> Iterator[str]:
    for name, plan in diagnosis.memory.items():
        yield f"memory, estimate: {name}: {_size(plan.bytes)} of {_size(plan.room_bytes)}"
        for part in plan.parts:
            yield from _hanging(f"    {_size(part.bytes):>10}  ", f"{part.name}: {part.how}")
    for name, time in diagnosis.time.items():
        yield f"time, estimate: {name}: {in_words(time.likely_s)}, at least {in_words(time.floor_s)}"
        yield from _hanging("    ", time.how)
        yield from _hanging("    not in it: ", time.not_in_it)
    if not diagnosis.time:
        yield "time: not estimated; that needs a card whose peaks are known here (see --cards)"


def _size(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= 0.1 * GIB else f"{count / MIB:.1f} MiB"


def in_words(seconds: float) -> str:
    """A time as a person says it: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
