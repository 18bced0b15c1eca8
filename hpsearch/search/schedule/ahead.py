"""Training ahead of the virtual clock: which stages do so, and how many workers a stage keeps busy."""

import os
from collections.abc import Iterator

from hpsearch.config.spec import Spec, Stage
from hpsearch.samplers import MEMORYLESS
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.search.schedule.pruning import rungs

BRACKETS = 30  # trials that are looked at, more than Hyperband has brackets


def looks_back(spec: Spec, stage: Stage) -> bool:
    """Return whether the points of a stage depend on outcomes of the same stage."""
    renewed = stage.zoom is not None and stage.zoom.renewed
    return stage.sampler not in MEMORYLESS or renewed or spec.duplicates == "reuse"


def trains_ahead(spec: Spec, stage: Stage) -> bool:
    """Return whether the trials of a stage train up to their first rung before the virtual clock asks for them.

    Their points must follow from no outcome, and their number must be known.
    """
    return stage.trials is not None and stage.budget is None and stage.timeout is None and not looks_back(spec, stage)


def worker_count(spec: Spec) -> int:
    """Return the number of workers in the study file; `auto` is the number of CPUs available to this process."""
    if spec.workers != "auto":
        return spec.workers
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return available or 1


def idle_notice(spec: Spec, workers: int) -> str | None:
    """Return a sentence if `parallel` keeps some of the workers idle in a stage, else None."""
    if workers <= spec.parallel or not (limited := list(_limited_stages(spec))):
        return None
    return (
        f"parallel is {spec.parallel}, so at most {spec.parallel} of the {workers} workers are busy at the same time"
        f" in {', '.join(limited)}; a higher parallel uses more workers, but changes the results, which workers never"
        " does"
    )


def _limited_stages(spec: Spec) -> Iterator[str]:
    """Yield the stages that have fewer virtual workers than trials that could train at the same time."""
    for number, stage in enumerate(spec.stages):
        only_timeout = stage.trials is None and stage.budget is None
        if stage.confirms or not (only_timeout or planned_trials(spec, number) > spec.parallel):
            continue
        if not trains_ahead(spec, stage):
            yield stage.name
        elif any(rungs(spec, stage, stage.repeated + n) for n in range(BRACKETS)):
            yield f"{stage.name} (after the first rung)"
