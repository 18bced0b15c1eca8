"""Networks: the network that a study file describes at a point, checked against the data."""

import numpy as np

from engine.activations import ACTIVATIONS
from engine.layers import Dense, Flatten, Layer
from engine.metrics import METRICS
from engine.network import Network
from engine.registry import nearest
from engine.training import trainer
from engine.types import EngineError
from hpsearch.config.instantiate import hidden_layers, hyperparameters, initializer_for, output_activation
from hpsearch.config.spec import Spec
from hpsearch.core.space import Fixed, Point, build_space
from hpsearch.data.dataset import Dataset
from hpsearch.errors import DataError


def build_network(spec: Spec, dataset: Dataset, point: Point) -> Network:
    """Return the network at a point; the data determine its output layer and its loss.

    Raises:
        EngineError: invalid units or settings, or layers that do not fit the data or each other.
    """
    dataset = dataset.at(point)
    output = output_activation(spec.model, point)
    if output != ACTIVATIONS["identity"]():
        _check_output(spec, dataset)
    flatten: list[Layer] = [Flatten()] if len(dataset.inputs) == 3 and spec.model.layers is None else []
    last = Dense(dataset.outputs, initializer_for(spec.model.output.initializer, spec.model, point, "identity"))
    output_layers = [last] if output == ACTIVATIONS["identity"]() else [last, output]
    return Network(dataset.inputs, (*flatten, *hidden_layers(spec.model, point), *output_layers), dataset.loss)


def check_fit(spec: Spec, dataset: Dataset) -> None:
    """Check that the study's networks fit the data, at both ends of every range and at every listed value.

    Raises:
        DataError: the model or the metric does not fit the data; the message names the layer and both shapes.
    """
    check_metric(spec, dataset)
    if spec.ensemble is not None and not dict(dataset.rows)["val"]:
        raise DataError("ensemble: its members are selected by the validation rows, and there are none; see data.split")
    points = [(point, hyperparameters(spec.engine, point)) for point in build_space(spec.parameters).extreme_points()]
    smallest = min((hyper for _, hyper in points), key=lambda h: h.batch_size)
    for point, hyper in points:
        rows = dict(dataset.at(point).rows)["train"]
        try:
            network = build_network(spec, dataset, point)
            trainer.check_fit(network, hyper, rows)
            trainer.check_fit(network, smallest, rows)  # a trial may combine this network with the smallest batch
        except EngineError as error:
            searched = {name: value for name, value in point.items() if not isinstance(spec.parameters[name], Fixed)}
            at = f" (at {', '.join(f'{k} {v}' for k, v in searched.items())})" if searched else ""
            raise DataError(f"the model does not fit the data: {error}{at}") from None


def _check_output(spec: Spec, dataset: Dataset) -> None:
    """Check that the targets allow an output activation, whose values are at least 0."""
    if dataset.loss.classifies:
        raise EngineError("model.output.activation is for regression; classification needs identity")
    if spec.source.target_scale != "none":
        raise EngineError(
            "model.output.activation cannot reach standardized targets, half of which are below 0; "
            "set data.target_scale: none"
        )


def check_metric(spec: Spec, dataset: Dataset) -> None:
    """Check that the metric can be computed on the validation rows: perfect predictions must have a score."""
    name, positive = spec.metric.of, spec.metric.positive
    if positive is not None and positive not in dataset.classes:
        got = nearest(positive, list(dataset.classes)) if dataset.classes else "; the task is regression"
        raise DataError(f"metric.positive: there is no class '{positive}'{got}")
    if name not in METRICS:
        return
    metric = METRICS[name]()
    if metric.classifies != dataset.loss.classifies:
        kind, other = ("classification", "regression") if dataset.classes else ("regression", "classification")
        fitting = ", ".join(n for n, m in METRICS.items() if m.classifies == dataset.loss.classifies)
        raise DataError(
            f"metric.name: {spec.metric.name} is for {other}, but the task is {kind}; choose from {fitting}"
        )
    val = dataset.part("val")
    if val is not None:
        for fold in range(dataset.folds):
            y = val.of(fold).y
            if np.isnan(metric.of(y, y)):
                why = "a class does not occur in them" if dataset.classes else "their targets are all equal"
                raise DataError(f"metric.name: {spec.metric.name} cannot be computed on the validation rows: {why}")
