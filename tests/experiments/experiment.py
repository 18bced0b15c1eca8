"""Trials of a study file, trained in full by worker processes, each with its weights and test scores."""

import tempfile
from collections.abc import Iterable
from concurrent.futures import as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paths

from engine.network import Network
from engine.training.trainer import evaluate
from hpsearch.config.load import load_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec, Stage
from hpsearch.core.seeds import derive
from hpsearch.core.space import Point, Value
from hpsearch.data.dataset import DTYPE, Dataset, prepare
from hpsearch.training.executors import EXECUTORS
from hpsearch.training.grouping import group_trials
from hpsearch.training.network import build_network
from hpsearch.training.task import Task, TrialResult, TrialTask

STUDIES = paths.STUDIES
WORKERS = 2


class Trained(NamedTuple):
    """One trial of a stage; `theta (1, parameters)`."""

    point: Point
    result: TrialResult
    network: Network
    theta: np.ndarray
    test_loss: float
    test_accuracy: float

    @property
    def reached(self) -> bool:
        """True if the target value was reached."""
        return self.result.value is not None and self.result.value <= self.result.epochs

    def weights(self) -> np.ndarray:
        """Return the weights of all layers, without biases."""
        return self.theta[0, self.network.regularized]


def trained(file: str, *overrides: str) -> dict[str, list[Trained]]:
    """Return stage → its trials; the file must give their points in full."""
    spec, _ = load_spec(STUDIES / file, overrides)
    with tempfile.TemporaryDirectory() as folder:
        dataset, _ = prepare(spec.data, spec.seed, Path(folder))
        executor = EXECUTORS["processes"](WORKERS, folder)
        try:
            futures = {}
            for stage in spec.stages:
                for group in group_trials(spec, dataset, list(_starts(spec, stage)), 1):  # large groups train fastest
                    futures[executor.submit(Task(spec, dataset, group, spec.train.epochs))] = stage.name, group
            found: dict[str, list[Trained]] = {stage.name: [] for stage in spec.stages}
            for future in as_completed(futures):
                name, group = futures[future]
                starts = {start.number: start for start in group}
                found[name] += [_trained(spec, dataset, starts[r.number].point, r) for r in future.result()]
        finally:
            executor.close()
    return {name: sorted(trials, key=lambda t: t.result.number) for name, trials in found.items()}


def _starts(spec: Spec, stage: Stage) -> Iterable[TrialTask]:
    points = stage.points or ({},)
    fixed = search_space(spec).fixed
    for number in range(stage.trials):
        point = points[number % len(points)] | fixed
        yield TrialTask(number, point, derive(spec.seed, stage.name, number, "train"))


def _trained(spec: Spec, dataset: Dataset, point: Point, result: TrialResult) -> Trained:
    net = build_network(spec, dataset, point)
    if result.weights is None:
        theta = np.full((1, net.size), np.nan, DTYPE)
    else:
        theta = np.frombuffer(result.weights, DTYPE)[None]
    test = dataset.part("test")
    assert test is not None
    scores = evaluate(net, theta, test)
    return Trained(point, result, net, theta, float(scores.loss[0]), float(scores.accuracy[0]))


def at(trials: list[Trained], **values: Value) -> list[Trained]:
    """Return the trials with these values of parameters."""
    return [t for t in trials if all(t.point.get(name) == value for name, value in values.items())]


def median(numbers: Iterable[float]) -> float:
    """Return the median of numbers, none of which may be missing."""
    return float(np.median(list(numbers)))
