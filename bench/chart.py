"""The results as pictures: bars for the workloads, lines for the curves of growth. Plain SVG, without a library.

Every panel has a scale of its own. Bars start at zero; curves have a logarithmic scale.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, floor, log10

from .report import figure
from .results import Result
from .workloads import Curve, Kind

__all__ = ["bar_chart", "line_chart"]

_COLOURS = {"ours": "#1f6fb4", "naive": "#d98324", "floor": "#7a8288", "plain": "#d98324"}
_COLOURS |= {"serving": "#1f6fb4", "alone": "#7a8288"}
_MORE_COLOURS = ("#3d8f4f", "#8a5aa8", "#b23a48", "#5c4b37")
_INK, _FAINT = "#222222", "#dddddd"

_COLUMNS = 2
_PANEL_WIDTH = 470
_GAP = 30
_TOP = 60
_BAR = 18
_LABELS = 70  # left of the bars: the servers' names
_VALUES = 140  # right of them: the figures, in a column
_PLOT_HEIGHT = 200

_WHAT = {
    Kind.FANOUT: "CPU for each delivery",
    Kind.JOIN: "CPU for each join",
    Kind.IDLE: "memory of each member",
    Kind.WEB: "CPU for each request",
    Kind.PAIR: "p99 of a delivery",
}


class _Drawing:
    """An SVG picture that is being written."""

    def __init__(self, width: float, height: float, title: str, note: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{_INK}">',
            '<rect width="100%" height="100%" fill="white"/>',
        ]
        self.text(_GAP, 28, title, size=18, font_weight="bold")
        self.text(_GAP, 46, note, size=11)

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, **more: str) -> None:
        others = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{others}>{escape(text)}</text>'
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1, dashes: str = "") -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


def _colour(server: str, servers: Sequence[str]) -> str:
    others = [name for name in servers if name not in _COLOURS]
    return _COLOURS.get(server) or _MORE_COLOURS[others.index(server) % len(_MORE_COLOURS)]


def _short(server: str) -> str:
    """A name that fits beside a bar: of a URL the end, which has the port."""
    return server if len(server) <= 11 else "…" + server[-10:]


def _place(number: int, height: float) -> tuple[float, float]:
    """Where a panel begins."""
    row, column = divmod(number, _COLUMNS)
    return _GAP + column * (_PANEL_WIDTH + _GAP), _TOP + row * height


def _size(panels: int, height: float) -> tuple[float, float]:
    """Width and height of a picture with some panels."""
    return _GAP + _COLUMNS * (_PANEL_WIDTH + _GAP), _TOP + ceil(panels / _COLUMNS) * height + 10


def bar_chart(results: Sequence[Result], servers: Sequence[str], note: str) -> str:
    """A panel for each workload and a bar for each server; shorter is better.

    Args:
        results: the workloads.
        servers: in the order of their bars.
        note: what the figures were measured on.
    """
    height = 28 + len(servers) * (_BAR + 4) + 26
    drawing = _Drawing(*_size(len(results), height), "Shorter is better", note)
    for number, result in enumerate(results):
        _bars(drawing, *_place(number, height), result, servers)
    return str(drawing)


def _bars(drawing: _Drawing, left: float, top: float, result: Result, servers: Sequence[str]) -> None:
    kind = result.workload.kind
    reference = kind.references[0]
    drawing.text(left, top + 16, result.workload.title, size=13, font_weight="bold")
    drawing.text(left + _PANEL_WIDTH, top + 16, f"{_WHAT[kind]}, {kind.unit}", anchor="end", size=10)
    values = {server: result.value(server) for server in servers}
    compared, promise = values.get(reference), result.workload.promise
    promised = compared * promise if compared and promise is not None else None
    longest = max((value for value in (*values.values(), promised) if value), default=1.0)
    start, room = left + _LABELS, _PANEL_WIDTH - _LABELS - _VALUES
    for number, server in enumerate(servers):
        y = top + 24 + number * (_BAR + 4)
        value = values[server]
        drawing.text(start - 6, y + 13, _short(server), anchor="end")
        if result.errors(server):
            drawing.text(start + 4, y + 13, "error")
        elif value is None:
            drawing.text(start + 4, y + 13, "not known")
        else:
            drawing.bar(start, y, value / longest * room, _BAR, _colour(server, servers))
            ratio = result.ratio(server, reference)
            beside = f" ({ratio:.2f} of {reference})" if ratio is not None and server != reference else ""
            drawing.text(start + room + 10, y + 13, figure(value) + beside, size=11)
    if promised is not None:
        x = start + promised / longest * room
        bottom = top + 24 + len(servers) * (_BAR + 4)
        drawing.line([(x, top + 22), (x, bottom)], _INK, 1.5, "3 3")
        drawing.text(x, bottom + 11, f"promised: {promise:.2f} of {reference}", anchor="middle", size=10)


def line_chart(curves: Sequence[tuple[Curve, Sequence[Result]]], servers: Sequence[str], note: str) -> str:
    """A panel for each curve and a line for each server: level is better than rising.

    Args:
        curves: each with the results of its points.
        servers: in the order of the legend.
        note: what the figures were measured on.
    """
    height = _PLOT_HEIGHT + 100
    drawing = _Drawing(*_size(len(curves), height), "Cost on the server as things grow", note)
    for number, (curve, results) in enumerate(curves):
        _curve(drawing, *_place(number, height), curve, results, servers)
    return str(drawing)


def _curve(
    drawing: _Drawing, left: float, top: float, curve: Curve, results: Sequence[Result], servers: Sequence[str]
) -> None:
    drawing.text(left, top + 16, curve.title, size=13, font_weight="bold")
    lines = {server: [result.value(server) for result in results] for server in servers}
    known = [value for line in lines.values() for value in line if value]
    if not known:
        drawing.text(left, top + 40, "nothing is known")
        return
    low, high = floor(log10(min(known))), ceil(log10(max(known)))
    high = max(high, low + 1)
    start, end, bottom = left + 50, left + _PANEL_WIDTH - 20, top + 40 + _PLOT_HEIGHT

    def x_of(index: int) -> float:
        return start + (index + 0.5) / len(results) * (end - start)

    def y_of(value: float) -> float:
        return bottom - (log10(value) - low) / (high - low) * _PLOT_HEIGHT

    for decade in range(low, high + 1):
        drawing.line([(start, y_of(10.0**decade)), (end, y_of(10.0**decade))], _FAINT)
        drawing.text(start - 6, y_of(10.0**decade) + 4, f"{10.0**decade:g}", anchor="end", size=11)
    drawing.text(left, top + 33, results[0].workload.kind.unit, size=11)
    for index, (size, _) in enumerate(curve.points[: len(results)]):
        drawing.text(x_of(index), bottom + 16, f"{size:,}", anchor="middle", size=11)
    drawing.text((start + end) / 2, bottom + 32, curve.axis, anchor="middle", size=11)
    legend = start
    drawn = [server for server in servers if any(lines[server])]
    for server in drawn:
        colour = _colour(server, servers)
        points = [(x_of(index), y_of(value)) for index, value in enumerate(lines[server]) if value]
        drawing.line(points, colour, 2)
        for (x, y), value in zip(points, [value for value in lines[server] if value], strict=True):
            drawing.dot(x, y, colour)
            # Figures stand above their line, and those of the last one below it.
            drawing.text(
                x, y + 14 if server == drawn[-1] else y - 7, figure(value), anchor="middle", size=10, fill=colour
            )
        drawing.bar(legend, top + 24, 12, 8, colour)
        drawing.text(legend + 16, top + 32, _short(server), size=11)
        legend += 100
