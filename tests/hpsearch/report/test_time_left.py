"""The time left of simulated studies against the truth: a simulated clock, workers, and trials of unequal length."""

import heapq
import random
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

import cases
import pytest

from hpsearch.config.spec import Spec
from hpsearch.report.time_left import TimeLeft, format_span
from hpsearch.storage.records import Trial
from hpsearch.study.progress import Workload

# Stages, share of the trials of a searching stage that end at a tenth of their length, spread of the length.
STUDIES: dict[str, tuple[list[dict[str, Any]], float, float]] = {
    "equal trials": ([{"name": "a", "trials": 60}], 0.0, 0.0),
    "unequal trials": ([{"name": "a", "trials": 96}], 0.0, 1.0),
    "pruned": ([{"name": "a", "trials": 96}], 0.7, 0.5),
    "pruned and confirmed": ([{"name": "a", "trials": 64}, {"name": "c", "top": 4, "seeds": 6}], 0.8, 0.3),
    "two stages": ([{"name": "a", "trials": 48}, {"name": "b", "trials": 48, "sampler": "tpe"}], 0.5, 0.7),
}


def spec_of(stages: list[dict[str, Any]]) -> Spec:
    return cases.small(stages=stages, parallel=8)


def simulated(spec: Spec, pruned: float, spread: float, seed: int, workers: int) -> Iterator[tuple[float, Workload]]:
    """Yield time and workload whenever a trial finishes, and every second in between; the workload changes later."""
    random_numbers, now = random.Random(seed), 0.0
    trials: list[list[Trial]] = []
    for stage in spec.stages:
        whole = [10 * random_numbers.lognormvariate(0, spread) for _ in range(stage.trials)]
        short = [not stage.confirms and random_numbers.random() < pruned for _ in range(stage.trials)]
        lengths = [w * (0.1 if s else 1.0) for w, s in zip(whole, short, strict=True)]
        trials.append([])
        running: list[tuple[float, int]] = []  # end, number
        begun: dict[int, float] = {}
        while len(begun) < stage.trials or running:
            while len(begun) < stage.trials and len(running) < workers:
                number = len(begun)
                begun[number] = now
                heapq.heappush(running, (now + lengths[number], number))
                trials[-1].append(Trial(stage.name, number, {}, {}, "running"))
            end, number = running[0]
            if end - now > 1.0:
                now += 1.0
            else:
                now = heapq.heappop(running)[0]
                done = "pruned" if short[number] else "complete"
                trials[-1][number] = trials[-1][number]._replace(state=done, value=0.5, seconds=lengths[number])
            unfinished = sum(now - begun[n] for _, n in running)
            yield now, Workload(spec, trials, [s.trials for s in spec.stages], unfinished)


def errors(name: str, seed: int, workers: int = 2) -> Iterator[tuple[float, float, float, float]]:
    """Yield share of the whole time, true time left, and the range, at 20, 30, … 90 % of a simulated study."""
    stages, pruned, spread = STUDIES[name]
    spec, time_left, checks = spec_of(stages), TimeLeft(), [0.1 * k for k in range(2, 10)]
    end = max(now for now, _ in simulated(spec, pruned, spread, seed, workers))
    for now, workload in simulated(spec, pruned, spread, seed, workers):
        if now < 1 or (checks and now >= checks[0] * end):
            found = time_left.estimate(workload, now)
            if found and now > 1:
                yield checks.pop(0), end - now, *found


# Workers → share of ranges that may miss the truth; with many, the longest of the last trials decides.
MISSED = {1: 0.12, 2: 0.12, 7: 0.3}


@pytest.mark.parametrize("workers", MISSED)
@pytest.mark.parametrize("name", STUDIES)
def test_the_time_left_of_unequal_trials(name: str, workers: int) -> None:
    """The middle of the range is wrong by a few percent of the whole time, mostly by less than 0.4 of it."""
    found = [check for seed in range(8) for check in errors(name, seed, workers)]
    assert len(found) >= 60
    wrong, missed = [], 0
    for share, truth, low, high in found:
        whole = truth / (1 - share)
        wrong.append(abs((low + high) / 2 - truth) / whole)
        missed += not low - 0.03 * whole <= truth <= high + 0.03 * whole
    assert median(wrong) <= 0.14 and quantiles(wrong, n=10)[-1] <= 0.4, wrong
    assert missed <= MISSED[workers] * len(found), missed


@pytest.mark.parametrize("name", STUDIES)
def test_ranges_are_narrow_in_the_second_half(name: str) -> None:
    checks = [check for seed in range(5) for check in errors(name, seed)]
    assert median((high - low) * (1 - share) / truth for share, truth, low, high in checks if share > 0.5) <= 0.4


def test_a_resumed_study() -> None:
    """Epochs trained before the session do not count as trained in it."""
    stages, pruned, spread = STUDIES["unequal trials"]
    spec, time_left, checked = spec_of(stages), TimeLeft(), 0
    end = max(now for now, _ in simulated(spec, pruned, spread, 3, 2))
    for now, workload in simulated(spec, pruned, spread, 3, 2):
        if now > end / 2:
            found = time_left.estimate(workload, now + 1e6)
            assert found is not None or now < end / 2 + 2, "nothing is trained yet"
            if found and now > 0.6 * end:
                assert found[0] - 0.05 * end <= end - now <= found[1] + 0.05 * end
                checked += 1
    assert checked > 50


def test_copied_trials_cost_nothing() -> None:
    spec = spec_of([{"name": "a", "trials": 16}])
    trained = [Trial("a", n, {}, {}, "complete", 0.5, seconds=10.0) for n in range(8)]
    copied = [t._replace(number=t.number + 8, seconds=0.0, copied_from=t.label) for t in trained[:4]]
    time_left = TimeLeft()
    time_left.estimate(Workload(spec, [[]], [16]), 0.0)
    low, high = time_left.estimate(Workload(spec, [trained + copied], [16]), 80.0) or (0.0, 0.0)
    assert low <= 40 <= high and (low + high) / 2 == pytest.approx(40)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (38, 42, "about 40 s"),
        (0, 0.4, "0 to 0.4 s"),
        (20, 61, "20 to 61 s"),
        (170, 312, "2.8 to 5 min"),
        (1000, 1100, "about 18 min"),
        (3600, 9000, "1 to 2.5 h"),
        (4e5, 4.1e5, "about 110 h"),
    ],
)
def test_span(low: float, high: float, text: str) -> None:
    assert format_span(low, high) == text
