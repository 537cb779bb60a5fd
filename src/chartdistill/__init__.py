"""Distil a large open model's reading of patient charts into a small local model, offline.

In Python: `Reader("runs/mine").read(text)` gives what a trained student finds in a chart, see docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chartdistill.runtime import privacy, quiet

if TYPE_CHECKING:
    from chartdistill.reader import FoundItem, Reader, Reading

__version__ = "0.1.0"
__all__ = ["FoundItem", "Reader", "Reading", "__version__"]

# Engines and trainers start processes of their own; importing this package there installs the same guard.
privacy.enforce_in_child()
quiet.quieten_child()


def __getattr__(name: str) -> Any:
    """The names of the Python interface, loaded when they are first asked for: importing this package stays light."""
    if name in ("FoundItem", "Reader", "Reading"):
        return getattr(import_module("chartdistill.reader"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
