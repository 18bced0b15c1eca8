"""Studies with cross-validation and with searched preprocessing, and trials of them."""

from pathlib import Path
from typing import Any

from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.storage.records import Trial
from hpsearch.training.task import Task, TrialResult, TrialTask
from hpsearch.training.trial import advance

POINT = {"learning_rate": 0.1, "beta": 0.8, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}


FOLDS = {"data": {"source": "sklearn", "name": "wine", "split": {"folds": 3}}}


VALUES = {"data": {"source": "sklearn", "name": "diabetes", "split": {"folds": 4}}, "metric": {"name": "val/rmse"}}


WAYS: dict[str, Any] = {
    "data": {**FOLDS["data"], "scale": "scaling"},
    "parameters.scaling": {"values": ["standard", "minmax", "none"]},
}


Prepared = tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]


def prepared(spec: Spec, folder: Path) -> Prepared:
    return prepare(spec.data, spec.seed, folder, preprocessing_values(spec))


def one(spec: Spec, dataset: Dataset, point: dict[str, Any] = POINT, **others: Any) -> TrialResult:
    (result,) = advance(Task(spec, dataset, (TrialTask(0, point, 7, **others),), spec.train.epochs))
    return result


def model(spec: Spec, made: Prepared, result: TrialResult, point: dict[str, Any] = POINT) -> Model:
    dataset = made[0].at(point)
    assert result.weights is not None
    return build_model(spec, dataset, made[1][dataset.number], Trial("a", 0, {}, point, "complete"), result.weights)
