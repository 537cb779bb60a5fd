"""The pieces of a plot: elements of SVG, scales, axes.

In: numbers and text. Out: `Markup`. What must hold: all text is escaped; an element says nothing of how it looks but
its class. Coordinates are in SVG user units; a plot is `WIDTH` wide, so that its text stays legible on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 400
RIGHT = 20
LEFT = 44
"""Left of an axis that runs up, for its ticks."""
BASE = 190
"""Where an axis that runs up begins; it ends at `TOP`."""
TOP = 12
QUARTERS = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class Scale:
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies; values beyond the axis lie at its end."""
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.start + share * (self.end - self.start)


def ticks_below(scale: Scale, bottom: float, ticks: Iterable[tuple[float, str]]) -> list[Markup]:
    """The axis below a plot: at each value an upright line and its label."""
    parts = []
    for x, label in ((scale.at(value), label) for value, label in ticks):
        parts.append(element("line", class_="grid", x1=x, x2=x, y1=4, y2=bottom))
        parts.append(words(x, bottom + 16, label, "middle"))
    return parts


def rules_left(up: Scale, ticks: Iterable[tuple[float, str]]) -> list[Markup]:
    """The axis left of a plot: at each value a line across and its label."""
    parts = []
    for y, label in ((up.at(value), label) for value, label in ticks):
        parts += [rule_across("rule", y), words(LEFT - 6, y + 4, label, "end")]
    return parts


def rule_across(style: str, y: float) -> Markup:
    """A line over the whole of a plot, at its exact height."""
    return element("line", class_=style, x1=LEFT, x2=WIDTH - RIGHT, y1=str(y), y2=str(y))


def corners(*points: tuple[float, float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def words(x: float, y: float, text: str, anchor: str, *hint: Markup) -> Markup:
    return element("text", text, *hint, x=float(x), y=float(y), text_anchor=anchor)


def element(name: str, *content: str, **attributes: float | str) -> Markup:
    """One element of SVG, with text escaped and floats to one decimal; `class_` stands for class, `_` for a hyphen."""
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    )
    if not content:
        return Markup("<{}{}/>").format(name, written)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(content))


def svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="plot" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, Markup("").join(parts)
    )
