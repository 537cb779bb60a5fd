"""Plots as inline SVG: no script, no font, no outside resource; colours come from the page's style, light or dark.

In: figures. Out: `Markup`. What must hold: every label is escaped; a figure that is not defined is not drawn as 0.
Coordinates are in SVG user units; a plot is 400 wide, so that its text stays legible on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import MetricInfo
from chartdistill.reporting.svg import (
    BASE,
    LEFT,
    QUARTERS,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    corners,
    element,
    rule_across,
    rules_left,
    svg,
    ticks_below,
    words,
)  # fmt: skip

GUTTER = 104
"""Left of the axis, for labels."""
LABEL_WIDTH = 6.6
"""Of one character of a label; labels get the room they need, up to `WIDEST`."""
WIDEST = 200
MAX_POINTS = 400
"""More points than this on one line are thinned evenly; the last is always kept."""
SHAPES = ("circle", "square", "diamond", "triangle")
AXIS_WIDTHS = (0.02, 0.04, 0.08, 0.2, 0.4, 0.6, 0.8)
"""Of an axis that begins at 0 or ends at 1, so that its quarters are round."""


class Interval(NamedTuple):
    """One marker with its whisker: the series (arm) it belongs to and its figure."""

    series: int
    name: str
    estimate: Estimate
    aside: bool = False
    """The axis is not stretched for it: beyond the axis its value stands as text (a base that is far off the others
    would squeeze them together)."""


class Line(NamedTuple):
    """One line of a plot."""

    series: str
    """Style name: `loss` or `validation`."""
    name: str
    points: tuple[tuple[float, float], ...]


Difference = tuple[str, Estimate, str]
"""Label, paired difference, style: `good`, `bad` or `even`, what it shows."""


def interval_plot(
    title: str,
    rows: Sequence[tuple[str, Sequence[Interval]]],
    gutter: int = GUTTER,
    percent: bool = True,
    ends: tuple[float, float] = (0, 1),
) -> Markup:
    """Values with 95% intervals: rows down, arms as markers beside each other.

    `gutter`: the least room for labels. `ends`: of the axis.
    """
    gutter = _gutter([label for label, _ in rows], gutter)
    low, high = ends
    scale = Scale(low, high, gutter, WIDTH - RIGHT)
    parts: list[Markup] = []
    y = 10.0
    for label, marks in rows:
        height = 13 * max(1, len(marks)) + 9
        parts.append(_row_label(label, y + height / 2, gutter))
        parts += [_marker(entry, scale, y + 10 + 13 * place, percent) for place, entry in enumerate(marks)]
        y += height
        parts.append(element("line", class_="rule", x1=0, x2=WIDTH, y1=y, y2=y))
    values = [low + (high - low) * share for share in QUARTERS]
    ticks = [(value, f"{100 * value:.3g}%" if percent else f"{value:.3g}") for value in values]
    return svg(title, y + 22, [*ticks_below(scale, y, ticks), *parts])


def metric_plot(metric: MetricInfo, rows: Sequence[tuple[str, Sequence[Interval]]], gutter: int = GUTTER) -> Markup:
    """One metric's values with 95% intervals, on an axis that ends just outside those that are not set aside."""
    return interval_plot(metric.title, rows, gutter, metric.form == "share", _ends(rows))


def _ends(rows: Sequence[tuple[str, Sequence[Interval]]]) -> tuple[float, float]:
    """Of an axis between 0 and 1: from one of its ends to just beyond the values, or a part around them."""
    marks = [mark for _, of in rows for mark in of]
    spans = (mark.estimate for mark in marks if not mark.aside or all(other.aside for other in marks))
    found = [end for e in spans for end in (e.low, e.value, e.high) if end is not None]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    for width in AXIS_WIDTHS:
        if high <= width:
            return 0.0, width
        if low >= 1 - width:
            return 1 - width, 1.0
    return 0.0, 1.0


def line_plot(title: str, lines: Sequence[Line], across: str) -> Markup:
    """Values over steps, on a log axis, so that what is small at the end can still be told apart.

    Values of 0 or less have no place on such an axis: they lie on its lower edge.
    """
    points = [point for line in lines for point in line.points]
    right = max((x for x, _ in points), default=1) or 1
    ticks = _decades([y for _, y in points if y > 0] or [1.0])
    over, up = Scale(0, right, LEFT, WIDTH - RIGHT), Scale(math.log(ticks[0]), math.log(ticks[-1]), BASE, TOP)
    parts = rules_left(up, [(math.log(tick), f"{tick:.3g}") for tick in ticks])
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        parts.append(words(over.at(right * share), BASE + 16, f"{right * share:,.0f}", anchor))
    parts.append(words((LEFT + WIDTH) / 2, BASE + 29, across, "middle"))
    for line in lines:
        shown = _thin(line.points)
        places = [(over.at(x), up.at(math.log(max(y, ticks[0])))) for x, y in shown]
        parts.append(element("polyline", class_=f"line {line.series}", points=corners(*places)))
        if line.series == "validation":
            hints = [element("title", f"{y:.4g} at {x:,.0f}") for x, y in shown]
            parts += [
                element("circle", hint, class_="point", cx=x, cy=y, r=3)
                for (x, y), hint in zip(places, hints, strict=True)
            ]
    return svg(title, BASE + 32, parts)


