"""Plots as inline SVG: no script, no font, no outside resource; colours come from the page's style, light or dark.

In: figures. Out: `Markup`. What must hold: every label is escaped; a figure that is not defined is not drawn as 0.
Coordinates are in SVG user units; a plot is 400 wide, so that its text stays legible on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chartdistill.metrics.bootstrap import Estimate

WIDTH = 400
GUTTER = 104
"""Left of the axis, for labels."""
RIGHT = 20
LABEL_CHARS = 15
MAX_POINTS = 400
"""More points than this on one line are thinned evenly; the last is always kept."""
SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Interval:
    """One marker with its whisker: the series (arm) it belongs to and its figure."""

    series: int
    name: str
    estimate: Estimate


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    series: str
    """Style name: `loss` or `validation`."""
    name: str
    points: tuple[tuple[float, float], ...]


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
        parts.append(_text(gutter - 8, y + height / 2, _short(label, LABEL_CHARS * gutter // GUTTER), "end", label))
        for place, entry in enumerate(marks):
            parts.append(_marker(entry, scale, y + 10 + 13 * place, percent))
        y += height
        parts.append(Markup('<line class="rule" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, y, y))
    ticks = [top * i / 4 for i in range(5)]
    axis = [_tick(scale.at(tick), 4, y, f"{100 * tick:.3g}%" if percent else f"{tick:.3g}") for tick in ticks]
    return _svg(title, y + 22, [*axis, *parts])


def line_plot(title: str, lines: Sequence[Line], across: str) -> Markup:
    """Values over steps, from 0 upwards."""
    points = [point for line in lines for point in line.points]
    right = max((x for x, _ in points), default=1) or 1
    step = _round_step(max((y for _, y in points), default=1) or 1)
    top = step * math.ceil((max((y for _, y in points), default=1) or 1) / step)
    height, left, base = 220, 44, 190
    over, up = _Scale(0, right, left, WIDTH - RIGHT), _Scale(0, top, base, 12)
    parts = []
    for i in range(round(top / step) + 1):
        y = up.at(i * step)
        parts.append(Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, WIDTH - RIGHT, y, y))
        parts.append(_text(left - 6, y + 4, f"{i * step:.3g}", "end"))
    for share in (0, 0.5, 1):
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(_text(over.at(right * share), base + 16, f"{right * share:,.0f}", anchor))
    parts.append(_text((left + WIDTH) / 2, base + 29, across, "middle"))
    for line in lines:
        shown = _thin(line.points)
        path = " ".join(f"{over.at(x):.1f},{up.at(y):.1f}" for x, y in shown)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(line.series, path))
        if line.series == "validation":
            parts += [
                Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="3"><title>{:.4g} at {:,.0f}</title></circle>')
                .format(over.at(x), up.at(y), y, x)
                for x, y in shown
            ]  # fmt: skip
    return _svg(title, height + 2, parts)


def bar_plot(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, int]]]]) -> Markup:
    """Counts as stacked bars: per row (style name, part name, count); the total stands at the end."""
    highest = max((sum(count for *_, count in parts) for _, parts in rows), default=0) or 1
    scale = _Scale(0, highest, GUTTER, WIDTH - 60)
    drawn: list[Markup] = []
    y = 4.0
    for label, parts in rows:
        drawn.append(_text(GUTTER - 8, y + 14, _short(label), "end", label))
        total = 0
        for style, name, count in parts:
            start, end = scale.at(total), scale.at(total + count)
            drawn.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="{}" width="{:.1f}" height="16"><title>{}: {}</title></rect>')
                .format(style, start, y + 2, max(0, end - start), name, count)
            )  # fmt: skip
            total += count
        drawn.append(_text(scale.at(total) + 6, y + 14, f"{total:,}", "start"))
        y += 24
    return _svg(title, y + 2, drawn)


def difference_plot(title: str, rows: Sequence[tuple[str, Estimate, str]], percent: bool) -> Markup:
    """Paired differences with 95% intervals about a line at 0; each label above its interval.

    `rows`: (label, difference, style: `good`, `bad` or `even`, what it shows).
    """
    ends = [abs(end) for _, e, _ in rows for end in (e.low, e.high, e.value) if end is not None]
    top = _round_up(max(ends, default=0.1) or 0.1)
    scale = _Scale(-top, top, 28, WIDTH - 28)
    parts: list[Markup] = []
    y = 4.0
    for label, estimate, style in rows:
        parts.append(_text(RIGHT, y + 12, label, "start"))
        parts.append(_whisker(estimate, scale, y + 24, style, percent))
        y += 36
        parts.append(Markup('<line class="rule" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, y, y))
    unit = " pp" if percent else ""
    ticks = [
        _tick(scale.at(tick), 4, y, f"{100 * tick if percent else tick:+.3g}{unit}" if tick else "0")
        for tick in (-top, -top / 2, 0, top / 2, top)
    ]
    zero = Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="4" y2="{1}"/>').format(scale.at(0), y)
    return _svg(title, y + 22, [*ticks, zero, *parts])


def _whisker(estimate: Estimate, scale: _Scale, y: float, style: str, percent: bool) -> Markup:
    if estimate.value is None:
        return Markup('<text class="small" x="{}" y="{}">not defined</text>').format(RIGHT, y + 4)
    line = Markup("")
    if estimate.low is not None and estimate.high is not None:
        line = Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
            style, scale.at(estimate.low), scale.at(estimate.high), y, y
        )
    value = f"{100 * estimate.value:+.1f} pp" if percent else f"{estimate.value:+.3f}"
    return Markup('<g>{}<circle class="mark {}" cx="{:.1f}" cy="{}" r="4.2"/><title>{} (n {})</title></g>').format(
        line, style, scale.at(estimate.value), y, value, estimate.n
    )


def curve_plot(
    title: str, points: Sequence[tuple[int, Estimate, Sequence[float]]], reference: Estimate, across: str
) -> Markup:
    """A score over sizes on a log axis: 95% intervals, each seed as a faint dot, the reference arm as a band.

    `points`: (size, pooled estimate, one value per seed).
    """
    height, left, base = 230, 44, 190
    sizes = [size for size, *_ in points]
    over = _Scale(math.log(min(sizes)), math.log(max(sizes) * 1.0001), left + 14, WIDTH - RIGHT - 14)
    up = _Scale(0, 1, base, 12)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = up.at(tick)
        parts.append(Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, WIDTH - RIGHT, y, y))
        parts.append(_text(left - 6, y + 4, f"{tick:g}", "end"))
    if reference.value is not None:
        low, high = (reference.value if end is None else end for end in (reference.low, reference.high))
        parts.append(
            Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
                left, up.at(high), WIDTH - RIGHT - left, max(1, up.at(low) - up.at(high))
            )
        )
        y = up.at(reference.value)
        parts.append(Markup('<line class="line" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, WIDTH - RIGHT, y, y))
    known = [(size, e, seeds) for size, e, seeds in points if e.value is not None]
    path = " ".join(f"{over.at(math.log(size)):.1f},{up.at(e.value or 0):.1f}" for size, e, _ in known)
    parts.append(Markup('<polyline class="line validation" points="{}"/>').format(path))
    for size, estimate, seeds in known:
        x = over.at(math.log(size))
        dots = Markup("").join(
            Markup('<circle class="seed" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(x + 5, up.at(seed)) for seed in seeds
        )
        span = Markup("")
        if estimate.low is not None and estimate.high is not None:
            span = Markup('<line class="whisker arm-0" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
                x, up.at(estimate.low), up.at(estimate.high)
            )
        mark = Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(x, up.at(estimate.value or 0))
        parts.append(
            Markup("<g>{}{}{}<title>{:.3f} at {:,}</title></g>").format(span, dots, mark, estimate.value, size)
        )
        parts.append(_text(x, base + 16, f"{size:,}", "middle"))
    parts.append(_text((left + WIDTH) / 2, base + 32, across, "middle"))
    return _svg(title, height, parts)


def share_bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]], gutter: int) -> Markup:
    """Shares that add up to one, as stacked bars: per row (style name, part name, share)."""
    scale = _Scale(0, 1, gutter, WIDTH - RIGHT)
    drawn: list[Markup] = []
    y = 4.0
    for label, parts in rows:
        drawn.append(_text(gutter - 8, y + 14, _short(label, LABEL_CHARS * gutter // GUTTER), "end", label))
        begun = 0.0
        for style, name, share in parts:
            start, end = scale.at(begun), scale.at(begun + share)
            drawn.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="{}" width="{:.1f}" height="16"><title>{}</title></rect>')
                .format(style, start, y + 2, max(0, end - start), f"{name}: {100 * share:.0f}%")
            )  # fmt: skip
            begun += share
        y += 24
    ticks = [_tick(scale.at(tick), 4, y, f"{100 * tick:g}%") for tick in (0, 0.25, 0.5, 0.75, 1)]
    return _svg(title, y + 22, [*ticks, *drawn])


def scaled(estimate: Estimate, top: float) -> Estimate:
    """An estimate as a share of `top`, for plots whose axis runs from 0 to 1."""

    def of(value: float | None) -> float | None:
        return None if value is None else value / top

    return estimate.model_copy(update={"value": of(estimate.value), "low": of(estimate.low), "high": of(estimate.high)})


def legend_mark(series: int) -> Markup:
    """The marker of one arm, to stand in a legend."""
    return Markup('<svg class="key" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{}</svg>').format(
        _shape(series, 7, 7)
    )


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


def _marker(entry: Interval, scale: _Scale, y: float, percent: bool) -> Markup:
    estimate = entry.estimate
    if estimate.value is None:
        return Markup('<text class="small" x="{}" y="{}">{}: not defined</text>').format(
            scale.start + 2, y + 4, entry.name
        )
    whisker = Markup("")
    if estimate.low is not None and estimate.high is not None:
        whisker = Markup('<line class="whisker arm-{}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
            entry.series, scale.at(estimate.low), scale.at(estimate.high), y, y
        )
    value = f"{100 * estimate.value:.1f}%" if percent else f"{estimate.value:.3f}"
    return Markup("<g>{}{}<title>{}: {} (n {})</title></g>").format(
        whisker, _shape(entry.series, scale.at(estimate.value), y), entry.name, value, estimate.n
    )


def _shape(series: int, x: float, y: float) -> Markup:
    """Arms differ in shape as well as colour, for print and for colour-blind readers."""
    style = f"mark arm-{series}"
    match SHAPES[series % len(SHAPES)]:
        case "circle":
            return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.2"/>').format(style, x, y)
        case "square":
            return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="7.6" height="7.6"/>').format(
                style, x - 3.8, y - 3.8
            )
        case "diamond":
            path = _corners((x, y - 5.2), (x + 5.2, y), (x, y + 5.2), (x - 5.2, y))
        case _:
            path = _corners((x, y - 5), (x + 5, y + 4), (x - 5, y + 4))
    return Markup('<polygon class="{}" points="{}"/>').format(style, path)


def _corners(*points: tuple[float, float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _tick(x: float, top: float, bottom: float, label: str) -> Markup:
    line = Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, top, bottom)
    return line + _text(x, bottom + 16, label, "middle")


def _text(x: float, y: float, text: str, anchor: str, full: str = "") -> Markup:
    hint = Markup("<title>{}</title>").format(full) if full and full != text else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(x, y, anchor, text, hint)


def _short(label: str, length: int = LABEL_CHARS) -> str:
    return label if len(label) <= length else label[: length - 1] + "\u2026"


def _thin(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    stride = math.ceil(len(points) / MAX_POINTS)
    return points if stride <= 1 else (*points[:-1:stride], points[-1])


def _round_step(top: float) -> float:
    """A distance of 1, 2 or 5 times a power of ten that divides 0..top into about four."""
    rough = top / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value - 1e-12)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="plot" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, Markup("").join(parts)
    )
