"""Advice on layers of the champion: dead, saturated or identical units, and gradients that vanish or explode."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpsearch.config.practice.roles import settings_of
from hpsearch.models.evidence import Evidence, LayerEvidence
from hpsearch.report.advice.change import Advice, ProposedChange

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


MANY_UNITS = 0.5  # share of the units of a layer that are dead or saturated
MOST_ZERO = 0.99  # share of the weights
VANISHING = 1e-3  # gradient of the first layer relative to that of the last one
UNSCALED = 100.0  # ratio of the standard deviations of inputs


def layer_advice(summary: "Summary") -> Iterator[Advice]:
    """Yield advice for layers that learn little."""
    evidence = summary.evidence
    if evidence is None:
        return
    for layer in evidence.layers:
        yield from _units(summary, evidence, layer)
    yield from _gradients(summary, evidence)
    yield from _inputs(summary, evidence)


def _units(summary: "Summary", evidence: Evidence, layer: LayerEvidence) -> Iterator[Advice]:
    if layer.units < 2:
        return
    smaller_rate = tuple(_smaller_rate(summary))
    if layer.dead >= MANY_UNITS * layer.units:
        text = f"{layer.dead} of {layer.units} units of layer {layer.layer} are dead: the same output for all rows"
        if evidence.zero > MOST_ZERO:
            text += f", and {evidence.zero:.0%} of the weights are 0, which an initializer of zeros does not leave"
            yield Advice("identical", text, (_initializer(),))
            return
        activation = ProposedChange("model.hidden.0.activation", "leaky_relu", certain=False)
        yield Advice("dead", text, (*smaller_rate, *([activation] if "ReLU" in layer.layer else [])))
    elif layer.saturated >= MANY_UNITS * layer.units:
        text = f"{layer.saturated} of {layer.units} units of layer {layer.layer} are saturated on most rows"
        yield Advice("saturated", text, smaller_rate or (_initializer(),))
    if layer.identical == layer.units:
        text = f"All {layer.units} units of layer {layer.layer} are identical, as after an initializer of zeros"
        yield Advice("identical", text, (_initializer(),))


def _gradients(summary: "Summary", evidence: Evidence) -> Iterator[Advice]:
    sizes = [(e.layer, e.gradient) for e in evidence.layers if e.gradient is not None]
    if len(sizes) < 3 or not sizes[-1][1]:
        return
    (first, size), (last, reference) = sizes[0], sizes[-1]
    if size < VANISHING * reference:
        text = f"Gradients vanish: {size:.1e} in layer {first}, {reference:.1e} in layer {last}"
        yield Advice("vanishing", text, (ProposedChange("model.hidden.0.batch_norm", True, certain=False),))
    elif size * VANISHING > reference:
        text = f"Gradients explode: {size:.1e} in layer {first}, {reference:.1e} in layer {last}"
        yield Advice("exploding", text, (ProposedChange("train.clip", {"name": "norm", "limit": 1.0}, certain=False),))


def _inputs(summary: "Summary", evidence: Evidence) -> Iterator[Advice]:
    if getattr(summary.spec.data, "scale", "standard") == "none" and evidence.largest > UNSCALED * evidence.smallest:
        text = (
            f"Inputs are not scaled: their standard deviations lie between {evidence.smallest:.2g} and"
            f" {evidence.largest:.2g}"
        )
        yield Advice("scale", text, (ProposedChange("data.scale", "standard", "none"),))


def _smaller_rate(summary: "Summary") -> Iterator[ProposedChange]:
    """Yield the change to a smaller learning rate: a third of the range below its middle, or a tenth of a value."""
    from hpsearch.config.practice.roles import range_text
    from hpsearch.core.space import Range
    from hpsearch.report.advice.ranges import rounded_value

    for setting in settings_of(summary.spec, "learning_rate")[:1]:
        if setting.parameter is None or not setting.searched:
            if isinstance(setting.value, int | float):
                yield ProposedChange(setting.key, rounded_value(setting.value / 10), setting.value)
            continue
        parameter, old = summary.spec.parameters[setting.parameter], range_text(summary.spec, setting.parameter)
        if isinstance(parameter, Range) and parameter.scale == "log":
            new = {**old, "min": rounded_value(parameter.min / 10), "max": rounded_value(parameter.max / 10)}
            yield ProposedChange(setting.key, new, old, setting.parameter, -1)


def _initializer() -> ProposedChange:
    return ProposedChange("model.initializer", "he_normal", certain=False)
