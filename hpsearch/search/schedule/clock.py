"""The virtual clock of a stage: jobs and their outcomes → the next jobs.

`parallel` virtual workers train jobs; a job trains one trial up to a rung or its last epoch, and an epoch takes one
unit of time. Whatever is decided at a moment follows from the jobs that have ended until then *on this clock*. So
decisions are the same for any number of real workers and any order in which real outcomes arrive. Early stopping and
divergence do not shorten a job. Resuming replays the clock from job 0.

The rules at rungs are those of asynchronous successive halving (Li et al. 2020, MLSys), with trials that are paused and
promoted later (`promote`) or judged once, when they arrive (`stop`, `hyperband`, `median`).
"""

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple, final

State = Literal["running", "paused", "ready", "pruned", "ended"]
Rung = tuple[int, int]  # bracket and epochs


class Job(NamedTuple):
    """A trial that trains from one epoch to another.

    Attributes:
        number: number of the trial.
        first, last: epochs at its start and at its end.
        start, end: times on the clock.
        issue: number of the job; of jobs that end at the same time, the one with the lowest number is first.
    """

    number: int
    first: int
    last: int
    start: int
    end: int
    issue: int


class Arrival(NamedTuple):
    """The outcome of a job.

    Attributes:
        value: best value of the trial so far; lower is better, +inf without one and for diverged and failed trials.
        state: the trial could continue (`running`), has ended, or has been pruned for good.
        complete: the trial has ended with a value.
        epochs: epochs that the trial has trained.
        counts: other trials are compared with it at its rungs; a copied outcome counts only once.
    """

    value: float
    state: Literal["running", "ended", "pruned"]
    complete: bool
    epochs: int
    counts: bool = True


class Rules(NamedTuple):
    """The rules of a stage.

    Attributes:
        kind: `none`, `promote`, `stop`, `hyperband` or `median`.
        epochs: epochs of a full training.
        rungs: number of a trial → its bracket and its rungs below `epochs`, ascending.
        reduction: one of this many trials continues at a rung.
        n_startup: trials at a rung from which `median` prunes.
        parallel: virtual workers.
        budget: epochs after which no job begins; +inf for no limit.
        least: complete trials that the stage ends with, if it has as many trials.
    """

    kind: str
    epochs: int
    rungs: Callable[[int], tuple[int, Sequence[int]]]
    reduction: int = 3
    n_startup: int = 4
    parallel: int = 4
    budget: float = math.inf
    least: int = 0


