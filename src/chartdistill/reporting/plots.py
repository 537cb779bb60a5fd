"""Plots as inline SVG: no script, no font, no outside resource; colours come from the page's style, light or dark.

In: figures. Out: `Markup`. What must hold: every label is escaped; a figure that is not defined is not drawn as 0.
Coordinates are in SVG user units; a plot is 400 wide, so that its text stays legible on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import MetricInfo

WIDTH = 400
GUTTER = 104
"""Left of the axis, for labels."""
RIGHT = 20
LEFT = 44
"""Left of an axis that runs up, for its ticks."""
BASE = 190
"""Where an axis that runs up begins; it ends at `TOP`."""
TOP = 12
LABEL_CHARS = 15
MAX_POINTS = 400
"""More points than this on one line are thinned evenly; the last is always kept."""
SHAPES = ("circle", "square", "diamond", "triangle")
QUARTERS = (0, 0.25, 0.5, 0.75, 1)


class Interval(NamedTuple):
    """One marker with its whisker: the series (arm) it belongs to and its figure."""

    series: int
    name: str
    estimate: Estimate


class Line(NamedTuple):
    """One line of a plot."""

    series: str
    """Style name: `loss` or `validation`."""
    name: str
    points: tuple[tuple[float, float], ...]


Difference = tuple[str, Estimate, str]
"""Label, paired difference, style: `good`, `bad` or `even`, what it shows."""


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies; values beyond the axis lie at its end."""
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.start + share * (self.end - self.start)


def interval_plot(
    title: str, rows: Sequence[tuple[str, Sequence[Interval]]], percent: bool, full: bool, gutter: int = GUTTER
) -> Markup:
    """Values with 95% intervals: rows down, arms as markers beside each other.

    `full`: the axis runs from 0 to 1; otherwise it ends just above the highest value. `gutter`: room for labels.
    """
    highest = max(
        (e for _, marks in rows for m in marks for e in (m.estimate.high, m.estimate.value) if e is not None), default=1
    )
    top = 1.0 if full else next((end for end in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if highest <= end), 1.0)
    scale = _Scale(0, top, gutter, WIDTH - RIGHT)
    parts: list[Markup] = []
    y = 10.0
    for label, marks in rows:
        height = 13 * max(1, len(marks)) + 9
        parts.append(_row_label(label, y + height / 2, gutter))
        parts += [_marker(entry, scale, y + 10 + 13 * place, percent) for place, entry in enumerate(marks)]
        y += height
        parts.append(_line("rule", 0, WIDTH, y, y))
    ticks = [(top * share, f"{100 * top * share:.3g}%" if percent else f"{top * share:.3g}") for share in QUARTERS]
    return _svg(title, y + 22, [*_ticks(scale, y, ticks), *parts])


def metric_plot(metric: MetricInfo, rows: Sequence[tuple[str, Sequence[Interval]]], gutter: int = GUTTER) -> Markup:
    """One metric's values with 95% intervals; the axis of one that is better when lower ends near the highest value."""
    return interval_plot(metric.title, rows, metric.form == "share", metric.better != "lower", gutter)


def line_plot(title: str, lines: Sequence[Line], across: str) -> Markup:
    """Values over steps, from 0 upwards."""
    points = [point for line in lines for point in line.points]
    right = max((x for x, _ in points), default=1) or 1
    highest = max((y for _, y in points), default=1) or 1
    step = _round_up(highest / 4, (1, 2, 5, 10))
    top = step * math.ceil(highest / step)
    over, up = _Scale(0, right, LEFT, WIDTH - RIGHT), _Scale(0, top, BASE, TOP)
    parts = _rules(up, [(i * step, f"{i * step:.3g}") for i in range(round(top / step) + 1)])
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        parts.append(_text(over.at(right * share), BASE + 16, f"{right * share:,.0f}", anchor))
    parts.append(_text((LEFT + WIDTH) / 2, BASE + 29, across, "middle"))
    for line in lines:
        shown = _thin(line.points)
        places = [(over.at(x), up.at(y)) for x, y in shown]
        parts.append(_polyline(f"line {line.series}", places))
        if line.series == "validation":
            hints = (f"{y:.4g} at {x:,.0f}" for x, y in shown)
            parts += [_dot("point", *place, 3, hint) for place, hint in zip(places, hints, strict=True)]
    return _svg(title, BASE + 32, parts)


def bar_plot(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, int]]]]) -> Markup:
    """Counts as stacked bars: per row (style name, part name, count); the total stands at the end."""
    totals = [sum(count for *_, count in parts) for _, parts in rows]
    scale = _Scale(0, max(totals, default=0) or 1, GUTTER, WIDTH - 60)
    drawn: list[Markup] = []
    for place, ((label, parts), total) in enumerate(zip(rows, totals, strict=True)):
        y = 4.0 + 24 * place
        drawn += _stacked(label, [(style, f"{name}: {count}", count) for style, name, count in parts], scale, y)
        drawn.append(_text(scale.at(total) + 6, y + 14, f"{total:,}", "start"))
    return _svg(title, 6 + 24 * len(rows), drawn)


