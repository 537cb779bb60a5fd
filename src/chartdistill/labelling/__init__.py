"""How the teacher is asked: gates, lists and checks, in samples and chunks, put together into one label.

Strategies, chosen per task:

- `chain`: the gate question (yes, no or unclear), then the extraction question after a yes, the consolidated
  question after an unclear.
- `direct`: the consolidated question.
- `verify`: `chain`, then every item is asked about by itself: whether it holds (yes, no or unclear), with which
  status, and which words of the chart say so. The filter `verification` acts on the answers.

All prompts of a record stand next to each other in every call to the engine, so that its tokens are computed once.
"""

from __future__ import annotations

from chartdistill.labelling.constraint import SPANS, Constraint, constrained
from chartdistill.labelling.labeler import Labeler
from chartdistill.labelling.options import LabelOptions, Strategy
from chartdistill.labelling.thinking import thinking_of
from chartdistill.labelling.thought_file import read_rationales

__all__ = [
    "SPANS",
    "Constraint",
    "LabelOptions",
    "Labeler",
    "Strategy",
    "constrained",
    "read_rationales",
    "thinking_of",
]