@final
@dataclass
class Clock:
    """The clock of one stage.

    Attributes:
        total: number of trials after which no new trial begins; it may be lowered to stop the stage.
        stored: trials that exist already; all of them begin, whatever the budget.
        peers: values at each rung of the trials of earlier stages.
        now: the time.
        reached: trial → epochs that it has reached by now; 0 until its first job has ended.
        states: trial → its state by now.
        spent: epochs of all jobs so far; a trial that ends early gives the rest back.
        complete: number of complete trials by now.
    """

    rules: Rules
    total: float = math.inf
    stored: int = 0
    peers: Mapping[Rung, Sequence[float]] = field(default_factory=dict)
    now: int = 0
    reached: dict[int, int] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    spent: int = 0
    complete: int = 0
    _running: list[tuple[int, int, Job]] = field(default_factory=list)  # a heap
    _values: dict[Rung, list[float]] = field(default_factory=dict)  # ascending, of all that have ended at a rung
    _paused: dict[Rung, list[tuple[float, int]]] = field(default_factory=dict)  # value and number, ascending
    _ready: deque[int] = field(default_factory=deque)  # judged to continue, not yet issued
    _ended: dict[int, list[float]] = field(default_factory=dict)  # bracket → final values, which count at every rung
    _issued: int = 0

    @property
    def asked(self) -> int:
        """Number of trials that have begun."""
        return len(self.states)

    def advance(self, arrival: Callable[[Job], Arrival | None]) -> Iterator[Job]:
        """Yield the jobs that may begin, until an outcome is missing or the stage has ended.

        A new trial, whose job begins at epoch 0, is chosen when it is yielded: `reached` then says what is known.

        Args:
            arrival: the outcome of a job; None while it is missing.
        """
        while True:
            while (job := self._issue()) is not None:
                yield job
            if not self._running:
                return
            outcome = arrival(self._running[0][2])
            if outcome is None:
                return
            self._tell(heapq.heappop(self._running)[2], outcome)

    @property
    def at_rest(self) -> bool:
        """True when no job is running: after `advance`, the stage has ended."""
        return not self._running

    def _issue(self) -> Job | None:
        """Begin the next job of the present moment, if a virtual worker is free and something is to be trained."""
        if len(self._running) >= self.rules.parallel:
            return None
        open_ = self.spent < self.rules.budget
        number = self._next_trained() if open_ else None
        if number is None and self.asked < self.total and (open_ or (not self._running and self.asked < self.stored)):
            number = self.asked
        if number is None and not self._running and self.complete < self.rules.least:
            number = self._best_unfinished()
        return None if number is None else self._begin(number)

    def _begin(self, number: int) -> Job:
        first = self.reached.setdefault(number, 0)
        last = next((rung for rung in self.rules.rungs(number)[1] if rung > first), self.rules.epochs)
        job = Job(number, first, last, self.now, self.now + last - first, self._issued)
        heapq.heappush(self._running, (job.end, job.issue, job))
        self.states[number] = "running"
        self.spent += last - first
        self._issued += 1
        return job

    def _next_trained(self) -> int | None:
        """Return the trial that continues, or is promoted from the highest rung; None for none."""
        if self._ready:
            return self._ready.popleft()
        for rung in sorted(self._paused, key=lambda rung: -rung[1]):
            values, paused = self._at(rung), self._paused[rung]
            cut = len(values) // self.rules.reduction
            if paused and cut and paused[0][0] <= values[cut - 1]:
                return paused.pop(0)[1]
        return None

    def _best_unfinished(self) -> int | None:
        """Return the best trial at the highest rung that may continue."""
        if self._ready:
            return self._ready.popleft()
        for rung in sorted(self._paused, key=lambda rung: -rung[1]):
            if self._paused[rung]:
                return self._paused[rung].pop(0)[1]
        return None

    def _tell(self, job: Job, arrival: Arrival) -> None:
        self.now, number = job.end, job.number
        self.reached[number] = job.last
        bracket = self.rules.rungs(number)[0]
        rung = bracket, job.last
        if arrival.state == "ended":
            self.states[number] = "ended"
            self.spent -= job.last - min(job.last, max(job.first, arrival.epochs))
            self.complete += arrival.complete
            if arrival.counts:
                insort(self._ended.setdefault(bracket, []), arrival.value)
                for other in (r for r in self._values if r[0] == bracket and r[1] >= job.last):
                    insort(self._values[other], arrival.value)
            return
        if arrival.counts:
            insort(self._at(rung), arrival.value)
        self.states[number] = "pruned" if arrival.state == "pruned" else self._judged(number, rung, arrival.value)

    def _judged(self, number: int, rung: Rung, value: float) -> State:
        """Return the state of a trial that has arrived at a rung."""
        if self.rules.kind == "promote":
            insort(self._paused.setdefault(rung, []), (value, number))
            return "paused"
        values = self._at(rung)
        if self.rules.kind == "median":
            limit = median(values) if len(values) >= self.rules.n_startup else math.inf
        else:
            limit = values[math.ceil(len(values) / self.rules.reduction) - 1] if values else math.inf
        if value > limit:
            return "pruned"
        self._ready.append(number)
        return "ready"

    def _at(self, rung: Rung) -> list[float]:
        """Return the values of all trials that have reached a rung by now, or ended before it."""
        if rung not in self._values:
            self._values[rung] = sorted([*self.peers.get(rung, ()), *self._ended.get(rung[0], ())])
        return self._values[rung]


def expected_trials(rules: Rules, total: float = math.inf) -> int:
    """Return about how many trials a stage has: those of a replay in which no trial ends early.

    Values are drawn from a fixed sequence, so that any trial may be the best.
    """
    clock = Clock(rules, total)

    def arrival(job: Job) -> Arrival:
        value = (job.number * 0.6180339887498949) % 1
        return Arrival(value, "ended" if job.last == rules.epochs else "running", True, job.last)

    for _ in clock.advance(arrival):
        pass
    return clock.asked