def share_bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]], gutter: int) -> Markup:
    """Shares that add up to one, as stacked bars: per row (style name, part name, share)."""
    scale = _Scale(0, 1, gutter, WIDTH - RIGHT)
    drawn: list[Markup] = []
    for place, (label, parts) in enumerate(rows):
        hinted = [(style, f"{name}: {100 * share:.0f}%", share) for style, name, share in parts]
        drawn += _stacked(label, hinted, scale, 4.0 + 24 * place)
    y = 4.0 + 24 * len(rows)
    return _svg(title, y + 22, [*_ticks(scale, y, [(tick, f"{100 * tick:g}%") for tick in QUARTERS]), *drawn])


def difference_plot(title: str, rows: Sequence[Difference], percent: bool) -> Markup:
    """Paired differences with 95% intervals about a line at 0; each label above its interval."""
    ends = [abs(end) for _, e, _ in rows for end in (e.low, e.high, e.value) if end is not None]
    top = _round_up(max(ends, default=0.1) or 0.1, (1, 2, 4, 6, 8, 10), slack=1e-12)
    scale = _Scale(-top, top, 28, WIDTH - 28)
    parts: list[Markup] = []
    y = 4.0
    for label, estimate, style in rows:
        parts += [_text(RIGHT, y + 12, label, "start"), _difference(estimate, scale, y + 24, style, percent)]
        y += 36
        parts.append(_line("rule", 0, WIDTH, y, y))
    unit = " pp" if percent else ""
    ticks = [
        (tick, f"{100 * tick if percent else tick:+.3g}{unit}" if tick else "0")
        for tick in (-top, -top / 2, 0, top / 2, top)
    ]
    zero = _upright("zero", scale.at(0), 4, y)
    return _svg(title, y + 22, [*_ticks(scale, y, ticks), zero, *parts])


def curve_plot(
    title: str, points: Sequence[tuple[int, Estimate, Sequence[float]]], reference: Estimate, across: str
) -> Markup:
    """A score over sizes on a log axis: 95% intervals, each seed as a faint dot, the reference arm as a band.

    `points`: (size, pooled estimate, one value per seed).
    """
    sizes = [size for size, *_ in points]
    over = _Scale(math.log(min(sizes)), math.log(max(sizes) * 1.0001), LEFT + 14, WIDTH - RIGHT - 14)
    up = _Scale(0, 1, BASE, TOP)
    parts = _rules(up, [(tick, f"{tick:g}") for tick in QUARTERS])
    if reference.value is not None:
        low, high = (up.at(reference.value if end is None else end) for end in (reference.low, reference.high))
        band = Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>')
        parts.append(band.format(LEFT, high, WIDTH - RIGHT - LEFT, max(1, low - high)))
        parts.append(_line("line", LEFT, WIDTH - RIGHT, up.at(reference.value), up.at(reference.value)))
    known = [
        (over.at(math.log(size)), up.at(e.value), size, e, seeds) for size, e, seeds in points if e.value is not None
    ]
    parts.append(_polyline("line validation", [(x, y) for x, y, *_ in known]))
    for x, y, size, estimate, seeds in known:
        group = [_dot("seed", x + 5, up.at(seed), 2) for seed in seeds]
        if estimate.low is not None and estimate.high is not None:
            group.insert(0, _upright("whisker arm-0", x, f"{up.at(estimate.low):.1f}", f"{up.at(estimate.high):.1f}"))
        parts.append(_group([*group, _dot("point", x, y, 3.5)], f"{estimate.value:.3f} at {size:,}"))
        parts.append(_text(x, BASE + 16, f"{size:,}", "middle"))
    parts.append(_text((LEFT + WIDTH) / 2, BASE + 32, across, "middle"))
    return _svg(title, BASE + 40, parts)


def scaled(estimate: Estimate, top: float) -> Estimate:
    """An estimate as a share of `top`, for plots whose axis runs from 0 to 1."""
    ends = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return estimate.model_copy(update={name: None if end is None else end / top for name, end in ends.items()})


def legend_mark(series: int) -> Markup:
    """The marker of one arm, to stand in a legend."""
    return Markup('<svg class="key" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{}</svg>').format(
        _shape(series, 7, 7)
    )


def _marker(entry: Interval, scale: _Scale, y: float, percent: bool) -> Markup:
    series, name, estimate = entry
    if estimate.value is None:
        return _undefined(scale.start + 2, y, f"{name}: not defined")
    mark = _shape(series, scale.at(estimate.value), y)
    value = f"{100 * estimate.value:.1f}%" if percent else f"{estimate.value:.3f}"
    return _group([_whisker(f"arm-{series}", estimate, scale, y), mark], f"{name}: {value} (n {estimate.n})")


