"""Loss curves as an SVG picture, written as text: importing a plotting library takes as long as uploading 20 runs."""

from collections.abc import Iterator
from html import escape
from math import ceil, floor, isfinite, log10

from hpsearch.core.text import printable
from hpsearch.storage.records import Trial, checked_every

_WIDTH, _HEIGHT = 600, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 580, 36, 350  # sides of the axes, in pixels
MARGIN = 0.05  # above and below the curves, as a share of their range
MAX_TICKS = 8
_COLORS = {"train/loss": "#1f77b4", "val/loss": "#ff7f0e"}
_BEST_COLOR = "#2ca02c"

Curve = list[tuple[int, float]]  # epoch and log10 of the loss


def loss_plot(trial: Trial) -> str:
    """Return a picture of a trial's losses by epoch on a log scale, with the best epoch marked."""
    curves = {name: _curve(trial, name) for name in _COLORS if name in trial.history}
    logs = [value for curve in curves.values() for _, value in curve] or [0.0]
    margin = MARGIN * (max(logs) - min(logs)) or MARGIN
    low, high, last = min(logs) - margin, max(logs) + margin, max(1, trial.epochs)

    def x(epoch: float) -> float:
        return LEFT + (RIGHT - LEFT) * epoch / last

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    middle = (LEFT + RIGHT) / 2
    parts = [_text(middle, TOP - 14, trial.label), _text(middle, _HEIGHT - 10, "epoch")]
    parts.append(_text(18, _HEIGHT / 2, "loss", f'transform="rotate(-90 18 {_HEIGHT / 2:.1f})"'))
    for epoch in epoch_ticks(last):
        parts += [_line(x(epoch), TOP, x(epoch), BOTTOM, "#ddd"), _text(x(epoch), BOTTOM + 18, str(epoch))]
    for value in loss_ticks(low, high):
        height = y(log10(value))
        parts.append(_line(LEFT, height, RIGHT, height, "#ddd"))
        parts.append(_text(LEFT - 6, height + 4, f"{value:.3g}", 'text-anchor="end"'))
    for name, curve in curves.items():
        points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in curve)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_COLORS[name]}" stroke-width="1.5"/>')
    best = x(trial.best_epoch)
    parts.append(_line(best, TOP, best, BOTTOM, _BEST_COLOR, 'stroke-dasharray="2 3"'))
    legend = {**{name: _COLORS[name] for name in curves}, f"best, epoch {trial.best_epoch}": _BEST_COLOR}
    for row, (name, color) in enumerate(legend.items()):
        parts.append(_text(RIGHT - 8, TOP + 18 + 16 * row, name, f'text-anchor="end" fill="{color}"'))
    frame = f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="#444"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    )
    style = 'font-family="sans-serif" font-size="12" text-anchor="middle"'
    return "\n".join([f"{head} {style}>", '<rect width="100%" height="100%" fill="#fff"/>', *parts, frame, "</svg>\n"])


def epoch_ticks(last: int) -> list[int]:
    """Return at most `MAX_TICKS` round epochs from 0 to the last epoch."""
    steps = (factor * 10**power for power in range(10) for factor in (1, 2, 5))
    step = next(s for s in steps if last // s < MAX_TICKS)
    return list(range(0, last + 1, step))


def loss_ticks(low: float, high: float) -> list[float]:
    """Return at most `MAX_TICKS` losses between two powers of ten, both given as log10: round ones, if there are two.

    Over several decades these are powers of ten, else also 2 and 5 times them.
    """
    low, high = max(low, -307.0), min(high, 308.0)  # powers of ten that a float can hold

    def inside(factors: tuple[int, ...], step: int = 1) -> Iterator[float]:
        for power in range(floor(low), ceil(high) + 1, step):
            yield from (factor * 10.0**power for factor in factors if low <= power + log10(factor) <= high)

    found = list(inside((1, 2, 5)))
    if len(found) > MAX_TICKS:
        found = list(inside((1,)))
    if len(found) > MAX_TICKS:
        found = list(inside((1,), ceil(len(found) / MAX_TICKS)))
    return found if len(found) > 1 else [10.0 ** (low + (high - low) * share) for share in (0.1, 0.5, 0.9)]


def _curve(trial: Trial, name: str) -> Curve:
    """Return a curve without the values that a log scale cannot show."""
    every = checked_every(trial.epochs, trial.history)
    values = enumerate(trial.history[name], 1)
    return [(check * every, log10(value)) for check, value in values if isfinite(value) and value > 0]


def _line(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" {more}/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(printable(text))}</text>'
