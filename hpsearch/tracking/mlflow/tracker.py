"""The MLflow tracker: one experiment per study, one flat run per trial."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import NamedTuple, final

from hpsearch.config.references import search_space
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.text import masked
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.storage.records import Baseline, Trial, best_of
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.baselines import upload_baselines
from hpsearch.tracking.mlflow.database import artifact_root, open_client
from hpsearch.tracking.mlflow.experiment import Experiment
from hpsearch.tracking.mlflow.loss_plot import loss_plot
from hpsearch.tracking.mlflow.model_registry import (
    ENSEMBLE_ALIAS,
    MODEL_FOLDER,
    NotRegisteredError,
    register,
    registered_name,
    upload_ensemble,
)
from hpsearch.tracking.mlflow.run import CHAMPION_METRICS, InputDataset, run_times
from hpsearch.tracking.mlflow.runs import TrialRuns
from hpsearch.tracking.mlflow.tags import CHAMPION_TAG

BEST_TRIALS = 3  # trials whose runs get a plot of the losses and the dataset as input
_SOURCE_TAGS = {"mlflow.source.name": "hpsearch", "mlflow.source.type": "LOCAL"}


class UploadCounts(NamedTuple):
    """Numbers of runs.

    Attributes:
        uploaded: runs that were created.
        closed: unfinished runs that were completed or closed.
        unchanged: runs that were complete before.
    """

    uploaded: int = 0
    closed: int = 0
    unchanged: int = 0


@final
class MlflowTracker:
    """Uploads finished trials to a tracking server or database.

    A trial's run is found by a tag, and its contents are derived from the trial, so that a repeated upload changes
    nothing. Trials that could not be uploaded are uploaded when the study is run again.

    Args:
        uri: tracking URI.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client, self._file = open_client(uri)
        self._study: StudyInfo | None = None
        self._trials: dict[str, Trial] = {}  # by label, without histories
        self._best: Trial | None = None

    @property
    def counts(self) -> UploadCounts:
        """Runs uploaded since `start_study`."""
        if self._study is None:
            return UploadCounts()
        return UploadCounts(self._runs.uploaded, self._runs.closed, self._runs.unchanged)

    def start_study(self, study: StudyInfo) -> str | None:
        self._check_writable()
        self._common_tags = common_tags = _common_tags(study)
        stages = study.spec.stages
        artifacts = artifact_root(self._file.path) if self._file else None
        self._experiment = Experiment.open(self._client, self._uri, study, common_tags, artifacts)
        self._experiment.update(None, self._trials.values())
        counts = accumulate((planned_trials(study.spec, n) for n in range(len(stages))), initial=0)
        earlier = dict(zip((stage.name for stage in stages), counts, strict=False))
        axes, dataset = search_space(study.spec).axes, InputDataset.of(study)
        self._runs = TrialRuns(self._client, self._uri, self._experiment.id, axes, earlier, common_tags, dataset)
        self._runs.load()
        self._study = study
        return self._experiment.note

    def log_trial(self, trial: Trial) -> None:
        assert self._study is not None
        self._check_writable()
        self._runs.upload(trial)
        spec, short = self._study.spec, trial._replace(history={})
        self._trials[trial.label] = short
        candidates = [t for t in (self._best, short) if t is not None]
        best = best_of(candidates, spec.metric.sign, spec.stage_names)
        if best is short:
            self._best = short
            if self._experiment.update_due:
                self._experiment.update(short, self._trials.values())

    def finish_study(
        self,
        ranking: list[Trial],
        model: Path | None,
        baselines: Sequence[Baseline] = (),
        ensemble: Path | None = None,
    ) -> None:
        assert self._study is not None
        self._check_writable()
        self._runs.close_orphans(self._trials)
        if ranking:
            self._runs.demote(ranking)
        self._complete_best(ranking[:BEST_TRIALS])
        upload_baselines(self._client, self._experiment.id, self._study.spec, baselines, self._common_tags)
        best = ranking[0] if ranking else self._best
        run = self._runs.run_id(best.label) if best else None
        failure: NotRegisteredError | None = None
        if ranking and run is not None:
            try:
                self._set_champion(ranking[0], run, model)
                if ensemble is not None:
                    self._set_ensemble(ensemble, run_times(ranking[0])[1])
            except NotRegisteredError as error:
                failure = error
        name = registered_name(self._client, run) if run is not None else None
        self._experiment.update(best, self._trials.values(), model=name, finished=True)
        if failure is not None:
            raise failure

    def close(self, seconds: float) -> str | None:
        if self._file is not None:
            self._file.check_present()
            self._file.checkpoint(seconds)
        return None

    def _check_writable(self) -> None:
        if self._file is not None:
            self._file.check_writable()

    def _complete_best(self, trials: list[Trial]) -> None:
        """Add the loss plot and the dataset to the runs of the best trials."""
        if not trials:
            return
        with private_folder() as folder:
            file = folder / "loss.svg"
            for trial in trials:
                run = self._runs.run_id(trial.label)
                if run is not None:
                    file.write_text(loss_plot(trial), "utf-8")
                    self._client.log_artifact(run, str(file))
                    self._runs.log_dataset(run)

    def _set_champion(self, trial: Trial, run: str, model: Path | None) -> None:
        """Add test scores and model to the champion's run, and register the model."""
        from mlflow.entities import Metric, RunTag

        assert self._study is not None
        end = run_times(trial)[1]
        scores = {key: value for key, value in trial.metrics.items() if key.startswith(CHAMPION_METRICS)}
        metrics = [Metric(key, value, end, 0) for key, value in scores.items() if isfinite(value)]
        self._client.log_batch(run, metrics=metrics, tags=[RunTag(CHAMPION_TAG, "true")])
        if model is not None:
            self._client.log_artifacts(run, str(model), MODEL_FOLDER)
            name = self._experiment.name.replace(" ", "-")  # a name without spaces needs no quotes in a shell
            register(self._client, run, trial.label, model, (name, self._study.identity))

    def _set_ensemble(self, model: Path, end: int) -> None:
        """Add the run of the ensemble, and register its model."""
        assert self._study is not None
        name = self._experiment.name.replace(" ", "-")
        parts = (self._client, self._experiment.id, self._study.spec, model, end, self._common_tags)
        run, members = upload_ensemble(*parts)
        register(self._client, run, members, model, (name, self._study.identity), ENSEMBLE_ALIAS)


def _common_tags(study: StudyInfo) -> dict[str, str]:
    """Return the tags of the experiment and of every run: versions and source."""
    import mlflow

    version = study.properties.get("version")
    tags: Mapping[str, str] = {"hpsearch.version": f"{masked(version)}, mlflow {mlflow.__version__}"} if version else {}
    commit = {"mlflow.source.git.commit": study.commit} if study.commit else {}
    return {**_SOURCE_TAGS, **tags, **commit}
