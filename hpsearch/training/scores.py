"""Scores: the metrics of an epoch, and the final scores of the best model."""

import math
from collections.abc import Container
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from engine.data.rows import Rows
from engine.metrics import METRICS, POSITIVE_METRICS, Metric
from engine.network import Network
from engine.training.accumulator import MetricAccumulator
from engine.training.trainer import Epoch, evaluate
from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.data.sources.base import Part
from hpsearch.training.network import build_network


def extra_metrics(spec: Spec, dataset: Dataset) -> dict[str, Any]:
    """Return the metrics that the engine computes besides loss and accuracy, by name."""
    name = spec.metric.of
    return {} if name not in METRICS or name == _accuracy_name(dataset) else {name: _metric(name, spec, dataset)}


def _metric(name: str, spec: Spec, dataset: Dataset) -> Metric:
    of_class = POSITIVE_METRICS.get(name)
    return METRICS[name]() if of_class is None else of_class(positive_class(spec, dataset))


def positive_class(spec: Spec, dataset: Dataset) -> int | None:
    """Return the index of the class whose F1, precision or recall is computed; None for the mean over more classes."""
    if spec.metric.positive is not None:
        return dataset.classes.index(spec.metric.positive) if spec.metric.positive in dataset.classes else None
    return dataset.rarer if len(dataset.classes) == 2 else None


def positive_notice(spec: Spec, dataset: Dataset) -> str:
    """Return a sentence about the class that the study's metric is for; empty if it is for no single class."""
    positive = positive_class(spec, dataset)
    if spec.metric.of not in POSITIVE_METRICS or positive is None:
        return ""
    why = "" if spec.metric.positive else ", the rarer one; to choose the other: metric.positive"
    name = "F1" if spec.metric.of == "f1" else spec.metric.of
    return f"{spec.metric.name} is the {name} of class '{dataset.classes[positive]}'{why}"


def _accuracy_name(dataset: Dataset) -> str:
    """Return the name of the engine's accuracy, which is R² for a regression."""
    return "accuracy" if dataset.classes else "r2"


