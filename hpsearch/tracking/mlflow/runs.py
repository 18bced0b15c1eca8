"""The runs of an experiment, kept in agreement with the trials of the study database.

A missing run is uploaded. A run that a killed process left unfinished is completed. A run of an earlier outcome of its
trial is replaced, because MLflow cannot remove metrics. If a trial has two runs, one is deleted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hpsearch.core.files.temporary import private_folder
from hpsearch.core.space import Axis
from hpsearch.storage.records import Trial
from hpsearch.tracking.mlflow.run import RUN_STATUS, InputDataset, RunContent, history_json, run_times
from hpsearch.tracking.mlflow.tags import CHAMPION_TAG, ORPHAN_TAG, STATE_TAG, TRIAL_TAG

PAGE_SIZE = 1000  # runs per search request


class StoredRun(NamedTuple):
    """A run as stored in MLflow; `start` and `end` are Unix times in milliseconds."""

    id: str
    status: str
    state: str  # of its trial
    start: int
    end: int | None
    champion: bool = False
    orphan: bool = False  # closed by `close_orphans`

    @classmethod
    def of(cls, run: Any) -> Self:
        info, tags = run.info, run.data.tags
        state = tags.get(STATE_TAG, "")
        flags = (CHAMPION_TAG in tags, ORPHAN_TAG in tags)
        return cls(info.run_id, info.status, state, info.start_time, info.end_time, *flags)

    def has_outcome(self, trial: Trial) -> bool:
        """Return whether the run was created for this outcome of the trial and not for an earlier one."""
        return (self.state, self.start) == (trial.state, run_times(trial)[0])

    def is_complete(self, trial: Trial) -> bool:
        """Return whether the run contains this outcome of the trial completely."""
        ended = (self.status, self.end) == (RUN_STATUS[trial.state], run_times(trial)[1])
        return ended and not self.orphan and self.has_outcome(trial)


@final
class TrialRuns:
    """The runs of one experiment, found by the tag with the trial's label.

    Args:
        client: MLflow's client.
        uri: tracking URI.
        experiment: id of the experiment.
        axes: the searched parameters.
        earlier: stage → number of trials in the stages before it.
        common_tags: tags of every run.
        dataset: input of the runs passed to `log_dataset`; None if it is unknown.

    Attributes:
        uploaded: number of runs created.
        closed: number of unfinished runs that were completed or closed.
        unchanged: number of runs that were complete already.
    """

    def __init__(
        self,
        client: Any,
        uri: str,
        experiment: str,
        axes: tuple[Axis, ...],
        earlier: Mapping[str, int],
        common_tags: dict[str, str],
        dataset: InputDataset | None,
    ) -> None:
        self._client = client
        self._uri = uri
        self._experiment = experiment
        self._axes = axes
        self._earlier = earlier
        self._common_tags = common_tags
        self._dataset = dataset
        self._runs: dict[str, list[StoredRun]] = {}  # by trial; one each after `upload`
        self.uploaded = self.closed = self.unchanged = 0

    def load(self) -> None:
        """Read the existing runs."""
        from mlflow.entities import ViewType

        token = None
        while True:
            page = self._client.search_runs([self._experiment], "", ViewType.ACTIVE_ONLY, PAGE_SIZE, page_token=token)
            for run in page:
                if TRIAL_TAG in run.data.tags:
                    self._runs.setdefault(run.data.tags[TRIAL_TAG], []).append(StoredRun.of(run))
            token = page.token
            if not token:
                return

    def run_id(self, label: str) -> str | None:
        """Return the id of a trial's run."""
        return next((run.id for run in self._runs.get(label, ())), None)

    def upload(self, trial: Trial) -> None:
        """Make sure that a finished trial has exactly one run, which is complete."""
        runs = self._runs.get(trial.label, [])
        kept = next((run for run in runs if run.is_complete(trial)), None)
        if kept is not None:
            self.unchanged += 1
        else:
            kept = self._upload(trial, next((run for run in runs if run.has_outcome(trial)), None))
        for run in runs:
            if run.id != kept.id:
                self._client.delete_run(run.id)
        self._runs[trial.label] = [kept]

    def _upload(self, trial: Trial, unfinished: StoredRun | None) -> StoredRun:
        """Create a run, or complete an unfinished one; values that it already has are not added again."""
        content = RunContent.of(trial, self._axes, self._earlier, self._common_tags)
        if unfinished is not None:
            run = self._client.get_run(unfinished.id)
        else:
            run = self._client.create_run(self._experiment, content.start, content.tags, content.name)
            self._remember_run(content, run.info.run_id)
        id = run.info.run_id
        self._log_values(id, content)
        self._write_artifact(run.info.artifact_uri, "history.json", history_json(trial))
        if unfinished is not None and unfinished.orphan:
            self._client.delete_tag(id, ORPHAN_TAG)
        self._client.set_terminated(id, content.status, content.end)
        self.uploaded += unfinished is None
        self.closed += unfinished is not None
        champion = unfinished is not None and unfinished.champion
        return StoredRun(id, content.status, trial.state, content.start, content.end, champion)

    def _remember_run(self, content: RunContent, id: str) -> None:
        """Remember a run as unfinished, so that a retry completes it."""
        unfinished = StoredRun(id, "RUNNING", content.tags[STATE_TAG], content.start, None)
        self._runs.setdefault(content.name, []).append(unfinished)

    def _log_values(self, id: str, content: RunContent) -> None:
        from mlflow.entities import Metric, Param

        params = [Param(*param) for param in content.params.items()]
        self._client.log_batch(id, [Metric(*point) for point in content.metrics], params)

    def log_dataset(self, id: str) -> None:
        """Log the dataset as the input of a run. This takes a third of a run's CPU time, so not every run has it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if self._dataset is not None:
            name, digest, source_type, source, profile = self._dataset
            dataset = Dataset(name, digest, source_type, source, profile=profile)
            self._client.log_inputs(id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _write_artifact(self, artifact_uri: str, name: str, text: str) -> None:
        """Write a text file to a run's artifacts; `log_artifact` would read the whole run to find the folder."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._uri.startswith("sqlite") and artifact_uri.startswith("file:///"):
            folder = Path(url2pathname(urlsplit(artifact_uri).path))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
            return
        with private_folder() as scratch:
            (scratch / name).write_text(text, "utf-8")
            artifacts: Any = get_artifact_repository(artifact_uri, self._uri)
            artifacts.log_artifact(f"{scratch}/{name}")

    def close_orphans(self, trials: Mapping[str, Trial]) -> None:
        """Close RUNNING runs of trials that are not finished in the study database, which may be an older copy.

        Args:
            trials: all finished trials, by label.
        """
        for label in self._runs.keys() - trials.keys():
            runs = sorted(self._runs[label], key=lambda run: run.status == "RUNNING")
            for number, run in enumerate(runs):
                if run.status == "RUNNING" and number:
                    self._client.delete_run(run.id)
                elif run.status == "RUNNING":
                    self._client.set_tag(run.id, ORPHAN_TAG, "the study database does not know its trial as finished")
                    self._client.set_terminated(run.id, "KILLED", run.start)
                    self.closed += 1

    def demote(self, ranking: list[Trial]) -> None:
        """Replace the runs of earlier champions by runs without test scores, which cannot be removed from a run.

        Args:
            ranking: complete trials, best first.
        """
        others = {trial.label: trial for trial in ranking[1:]}
        for label, runs in list(self._runs.items()):
            for run in [r for r in runs if r.champion and label != ranking[0].label]:
                if label in others:
                    self._runs[label] = [self._upload(others[label], None)]
                    self._client.delete_run(run.id)
                else:
                    self._client.delete_tag(run.id, CHAMPION_TAG)
