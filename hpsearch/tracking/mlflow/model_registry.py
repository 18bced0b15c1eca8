"""The champion and the ensemble in MLflow's model registry, as models that `mlflow models serve` accepts.

Files that are added to the run's folder `model/`, which `Model.save` wrote, turn it into an MLflow model, so the
weights are stored once. MLflow's `add_to_model` writes the files; `save_model` takes 0.3 s longer, because it searches
for packages that are known.
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpsearch.config.spec import Spec
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.version import __version__
from hpsearch.models.model import Model
from hpsearch.tracking.base import StoreReplacedError
from hpsearch.tracking.mlflow.tags import ENSEMBLE_TAG, OBJECTIVE_METRIC, STUDY_TAG, TRIAL_TAG, WEIGHTS_TAG

CHAMPION_ALIAS, ENSEMBLE_ALIAS = "champion", "ensemble"
MAX_PARAM = 6000  # characters of a parameter
MODEL_FOLDER = "model"  # in a run's artifacts
_EXAMPLE, _SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"
_CODE = Path(__file__).parents[2] / "models" / "serving.py"


class NotRegisteredError(Exception):
    """Raised when the champion's run is complete, but its model is not in the registry."""


def register(
    client: Any, run: str, label: str, model: Path, study: tuple[str, str], alias: str = CHAMPION_ALIAS
) -> None:
    """Register the model of a run, unless it is registered, and give it an alias.

    Args:
        client: MLflow's client.
        run: id of the run, which has the model among its artifacts.
        label: label of the run's trial, or the members of the ensemble.
        model: folder of the model.
        study: name and identity of the study. A registered model of the same name that belongs to another study is
            not changed.

    Raises:
        StoreReplacedError: the tracking store was deleted or replaced.
        NotRegisteredError: for all other errors.
    """
    try:
        _register(client, run, label, model, study, alias)
    except StoreReplacedError:
        raise
    except Exception as error:
        raise NotRegisteredError(f"its model is not registered: {type(error).__name__}: {error}") from error


def registered_name(client: Any, run: str) -> str | None:
    """Return the name under which a run's model is registered; None if it is not registered or the registry fails."""
    try:
        return next((str(version.name) for version in client.search_model_versions(f"run_id = '{run}'")), None)
    except Exception:
        return None


def upload_ensemble(
    client: Any, experiment: str, spec: Spec, model: Path, end: int, common_tags: Mapping[str, str]
) -> tuple[str, str]:
    """Make sure that the ensemble has exactly one run, which is complete; return its id and the members.

    A run that a killed process left unfinished and that of an earlier ensemble are replaced.

    Args:
        client: MLflow's client.
        experiment: id of the experiment.
        model: folder of the ensemble's model.
        end: end of the run, Unix time in milliseconds.
        common_tags: tags of every run.
    """
    weights, about = _digest(model), Model.load(model).about
    stored = client.search_runs([experiment], f"tags.`{ENSEMBLE_TAG}` != ''")
    same = [r for r in stored if (r.data.tags[ENSEMBLE_TAG], r.info.status) == (weights, "FINISHED")]
    if same:
        run = same[0].info.run_id
    else:
        from mlflow.entities import Metric, Param

        run = client.create_run(experiment, end, {**common_tags, ENSEMBLE_TAG: weights}, "ensemble").info.run_id
        scores = about["metrics"]
        values = {n if n.startswith("test/") else f"best/{n}": value for n, value in scores.items()}
        values |= {OBJECTIVE_METRIC: scores[spec.metric.name]} if spec.metric.name in scores else {}
        metrics = [Metric(name, float(value), end, 0) for name, value in values.items()]
        client.log_batch(run, metrics, [Param("members", about["trial"][:MAX_PARAM])])
        client.log_artifacts(run, str(model), MODEL_FOLDER)
        client.set_terminated(run, "FINISHED", end)
    for other in stored:
        if other.info.run_id != run:
            client.delete_run(other.info.run_id)
    return run, about["trial"]