def epoch_scores(epoch: Epoch, spec: Spec, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return name → scores of an epoch `(trials,)`: means over folds, and the monitored metric's standard deviation."""
    accuracy = _accuracy_name(dataset)
    scores = {"train/loss": epoch.train.loss, f"train/{accuracy}": epoch.train.accuracy}
    if epoch.val is not None:
        scores |= {"val/loss": epoch.val.loss, f"val/{accuracy}": epoch.val.accuracy}
    for name, values in epoch.others.items():
        scores[f"val/{name}"] = values * np.resize([_unit(name, *unit) for unit in dataset.units], len(values))
    if dataset.folds == 1:
        return scores
    folds = {name: values.reshape(-1, dataset.folds) for name, values in scores.items()}
    with np.errstate(invalid="ignore"):  # inf − inf of a diverged trial
        deviation = folds[spec.metric.monitored].std(axis=1, ddof=1)
        means = {name: values.mean(axis=1) for name, values in folds.items()}
        return means | {f"{spec.metric.monitored}_std": deviation}


def _unit(metric: str, _center: float, unit: float) -> float:
    """Return the factor from a metric of standardized targets to a metric in the target's unit."""
    return unit if metric in ("rmse", "mae") else 1.0


def final_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Return the finite scores of a trial's weights on the test rows (`test/…`) and the training rows (`fit/…`).

    `fit/…` is measured with the final weights and without dropout, unlike `train/…`. The networks of all folds predict
    the test rows together, as the mean of their predictions; each fold is scored alone on its training rows.

    Args:
        weights: `(folds, parameters)`, as bytes.
    """
    dataset = dataset.at(point)
    network, theta = build_network(spec, dataset, point), np.frombuffer(weights, DTYPE).reshape(dataset.folds, -1)
    scores: dict[str, float] = {}
    test, train = dataset.part("test"), dataset.part("train")
    with threadpool_limits(1):  # as in training: the last bits differ with two threads
        if test is not None:
            scores |= {
                f"test/{name}": value for name, value in _test_scores(spec, network, theta, test, dataset).items()
            }
        if train is not None:
            fit = evaluate(network, theta, train)
            scores["fit/loss"] = float(fit.loss.mean())
            scores[f"fit/{_accuracy_name(dataset)}"] = float(fit.accuracy.mean())
        if (train_dev := dataset.part("train_dev")) is not None:
            aside = evaluate(network, theta, train_dev)
            scores["train_dev/loss"] = float(aside.loss[0])
            scores[f"train_dev/{_accuracy_name(dataset)}"] = float(aside.accuracy[0])
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _test_scores(spec: Spec, network: Network, theta: Floats, rows: Rows, dataset: Dataset) -> dict[str, float]:
    """Return all metrics for this kind of target; the loss is that of standardized targets, without penalty."""
    with np.errstate(all="ignore"):
        logits = network.forward_by_row(theta, rows.x.reshape(rows.sets, len(rows), *network.inputs))
        predicted = network.loss.predict(logits)
    truth = rows.of(0).y
    known: dict[str, float] = {}
    if dataset.folds == 1:
        accumulator = MetricAccumulator(network.loss, 1, truth)
        accumulator.add(logits, truth[None])
        test = accumulator.scores()
        known = {"loss": float(test.loss[0]), _accuracy_name(dataset): float(test.accuracy[0])}
    return known | prediction_scores(spec, dataset, mean_prediction(dataset, predicted), truth, dataset.units[0], known)


def mean_prediction(dataset: Dataset, predicted: Floats) -> Floats:
    """Return the mean of the predictions of all folds, `(folds, rows, outputs)` → `(rows, outputs)`.

    Each fold standardizes with its own center and unit, so the mean of a regression is taken in the target's unit, and
    returned in that of the first fold.
    """
    mean: Floats
    if len(predicted) == 1:
        mean = predicted[0]
    elif dataset.classes:
        mean = predicted.mean(axis=0, dtype=np.float64).astype(DTYPE)
    else:
        center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*dataset.units, strict=True))
        mean = (predicted.astype(np.float64) * unit + center).mean(axis=0)
        mean = (mean - center[0]) / unit[0]
    return mean


def prediction_scores(
    spec: Spec,
    dataset: Dataset,
    predicted: Floats,
    truth: Floats,
    unit: tuple[float, float],
    known: Container[str] = (),
) -> dict[str, float]:
    """Return the loss and all metrics for this kind of target of predictions `(rows, outputs)`.

    Args:
        unit: (offset, scale) of the targets.
        known: names of scores that are left out.
    """
    scores = {}
    if "loss" not in known:
        loss = METRICS["log_loss"]().of if dataset.classes else _half_squared_error
        scores["loss"] = loss(predicted, truth)
    for name, kind in METRICS.items():
        if kind.classifies == dataset.loss.classifies and name not in known:
            scores[name] = _metric(name, spec, dataset).of(predicted, truth) * _unit(name, *unit)
    return scores


def _half_squared_error(predicted: Floats, truth: Floats) -> float:
    return float(np.square(predicted.astype(np.float64) - truth).mean() / 2)


def prediction_score(
    name: str, spec: Spec, dataset: Dataset, predicted: Floats, truth: Floats, unit: tuple[float, float]
) -> float:
    """Return one of `prediction_scores`."""
    if name == "loss" and not dataset.classes:
        return _half_squared_error(predicted, truth)
    metric = METRICS["log_loss"]() if name == "loss" else _metric(name, spec, dataset)
    return metric.of(predicted, truth) * _unit(name, *unit)


def part_outputs(
    spec: Spec, dataset: Dataset, point: Point, weights: bytes, part: Part, *, by_row: bool = False
) -> Floats:
    """Return a trial's predictions of the rows of a part, each fold by its own network, `(folds, rows, outputs)`.

    They are probabilities, or values in the unit of the target.

    Args:
        weights: `(folds, parameters)`, as bytes.
        by_row: predict each row as `Model` does, to the bit.
    """
    dataset = dataset.at(point)
    network, theta = build_network(spec, dataset, point), np.frombuffer(weights, DTYPE).reshape(dataset.folds, -1)
    rows = dataset.part(part)
    assert rows is not None
    x = rows.x.reshape(rows.sets, len(rows), *network.inputs)
    with threadpool_limits(1), np.errstate(all="ignore"):
        outputs = network.predict(theta, x) if by_row else network.loss.predict(network.forward(theta, x))
    return outputs if dataset.classes else in_target_units(dataset, outputs)


def in_target_units(dataset: Dataset, outputs: Floats) -> Floats:
    """Return standardized values `(folds, rows, 1)` in the unit of the target, float64."""
    center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*dataset.units, strict=True))
    values: Floats = outputs.astype(np.float64) * unit + center
    return values
