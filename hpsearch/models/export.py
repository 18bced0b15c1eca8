"""Export of a model from a study database to a folder; the training data are not needed."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from engine.types import EngineError
from hpsearch.config.spec import Spec
from hpsearch.core.atomic import recover_folder, replaced_folder
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import DataError, OutputError, StorageError
from hpsearch.models.members import Member
from hpsearch.models.model import MODEL_FILES, Model
from hpsearch.models.predictors.build import build_predictor
from hpsearch.models.predictors.own_files import OWN_FILES, own_code_files
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.database import display_name
from hpsearch.storage.records import StoredEnsemble, StoredWeights, Trial
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.objectives.stepping.progress import unpack_saved


def export_model(model: Model, folder: Path, *, onnx: bool = False) -> Model:
    """Write a model's folder and return the model.

    Args:
        folder: a new folder, or one that holds a model, which is replaced in one step; its other files are kept.
        onnx: also write `model.onnx`.

    Raises:
        OutputError: the folder holds other files or cannot be written, or the package onnx is not installed.
    """
    content = None
    if onnx:
        from hpsearch.models.onnx import graph

        content = graph(model).SerializeToString()
    try:
        recover_folder(folder, MODEL_FILES)
        _check_folder(folder)
        with replaced_folder(folder, MODEL_FILES) as draft:
            model.write(draft)
            if content is not None:
                (draft / "model.onnx").write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise OutputError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return model


def _check_folder(folder: Path) -> None:
    """Raise an OutputError unless the folder is absent, empty or contains a model."""
    if folder.is_dir():
        others = [file.name for file in folder.iterdir()]
        if others and "model.json" not in others:
            raise OutputError(f"{folder}: contains other files ({min(others)}); choose a new folder")
    elif folder.exists():
        raise OutputError(f"{folder}: must be a folder, is a file")


def export_own_code(
    spec: Spec, storage: StudyDatabase, trial: Trial, stored: StoredWeights, folder: Path
) -> dict[str, Any]:
    """Write what the user's own code has trained: what it saved, its parameters and its source files; return metadata.

    Args:
        folder: as for `export_model`.

    Raises:
        OutputError: the folder holds other files or cannot be written.
        DataError: the stored weights or preprocessing are damaged.
    """
    try:
        saved = unpack_saved(stored.weights)
    except EngineError as error:
        raise DataError(f"{trial.label}: what its code saved cannot be read: {error}") from None
    prepared = PreparedData.at(_prepared(storage), spec, trial.point) if spec.data is not None else None
    fingerprint = prepared.dataset.fingerprint if prepared else ""
    about = _about(spec, trial, fingerprint, storage.study.load().version)
    files, owned = own_code_files(spec, about, saved, storage.study.code(), prepared), (*MODEL_FILES, *OWN_FILES)
    try:
        recover_folder(folder, owned)
        _check_folder(folder)
        with replaced_folder(folder, owned) as draft:
            for name, content in files.items():
                (draft / name).write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise OutputError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return about


def champion_model(spec: Spec, storage: StudyDatabase, trial: Trial, stored: StoredWeights) -> Model:
    """Return the model of a complete trial whose weights are stored.

    Raises:
        DataError: the stored weights or preprocessing are missing or damaged.
    """
    prepared = PreparedData.at(_prepared(storage), spec, trial.point)
    version = storage.study.load().version
    return build_model(spec, prepared.dataset, prepared.folds, trial, stored.weights, version)


def ensemble_model(
    spec: Spec, storage: StudyDatabase, ensemble: StoredEnsemble, trials: Sequence[Sequence[Trial]]
) -> Model:
    """Return the model of a study's ensemble.

    Args:
        trials: trials of each stage.

    Raises:
        StorageError: a member is no trial of the study, or its weights are not stored.
        DataError: the stored weights or preprocessing are missing or damaged.
    """
    known = {t.key: t for stage in trials for t in stage}
    variants, version, models = _prepared(storage), storage.study.load().version, list[Model]()
    for key in ensemble.members:
        trial = known.get(key)
        stored = storage.weights.find(trial)
        if trial is None or stored is None:
            label = "{}/{}".format(*key)
            raise StorageError(f"{display_name(storage.url)}: the weights of {label} are not stored")
        prepared = PreparedData.at(variants, spec, trial.point)
        models.append(build_model(spec, prepared.dataset, prepared.folds, trial, stored.weights, version))
    counts = list(ensemble.members.values())
    about = [
        {"trial": model.about["trial"], "count": count, "parameters": model.about["parameters"]}
        for model, count in zip(models, counts, strict=True)
    ]
    names = {"trial": f"ensemble of {ensemble.described}", "members": about, "metrics": dict(ensemble.scores)}
    shared = {name: value for name, value in models[0].about.items() if name != "parameters"}
    others = [
        Member(model.predictor, model.preprocessing, count) for model, count in zip(models[1:], counts[1:], strict=True)
    ]
    return replace(models[0], about=shared | names, count=counts[0], others=tuple(others))


def _prepared(storage: StudyDatabase) -> list[PreparedData]:
    """Return the stored preprocessing of each variant."""
    variants = [PreparedData.from_bytes(content) for content in storage.study.prepared()]
    if not variants:
        raise DataError(
            f"{display_name(storage.url)}: contains no preprocessing, which the model needs; restore a copy"
        )
    return variants


def build_model(
    spec: Spec, dataset: Dataset, folds: Sequence[Preprocessing], trial: Trial, weights: bytes, version: str = ""
) -> Model:
    """Return the model of a finished trial.

    Args:
        folds: the preprocessing of each fold.
        weights: as the trial's result has them.
        version: the version of hpsearch that trained it.

    Raises:
        DataError: the weights are those of another study, or the user's own code predicts.
    """
    return Model(
        predictor=build_predictor(spec, dataset, len(folds), trial, weights),
        preprocessing=tuple(folds),
        classes=dataset.classes,
        about=_about(spec, trial, dataset.fingerprint, version),
    )


def _about(spec: Spec, trial: Trial, fingerprint: str, version: str) -> dict[str, Any]:
    """Return the metadata of a model."""
    return {
        "study": spec.name,
        "trial": trial.label,
        "parameters": dict(trial.point),
        "metrics": {name: value for name, value in trial.metrics.items() if isfinite(value)},
        "data": fingerprint,
        "version": version,
        "spec": spec.model_dump(mode="json"),
    }
