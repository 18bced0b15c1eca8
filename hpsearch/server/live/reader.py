"""Reads a study database again and again, each time only what is new, and keeps trials without their curves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, final

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Space
from hpsearch.search.champion import find_champion, with_test_scores
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.storage.records import FINISHED, PRIOR, StoredStage, Trial, TrialKey
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import restore_study

_PAGE = 200  # trials with their curves in memory at once


class LiveStage(NamedTuple):
    """A stage at one moment.

    Attributes:
        planned: number of trials that it has or is expected to have.
        states: state → number of trials.
        box: None before it has begun.
    """

    name: str
    planned: int
    states: Mapping[str, int]
    box: Box | None

    @property
    def begun(self) -> bool:
        """True when it has trials, or its box is known."""
        return self.box is not None or bool(self.states)


class LiveStudy(NamedTuple):
    """A study at one moment.

    Attributes:
        champion: the champion so far, with its test scores once they are stored, without curves.
    """

    spec: Spec
    space: Space
    stages: tuple[LiveStage, ...]
    champion: Trial | None


class _Known(NamedTuple):
    """The part that is kept between two polls.

    Attributes:
        hash: hash of the stored spec.
        trials: finished trials by stage and number.
        since: the latest of their ends, as Unix time.
    """

    hash: str
    spec: Spec
    space: Space
    trials: dict[TrialKey, Trial]
    since: float


class _Poll(NamedTuple):
    token: tuple[object, ...]
    known: _Known
    study: LiveStudy
    told: list[tuple[Trial, bytes]]  # finished since the last poll


@final
class StudyReader:
    """The state of one study, as last read.

    Args:
        url: URL of the study database.
        encode: returns what is kept of the curves of a trial that has finished.

    Attributes:
        study: None before the study has begun.
    """

    def __init__(self, url: str, encode: Callable[[Spec, Trial], bytes]) -> None:
        self._url = url
        self._encode = encode
        self._token: tuple[object, ...] = ()
        self._known: _Known | None = None
        self._ends: dict[TrialKey, float] = {}  # of the trials that were returned
        self.study: LiveStudy | None = None

    @property
    def trials(self) -> Mapping[TrialKey, Trial]:
        """Finished trials by stage and number, without curves."""
        return {} if self._known is None else self._known.trials

    def poll(self) -> list[tuple[Trial, bytes]] | None:
        """Read the study; return the trials that have finished since, in this order; None if nothing has changed.

        A trial that has finished again is returned again.

        Raises:
            StorageError: the database cannot be read, or holds no study yet.
        """
        found = read(self._url, self._read, check=self._known is None)
        if found is None:
            return None
        self._token, self._known, self.study, told = found
        self._ends |= {trial.key: trial.finished for trial, _ in told}
        return told

    def _read(self, storage: StudyDatabase) -> _Poll | None:
        token = storage.change_token()
        if token == self._token:
            return None
        digest, known = storage.study.load().hash, self._known
        if known is None or known.hash != digest:
            spec = restore_study(storage).spec
            known = _Known(digest, spec, search_space(spec), {}, 0.0)
        states: dict[str, dict[str, int]] = {}
        for (stage, state), count in storage.trials.states().items():
            states.setdefault(stage, {})[state] = count
        told: dict[TrialKey, tuple[Trial, bytes]] = {}
        trials, count = dict(known.trials), _finished(states)
        if trials and count - len(trials) <= _PAGE:
            trials |= self._light(known.spec, storage.trials.finished(known.since, known.space), told)
        if len(trials) != count:  # many are new, or failed trials are trained again
            trials = self._all(storage, known, states, told)
        known = known._replace(trials=trials, since=max((t.finished for t in trials.values()), default=0.0))
        names = known.spec.stage_names
        in_order = sorted(
            told.values(), key=lambda pair: (pair[0].finished, names.index(pair[0].stage), pair[0].number)
        )
        return _Poll(token, known, _study(storage, known, states), in_order)

    def _all(
        self,
        storage: StudyDatabase,
        known: _Known,
        states: Mapping[str, Mapping[str, int]],
        told: dict[TrialKey, tuple[Trial, bytes]],
    ) -> dict[TrialKey, Trial]:
        """Return all finished trials, read in pages."""
        trials: dict[TrialKey, Trial] = {}
        for stage in known.spec.stage_names:
            for first in range(0, sum(states.get(stage, {}).values()), _PAGE):
                trials |= self._light(known.spec, storage.trials.load(stage, known.space, first, _PAGE), told)
        return trials

    def _light(
        self, spec: Spec, trials: Iterable[Trial], told: dict[TrialKey, tuple[Trial, bytes]]
    ) -> dict[TrialKey, Trial]:
        """Return the finished ones of some trials without their curves; add those that are new to `told`."""
        light: dict[TrialKey, Trial] = {}
        for trial in trials:
            if trial.state in FINISHED:
                light[trial.key] = trial._replace(history={})
                if self._ends.get(trial.key) != trial.finished:
                    told[trial.key] = light[trial.key], self._encode(spec, trial)
        return light


def _finished(states: Mapping[str, Mapping[str, int]]) -> int:
    return sum(of_stage.get(state, 0) for name, of_stage in states.items() if name != PRIOR for state in FINISHED)


def _study(storage: StudyDatabase, known: _Known, states: Mapping[str, Mapping[str, int]]) -> LiveStudy:
    spec, stored = known.spec, storage.stages.load(known.space.axes)
    stages, lists = [], []
    for number, stage in enumerate(spec.stages):
        of_stage = states.get(stage.name, {})
        begun = sum(of_stage.values())
        stages.append(_stage(spec, number, of_stage, stored.get(stage.name)))
        if begun or stage.name in stored:
            unfinished = Trial(stage.name, -1, {}, {}, "running")
            lists.append([known.trials.get((stage.name, place), unfinished) for place in range(begun)])
    champion = find_champion(spec, lists)
    weights = storage.weights.find(champion)
    if champion is not None and weights is not None:
        champion = with_test_scores(champion, weights.test)
    return LiveStudy(spec, known.space, tuple(stages), champion)


def _stage(spec: Spec, number: int, states: Mapping[str, int], stored: StoredStage | None) -> LiveStage:
    begun = sum(states.values())
    ended = begun if spec.stages[number].confirms and begun else stored and stored.ended
    planned = planned_trials(spec, number, begun, ended)
    return LiveStage(spec.stages[number].name, planned, states, stored.box if stored else None)


def with_curves(url: str, space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """Return the same trials with their curves.

    Raises:
        StorageError: the database cannot be read.
    """
    ranges: dict[str, list[int]] = {}
    for trial in trials:
        ranges.setdefault(trial.stage, []).append(trial.number)

    def load(storage: StudyDatabase) -> dict[TrialKey, Trial]:
        found: dict[TrialKey, Trial] = {}
        for stage, numbers in ranges.items():
            first, end = min(numbers), max(numbers) + 1
            for start in range(first, end, _PAGE):
                page = storage.trials.load(stage, space, start, min(_PAGE, end - start))
                found |= {t.key: t for t in page if t.number in numbers}
        return found

    found = read(url, load, check=False)
    return [found.get(trial.key, trial) for trial in trials]