def _digest(model: Path) -> str:
    """Return the hash of a model's weights."""
    return hashlib.sha256((model / "weights.npz").read_bytes()).hexdigest()


def _register(client: Any, run: str, label: str, model: Path, study: tuple[str, str], alias: str) -> None:
    (name, identity), weights = study, _digest(model)
    tags = {STUDY_TAG: identity, TRIAL_TAG: label, WEIGHTS_TAG: weights}
    of_run = client.search_model_versions(f"run_id = '{run}'")
    same = [v for v in of_run if {k: v.tags.get(k) for k in tags} == tags]  # created after all files were uploaded
    if same:
        version = max(same, key=lambda v: int(v.version))
    else:
        with private_folder() as scratch:
            (files := scratch / MODEL_FOLDER).mkdir()
            write_mlflow_files(Model.load(model, check=False), files, run)
            client.log_artifacts(run, str(files), MODEL_FOLDER)
        source = f"{client.get_run(run).info.artifact_uri}/{MODEL_FOLDER}"
        registered = _registered_model(client, name, identity)
        version = client.create_model_version(registered, source, run, tags, await_creation_for=None)
    if client.get_registered_model(version.name).aliases.get(alias) != version.version:
        client.set_registered_model_alias(version.name, alias, version.version)


def _registered_model(client: Any, name: str, identity: str) -> str:
    """Return the name of the study's registered model, which is created if it does not exist.

    The name includes a part of the study's identity if another study or a user has a model of the study's name.
    """
    for candidate in (name, f"{name}-{identity[:8]}"):
        models = client.search_registered_models(f"name = '{candidate}'")
        if not models:
            client.create_registered_model(candidate, {STUDY_TAG: identity})
            return candidate
        if models[0].tags.get(STUDY_TAG) == identity:
            return candidate
    raise RuntimeError(f"the names '{name}' and '{candidate}' are used by other registered models")


def write_mlflow_files(model: Model, folder: Path, run: str | None = None) -> None:
    """Write the files that turn a folder written by `Model.save` into an MLflow model.

    Columns are matched by name, even for arrays. All columns are required, because a misspelled column would otherwise
    become missing values; a cell of any column may be missing (`null` in JSON). The signature has no inputs, because
    MLflow refuses whole numbers in a column of doubles, and numbers in a column of text; the model itself checks its
    rows. Their columns are in the metadata and in the example.

    Args:
        model: the saved model.
        folder: destination of the files.
        run: id of the run that has the model.
    """
    import mlflow
    from mlflow.models import Model as Described
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    texts, classes = model.preprocessing[0].categorical, model.classes
    inputs = [{"name": name, "type": "string" if name in texts else "double"} for name in model.features]
    outputs: list[Any] = [ColSpec("string" if classes else "double", "prediction")]
    outputs += [ColSpec("double", f"probability of {name}") for name in classes]
    described = Described(
        MODEL_FOLDER, run, signature=ModelSignature(None, Schema(outputs)), metadata={"inputs": inputs}
    )
    example = model.preprocessing[0].input_format.get("example")
    if example:
        split = {"columns": list(model.features), "data": example}
        (folder / _EXAMPLE).write_text(json.dumps(split), "utf-8")
        (folder / _SERVING_EXAMPLE).write_text(json.dumps({"dataframe_split": split}), "utf-8")
        files = {"artifact_path": _EXAMPLE, "serving_input_path": _SERVING_EXAMPLE}
        described.saved_input_example_info = {**files, "type": "dataframe", "pandas_orient": "split"}
    mlflow.pyfunc.add_to_model(
        described,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=_CODE.name,
        python_env="python_env.yaml",
        artifacts={MODEL_FOLDER: {"path": ".", "uri": "."}},
    )
    described.save(str(folder / "MLmodel"))
    shutil.copyfile(_CODE, folder / _CODE.name)
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(environment), "utf-8")  # JSON is YAML
    (folder / "requirements.txt").write_text(f"hpsearch=={__version__}\n", "utf-8")
