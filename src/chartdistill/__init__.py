"""Distil a large open model's reading of patient charts into a small local model, offline."""

from chartdistill.runtime import privacy

__version__ = "0.1.0"

# Engines and trainers start processes of their own; importing this package there installs the same guard.
privacy.enforce_in_child()
