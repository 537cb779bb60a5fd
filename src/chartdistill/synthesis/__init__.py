"""New charts written by the teacher from plans, read by it like any other, and kept where plan and reading agree."""

from __future__ import annotations

from chartdistill.synthesis.options import SynthesizeOptions

__all__ = ["SynthesizeOptions"]
