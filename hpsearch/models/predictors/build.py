"""The predictor of a finished trial, from its stored weights."""

import numpy as np

from engine.types import EngineError
from hpsearch.config.spec import EstimatorTraining, Spec, Train
from hpsearch.core.text import printable
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.estimator import EstimatorPredictor
from hpsearch.models.predictors.network import NetworkPredictor
from hpsearch.storage.records import Trial
from hpsearch.training.network import build_network
from hpsearch.training.objectives.stepping.progress import unpack_saved


def has_predictor(spec: Spec) -> bool:
    """Return whether a study's trials predict here, not by the user's own code."""
    return isinstance(spec.train, Train | EstimatorTraining)


def build_predictor(
    spec: Spec, dataset: Dataset, folds: int, trial: Trial, weights: bytes, trusted: tuple[str, ...] = ()
) -> Predictor:
    """Return the predictor of a finished trial.

    Args:
        dataset: the variant for the trial's point.
        weights: as the trial's result has them.
        trusted: packages or types of estimators that are loaded besides those on the list.

    Raises:
        DataError: the weights are those of another study, or the user's own code predicts.
    """
    if isinstance(spec.train, EstimatorTraining):
        try:
            saved = unpack_saved(weights)
        except EngineError as error:
            raise DataError(f"{trial.label}: its estimators cannot be read: {printable(str(error))}") from None
        stored = tuple(content for content in saved if content is not None)
        if len(stored) != folds:
            raise DataError(f"{trial.label}: has {len(stored)} estimators, its study has {folds} folds")
        return EstimatorPredictor(spec.train.estimator, stored, dataset.inputs, len(dataset.classes), trusted)
    if not isinstance(spec.train, Train):
        raise DataError(f"{trial.label}: predicts by your own code, {spec.train.described}, not as a model of hpsearch")
    network, count = build_network(spec, dataset, trial.point), len(weights) / DTYPE.itemsize
    if count != folds * network.size:
        raise DataError(
            f"{trial.label}: has {count:g} weights; {folds} networks of {network.size} parameters need"
            f" {folds * network.size}"
        )
    return NetworkPredictor(network, np.frombuffer(weights, DTYPE).reshape(folds, -1))
