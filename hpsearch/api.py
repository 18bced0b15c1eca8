"""The Python interface: run a study, and return its result as a data frame of trials and a model."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hpsearch.config.load import load_spec, spec_from_mapping
from hpsearch.config.spec import Spec
from hpsearch.errors import Mistake, OutputError, SpecError, StorageError
from hpsearch.models.export import champion_model, ensemble_model, export_model, export_own_code
from hpsearch.models.model import Model
from hpsearch.models.predictors.build import has_predictor
from hpsearch.storage.database import display_name, named_url
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import default_tracking_uri, default_url
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.session import ExecutorFactory, Options, Session
from hpsearch.study.summary import Summary, missing_ensemble, summary

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, eq=False)
class StudyResult:
    """The result of a study, or its state so far.

    Attributes:
        url: URL of the study database.
        summary: the state of the study.
        notices: messages for the user, such as inferred settings of the data and changes of the study file.
    """

    url: str
    summary: Summary
    notices: tuple[str, ...] = ()

    @property
    def best(self) -> Trial:
        """The champion.

        Raises:
            StorageError: no trial is complete.
        """
        if self.summary.champion is None:
            raise StorageError(f"{display_name(self.url)}: no trial is complete")
        return self.summary.champion

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the champion by name.

        Raises:
            StorageError: no trial is complete.
        """
        return dict(self.best.point)

    @property
    def best_value(self) -> float:
        """The metric of the champion.

        Raises:
            StorageError: no trial is complete.
        """
        assert self.best.value is not None  # the champion is complete
        return self.best.value

    @property
    def best_metrics(self) -> dict[str, float]:
        """The scores of the champion at its best epoch, and on the test rows once the study has ended.

        Raises:
            StorageError: no trial is complete.
        """
        return dict(self.best.metrics)

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row for each trial, by stage and number.

        Columns are `stage`, `number`, `state`, `value`, `epochs`, `seconds`, one for each parameter (`params/…`) and
        one for each metric.
        """
        import pandas as pd

        return pd.DataFrame(self.summary.rows)

    @cached_property
    def model(self) -> Model:
        """The model of the champion.

        Raises:
            StorageError: no trial is complete, or the weights are not stored.
        """
        return read(self.url, self._model, self.summary.spec.name)

    @cached_property
    def ensemble(self) -> Model:
        """The model of the ensemble.

        Raises:
            StorageError: the study has no ensemble, or it is not selected yet.
        """
        return read(self.url, self._ensemble, self.summary.spec.name)

    def _ensemble(self, storage: StudyDatabase) -> Model:
        if self.summary.ensemble is None:
            raise StorageError(f"{display_name(self.url)}: {missing_ensemble(self.summary, self.url)}")
        return ensemble_model(self.summary.spec, storage, self.summary.ensemble, self.summary.trials)

    def _model(self, storage: StudyDatabase) -> Model:
        stored = storage.weights.find(self.best)
        if stored is None:
            raise StorageError(f"{display_name(self.url)}: the weights of {self.best.label} are not stored")
        return champion_model(self.summary.spec, storage, self.best, stored)

    def export(self, folder: str | os.PathLike[str], *, ensemble: bool = False, onnx: bool = False) -> dict[str, Any]:
        """Write the best model, or the ensemble, to a folder; of your own code, what it saved and its source files.

        Returns the metadata of the model.

        Args:
            folder: a new folder, or one that holds a model.
            onnx: also write `model.onnx`.

        Raises:
            StorageError: no trial is complete, or the weights are not stored.
            OutputError: the folder cannot be written, or the model has no such form.
        """
        if ensemble or has_predictor(self.summary.spec):
            return export_model(self.ensemble if ensemble else self.model, Path(folder), onnx=onnx).about
        if onnx:
            raise OutputError("the model is your own code, and only networks of the engine can be written as ONNX")
        return read(self.url, lambda storage: self._export_own_code(storage, Path(folder)), self.summary.spec.name)

    def _export_own_code(self, storage: StudyDatabase, folder: Path) -> dict[str, Any]:
        stored = storage.weights.find(self.best)
        if stored is None:
            raise StorageError(f"{display_name(self.url)}: the weights of {self.best.label} are not stored")
        return export_own_code(self.summary.spec, storage, self.best, stored, folder)


def run(
    study: str | os.PathLike[str] | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    storage: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    executor: str | ExecutorFactory = "processes",
    cluster: str | None = None,
) -> StudyResult:
    """Start or resume a study, like `hpsearch run`, without printing anything.

    Args:
        study: path of a study file, or a mapping with its content.
        overrides: settings that replace those of the study file, each `KEY=VALUE`, as for `--set`.
        storage: the study database, a file or a URL. The default is `NAME.db` beside the study file, or in the current
            folder for a mapping.
        tracking_uri: MLflow tracking URI; "none" disables tracking. The default is mlruns/mlflow.db in the current
            folder.
        workers: number of workers; does not affect results. The default is the number in the study file.
        retry_failed: train failed trials again.
        executor: name of the executor that trains, or a function that takes the number of workers and a folder for
            temporary files and returns an executor; does not affect results.
        cluster: address of a Dask cluster, which trains in place of the executor, as for `--cluster`; certificates are
            those of Dask's own configuration. The default is the address in the study file.

    Raises:
        ValueError: overrides are passed with a mapping.
        SpecError: the study file is not valid.
        DataError: the data cannot be read, or the model does not fit them.
        StorageError: the database cannot be used for this study.
        ClusterError: the cluster cannot be used.
        Halted: the study cannot continue; finished trials are stored.
    """
    spec, notices, folder = _spec(study, tuple(overrides))
    url = named_url(os.fspath(storage)) if storage is not None else default_url(folder / "study.yaml", spec.name)
    options = Options(workers, tracking_uri or default_tracking_uri(), retry_failed=retry_failed, executor=executor)
    options = options._replace(cluster=cluster, folder=folder)
    with Session(spec, url, options) as session:
        notices = [*notices, *session.notices]
        for progress in session.run():
            notices += progress.notes
        result = session.summary()
    return StudyResult(url, result, (*notices, *filter(None, (session.tracking_note, session.untracked))))


def tune(
    train: Callable[..., Any] | str,
    space: Mapping[str, Any],
    *,
    metric: str = "val/loss",
    goal: str | None = None,
    epochs: int = 1,
    budget: float = 50,
    confirm: int = 0,
    name: str | None = None,
    seed: int = 0,
    data: Mapping[str, Any] | None = None,
    uses: Sequence[str] = (),
    storage: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    workers: int | None = None,
) -> StudyResult:
    """Search the parameters of a training function, coarse to fine, or resume such a search.

    Calling it again with the same arguments resumes the search, or returns its result. `run` takes all other settings.

    Args:
        train: a function of a module, or its name: `FILE.py:NAME`, or `PACKAGE.MODULE:NAME`. It is called as
            `train(params, seed)`, and with `state`, `data` and `epochs` if it has arguments of these names. It returns
            a number or a mapping of metrics, or yields one after each epoch, alone or with a function that returns
            bytes from which it can resume.
        space: name → `(min, max)`, `(min, max, scale)`, a list of values, a fixed value, or a mapping as in a study
            file. A range of two integers is one of integers.
        metric: the metric to optimize.
        goal: `minimize` or `maximize`; required for a metric that the engine does not know.
        epochs: maximum number of steps of a trial. Trials of more than 2 steps are pruned by pause and promote.
        budget: number of trainings of `epochs` steps that the search may use.
        confirm: number of best points that are trained again with 5 new seeds each; 0 for none.
        name: name of the study and of its database. The default is the name of the function.
        seed: seed of the samplers and of every trial.
        data: the section `data` of a study file, whose rows the function receives as `data`.
        uses: other files that the result depends on; a changed file is a changed study.
        storage, tracking_uri, workers: as for `run`.

    Raises:
        SpecError: an argument is not valid, or the function cannot be imported by workers.
        TrainingCodeError: the function cannot be used.
        Everything that `run` raises.
    """
    reference = _reference(train) if callable(train) else train
    pruning = {"pruning": {"kind": "promote"}} if epochs > 2 else {}
    stages: list[dict[str, Any]] = [
        {"name": "coarse", "sampler": "random"},
        {"name": "fine", "sampler": "tpe", "zoom": {"keep": 6, "every": 8}},
    ]
    if confirm:
        stages.append({"name": "confirm", "top": confirm, "seeds": 5})
    study = {
        "name": name or reference.rpartition(":")[2],
        "seed": seed,
        "train": {"function": reference, "epochs": epochs, "uses": list(uses)},
        "metric": {"name": metric, **({"goal": goal} if goal else {})},
        "parameters": {key: _parameter(value) for key, value in space.items()},
        "budget": budget,
        "stages": stages,
        **pruning,
        **({"data": dict(data)} if data is not None else {}),
    }
    return run(study, storage=storage, tracking_uri=tracking_uri, workers=workers)


def load_study(database: str | os.PathLike[str], *, study: str | None = None) -> StudyResult:
    """Return the state of a study, without resuming it.

    Args:
        database: the study database, a file or a URL.
        study: name of the study; None for the only one of the database.

    Raises:
        StorageError: the database does not exist, it holds no such study, or it holds several.
    """
    url = named_url(os.fspath(database))
    return StudyResult(url, summary(url, study))


def load_model(folder: str | os.PathLike[str]) -> Model:
    """Load an exported model.

    Raises:
        DataError: the folder holds no model.
    """
    return Model.load(Path(folder))


def _parameter(value: Any) -> Any:
    """Return a parameter of `tune` in the form of a study file."""
    if isinstance(value, tuple):
        low, high, *scale = value
        whole = all(isinstance(end, int) and not isinstance(end, bool) for end in (low, high))
        kind = {"type": "int"} if whole else {}
        return {"min": low, "max": high, **kind, **({"scale": scale[0]} if scale else {})}
    return {"values": value} if isinstance(value, list) else value


def _with_names(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study whose function or estimator is given by name.

    Raises:
        SpecError: workers cannot import it by name.
    """
    content, train = dict(study), study.get("train")
    if isinstance(train, Mapping):
        content["train"] = {k: _reference(value, k) if callable(value) else value for k, value in train.items()}
    return content


def _reference(value: Callable[..., Any], key: str = "function") -> str:
    """Return the name of a function or class by which workers import it.

    Raises:
        SpecError: they cannot.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not module or not name:
        why = "must be a function of a module, or its name"
    elif "<lambda>" in name or "<locals>" in name:
        why = "is defined inside a function; workers import it by name, so define it at the top level of a module"
    elif module == "__main__":
        why = "is defined in the script that runs; workers import it by name, so move it to a module of its own"
    elif "." in name:
        why = "is part of a class; workers import it by name, so define it at the top level of a module"
    else:
        return f"{module}:{name}" if key == "function" else f"{module}.{name}"
    raise SpecError([Mistake("study", f"train.{key}", f"{name or value!r} {why}")])


def _spec(
    study: str | os.PathLike[str] | Mapping[str, Any], overrides: tuple[str, ...]
) -> tuple[Spec, list[str], Path]:
    """Return the spec, messages about it, and the default folder of its database."""
    if isinstance(study, Mapping):
        if overrides:
            raise ValueError("overrides apply to a study file; change the mapping instead")
        return *spec_from_mapping(_with_names(study), "study"), Path()
    return *load_spec(Path(study), overrides), Path(study).parent