def _difference(estimate: Estimate, scale: _Scale, y: float, style: str, percent: bool) -> Markup:
    if estimate.value is None:
        return _undefined(RIGHT, y, "not defined")
    mark = _dot(f"mark {style}", scale.at(estimate.value), y, 4.2)
    value = f"{100 * estimate.value:+.1f} pp" if percent else f"{estimate.value:+.3f}"
    return _group([_whisker(style, estimate, scale, y), mark], f"{value} (n {estimate.n})")


def _whisker(style: str, estimate: Estimate, scale: _Scale, y: float) -> Markup:
    if estimate.low is None or estimate.high is None:
        return Markup("")
    return _line(f"whisker {style}", f"{scale.at(estimate.low):.1f}", f"{scale.at(estimate.high):.1f}", y, y)


def _stacked(label: str, parts: Iterable[tuple[str, str, float]], scale: _Scale, y: float) -> list[Markup]:
    """One bar of (style name, hint, length) parts, and its label."""
    drawn = [_row_label(label, y + 14, int(scale.start))]
    begun = 0.0
    for style, hint, length in parts:
        start, end = scale.at(begun), scale.at(begun + length)
        bar = Markup('<rect class="bar {}" x="{:.1f}" y="{}" width="{:.1f}" height="16"><title>{}</title></rect>')
        drawn.append(bar.format(style, start, y + 2, max(0, end - start), hint))
        begun += length
    return drawn


def _ticks(scale: _Scale, bottom: float, ticks: Iterable[tuple[float, str]]) -> list[Markup]:
    """The axis below a plot: at each value an upright line and its label."""
    return [
        _upright("grid", scale.at(value), 4, bottom) + _text(scale.at(value), bottom + 16, label, "middle")
        for value, label in ticks
    ]


def _rules(up: _Scale, ticks: Iterable[tuple[float, str]]) -> list[Markup]:
    """The axis left of a plot: at each value a line across and its label."""
    return [
        _line("rule", LEFT, WIDTH - RIGHT, up.at(value), up.at(value)) + _text(LEFT - 6, up.at(value) + 4, label, "end")
        for value, label in ticks
    ]


def _line(style: str, x1: float | str, x2: float | str, y1: float | str, y2: float | str) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(style, x1, x2, y1, y2)


def _upright(style: str, x: float, y1: float | str, y2: float | str) -> Markup:
    return _line(style, f"{x:.1f}", f"{x:.1f}", y1, y2)


def _polyline(style: str, points: Iterable[tuple[float, float]]) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(style, _corners(*points))


def _dot(style: str, x: float, y: float, radius: float, hint: str = "") -> Markup:
    end = Markup("><title>{}</title></circle>").format(hint) if hint else Markup("/>")
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"{}').format(style, x, y, radius, end)


def _group(parts: Iterable[Markup], hint: str) -> Markup:
    return Markup("<g>{}<title>{}</title></g>").format(Markup("").join(parts), hint)


def _shape(series: int, x: float, y: float) -> Markup:
    """Arms differ in shape as well as colour, for print and for colour-blind readers."""
    style = f"mark arm-{series}"
    match SHAPES[series % len(SHAPES)]:
        case "circle":
            return _dot(style, x, y, 4.2)
        case "square":
            square = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="7.6" height="7.6"/>')
            return square.format(style, x - 3.8, y - 3.8)
        case "diamond":
            path = _corners((x, y - 5.2), (x + 5.2, y), (x, y + 5.2), (x - 5.2, y))
        case _:
            path = _corners((x, y - 5), (x + 5, y + 4), (x - 5, y + 4))
    return Markup('<polygon class="{}" points="{}"/>').format(style, path)


def _corners(*points: tuple[float, float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, full: str = "") -> Markup:
    hint = Markup("<title>{}</title>").format(full) if full and full != text else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(x, y, anchor, text, hint)


def _undefined(x: float, y: float, text: str) -> Markup:
    return Markup('<text class="small" x="{}" y="{}">{}</text>').format(x, y + 4, text)


def _row_label(label: str, y: float, gutter: int) -> Markup:
    """A label left of the axis, shortened to the room there."""
    length = LABEL_CHARS * gutter // GUTTER
    short = label if len(label) <= length else label[: length - 1] + "\u2026"
    return _text(gutter - 8, y, short, "end", label)


def _thin(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    stride = math.ceil(len(points) / MAX_POINTS)
    return points if stride <= 1 else (*points[:-1:stride], points[-1])


def _round_up(value: float, steps: Sequence[int], slack: float = 0) -> float:
    """The next of the steps (the last is 10) times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value - slack)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="plot" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, Markup("").join(parts)
    )
