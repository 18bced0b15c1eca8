"""The virtual clock: decisions by hand, and the same decisions for any order of real outcomes and any interruption."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.search.schedule.clock import Arrival, Clock, Job, Rules, expected_trials

EPOCHS = 27
RUNGS = (1, 3, 9)


def rules(kind: str = "promote", rungs: Sequence[int] = RUNGS, **changes: Any) -> Rules:
    def rungs_of(number: int) -> tuple[int, Sequence[int]]:
        skipped = number % 3 if kind == "hyperband" else 0
        return skipped, rungs[skipped:]

    return Rules(**{"kind": kind, "epochs": EPOCHS, "rungs": rungs_of, **changes})


class World:
    """Curves of trials: the loss at each epoch, and the epoch at which a trial ends early or diverges."""

    def __init__(self, seed: int, *, early: bool = True, ties: bool = False) -> None:
        self.seed, self.early, self.ties = seed, early, ties

    def outcome(self, job: Job) -> Arrival:
        draw = random.Random(f"{self.seed} {job.number}")
        quality, ends, diverges = draw.random(), draw.randint(1, 3 * EPOCHS), draw.random() < 0.1
        quality = round(quality, 1) if self.ties else quality
        ends = min(ends if self.early else EPOCHS, EPOCHS)
        reached = min(job.last, ends)
        value = math.inf if diverges and self.early and reached == ends else quality + 1 / reached
        if job.last >= ends:
            return Arrival(value, "ended", math.isfinite(value), ends)
        return Arrival(value, "running", False, job.last)


def sequential(clock: Clock, world: World) -> list[Job]:
    """Return all jobs of a stage whose outcomes are known at once."""
    return list(clock.advance(world.outcome))


def real(clock: Clock, world: World, seed: int, workers: int, stop: float = math.inf) -> list[Job]:
    """Return the jobs of a stage that real workers follow, whose outcomes arrive in a random order.

    Args:
        stop: number of outcomes after which it is interrupted.
    """
    draw, jobs, waiting, known = random.Random(seed), list[Job](), list[Job](), dict[Job, Arrival]()
    while True:
        new = list(clock.advance(known.get))
        jobs, waiting = jobs + new, waiting + new
        if not waiting or len(known) >= stop:
            assert clock.at_rest or len(known) >= stop
            return jobs
        for _ in range(min(len(waiting), draw.randint(1, 3))):
            job = waiting.pop(draw.randrange(min(len(waiting), workers)))  # any of those that workers have begun
            known[job] = world.outcome(job)


KINDS = ("none", "promote", "stop", "hyperband", "median")
STAGES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "parallel": st.integers(1, 9),
        "reduction": st.integers(2, 4),
        "least": st.integers(0, 3),
        "budget": st.sampled_from([math.inf, 30.0, 200.0]),
    }
)


def made(stage: dict[str, Any]) -> Rules:
    return rules(rungs=() if stage["kind"] == "none" else RUNGS, **stage)


@settings(max_examples=150, deadline=None)
@given(STAGES, st.integers(1, 40), st.integers(0, 999), st.integers(1, 8), st.booleans())
def test_same_decisions_for_any_order_of_outcomes(
    stage: dict[str, Any], total: int, seed: int, workers: int, ties: bool
) -> None:
    """Real workers, however many and however fast, issue the jobs of a clock that knows everything at once."""
    world = World(seed, ties=ties)
    one, other = Clock(made(stage), total), Clock(made(stage), total)
    jobs = sequential(one, world)
    assert real(other, world, seed, workers) == jobs
    assert (one.now, one.spent, one.states) == (other.now, other.spent, other.states)
    assert one.at_rest and len(one.states) <= total


@settings(max_examples=100, deadline=None)
@given(STAGES, st.integers(1, 30), st.integers(0, 999), st.floats(0, 1))
def test_a_replay_continues_an_interrupted_clock(stage: dict[str, Any], total: int, seed: int, share: float) -> None:
    """Resumed from job 0, with the trials that exist, after any number of outcomes; also a second time."""
    world = World(seed)
    jobs = sequential(Clock(made(stage), total), world)
    stopped = Clock(made(stage), total)
    begun = real(stopped, world, seed, 3, stop=int(share * len(jobs)))
    assert begun == jobs[: len(begun)]
    resumed = Clock(made(stage), total, stored=stopped.asked)
    assert sequential(resumed, world) == jobs
    assert sequential(Clock(made(stage), total, stored=resumed.asked), world) == jobs


@settings(max_examples=100, deadline=None)
@given(STAGES, st.integers(1, 40), st.integers(0, 999))
def test_invariants(stage: dict[str, Any], total: int, seed: int) -> None:
    """At most `parallel` jobs at a time; trials begin by number, go from rung to rung, and continue if good enough."""
    settings_, world = made(stage), World(seed)
    clock, reached, jobs, told = Clock(settings_, total), dict[int, int](), list[Job](), list[Job]()

    def outcome(job: Job) -> Arrival:
        told.append(job)
        return world.outcome(job)

    for job in clock.advance(outcome):
        jobs.append(job)
        assert job.first == reached.get(job.number, 0)
        rungs = [*settings_.rungs(job.number)[1], EPOCHS]
        assert job.last == next(r for r in rungs if r > job.first) and job.end - job.start == job.last - job.first
        if job.first == 0:
            assert job.number == len(reached)
        reached[job.number] = job.last
        assert sum(j.start <= job.start < j.end for j in jobs) <= settings_.parallel
        if job.first and stage["kind"] == "promote" and clock.spent - (job.last - job.first) < stage["budget"]:
            _assert_among_the_best(told, job, world, settings_.reduction, forced=clock.asked == total)
    assert [j.start for j in jobs] == sorted(j.start for j in jobs)
    if stage["kind"] == "none" and stage["budget"] == math.inf:
        assert len(jobs) == total


def _assert_among_the_best(told: list[Job], job: Job, world: World, reduction: int, *, forced: bool) -> None:
    """Assert that a promoted trial is among the first ⌊n/η⌋ of all that have ended at its rung."""
    ended = [world.outcome(j).value for j in told if j.last == job.first]
    ended += [world.outcome(j).value for j in told if j.last < job.first and world.outcome(j).state == "ended"]
    own = next(world.outcome(j).value for j in told if (j.number, j.last) == (job.number, job.first))
    assert forced or (sorted(ended)[len(ended) // reduction - 1] >= own and len(ended) >= reduction)


def scripted(values: dict[int, float]) -> Any:
    """Return outcomes of trials with constant values, which end at the last epoch."""
    return lambda job: Arrival(
        values.get(job.number, 9.0), "ended" if job.last == EPOCHS else "running", job.last == EPOCHS, job.last
    )


def steps(jobs: Sequence[Job]) -> list[tuple[int, int, int]]:
    return [(job.number, job.first, job.last) for job in jobs]


def test_promote_by_hand() -> None:
    """Two workers; a third of those at a rung continue: the best first, from the highest rung first."""
    clock = Clock(rules(parallel=2), total=6)
    jobs = list(clock.advance(scripted({0: 5.0, 1: 4.0, 2: 3.0, 3: 2.0, 4: 6.0, 5: 1.0})))
    assert [(*step, job.start) for step, job in zip(steps(jobs), jobs, strict=True)] == [
        *((0, 0, 1, 0), (1, 0, 1, 0), (2, 0, 1, 1), (3, 0, 1, 1)),
        (2, 1, 3, 2),  # ends before trial 3, by its number, and is the best of three
        (3, 1, 3, 2),  # the best of four
        *((4, 0, 1, 4), (5, 0, 1, 4)),  # 2 and 3 are paused at 3 epochs; of five at 1 epoch, one continues
        (5, 1, 3, 5),  # the best of six
        (5, 3, 9, 7),  # and of three
    ]
    assert clock.states == dict.fromkeys(range(6), "paused") and clock.now == 13


def test_stop_is_for_good() -> None:
    """The first that arrives always continues; a trial that is not among the best third then never does."""
    clock = Clock(rules("stop", parallel=1), total=3)
    jobs = list(clock.advance(scripted({0: 2.0, 1: 3.0, 2: 1.0})))
    assert steps(jobs) == [
        *((0, 0, 1), (0, 1, 3), (0, 3, 9), (0, 9, 27)),
        (1, 0, 1),
        *((2, 0, 1), (2, 1, 3), (2, 3, 9), (2, 9, 27)),
    ]
    assert clock.states == {0: "ended", 1: "pruned", 2: "ended"} and clock.complete == 2


def test_median() -> None:
    """From four trials at a rung on, those above the median end."""
    clock = Clock(rules("median", rungs=(5,), parallel=1, n_startup=4), total=5)
    list(clock.advance(scripted({0: 1.0, 1: 2.0, 2: 3.0, 3: 2.5, 4: 2.0})))
    assert clock.states == {0: "ended", 1: "ended", 2: "ended", 3: "pruned", 4: "ended"}


def test_brackets_are_compared_apart() -> None:
    """With Hyperband, a trial is compared with those of its bracket alone."""
    clock = Clock(rules("hyperband", parallel=1), total=6)
    list(clock.advance(scripted({0: 1.0, 1: 8.0, 2: 9.0, 3: 2.0, 4: 7.0, 5: 9.5})))
    assert {n: s for n, s in clock.states.items() if n != 4} == {
        **dict.fromkeys((0, 1, 2), "ended"),
        **dict.fromkeys((3, 5), "pruned"),
    }
    assert clock.states[4] == "ended"


def test_peers_count_at_their_rungs() -> None:
    """Trials of earlier stages make a rung harder, or easier."""
    for peers, promoted in (([0.1, 0.2, 0.3], False), ([7.0, 8.0], True)):
        clock = Clock(rules(parallel=1), total=1, peers={(0, 1): peers})
        jobs = list(clock.advance(scripted({0: 5.0})))
        assert (len(jobs) > 1) == promoted


def test_a_trial_that_ended_counts_at_later_rungs() -> None:
    """A trial that stopped early keeps its value; a diverged one counts as the worst."""
    ended = {0: Arrival(0.5, "ended", True, 1), 1: Arrival(math.inf, "ended", False, 1)}

    def outcome(job: Job) -> Arrival:
        return ended.get(job.number) or scripted({2: 0.4, 3: 0.6})(job)

    clock = Clock(rules(parallel=1), total=4)
    jobs = list(clock.advance(outcome))
    # At the rung of 1 epoch, 2 is the best of three, and at 3 of {0.5, inf, 0.4} too.
    assert [j for j in steps(jobs) if j[0] == 2] == [(2, 0, 1), (2, 1, 3), (2, 3, 9), (2, 9, 27)]
    assert clock.states[3] == "paused"


def test_budget_and_what_is_given_back() -> None:
    """No job begins once the epochs are used; epochs that a trial did not train are free again."""
    whole = Clock(rules("none", rungs=(), parallel=1, budget=100.0))
    assert len(list(whole.advance(scripted({})))) == 4 and whole.spent == 108
    early = Clock(rules("none", rungs=(), parallel=1, budget=100.0))
    jobs = list(early.advance(lambda job: Arrival(1.0, "ended", True, 10)))
    assert len(jobs) == 10 and early.spent == 100
    stored = Clock(rules("none", rungs=(), parallel=1, budget=30.0), stored=5)
    assert len(list(stored.advance(scripted({})))) == 5, "trials that exist are trained"


@pytest.mark.parametrize(("least", "total", "complete"), [(0, 2, 0), (1, 2, 1), (2, 2, 2), (3, 2, 2), (2, 30, 2)])
def test_a_stage_ends_with_complete_trials(least: int, total: int, complete: int) -> None:
    clock = Clock(rules(parallel=4, least=least), total)
    list(clock.advance(World(3, early=False).outcome))
    assert clock.complete >= complete and (total > 2 or clock.complete == complete)


def test_a_lower_total_ends_a_stage() -> None:
    """As when its time is over: trials that have begun go on, no trial begins."""
    clock, known = Clock(rules("none", rungs=(), parallel=3)), dict[Job, Arrival]()
    first = list(clock.advance(known.get))
    assert len(first) == 3 and not clock.at_rest
    clock.total = 3
    known |= {job: scripted({})(job) for job in first}
    assert list(clock.advance(known.get)) == [] and clock.at_rest


def test_pruned_before() -> None:
    """A trial that was pruned for good in an earlier session is compared with, and never promoted."""
    clock = Clock(rules(parallel=1), total=3)
    jobs = list(clock.advance(lambda job: Arrival(job.number, "pruned" if job.number == 0 else "running", False, 1)))
    assert steps(jobs) == [(0, 0, 1), (1, 0, 1), (2, 0, 1)] and clock.states[0] == "pruned"


@pytest.mark.parametrize(("counts", "promoted"), [(True, True), (False, False)])
def test_copies_count_once(counts: bool, promoted: bool) -> None:
    """Copies of a bad outcome do not make it easier to be among the best third."""

    def outcome(job: Job) -> Arrival:
        arrival: Arrival = scripted({0: 1.0})(job)
        return arrival._replace(counts=counts or job.number == 0)

    clock = Clock(rules(parallel=5), total=5)
    list(clock.advance(outcome))
    assert (clock.reached[0] > 1) == promoted


def test_expected_trials() -> None:
    assert expected_trials(rules("none", rungs=(), budget=10.0 * EPOCHS)) == 10
    assert expected_trials(rules(), 48) == 48
    promoted = expected_trials(rules(budget=10.0 * EPOCHS))
    assert 40 < promoted < 200
