"""The baselines of a study as runs of its experiment, beside those of its trials."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from hpsearch.config.spec import Spec
from hpsearch.core.text import masked
from hpsearch.storage.records import Baseline
from hpsearch.tracking.mlflow.tags import BASELINE_TAG, OBJECTIVE_METRIC


def upload_baselines(
    client: Any, experiment: str, spec: Spec, baselines: Iterable[Baseline], common_tags: Mapping[str, str]
) -> None:
    """Make sure that each baseline has exactly one run, which is complete.

    A run that a killed process left unfinished and that of an earlier outcome are replaced.

    Args:
        client: MLflow's client.
        experiment: id of the experiment.
        common_tags: tags of every run.
    """
    baselines = list(baselines)
    if not baselines:
        return
    runs: dict[str, list[Any]] = {}
    for run in client.search_runs([experiment], f"tags.`{BASELINE_TAG}` != ''"):
        runs.setdefault(run.data.tags[BASELINE_TAG], []).append(run)
    for baseline in baselines:
        start, end, status = _outcome(baseline)
        stored = runs.get(baseline.name, [])
        kept = [r for r in stored if (r.info.status, r.info.start_time, r.info.end_time) == (status, start, end)][:1]
        if not kept:
            _create(client, experiment, spec, baseline, common_tags)
        for run in stored:
            if run not in kept:
                client.delete_run(run.info.run_id)


def _outcome(baseline: Baseline) -> tuple[int, int, str]:
    """Return start and end as Unix times in milliseconds, and the status of the run."""
    end = round(baseline.finished * 1000)
    return end - round(baseline.seconds * 1000), end, "FINISHED" if baseline.error is None else "FAILED"


def _create(client: Any, experiment: str, spec: Spec, baseline: Baseline, common_tags: Mapping[str, str]) -> None:
    from mlflow.entities import Metric

    start, end, status = _outcome(baseline)
    tags = {**common_tags, BASELINE_TAG: baseline.name}
    tags |= {"hpsearch.error": masked(baseline.error)} if baseline.error else {}
    run = client.create_run(experiment, start, tags, f"baseline/{baseline.name}").info.run_id
    values: dict[str, float] = {"rows": baseline.rows, "seconds": baseline.seconds}
    values |= {n if n.startswith("test/") else f"best/{n}": value for n, value in baseline.scores.items()}
    if spec.metric.name in baseline.scores:
        values[OBJECTIVE_METRIC] = baseline.scores[spec.metric.name]
    client.log_batch(run, [Metric(name, float(value), end, 0) for name, value in values.items() if isfinite(value)])
    client.set_terminated(run, status, end)
