"""MLflow's registry: the champion as a model that `mlflow models serve` takes, one more version whenever it changes.

The run's folder `model/` as `Model.save` wrote it becomes an MLflow model by what is put beside it, so the weights are
there once. It is described in MLflow's own file format, by the function that MLflow has for this, and nothing of it is
run: `save_model` would take 0.3 s to look for packages that are known.
"""

import hashlib
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hpsearch.core.version import __version__
from hpsearch.models.model import Model
from hpsearch.tracking.base import StoreReplacedError

ALIAS = "champion"
FOLDER = "model"  # of a run's artifacts
STUDY, TRIAL, WEIGHTS = "hpsearch.study", "hpsearch.trial", "hpsearch.weights"
EXAMPLE, SERVED = "input_example.json", "serving_input_example.json"
CODE = Path(__file__).parents[2] / "models" / "serving.py"


class NotRegistered(Exception):
    """The champion's run is whole, but the registry has not got its model."""


def register(client: Any, run: str, label: str, model: Path, study: tuple[str, str]) -> None:
    """Makes the model of a run, whose folder is among its artifacts, the one that is served; once.

    Args:
        run: its id.
        label: the trial it tells of.
        model: the folder.
        study: name and identity; a registered model of this name that is another study's stays as it is.

    Raises:
        Lost: what was sent before is gone as well.
        NotRegistered: it could not be done.
    """
    try:
        _register(client, run, label, model, *study)
    except StoreReplacedError:
        raise
    except Exception as error:
        raise NotRegistered(f"its model is not registered: {type(error).__name__}: {error}") from error


def _register(client: Any, run: str, label: str, model: Path, name: str, identity: str) -> None:
    tags = {STUDY: identity, TRIAL: label, WEIGHTS: hashlib.sha256((model / "weights.npz").read_bytes()).hexdigest()}
    of_run = client.search_model_versions(f"run_id = '{run}'")
    same = [v for v in of_run if {k: v.tags.get(k) for k in tags} == tags]  # made last, so all before it is there
    if same:
        version = max(same, key=lambda v: int(v.version))
    else:
        with tempfile.TemporaryDirectory() as folder:
            describe(Model.load(model), Path(folder), run)
            client.log_artifacts(run, folder, FOLDER)
        source = f"{client.get_run(run).info.artifact_uri}/{FOLDER}"
        registered = _registered(client, name, identity)
        version = client.create_model_version(registered, source, run, tags, await_creation_for=None)
    if client.get_registered_model(version.name).aliases.get(ALIAS) != version.version:
        client.set_registered_model_alias(version.name, ALIAS, version.version)


def _registered(client: Any, name: str, identity: str) -> str:
    """The name of the study's registered model, made if it is not there; with a part of its identity, when another
    study or a person has the name."""
    for wanted in (name, f"{name}-{identity[:8]}"):
        found = client.search_registered_models(f"name = '{wanted}'")
        if not found:
            client.create_registered_model(wanted, {STUDY: identity})
            return wanted
        if found[0].tags.get(STUDY) == identity:
            return wanted
    raise RuntimeError(f"two others have the registered models '{name}' and '{wanted}'")


def describe(model: Model, folder: Path, run: str | None = None) -> None:
    """Writes what makes a folder that `Model.save` wrote one that MLflow loads, when it is put into it.

    Columns go by name, of arrays too: one rule, for which a client need not know in what order they come. Each has to
    be there, since one that is misspelled would be missing cells otherwise; a cell may be missing in any, which is
    `null` in JSON.
    """
    import mlflow
    from mlflow.models import Model as Described
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    texts, classes = model.preprocessing[0].categorical, model.classes
    inputs: list[Any] = [ColSpec("string" if name in texts else "double", name) for name in model.features]
    outputs: list[Any] = [ColSpec("string" if classes else "double", "prediction")]
    outputs += [ColSpec("double", f"probability of {name}") for name in classes]
    described = Described(FOLDER, run, signature=ModelSignature(Schema(inputs), Schema(outputs)))
    example = model.preprocessing[0].input_format.get("example")
    if example:
        split = {"columns": list(model.features), "data": example}
        (folder / EXAMPLE).write_text(json.dumps(split), "utf-8")
        (folder / SERVED).write_text(json.dumps({"dataframe_split": split}), "utf-8")
        files = {"artifact_path": EXAMPLE, "serving_input_path": SERVED}
        described.saved_input_example_info = {**files, "type": "dataframe", "pandas_orient": "split"}
    mlflow.pyfunc.add_to_model(
        described,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=CODE.name,
        python_env="python_env.yaml",
        artifacts={FOLDER: {"path": ".", "uri": "."}},
    )
    described.save(str(folder / "MLmodel"))
    shutil.copyfile(CODE, folder / CODE.name)
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(environment), "utf-8")  # JSON is YAML
    (folder / "requirements.txt").write_text(f"hpsearch=={__version__}\n", "utf-8")
