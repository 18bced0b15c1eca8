"""Recorded learning curves of real data sets, and curves for the points between them.

    python -m tests.benchmarks.search.recorded_curves german --data ../shared/data

records a set: a study of random points, trained to their last epoch by `hpsearch.run`, and some of them again with
other seeds. A set is stored as `recorded/NAME.npz`:

- `features` (points, features): coordinates of the points, see `features`
- `log_loss` (points, 50): log of the best val/loss so far
- `seeds` (points, seeds, 50): the same of points that were trained with several seeds

The curve of a point between them is the mean of Gaussian processes on the principal components of the recorded ones. A
seed adds its luck: the deviation of a recorded curve nearby from the mean that was predicted without it, scaled to the
spread that seeds have.
"""

import argparse
import functools
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

import hpsearch
from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.core.space import Point, Space, Value

FOLDER = Path(__file__).parent / "recorded"
EPOCHS = 50
POINTS, REPEATED, SEEDS = 1024, 48, 3
COMPONENTS = 4  # they hold more than 99 % of the variance of each set
NEIGHBORS = 12

AXES: dict[str, Any] = {
    "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
    "beta": {"min": 0.9, "max": 0.999, "scale": "one_minus_log"},
    "hidden_units": {"type": "int", "min": 16, "max": 256, "scale": "log"},
    "batch_size": {"values": [16, 32, 64, 128, 256], "ordered": True},
    "l2": {"min": 1e-7, "max": 1e-1, "scale": "log"},
}
MIXED_AXES = {
    **AXES,
    "optimizer": {"values": ["momentum", "adam"]},
    "activation": {"values": ["relu", "tanh", "sigmoid"]},
    "beta1": {"min": 0.5, "max": 0.99, "scale": "one_minus_log"},  # of adam; `beta` is of momentum
    "depth": {"type": "int", "min": 1, "max": 2},
    "more_units": {"type": "int", "min": 8, "max": 64, "scale": "log"},
}
_SPLIT = {"train": 0.6, "val": 0.2, "test": 0.2}
_WITHOUT_NAMES = {"source": "csv", "header": False, "target": -1, "task": "classification", "split": _SPLIT}
_CALIFORNIA = {"source": "csv", "path": "california.csv", "target": "median_house_value", "task": "regression"}
_GERMAN = {**_WITHOUT_NAMES, "path": "german.csv"}
_MIXED_MODEL = {
    "depth": "depth",
    "hidden": [{"units": "hidden_units", "activation": "activation"}, {"units": "more_units"}],
}
SETS: dict[str, dict[str, Any]] = {
    "digits": {"data": {"source": "sklearn", "name": "digits", "split": _SPLIT, "scale": "standard"}},
    "german": {"data": _GERMAN},
    "phoneme": {"data": {**_WITHOUT_NAMES, "path": "phoneme.csv"}},
    "california": {"data": {**_CALIFORNIA, "split": _SPLIT, "scale": "standard"}},
    "german_mixed": {
        "data": _GERMAN,
        "model": _MIXED_MODEL,
        "train": {"optimizer": "optimizer", "epochs": EPOCHS},
        "parameters": MIXED_AXES,
    },
}


