"""An inspection as text for the terminal: a table of layers, and a sentence for each finding."""

import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.analysis.diagnostics import Histogram
from engine.analysis.gradcheck import WRONG
from engine.analysis.overfit import OverfitTest
from hpsearch.core.text import format_value
from hpsearch.report.inspection.network import LayerInspection, NetworkInspection

BAR_LEVELS = " ▁▂▃▄▅▆▇█"
FAR_FROM_CHANCE = 2.0  # ratio of the first loss to chance from which the first outputs are too large
VANISHED = 1e-3  # gradient relative to that of the last layer
MANY_DEAD = 0.5  # share of the units of a layer
SIGNAL_SPREADS = (1e-3, 1e3)  # standard deviations of activations outside of which signals vanish or explode


def inspection_text(found: NetworkInspection) -> RenderableType:
    """Return the layers as a table, and the findings as sentences."""
    title = f"Network at the first weights: {'×'.join(map(str, found.inputs))} inputs, {found.parameters:,} parameters"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    for name in ("", "layer", "output", "parameters", "mean", "deviation", "outputs", "gradient", "dead", "saturated"):
        table.add_column(name, justify="left" if name in ("layer", "outputs") else "right")
    for layer in found.layers:
        table.add_row(*_cells(layer))
    at = ", ".join(f"{name} {format_value(value)}" for name, value in found.point.items())
    lines = [f"At {at}." if at else "", *findings(found)]
    return Group(table, Text("\n".join(filter(None, lines))))


def _cells(layer: LayerInspection) -> list[str]:
    h, units = layer.activations, layer.units
    return [
        str(layer.number),
        layer.kind,
        "×".join(map(str, layer.shape)),
        f"{layer.parameters:,}" if layer.parameters else "",
        "" if h is None else f"{float(h.mean[0]):.3g}",
        "" if h is None else f"{float(h.deviation[0]):.3g}",
        "" if h is None else bars(h),
        "" if layer.gradient is None else f"{layer.gradient:.2g}",
        "" if units is None else f"{units.dead}/{units.units}",
        "" if units is None else f"{units.saturated}/{units.units}",
    ]


def bars(histogram: Histogram) -> str:
    """Return a histogram as bars of one line."""
    counts = histogram.counts[0]
    most = max(1, int(counts.max()))
    return "".join(BAR_LEVELS[math.ceil((len(BAR_LEVELS) - 1) * int(count) / most)] for count in counts)


def findings(found: NetworkInspection) -> Iterator[str]:
    """Yield a sentence for each check: what was found, and what to do if it is wrong."""
    yield f"A row costs {found.work:,} multiply-adds; there are {found.rows:,} training rows."
    yield _check_line(found)
    ratio = found.first_loss / found.chance if found.chance > 0 else 1.0
    verdict = (
        "as it should be"
        if 1 / FAR_FROM_CHANCE <= ratio <= FAR_FROM_CHANCE
        else (f"{ratio:.2g} times that: the first outputs are too large; use smaller first weights or scale the inputs")
    )
    yield f"First loss: {found.first_loss:.4g}, a constant prediction has {found.chance:.4g}: {verdict}."
    yield from _signals(found)
    yield _overfit_line(found.overfit)


def _overfit_line(o: OverfitTest) -> str:
    floor = f", equal inputs with different targets leave {o.floor:.2g}" if o.floor > 0 else ""
    losses = f"loss {o.loss:.2g}, constant {o.chance:.2g}{floor}"
    if o.learned:
        return f"One batch: {o.rows} rows learned by heart in {o.steps} steps at learning rate {o.rate:.3g} ({losses})."
    why = "the network is too small, its units are dead, or its gradients vanish"
    return f"One batch: {o.rows} rows not learned by heart in {o.steps} steps ({losses}): {why}."


def _check_line(found: NetworkInspection) -> str:
    part = "all" if found.checked == found.parameters else f"{found.checked:,} of {found.parameters:,}"
    text = f"Gradient check of {part} parameters: {found.check}."
    if max(float(p.ratio.max()) for p in found.check.parameters) < WRONG:
        return text
    return f"{text} Backpropagation of this layer is wrong, or a kink of an activation lies within the step."


def _signals(found: NetworkInspection) -> Iterator[str]:
    """Yield where activations or gradients vanish or explode, and where units are dead, saturated or identical."""
    for layer in found.layers:
        yield from _units(layer)
    spreads = ((layer, float(layer.activations.deviation[0])) for layer in found.layers if layer.activations)
    outside = (
        (layer, s) for layer, s in spreads if math.isfinite(s) and not SIGNAL_SPREADS[0] <= s <= SIGNAL_SPREADS[1]
    )
    for layer, spread in list(outside)[:1]:
        way = "vanish" if spread < SIGNAL_SPREADS[0] else "explode"
        yield f"Activations {way} by {_name(layer)}: standard deviation {spread:.1e}."
    sizes = [(layer, layer.gradient) for layer in found.layers if layer.gradient is not None]
    last = sizes[-1][1] if sizes else 0.0
    small = [layer for layer, size in sizes if size < VANISHED * last]
    large = [layer for layer, size in sizes if size * VANISHED > last > 0]
    if small:
        yield f"Gradients vanish by {_name(small[-1])}, on the way back from the output."
    elif large:
        yield f"Gradients explode by {_name(large[-1])}, on the way back from the output."
    elif len(sizes) > 1:
        yield "Gradients neither vanish nor explode."


def _name(layer: LayerInspection) -> str:
    return f"layer {layer.number} ({layer.kind})"


def _units(layer: LayerInspection) -> Iterator[str]:
    units = layer.units
    if units is None or units.units < 2:
        return
    for count, what in ((units.dead, "dead"), (units.saturated, "saturated")):
        if count >= MANY_DEAD * units.units:
            yield f"Units: {count} of {units.units} of {_name(layer)} are {what} before training."
    if units.identical == units.units:
        yield f"Units: all {units.units} of {_name(layer)} are identical; training never parts them."
