"""From Python: a study is run and its result is frames and a model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hpsearch.config.load import load_spec, spec_from_mapping
from hpsearch.config.spec import Spec
from hpsearch.errors import StorageError
from hpsearch.models.export import champion_model
from hpsearch.models.model import Model
from hpsearch.storage.database import display_name
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import default_tracking_uri, default_url, url_of
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.session import ExecutorFactory, Options, Session
from hpsearch.study.summary import Summary, summary

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, eq=False)
class StudyResult:
    """A study as far as it has come.

    Attributes:
        url: of its database.
        summary: all that it holds.
        notices: what a person should know of this run: what was guessed of the data, what has changed.
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
        """Its parameters."""
        return dict(self.best.point)

    @property
    def best_value(self) -> float:
        """Its metric."""
        assert self.best.value is not None  # it is complete
        return self.best.value

    @property
    def best_metrics(self) -> dict[str, float]:
        """Its scores: at its best epoch, and once the study has ended on the test rows."""
        return dict(self.best.metrics)

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """A row for each trial, in the order in which they were asked: `stage`, `number`, `state`, `value`, `epochs`,
        `seconds`, a column for each parameter and one for each metric."""
        import pandas as pd

        return pd.DataFrame(self.summary.rows)

    @cached_property
    def model(self) -> Model:
        """The champion's.

        Raises:
            StorageError: no trial is complete.
        """
        return read(self.url, self._model)

    def _model(self, storage: StudyDatabase) -> Model:
        stored = storage.weights.find(self.best)
        if stored is None:
            raise StorageError(f"{display_name(self.url)}: the weights of {self.best.label} are not there")
        return champion_model(self.summary.spec, storage, self.best, stored)


def run(
    study: str | os.PathLike[str] | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    storage: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    executor: str | ExecutorFactory = "processes",
) -> StudyResult:
    """Starts a study, or goes on with it, as `hpsearch run` does, without printing anything.

    Args:
        study: a study file, or what would stand in one.
        overrides: `KEY=VALUE` each, as `--set` takes them; of a study file.
        storage: the study database, a file or a URL; `NAME.db` beside the study file, or in the current folder.
        tracking_uri: where MLflow is, "none" for nowhere; mlruns/mlflow.db in the current folder.
        workers: processes that train; changes no result.
        retry_failed: failed trials are trained again.

    Raises:
        SpecError, DataError, StorageError: what a person has to mend; nothing finished is lost.
    """
    spec, notices, folder = _spec(study, tuple(overrides))
    url = url_of(os.fspath(storage)) if storage is not None else default_url(folder / "study.yaml", spec.name)
    options = Options(workers, tracking_uri or default_tracking_uri(), retry_failed=retry_failed, executor=executor)
    with Session(spec, url, options) as session:
        notices = [*notices, *session.notices]
        for progress in session.run():
            notices += progress.notes
        found = session.summary()
    return StudyResult(url, found, (*notices, *([session.untracked] if session.untracked else [])))


def load_study(database: str | os.PathLike[str]) -> StudyResult:
    """What a study database holds, without going on with it.

    Raises:
        StorageError: it is none.
    """
    url = url_of(os.fspath(database))
    return StudyResult(url, summary(url))


def load_model(folder: str | os.PathLike[str]) -> Model:
    """A model that was exported.

    Raises:
        DataError: the folder holds none.
    """
    return Model.load(Path(folder))


def _spec(
    study: str | os.PathLike[str] | Mapping[str, Any], overrides: tuple[str, ...]
) -> tuple[Spec, list[str], Path]:
    """The spec, what to say of it, and the folder that its database goes to."""
    if isinstance(study, Mapping):
        if overrides:
            raise ValueError("overrides are of a study file; a mapping holds what it says")
        return *spec_from_mapping(study, "study"), Path()
    return *load_spec(Path(study), overrides), Path(study).parent
