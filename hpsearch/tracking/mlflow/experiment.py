"""A study's experiment in MLflow: found or created, with description, tags and saved views."""

import contextlib
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.text import masked
from hpsearch.storage.records import Trial
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.database import is_beside
from hpsearch.tracking.mlflow.description import SIGNATURE, description
from hpsearch.tracking.mlflow.saved_view import MAX_SCATTER_PLOTS, supports_views, view_tags
from hpsearch.tracking.mlflow.tags import NOTE_TAG, STUDY_TAG

UPDATE_INTERVAL = 5.0  # minimum seconds between two updates while a study runs


@final
class Experiment:
    """The experiment of one study.

    Args:
        client: MLflow's client.
        id: id of the experiment.
        name: name of the experiment: the study's name, with a part of its identity if another study has the name.
        tags: tags of the experiment.
        note: message for the user, if the experiment was replaced.
    """

    def __init__(
        self, client: Any, study: StudyInfo, id: str, name: str, tags: Mapping[str, str], note: str | None = None
    ) -> None:
        self.id = id
        self.name = name
        self.note = note
        self._client = client
        self._study = study
        self._tags = dict(tags)
        self._updated = 0.0  # monotonic time

    @classmethod
    def open(
        cls, client: Any, uri: str, study: StudyInfo, common_tags: Mapping[str, str], artifacts: Path | None
    ) -> Self:
        """Find the study's experiment by its identity, or create it.

        MLflow stores the folder of an experiment's artifacts as an absolute path and cannot change it. If the database
        was moved or copied since, the experiment is put away, and the study gets a new one beside the database.

        Args:
            uri: tracking URI.
            common_tags: tags that the experiment shares with its runs.
            artifacts: root folder of all artifacts; None for a server, which has its own.

        Raises:
            RuntimeError: the experiment was deleted, or other studies have both of its possible names.
        """
        tags = {f"hpsearch.{name}": masked(value) for name, value in study.properties.items()} | dict(common_tags)
        for name in (study.spec.name, f"{study.spec.name} {study.identity[:8]}"):
            experiment = client.get_experiment_by_name(name)
            old_tags, note = {}, None
            if experiment is not None and experiment.tags.get(STUDY_TAG) == study.identity:
                if experiment.lifecycle_stage != "active":
                    command = restore_command(uri, experiment.experiment_id)
                    raise RuntimeError(f"its experiment was deleted; restore it: {command}")
                if artifacts is None or is_beside(experiment.artifact_location, artifacts):
                    return cls(client, study, str(experiment.experiment_id), name, tags)
                old_tags, note = experiment.tags, _put_away(client, uri, experiment)
                experiment = None
            if experiment is None:
                folder = artifacts and artifacts / re.sub(r"[^A-Za-z0-9._-]+", "-", name)
                location = folder.as_uri() if folder else None
                all_tags = {**old_tags, STUDY_TAG: study.identity, **tags}
                id = client.create_experiment(name, artifact_location=location, tags=all_tags)
                return cls(client, study, str(id), name, tags, note)
        raise RuntimeError(f"two other studies have the experiments '{study.spec.name}' and '{name}'")

    @property
    def update_due(self) -> bool:
        """True if the last update is at least `UPDATE_INTERVAL` old."""
        return time.monotonic() - self._updated >= UPDATE_INTERVAL

    def update(
        self, best: Trial | None, trials: Iterable[Trial], *, model: str | None = None, finished: bool = False
    ) -> None:
        """Write the tags, description and saved views that differ from the stored ones.

        Errors are ignored, because the study needs none of these. A description without hpsearch's signature is
        the user's and is kept. A stored description is kept until there is a best trial.

        Args:
            best: the champion, or the best trial so far.
            trials: all finished trials.
            model: name of the registered model.
            finished: the study is finished.
        """
        with contextlib.suppress(Exception):
            import mlflow

            stored = self._client.get_experiment(self.id).tags
            tags = dict(self._tags)
            note = stored.get(NOTE_TAG)
            if note is None or (SIGNATURE in note and (best is not None or finished)):
                tags[NOTE_TAG] = description(self._study, self.id, best, model)
            if supports_views(mlflow.__version__):
                trials = list(trials)
                important = self._important_parameters(trials) if finished else ()
                scores = _score_metrics(self._study.spec, best, trials)
                tags |= view_tags(self._study.spec, self._study.created, important, scores)
            for key, value in tags.items():
                if stored.get(key) != value:
                    self._client.set_experiment_tag(self.id, key, value)
        self._updated = time.monotonic()

    def _important_parameters(self, trials: Iterable[Trial]) -> Iterable[str]:
        """Return parameters, the most important first; none if importance is unknown or all parameters are charted."""
        space = search_space(self._study.spec)
        if len(space.axes) <= MAX_SCATTER_PLOTS:  # the import below takes a second
            return ()
        with contextlib.suppress(Exception):
            from hpsearch.search.importance import importance

            return importance(self._study.spec, space, trials)
        return ()


def restore_command(uri: str, experiment: str) -> str:
    """Return the command that restores a deleted experiment; without the URI MLflow looks in the current folder."""
    variable = f"MLFLOW_TRACKING_URI={shlex.quote(masked(uri, uri))}"
    return f"{variable} {shlex.quote(sys.executable)} -m mlflow experiments restore -x {experiment}"


def _put_away(client: Any, uri: str, experiment: Any) -> str:
    """Rename and delete an experiment, whose runs MLflow keeps; return a message for the user."""
    id, folder = experiment.experiment_id, url2pathname(urlsplit(experiment.artifact_location).path)
    client.rename_experiment(id, f"{experiment.name} (moved, {id})")
    client.delete_experiment(id)
    return (
        f"the database was moved: its artifacts were in {folder}, so the study's runs and its model are uploaded anew; "
        f"the old runs are kept in a deleted experiment: {restore_command(uri, id)}"
    )


def _score_metrics(spec: Spec, best: Trial | None, trials: Iterable[Trial]) -> list[str]:
    """Return the runs' metrics with val scores, except the objective, and with the champion's test scores."""
    names = dict.fromkeys(name for trial in trials for name in trial.metrics if name.startswith("val/"))
    tests = [f"test/{name.removeprefix('val/')}" for name in names]
    tests = [name for name in tests if best is not None and name in best.metrics]
    return [*(f"best/{name}" for name in names if name != spec.metric.name), *tests]
