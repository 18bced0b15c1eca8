"""Studies that an estimator trains, and trials of them."""

from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.config.load import restore_spec
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.objectives.code import find_code
from hpsearch.training.task import NO_CODE, Task, TrainingCode, TrialResult, TrialTask, resumed
from hpsearch.training.trial import advance

CONTENT: dict[str, Any] = {
    "name": "boosting",
    "seed": 5,
    "data": {"source": "sklearn", "name": "wine"},
    "train": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "grow": {"max_iter": 2}, "epochs": 4},
    "parameters": {"learning_rate": {"min": 0.05, "max": 0.5, "scale": "log"}, "max_leaf_nodes": 4},
    "stages": [{"name": "coarse", "trials": 4, "sampler": "random"}],
    "parallel": 2,
    "workers": 1,
}
POINT = {"learning_rate": 0.3, "max_leaf_nodes": 4}
REGRESSION = {
    "data": {"source": "sklearn", "name": "diabetes"},
    "metric": {"name": "val/rmse"},
    "train": {"estimator": "sklearn.ensemble.HistGradientBoostingRegressor", "grow": {"max_iter": 2}, "epochs": 4},
}


def study(**changes: Any) -> Spec:
    return restore_spec({**CONTENT, **changes}, "cases.py")


def trained_by(estimator: str, epochs: int = 1, parameters: Any = None, **others: Any) -> Spec:
    """Return a study of another class."""
    train = {"estimator": estimator, "epochs": epochs, **others.pop("train", {})}
    return study(train=train, parameters=parameters or {}, **others)


def prepared(spec: Spec, folder: Path) -> Dataset:
    return prepare(spec.source, spec.seed, folder, preprocessing_values(spec))[0]


def trial(spec: Spec, dataset: Dataset, point: dict[str, Any], epochs: int = 0, code: Any = NO_CODE) -> TrialResult:
    task = Task(spec, dataset, (TrialTask(3, point, 77),), epochs or spec.train.epochs, code=code)
    return advance(task)[0]


def in_pieces(spec: Spec, dataset: Dataset, point: dict[str, Any]) -> TrialResult:
    """Return the result of a trial that pauses after each step."""
    given = TrialTask(3, point, 77)
    for epoch in range(1, spec.train.epochs + 1):
        (result,) = advance(Task(spec, dataset, (given,), epoch))
        if result.state != "running":
            break
        given = resumed(given, result)
    return result


def rows(dataset: Dataset, part: Any, fold: int = 0) -> tuple[Any, Any]:
    """Return inputs and targets of a fold as scikit-learn takes them."""
    of_fold = dataset.part(part)
    assert of_fold is not None
    x, y = of_fold.of(fold).x, of_fold.of(fold).y
    if not dataset.classes:
        return x, y[:, 0].astype(np.float64)
    return x, (y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)).astype(int)


def code_of(spec: Spec, folder: Path) -> TrainingCode:
    return find_code(spec, folder)
