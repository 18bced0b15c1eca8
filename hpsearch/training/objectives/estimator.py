"""Training by an estimator with the interface of scikit-learn, on the study's own rows."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.core.resources import exhausted_resource
from hpsearch.core.seeds import derive
from hpsearch.core.space import Point
from hpsearch.core.text import first_line
from hpsearch.data.dataset import Dataset
from hpsearch.data.sources.base import Part
from hpsearch.errors import DataError
from hpsearch.training.objectives.estimator_class import (
    PROBABILITY_METRICS,
    create_estimator,
    estimator_class,
    training_of,
)
from hpsearch.training.objectives.function import CODE_SEEDS
from hpsearch.training.objectives.stepping.driver import Scores, StepError, advance_steps
from hpsearch.training.objectives.stepping.generators import generator_states, restore_generators, seed_generators
from hpsearch.training.objectives.stepping.isolation import isolated
from hpsearch.training.objectives.stepping.progress import Progress, unpack_saved
from hpsearch.training.objectives.stepping.rows import labels
from hpsearch.training.objectives.stored_estimator import (
    check_estimator_types,
    dump_estimator,
    estimator_outputs,
    load_estimator,
    trusted_by_name,
)
from hpsearch.training.scores import mean_prediction, prediction_score, prediction_scores
from hpsearch.training.task import Task, TrialResult


def advance_estimator(task: Task) -> TrialResult:
    """Train a task's trial by the study's estimator."""
    kind = estimator_class(task.spec, task.code)  # before the limit of threads, which is for loaded libraries
    (trial,) = task.trials

    def begin(fold: int, saved: bytes | None, progress: Progress) -> _EstimatorSteps:
        if fold == 0:
            if progress.generators:
                restore_generators(progress.generators)
            else:
                seed_generators(trial.seed)
        return _EstimatorSteps(kind, task, fold, saved, progress.state.epoch)

    with isolated(1):
        return advance_steps(task, begin, generator_states)


def score_estimators(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Return the finite scores of a finished trial on the test rows (`test/…`) and the training rows (`fit/…`).

    The estimators of all folds predict the test rows together; each is scored alone on its training rows.
    """
    dataset = dataset.at(point)
    estimators = [
        load_estimator(saved or b"", trusted_by_name(training_of(spec).estimator)) for saved in unpack_saved(weights)
    ]
    scores: dict[str, float] = {}
    with _quiet(), threadpool_limits(1):
        if (test := _all_rows(dataset, estimators, "test")) is not None:
            predicted, truth = mean_prediction(dataset, test), _rows(dataset, "test", 0)[1]
            found = prediction_scores(spec, dataset, predicted, truth, dataset.units[0])
            scores |= {f"test/{name}": value for name, value in _valid(found, dataset, estimators).items()}
        for name in ("loss", _accuracy(dataset)):
            fits = []
            for fold, estimator in enumerate(estimators):
                x, truth = _rows(dataset, "train", fold)
                predicted = estimator_outputs(estimator, x, len(dataset.classes))
                fits.append(prediction_score(name, spec, dataset, predicted, truth, dataset.units[fold]))
            scores |= {f"fit/{name}": value for name, value in _valid({name: _mean(fits)}, dataset, estimators).items()}
    return {name: value for name, value in scores.items() if math.isfinite(value)}


