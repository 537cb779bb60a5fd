"""The drawer of filters: what makes a label unfit to learn from.

A filter is one frozen class whose fields are its YAML keys, with one method:

    check(label, items, record, task) -> list[Rejection]

`items` is `schema.parse_answer(label.completion, task)`, or None where there is no completion or it does not parse.
A rejection without item rejects the label; one with an item drops that item, and is the evidence of the label's
rejection where both come together. An empty list means nothing to object to. To add a filter: one file, one line here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chartdistill.filters.duplicates import Duplicates
from chartdistill.filters.format import Format
from chartdistill.filters.grounding import Grounding
from chartdistill.filters.shape import Shape
from chartdistill.filters.truncation import Truncation

AnyFilter = Annotated[Format | Truncation | Grounding | Duplicates | Shape, Field(discriminator="type")]

DEFAULT_FILTERS: tuple[AnyFilter, ...] = (Format(), Truncation(), Grounding(), Duplicates(), Shape())
"""All filters with their defaults, cheapest first."""

__all__ = ["AnyFilter", "DEFAULT_FILTERS", "Duplicates", "Format", "Grounding", "Shape", "Truncation"]