def _decades(values: Sequence[float]) -> list[float]:
    """Ticks of a log axis around the values: 1, 2 and 5 of each power of ten; where those are many, powers alone."""
    low, high = (math.floor(math.log10(end)) for end in (min(values), max(values)))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [step * 10.0**power for power in range(low, high + 2) for step in steps]
    first = max((place for place, tick in enumerate(ticks) if tick <= min(values)), default=0)
    last = next(place for place, tick in enumerate(ticks) if tick >= max(values) and place > first)
    return ticks[first : last + 1]


def bar_plot(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, int]]]]) -> Markup:
    """Counts as stacked bars: per row (style name, part name, count); the total stands at the end."""
    totals = [sum(count for *_, count in parts) for _, parts in rows]
    scale = Scale(0, max(totals, default=0) or 1, _gutter([label for label, _ in rows]), WIDTH - 60)
    drawn: list[Markup] = []
    for place, ((label, parts), total) in enumerate(zip(rows, totals, strict=True)):
        y = 4.0 + 24 * place
        drawn += _stacked(label, [(style, f"{name}: {count}", count) for style, name, count in parts], scale, y)
        drawn.append(words(scale.at(total) + 6, y + 14, f"{total:,}", "start"))
    return svg(title, 6 + 24 * len(rows), drawn)


def share_bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]], gutter: int) -> Markup:
    """Shares that add up to one, as stacked bars: per row (style name, part name, share)."""
    scale = Scale(0, 1, _gutter([label for label, _ in rows], gutter), WIDTH - RIGHT)
    drawn: list[Markup] = []
    for place, (label, parts) in enumerate(rows):
        hinted = [(style, f"{name}: {100 * share:.0f}%", share) for style, name, share in parts]
        drawn += _stacked(label, hinted, scale, 4.0 + 24 * place)
    y = 4.0 + 24 * len(rows)
    return svg(title, y + 22, [*ticks_below(scale, y, [(tick, f"{100 * tick:g}%") for tick in QUARTERS]), *drawn])


def difference_plot(title: str, rows: Sequence[Difference], percent: bool) -> Markup:
    """Paired differences with 95% intervals about a line at 0; each label above its interval."""
    ends = [abs(end) for _, e, _ in rows for end in (e.low, e.high, e.value) if end is not None]
    top = _round_up(max(ends, default=0.1) or 0.1, (1, 2, 4, 6, 8, 10), slack=1e-12)
    scale = Scale(-top, top, 28, WIDTH - 28)
    parts: list[Markup] = []
    y = 4.0
    for label, estimate, style in rows:
        parts += [words(RIGHT, y + 12, label, "start"), _difference(estimate, scale, y + 24, style, percent)]
        y += 36
        parts.append(element("line", class_="rule", x1=0, x2=WIDTH, y1=y, y2=y))
    unit = " pp" if percent else ""
    ticks = [
        (tick, f"{100 * tick if percent else tick:+.3g}{unit}" if tick else "0")
        for tick in (-top, -top / 2, 0, top / 2, top)
    ]
    zero = element("line", class_="zero", x1=scale.at(0), x2=scale.at(0), y1=4, y2=y)
    return svg(title, y + 22, [*ticks_below(scale, y, ticks), zero, *parts])


def curve_plot(
    title: str, points: Sequence[tuple[int, Estimate, Sequence[float]]], reference: Estimate, across: str
) -> Markup:
    """A score over sizes on a log axis: 95% intervals, each seed as a faint dot, the reference arm as a band.

    `points`: (size, pooled estimate, one value per seed).
    """
    sizes = [size for size, *_ in points]
    over = Scale(math.log(min(sizes)), math.log(max(sizes) * 1.0001), LEFT + 14, WIDTH - RIGHT - 14)
    up = Scale(0, 1, BASE, TOP)
    parts = rules_left(up, [(tick, f"{tick:g}") for tick in QUARTERS])
    if reference.value is not None:
        low, high = (up.at(reference.value if end is None else end) for end in (reference.low, reference.high))
        width, height = WIDTH - RIGHT - LEFT, max(1.0, low - high)
        parts.append(element("rect", class_="band", x=LEFT, y=high, width=width, height=height))
        parts.append(rule_across("line", up.at(reference.value)))
    known = [
        (over.at(math.log(size)), up.at(e.value), size, e, seeds) for size, e, seeds in points if e.value is not None
    ]
    path = corners(*((x, y) for x, y, *_ in known))
    parts.append(element("polyline", class_="line validation", points=path))
    for x, y, size, estimate, seeds in known:
        group = [element("circle", class_="seed", cx=x + 5, cy=up.at(seed), r=2) for seed in seeds]
        if estimate.low is not None and estimate.high is not None:
            low, high = up.at(estimate.low), up.at(estimate.high)
            group.insert(0, element("line", class_="whisker arm-0", x1=x, x2=x, y1=low, y2=high))
        group.append(element("circle", class_="point", cx=x, cy=y, r=3.5))
        parts.append(element("g", *group, element("title", f"{estimate.value:.3f} at {size:,}")))
        parts.append(words(x, BASE + 16, f"{size:,}", "middle"))
    parts.append(words((LEFT + WIDTH) / 2, BASE + 32, across, "middle"))
    return svg(title, BASE + 40, parts)