@final
class _EstimatorSteps:
    """One fold of a trial that an estimator trains."""

    def __init__(self, kind: Any, task: Task, fold: int, saved: bytes | None, steps: int) -> None:
        trial, self._spec, self._fold, self._steps = task.trials[0], task.spec, fold, steps
        self._kind = kind
        self._dataset = task.dataset.at(trial.point)
        self._x, self._truth = _rows(self._dataset, "train", fold)
        self._y = labels(self._dataset, self._truth)
        self._trusted = (*trusted_by_name(training_of(task.spec).estimator), kind.__module__.partition(".")[0])
        self._saved: tuple[int, bytes] | None = None if saved is None else (steps, saved)
        self._checked = False
        self._outputs: Floats = np.empty(0)  # of the training rows, after the latest step
        seed = trial.seed if fold == 0 else derive(trial.seed, "fold", fold)
        with self._failing():
            if saved is None:
                self._estimator = create_estimator(task.spec, task.dataset, kind, trial.point, seed % CODE_SEEDS)
            else:
                self._estimator = load_estimator(saved, self._trusted)

    @property
    def saves(self) -> bool:
        """Return whether an estimator that is loaded again equals this one, so that its training can be resumed."""
        try:
            saved = self.save()
            again = load_estimator(saved, self._trusted)
            with _quiet():
                outputs = estimator_outputs(again, self._x, len(self._dataset.classes))
            same = vars(again).keys() == vars(self._estimator).keys() and np.array_equal(outputs, self._outputs)
            return same and dump_estimator(again) == saved
        except (DataError, StepError):
            return False

    def step(self) -> Scores:
        self._steps += 1
        with self._failing(), _quiet():
            self._fit()
            return self._scores()

    def save(self) -> bytes:
        if self._saved is None or self._saved[0] != self._steps:
            with self._failing(), _quiet():
                content = dump_estimator(self._estimator)
                if not self._checked:
                    check_estimator_types(content, self._trusted)
                    self._checked = True
            self._saved = self._steps, content
        return self._saved[1]

    def close(self) -> None:
        pass

    def _fit(self) -> None:
        train = training_of(self._spec)
        grow = train.grow
        y: npt.NDArray[Any] = self._y if self._dataset.classes else self._y.astype(np.float64)
        if grow is not None:
            self._estimator.set_params(**{name: amount * self._steps for name, amount in grow.items()})
            self._estimator.fit(self._x, y)
        elif train.epochs == 1:
            self._estimator.fit(self._x, y)
        elif self._dataset.classes:
            self._estimator.partial_fit(self._x, y, classes=np.arange(len(self._dataset.classes)))
        else:
            self._estimator.partial_fit(self._x, y)

    def _scores(self) -> dict[str, float]:
        spec, dataset, classes = self._spec, self._dataset, len(self._dataset.classes)
        unit = dataset.units[self._fold]
        self._outputs = estimator_outputs(self._estimator, self._x, classes)
        found = {
            f"train/{name}": prediction_score(name, spec, dataset, self._outputs, self._truth, unit)
            for name in ("loss", _accuracy(dataset))
        }
        if dataset.part("val") is not None:
            x, truth = _rows(dataset, "val", self._fold)
            of_val = prediction_scores(spec, dataset, estimator_outputs(self._estimator, x, classes), truth, unit)
            found |= {f"val/{name}": value for name, value in of_val.items()}
        found, monitored = _valid(found, dataset, [self._estimator]), spec.metric.monitored
        if monitored not in found and spec.metric.of in PROBABILITY_METRICS:
            raise StepError(f"{monitored} needs probabilities, and {self._kind.__name__} has no predict_proba here")
        return found

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Provide a context in which what the estimator raises fails the trial, with its message in one line."""
        try:
            yield
        except StepError:
            raise
        except Exception as error:
            if exhausted_resource(error) is not None or ".py:" in training_of(self._spec).estimator:
                raise  # with the line in the user's file
            raise StepError(f"{self._kind.__name__}: {first_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Provide a context without warnings, such as those of a fit that has not converged."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _rows(dataset: Dataset, part: Part, fold: int) -> tuple[Floats, Floats]:
    """Return inputs `(rows, features)` and targets `(rows, outputs)` of a fold."""
    rows = dataset.part(part)
    if rows is None:
        raise DataError("data.split: there are no training rows" if part == "train" else f"there are no {part} rows")
    of_fold = rows.of(fold)
    return of_fold.x.reshape(len(of_fold.x), -1), of_fold.y


def _all_rows(dataset: Dataset, estimators: Sequence[Any], part: Part) -> Floats | None:
    if dataset.part(part) is None:
        return None
    folds = [
        estimator_outputs(estimator, _rows(dataset, part, fold)[0], len(dataset.classes))
        for fold, estimator in enumerate(estimators)
    ]
    return np.stack(folds)


def _valid(found: dict[str, float], dataset: Dataset, estimators: Sequence[Any]) -> dict[str, float]:
    """Return the scores without those that need probabilities, unless the estimators predict them."""
    if not dataset.classes or all(hasattr(estimator, "predict_proba") for estimator in estimators):
        return found
    return {name: value for name, value in found.items() if name.rpartition("/")[2] not in PROBABILITY_METRICS}


def _accuracy(dataset: Dataset) -> str:
    return "accuracy" if dataset.classes else "r2"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
