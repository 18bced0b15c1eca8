"""How long real workers wait for the virtual clock: the makespan of a search over that of workers that never wait.

    python -m pytest -n 0 -m bench -s tests/benchmarks/search/test_waiting.py

A simulation of the default plan's stages on the package's clock. Trials take the time of the compiled kernel, which
differs by a factor of forty between their widths and batch sizes, with a wobble of 20 %.
"""

import heapq
import math

import numpy as np
import pytest

from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.clock import Arrival, Clock, Job
from tests.benchmarks.search.recorded_curves import EPOCHS
from tests.benchmarks.search.replay import plan, study

pytestmark = pytest.mark.bench
ROWS = 1078  # digits
STEP, PRODUCT = 5.0, 0.0024  # microseconds of a step, and of each unit and row in it; test_kernel_speed.py


def simulated(parallel: int, workers: int, seed: int, stops_early: float, budget: float = 50) -> tuple[float, float]:
    """Return the makespan of a search and that without waiting, in seconds.

    Args:
        stops_early: share of trials that end early, at a random epoch.
    """
    spec = study("digits", plan(budget, parallel=parallel), seed)
    draw = np.random.default_rng(seed)
    total, work = 0.0, 0.0
    for stage in spec.stages:
        clock = Clock(pruning.stage_rules(spec, stage, 0))
        time, busy = _stage_time(clock, workers, draw, stops_early)
        total, work = total + time, work + busy
    return total, work / workers


def _stage_time(clock: Clock, workers: int, draw: np.random.Generator, stops_early: float) -> tuple[float, float]:
    """Return the seconds that a stage takes on real workers, and the seconds that they work."""
    costs: dict[int, tuple[float, int, float]] = {}  # trial → seconds of an epoch, last epoch, value
    done: dict[tuple[int, int], float] = {}  # trial and epoch → when it was reached
    waiting, running = list[Job](), list[tuple[float, int, Job]]()
    now, work = 0.0, 0.0

    def trial(number: int) -> tuple[float, int, float]:
        if number not in costs:
            units, batch = math.exp(draw.uniform(math.log(16), math.log(256))), 2 ** draw.integers(4, 9)
            epoch = ROWS / batch * (STEP + PRODUCT * units * batch) / 1e6
            last = int(draw.integers(5, EPOCHS)) if draw.random() < stops_early else EPOCHS
            costs[number] = epoch, last, draw.random()
        return costs[number]

    def arrival(job: Job) -> Arrival | None:
        if (job.number, job.last) not in done:
            return None
        _, last, value = trial(job.number)
        ended = job.last >= last
        return Arrival(value, "ended" if ended else "running", ended, min(job.last, last))

    while True:
        waiting += clock.advance(arrival)
        while waiting and len(running) < workers:
            job = waiting.pop(0)
            epoch, last, _ = trial(job.number)
            seconds = max(0, min(job.last, last) - job.first) * epoch * draw.uniform(0.8, 1.2)
            work += seconds
            heapq.heappush(running, (now + seconds, job.issue, job))
        if not running:
            return now, work
        now, _, job = heapq.heappop(running)
        done[job.number, job.last] = now


@pytest.mark.parametrize(
    ("parallel", "workers", "stops_early", "goal"),
    [(4, 2, 0.0, 0.10), (16, 8, 0.0, 0.15), (4, 2, 0.6, 0.20), (16, 8, 0.6, 0.20)],
)
def test_waiting(parallel: int, workers: int, stops_early: float, goal: float) -> None:
    """The goal is that of a long search; shorter ones are printed."""
    for budget in (25, 50, 200):
        runs = [simulated(parallel, workers, seed, stops_early, budget) for seed in range(20)]
        waits = float(np.mean([makespan / ideal - 1 for makespan, ideal in runs]))
        case = f"parallel {parallel}, {workers} workers, {stops_early:.0%} stop early, {budget} trainings"
        print(f"{case}: {waits:.1%} (goal {goal:.0%})")
    assert waits <= goal