def scaled(estimate: Estimate, top: float) -> Estimate:
    """An estimate as a share of `top`, for plots whose axis runs from 0 to 1."""
    ends = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return estimate.model_copy(update={name: None if end is None else end / top for name, end in ends.items()})


def legend_mark(series: int) -> Markup:
    """The marker of one arm, to stand in a legend."""
    return Markup('<svg class="key" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{}</svg>').format(
        _shape(series, 7.0, 7.0)
    )


def _marker(entry: Interval, scale: Scale, y: float, percent: bool) -> Markup:
    series, name, estimate, _ = entry
    if estimate.value is None:
        return element("text", f"{name}: not defined", class_="small", x=scale.start + 2, y=y + 4)
    value = f"{100 * estimate.value:.1f}%" if percent else f"{estimate.value:.3f}"
    if estimate.value < scale.low:
        return element("text", f"\u25c2 {name} {value}", class_="small", x=scale.start + 2, y=y + 4)
    if estimate.value > scale.high:
        return element("text", f"{name} {value} \u25b8", class_="small", x=scale.end, y=y + 4, text_anchor="end")
    mark = _shape(series, scale.at(estimate.value), y)
    return _whiskered(mark, f"arm-{series}", estimate, scale, y, f"{name}: {value}")


def _difference(estimate: Estimate, scale: Scale, y: float, style: str, percent: bool) -> Markup:
    if estimate.value is None:
        return element("text", "not defined", class_="small", x=RIGHT, y=y + 4)
    mark = element("circle", class_=f"mark {style}", cx=scale.at(estimate.value), cy=y, r=4.2)
    value = f"{100 * estimate.value:+.1f} pp" if percent else f"{estimate.value:+.3f}"
    return _whiskered(mark, style, estimate, scale, y, value)


def _whiskered(mark: Markup, style: str, estimate: Estimate, scale: Scale, y: float, said: str) -> Markup:
    """A marker on its interval; what is said of it shows when it is pointed at."""
    whisker = Markup("")
    if estimate.low is not None and estimate.high is not None:
        low, high = scale.at(estimate.low), scale.at(estimate.high)
        whisker = element("line", class_=f"whisker {style}", x1=low, x2=high, y1=y, y2=y)
    return element("g", whisker, mark, element("title", f"{said} (n {estimate.n})"))


def _stacked(label: str, parts: Iterable[tuple[str, str, float]], scale: Scale, y: float) -> list[Markup]:
    """One bar of (style name, hint, length) parts, and its label."""
    drawn = [_row_label(label, y + 14, int(scale.start))]
    begun = 0.0
    for style, hint, length in parts:
        start, end = scale.at(begun), scale.at(begun + length)
        place = {"x": start, "y": y + 2, "width": max(0.0, end - start), "height": 16}
        drawn.append(element("rect", element("title", hint), class_=f"bar {style}", **place))
        begun += length
    return drawn


def _shape(series: int, x: float, y: float) -> Markup:
    """Arms differ in shape as well as colour, for print and for colour-blind readers."""
    style = f"mark arm-{series}"
    match SHAPES[series % len(SHAPES)]:
        case "circle":
            return element("circle", class_=style, cx=x, cy=y, r=4.2)
        case "square":
            return element("rect", class_=style, x=x - 3.8, y=y - 3.8, width=7.6, height=7.6)
        case "diamond":
            path = corners((x, y - 5.2), (x + 5.2, y), (x, y + 5.2), (x - 5.2, y))
        case _:
            path = corners((x, y - 5), (x + 5, y + 4), (x - 5, y + 4))
    return element("polygon", class_=style, points=path)


def _gutter(labels: Sequence[str], least: int = GUTTER) -> int:
    """Room left of the axis: so much that the longest label is not cut, within reason."""
    return round(min(max([least, *(LABEL_WIDTH * len(label) + 10 for label in labels)]), WIDEST))


def _row_label(label: str, y: float, gutter: int) -> Markup:
    """A label left of the axis; one too long for the room there is shortened, and whole when it is pointed at."""
    length = int((gutter - 8) / LABEL_WIDTH)
    if len(label) <= length:
        return words(gutter - 8, y, label, "end")
    return words(gutter - 8, y, label[: length - 1] + "\u2026", "end", element("title", label))


def _thin(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    stride = math.ceil(len(points) / MAX_POINTS)
    return points if stride <= 1 else (*points[:-1:stride], points[-1])


def _round_up(value: float, steps: Sequence[int], slack: float = 0) -> float:
    """The next of the steps (the last is 10) times a power of ten, which the value may pass by the slack."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value - slack)
