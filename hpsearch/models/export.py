"""A study's champion out of its database: a model, made without the data."""

import tempfile
from pathlib import Path

from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError
from hpsearch.models.model import Model, PreparedData, champion
from hpsearch.storage.records import Trial
from hpsearch.storage.study_db import Champion, Storage


def model_of(spec: Spec, storage: Storage, best: Trial, stored: Champion) -> Model:
    """The model of a complete trial whose weights are stored.

    Raises:
        DataError: the study was begun by an earlier version, and its data cannot be read any more.
    """
    study = storage.study()
    assert study is not None  # it has a champion
    blueprints = [PreparedData.from_bytes(content) for content in storage.prepared()]
    if not blueprints:
        with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
            dataset, prepared = prepare(spec.data, spec.seed, Path(folder), preprocessing_values(spec))
        if dataset.fingerprint != study.fingerprint:
            raise DataError("the data have changed since the study began")
        blueprints = PreparedData.each(dataset, prepared)
    made = PreparedData.at(blueprints, spec, best.point)
    return champion(spec, made.dataset, made.folds, best, stored.weights, study.version)
