"""Baselines: simple models fitted to the rows of a study, which say what its network is worth.

A baseline sees the prepared rows that the network sees, and is scored like it. It depends on the data and on the seed
of the study alone: one thread, and a limit on work instead of time.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_limits

from engine.data.rows import Rows
from engine.types import Floats, Integers
from hpsearch.config.spec import Spec
from hpsearch.core.processes import init_worker
from hpsearch.core.seeds import derive
from hpsearch.core.text import first_line
from hpsearch.data.dataset import BLOCK_SIZE, Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.data.sources.base import Part
from hpsearch.errors import DataError
from hpsearch.training.scores import mean_prediction, prediction_scores
from hpsearch.training.task import BaselineName

MAX_FITTED_CELLS = 30_000_000  # numbers that a baseline is fitted to: 240 MB in float64
MAX_LINEAR_WORK = 2.5e8  # rows · inputs · outputs · folds, about 20 s on one core
# Trees · inputs · folds · (rows + `ROWS_OF_A_SPLIT`), about one minute on one core; the search for splits in histograms
# takes as long whatever the number of rows.
MAX_BOOSTING_WORK, BOOSTED_TREES, ROWS_OF_A_SPLIT = 2.5e9, 100, 1500
MIN_FITTED_ROWS = 1000  # that a baseline of more rows is fitted to at least
MAX_ITERATIONS = 300  # of logistic regression


class BaselineTask(NamedTuple):
    """A baseline to fit.

    Attributes:
        dataset: the variant of the data.
    """

    name: BaselineName
    spec: Spec
    dataset: Dataset


class BaselineResult(NamedTuple):
    """A baseline that was fitted, or the reason why it was not.

    Attributes:
        rows: number of training rows that it was fitted to, in each fold.
        scores: finite scores: `train/…` (on these rows), `val/…` and `test/…`; means over folds, as for a trial.
        error: why there are no scores; None if there are.
    """

    name: str
    rows: int
    scores: dict[str, float]
    error: str | None = None
    seconds: float = 0.0


@final
class Constant:
    """The mean of the targets: of a regression the mean, else the share of each class.

    It predicts as scikit-learn's `DummyRegressor` and `DummyClassifier(strategy="prior")`.
    """

    def __init__(self, y: Floats) -> None:
        self._mean = y.mean(axis=0, dtype=np.float64)

    def predict(self, x: Floats) -> Floats:
        return np.tile(self._mean, (len(x), 1))


@final
class Fitted:
    """An estimator of scikit-learn, fitted to targets `(rows, outputs)`, which predicts in this form."""

    def __init__(self, estimator: Any, x: Floats, y: Floats, classes: int) -> None:
        self._outputs, self._classes = y.shape[1], classes
        labels: Integers = y.argmax(axis=1) if classes > 2 else y[:, 0].astype(np.intp)
        self._estimator = estimator.fit(x, labels if classes else y[:, 0].astype(np.float64))

    def predict(self, x: Floats) -> Floats:
        if not self._classes:
            return np.asarray(self._estimator.predict(x), np.float64).reshape(len(x), 1)
        probabilities = np.zeros((len(x), self._classes))  # 0 for a class that is not among the rows it was fitted to
        probabilities[:, self._estimator.classes_] = self._estimator.predict_proba(x)
        return probabilities if self._classes > 2 else probabilities[:, 1:]


FittedBaseline = Constant | Fitted
Fit = Callable[[Floats, Floats, int, int], FittedBaseline]  # x, y (rows, outputs), number of classes, seed → predictor


def _constant(x: Floats, y: Floats, classes: int, seed: int) -> FittedBaseline:
    return Constant(y)


def _linear(x: Floats, y: Floats, classes: int, seed: int) -> FittedBaseline:
    from sklearn.linear_model import LogisticRegression, Ridge

    return Fitted(LogisticRegression(max_iter=MAX_ITERATIONS) if classes else Ridge(), x, y, classes)


def _boosting(x: Floats, y: Floats, classes: int, seed: int) -> FittedBaseline:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return Fitted(kind(random_state=seed), x, y, classes)


BASELINES: dict[BaselineName, Fit] = {"constant": _constant, "linear": _linear, "boosting": _boosting}


def fitted_rows(name: BaselineName, dataset: Dataset) -> int:
    """Return the number of training rows that a baseline is fitted to.

    Raises:
        DataError: the rows have too many inputs for it.
    """
    rows, inputs = dict(dataset.rows)["train"], int(np.prod(dataset.inputs))
    if name == "constant":
        return rows
    most = MAX_FITTED_CELLS // inputs
    if name == "linear":
        most = min(most, int(MAX_LINEAR_WORK / (inputs * dataset.outputs * dataset.folds)))
    else:
        most = min(
            most, int(MAX_BOOSTING_WORK / (BOOSTED_TREES * inputs * dataset.outputs * dataset.folds)) - ROWS_OF_A_SPLIT
        )
    if most < min(rows, MIN_FITTED_ROWS):
        size = f"{inputs:,} inputs" + (f" and {dataset.outputs} classes" if dataset.outputs > 1 else "")
        folds = f" in {dataset.folds} folds" if dataset.folds > 1 else ""
        raise DataError(f"{size}{folds} would take too long")
    return min(rows, most)


def fit_baseline(task: BaselineTask) -> BaselineResult:
    """Fit and score a baseline. An error becomes the reason in its result."""
    begun, rows = time.monotonic(), 0
    try:
        rows = fitted_rows(task.name, task.dataset)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a solver that stops early is part of a baseline
            scores = _scores(task, rows)
    except Exception as error:
        reason = str(error) if isinstance(error, DataError) else first_line(error)
        return BaselineResult(task.name, rows, {}, reason, time.monotonic() - begun)
    return BaselineResult(task.name, rows, scores, None, time.monotonic() - begun)


def _scores(task: BaselineTask, rows: int) -> dict[str, float]:
    """Return all scores of a baseline: means over the folds, and of the mean prediction on the test rows."""
    if task.name != "constant":  # loaded first, because the limit on threads is for what is loaded
        import sklearn.ensemble
        import sklearn.linear_model  # noqa: F401
    spec, dataset = task.spec, task.dataset
    seed = derive(spec.seed, "baselines", task.name)
    train, val, test = (dataset.part(part) for part in ("train", "val", "test"))
    if train is None:
        raise DataError("there are no training rows")
    by_fold: list[dict[str, float]] = []
    on_test: list[Floats] = []
    with threadpool_limits(1):
        for fold in range(dataset.folds):
            part = _sample(train.of(fold), rows, seed)
            x = part.x.reshape(len(part), -1).astype(np.float64)
            predictor = BASELINES[task.name](x, part.y, len(dataset.classes), seed % 2**32)
            scores = _part_scores(spec, dataset, fold, "train", predictor, part)
            by_fold.append(scores | ({} if val is None else _part_scores(spec, dataset, fold, "val", predictor, val)))
            on_test += [] if test is None else [_predicted(predictor, test.of(fold).x)]
    scores = {name: float(np.mean([s[name] for s in by_fold])) for name in by_fold[0]}
    if dataset.folds > 1:
        monitored = [s[spec.metric.name] for s in by_fold if spec.metric.name in s]
        scores |= {f"{spec.metric.name}_std": float(np.std(monitored, ddof=1))} if monitored else {}
    if test is not None:
        mean = mean_prediction(dataset, np.stack(on_test))
        found = prediction_scores(spec, dataset, mean, test.of(0).y, dataset.units[0])
        scores |= {f"test/{name}": value for name, value in found.items()}
    return {name: value for name, value in scores.items() if np.isfinite(value)}


def _part_scores(
    spec: Spec, dataset: Dataset, fold: int, name: Part, predictor: FittedBaseline, rows: Rows
) -> dict[str, float]:
    part = rows.of(fold)
    found = prediction_scores(spec, dataset, _predicted(predictor, part.x), part.y, dataset.units[fold])
    return {f"{name}/{score}": value for score, value in found.items()}


def _sample(rows: Rows, count: int, seed: int) -> Rows:
    """Return `count` rows drawn at random, in their order; all rows if there are no more."""
    if count >= len(rows):
        return Rows(rows.x, rows.y)
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
    return Rows(rows.x[chosen], rows.y[chosen])


def _predicted(predictor: FittedBaseline, x: Floats) -> Floats:
    """Return predictions `(rows, outputs)` as a network gives them, made block by block."""
    flat = x.reshape(len(x), -1)
    block = max(1, BLOCK_SIZE // max(1, flat.shape[1]))
    starts = range(0, len(flat), block)
    parts = [predictor.predict(flat[start : start + block].astype(np.float64)) for start in starts]
    return np.concatenate(parts).astype(DTYPE)


def send_baselines(tasks: Sequence[BaselineTask], scratch: str, results: Connection) -> None:
    """Fit baselines in a child process, one after another, and send each result when it is there.

    Args:
        scratch: the coordinator's temporary folder.
    """
    init_worker(scratch)
    with results:
        for task in tasks:
            results.send(fit_baseline(task))
