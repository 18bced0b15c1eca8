"""Scores: metrics of an epoch, and the champion's final scores."""

import math
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from engine.data.rows import Rows
from engine.metrics import METRICS
from engine.network import Network
from engine.training.accumulator import MetricAccumulator
from engine.training.trainer import Epoch, evaluate
from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.training.network import build_network


def _watched(spec: Spec, dataset: Dataset) -> dict[str, Any]:
    """What the engine is to measure beside loss and accuracy."""
    name = spec.metric.of if dataset.classes or spec.metric.of != "accuracy" else "r2"
    return {} if name not in METRICS or name == _accuracy(dataset) else {name: METRICS[name]()}


def _accuracy(dataset: Dataset) -> str:
    """What the engine's accuracy is called: it is R² for a regression."""
    return "accuracy" if dataset.classes else "r2"


def _now(name: str, dataset: Dataset) -> str:
    """A curve's name in an earlier version, as it is called now."""
    return name if dataset.classes else name.replace("/accuracy", "/r2")


def _scores(epoch: Epoch, spec: Spec, dataset: Dataset) -> dict[str, np.ndarray]:
    """`(trials,)` each: means over folds, and the deviation of what is watched."""
    accuracy = _accuracy(dataset)
    each = {"train/loss": epoch.train.loss, f"train/{accuracy}": epoch.train.accuracy}
    if epoch.val is not None:
        each |= {"val/loss": epoch.val.loss, f"val/{accuracy}": epoch.val.accuracy}
    if _now(spec.metric.watched, dataset) != spec.metric.watched:
        each[spec.metric.watched] = each[_now(spec.metric.watched, dataset)]
    for name, values in epoch.others.items():
        each[f"val/{name}"] = values * np.resize([_unit(name, *unit) for unit in dataset.units], len(values))
    if dataset.folds == 1:
        return each
    folds = {name: values.reshape(-1, dataset.folds) for name, values in each.items()}
    with np.errstate(invalid="ignore"):  # inf − inf of a diverged trial
        spread = folds[spec.metric.watched].std(axis=1, ddof=1)
        return {name: values.mean(axis=1) for name, values in folds.items()} | {f"{spec.metric.watched}_std": spread}


def _unit(metric: str, _center: float, unit: float) -> float:
    """What a metric of standardized targets is multiplied by, to be one of their own units."""
    return unit if metric in ("rmse", "mae") else 1.0


def final_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Scores of a finished trial's weights on the test rows, if there are any, and on those it learned from.

    The latter are called `fit/…`: `train/…` was measured while the weights changed, with dropout and all. The nets of
    folds predict the test rows together, as the mean of what each says; on what it learned from each is scored alone.
    """
    dataset = dataset.at(point)
    net, theta = build_network(spec, dataset, point), np.frombuffer(weights, DTYPE).reshape(dataset.folds, -1)
    scores: dict[str, float] = {}
    rows, learned = dataset.part("test"), dataset.part("train")
    with threadpool_limits(1):  # as in training: two threads give other bits
        if rows is not None:
            scores |= {f"test/{name}": value for name, value in _test_scores(net, theta, rows, dataset).items()}
        if learned is not None:
            found = evaluate(net, theta, learned)
            scores["fit/loss"] = float(found.loss.mean())
            scores[f"fit/{_accuracy(dataset)}"] = float(found.accuracy.mean())
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _test_scores(net: Network, theta: Floats, rows: Rows, dataset: Dataset) -> dict[str, float]:
    """Every metric there is of such a target; the loss is without regularization, and of standardized targets."""
    with np.errstate(all="ignore"):
        logits = net.forward_by_row(theta, rows.x.reshape(rows.sets, len(rows), *net.inputs))
        said = net.loss.predict(logits)
    truth = rows.of(0).y
    if dataset.folds == 1:
        accumulator = MetricAccumulator(net.loss, 1, truth)
        accumulator.add(logits, truth[None])
        found = accumulator.scores()
        scores = {"loss": float(found.loss[0]), _accuracy(dataset): float(found.accuracy[0])}
    elif dataset.classes:
        said = said.mean(axis=0, dtype=np.float64)[None].astype(DTYPE)
        scores = {"loss": METRICS["log_loss"]().of(said[0], truth)}
    else:  # each fold has its own units, so the mean is taken in the target's
        center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*dataset.units, strict=True))
        mean = (said.astype(np.float64) * unit + center).mean(axis=0)
        said = ((mean - center[0]) / unit[0])[None]
        scores = {"loss": float(np.square(said[0] - truth).mean() / 2)}
    for name, kind in METRICS.items():
        if kind.classifies == net.loss.classifies and name not in scores:
            scores[name] = kind().of(said[0], truth) * _unit(name, *dataset.units[0])
    return scores