def study_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return the content of a study on a set, without early stopping."""
    return {
        "name": name,
        "seed": 3,
        "model": {"hidden": [{"units": "hidden_units"}]},
        "train": {"optimizer": "momentum", "epochs": EPOCHS},
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": AXES,
        "pruning": "none",
        **SETS[name],
        **changes,
    }


def space_of(name: str) -> Space:
    """Return the search space of a set."""
    stages = [{"name": "all", "trials": 1, "sampler": "random"}]
    return search_space(restore_spec(study_of(name, stages=stages), name))


def features(space: Space, point: Mapping[str, Value]) -> np.ndarray:
    """Return a point as coordinates: numbers in [0, 1] on their scale, unordered values one-hot, 0.5 where inactive."""
    columns: list[float] = []
    for axis in space.axes:
        if not axis.zoomable:
            columns += [float(point.get(axis.name) == choice) for choice in axis.choices]
        elif axis.name not in point:
            columns.append(0.5)
        else:
            low, high = axis.to_scaled(axis.low), axis.to_scaled(axis.high)
            columns.append((axis.to_scaled(axis.to_internal(point[axis.name])) - low) / (high - low))
    return np.array(columns)


def record(name: str, data: Path) -> None:
    """Train the points of a set, which takes minutes on two cores, and store their curves."""
    space, points = space_of(name), {"name": "all", "trials": POINTS, "sampler": "sobol"}
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(data)  # paths of data sets are relative
        try:
            first = _trained(study_of(name, stages=[points]), Path(folder) / "points.db")
            some = [dict(point) for point, _ in first[:REPEATED]]
            again = {"name": "again", "trials": REPEATED * SEEDS, "seeds": SEEDS, "points": some, "sampler": "random"}
            second = _trained(study_of(name, stages=[again]), Path(folder) / "seeds.db")
        finally:
            os.chdir(before)
    FOLDER.mkdir(exist_ok=True)
    by_point: dict[str, list[np.ndarray]] = {}
    for point, curve in second:
        by_point.setdefault(repr(sorted(point.items())), []).append(curve)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        features=np.array([features(space, point) for point, _ in first], np.float32),
        log_loss=np.array([curve for _, curve in first], np.float16),
        seeds=np.array([curves for curves in by_point.values() if len(curves) == SEEDS], np.float16),
    )


def _trained(content: dict[str, Any], database: Path) -> list[tuple[Point, np.ndarray]]:
    """Return the points of a study with the log of their best val/loss so far; +inf where there is none yet."""
    result = hpsearch.run(content, storage=database, tracking_uri="none")
    curves = []
    for stage in result.summary.trials:
        for trial in stage:
            loss = np.full(EPOCHS, np.inf)
            values = trial.history.get("val/loss", [])
            loss[: len(values)] = [v if np.isfinite(v) else np.inf for v in values]
            curves.append((trial.point, np.log(np.minimum.accumulate(loss))))
    return curves


class RecordedCurves:
    """The curves of a set, for every point of its space.

    Args:
        name: a key of `SETS` that has been recorded.
    """

    def __init__(self, name: str) -> None:
        self.space = space_of(name)
        with np.load(FOLDER / f"{name}.npz") as stored:
            self._x, log_loss, seeds = (stored[key].astype(float) for key in ("features", "log_loss", "seeds"))
        first = log_loss[:, 0]
        self._cap = float(np.quantile(first[np.isfinite(first)], 0.9))  # of networks that learn nothing or diverge
        curves = np.minimum(log_loss, self._cap)
        self._mean = curves.mean(axis=0)
        _, _, axes = np.linalg.svd(curves - self._mean, full_matrices=False)
        self._axes = axes[:COMPONENTS]
        coordinates = (curves - self._mean) @ self._axes.T
        self._scale = coordinates.std(axis=0)
        self._models = [_fitted(self._x, y) for y in (coordinates / self._scale).T]
        self._left_out = np.stack([_left_out(model) for model in self._models], axis=1)
        self._lengths = self._models[0].kernel_.k1.k2.length_scale
        spread = np.minimum(seeds, self._cap) @ self._axes.T / self._scale
        self.luck = float(np.sqrt(spread[..., 0].var(axis=1, ddof=1).mean() / np.square(self._left_out[:, 0]).mean()))
        self.explained = 1 - np.square(self._left_out).mean(axis=0)

    def curve(self, point: Mapping[str, Value], seed: int | None = None) -> np.ndarray:
        """Return the best val/loss so far after each epoch; without a seed, the mean over seeds."""
        x = features(self.space, point)[None]
        place = np.array([model.predict(x)[0] for model in self._models])
        if seed is not None:
            distance = np.square((self._x - x) / self._lengths).sum(axis=1)
            near = np.argpartition(distance, NEIGHBORS)[:NEIGHBORS]
            place += min(1.0, self.luck) * self._left_out[np.random.default_rng(seed).choice(near)]
        curve = self._mean + (place * self._scale) @ self._axes
        return np.asarray(np.exp(np.minimum.accumulate(np.minimum(curve, self._cap))))


@functools.cache
def recorded(name: str) -> RecordedCurves:
    """Return the curves of a set, fitted once in a process."""
    return RecordedCurves(name)


def _fitted(x: np.ndarray, y: np.ndarray) -> GaussianProcessRegressor:
    """Return a Gaussian process on all points, whose kernel is fitted on 256 of them."""
    matern = Matern(np.full(x.shape[1], 0.7), (0.05, 50.0), nu=2.5)
    kernel = ConstantKernel(1.0, (0.1, 100.0)) * matern + WhiteKernel(0.05, (1e-4, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an axis without effect has any length
        some = GaussianProcessRegressor(kernel).fit(x[:256], y[:256])
    return GaussianProcessRegressor(some.kernel_, optimizer=None).fit(x, y)


def _left_out(model: GaussianProcessRegressor) -> np.ndarray:
    """Return y minus the prediction without it. Rasmussen and Williams 2006, eq. 5.12."""
    inverse = solve_triangular(model.L_, np.eye(len(model.L_)), lower=True)
    return np.asarray(model.alpha_ / np.square(inverse).sum(axis=0))


def main() -> None:
    """Record one set."""
    parser = argparse.ArgumentParser(description="Record the learning curves of a data set.")
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--data", type=Path, default=Path(), help="folder of the data files")
    arguments = parser.parse_args()
    record(arguments.name, arguments.data)


if __name__ == "__main__":
    main()
