"""Networks: the network that a spec describes at a point, checked against the data."""

import numpy as np

from engine.activations import ACTIVATIONS
from engine.layers import Dense, Flatten, Layer
from engine.metrics import METRICS
from engine.network import Network
from engine.training import trainer
from engine.types import EngineError
from hpsearch.config.instantiate import hidden_layers, hyperparameters, initializer_for, output_activation
from hpsearch.config.spec import Spec
from hpsearch.core.space import Fixed, Point, build_space
from hpsearch.data.dataset import Dataset
from hpsearch.errors import DataError


def build_network(spec: Spec, dataset: Dataset, point: Point) -> Network:
    """The network at a point; its output layer and loss follow from the data.

    Raises:
        EngineError: units or settings that cannot be, or layers that do not fit the data or each other.
    """
    dataset = dataset.at(point)
    output = output_activation(spec.model, point)
    if output != ACTIVATIONS["identity"]():
        _check_output(spec, dataset)
    flat: list[Layer] = [Flatten()] if len(dataset.inputs) == 3 and spec.model.layers is None else []
    last = Dense(dataset.outputs, initializer_for(spec.model.output.initializer, spec.model, point, "identity"))
    ends = [last] if output == ACTIVATIONS["identity"]() else [last, output]
    return Network(dataset.inputs, (*flat, *hidden_layers(spec.model, point), *ends), dataset.loss)


def _check_output(spec: Spec, dataset: Dataset) -> None:
    """Whether an output that starts at 0 suits the targets."""
    if dataset.loss.classifies:
        raise EngineError("model.output.activation is for a regression; the classes of these data need identity")
    if spec.data.target_scale != "none":
        raise EngineError(
            "model.output.activation cannot reach standardized targets, half of which are below 0; "
            "set data.target_scale: none"
        )


def _check_metric(spec: Spec, dataset: Dataset) -> None:
    """Whether what is searched on can be measured on these rows: perfect predictions have a score."""
    name = spec.metric.of
    if name not in METRICS:
        return
    if name == "accuracy" and not dataset.classes:
        name = "r2"  # as it was called in earlier versions
    metric = METRICS[name]()
    if metric.classifies != dataset.loss.classifies:
        kind, others = ("classification", "regression") if dataset.classes else ("regression", "classification")
        fitting = ", ".join(n for n, m in METRICS.items() if m.classifies == dataset.loss.classifies)
        raise DataError(f"metric.name: {spec.metric.name} is for a {others}, the data are a {kind}; there is {fitting}")
    val = dataset.part("val")
    if val is not None:
        for fold in range(dataset.folds):
            y = val.of(fold).y
            if np.isnan(metric.of(y, y)):
                why = "some class is not among them" if dataset.classes else "their targets are all equal"
                raise DataError(f"metric.name: {spec.metric.name} cannot be measured on the rows to choose by: {why}")


def check_fit(spec: Spec, dataset: Dataset) -> None:
    """Whether the study's networks suit the data, at both ends of every range and for each of values.

    Raises:
        DataError: with the layer and both shapes, or whatever else does not fit.
    """
    _check_metric(spec, dataset)
    rows = dict(dataset.rows)["train"]
    ends = [(point, hyperparameters(spec.train, point)) for point in build_space(spec.parameters).extreme_points()]
    smallest = min((hyper for _, hyper in ends), key=lambda h: h.batch_size)
    for point, hyper in ends:
        try:
            net = build_network(spec, dataset, point)
            trainer.check_fit(net, hyper, rows)
            trainer.check_fit(net, smallest, rows)  # which may stand at another end than batch norm
        except EngineError as error:
            searched = {name: value for name, value in point.items() if not isinstance(spec.parameters[name], Fixed)}
            at = f" (at {', '.join(f'{k} {v}' for k, v in searched.items())})" if searched else ""
            raise DataError(f"the model does not fit the data: {error}{at}") from None
