"""Suggestions: the point of a stage's next trial, sampled by Optuna on a study in memory.

Paused, pruned and complete trials are told to the sampler as complete ones, by how they stand among all trials: Optuna
would put every pruned trial behind every complete one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, final

from hpsearch.config.spec import Spec
from hpsearch.core.loggers import quiet_logger
from hpsearch.core.seeds import derive
from hpsearch.core.space import Box, InternalValue, Space, point_key
from hpsearch.samplers import MEMORYLESS, REPLAYING, SAMPLERS, SamplerContext, suggest_parameter
from hpsearch.search.earlier import in_box
from hpsearch.search.guesses import guided_params
from hpsearch.search.ranking import BestCurves, rank_trials
from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.ahead import looks_back
from hpsearch.search.zoom import trial_box
from hpsearch.storage.records import Trial

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# A diverged trial is worse than all others; Optuna's samplers treat a pruned trial without reports that way.
OPTUNA_STATES = {
    "running": "RUNNING",
    "complete": "COMPLETE",
    "pruned": "PRUNED",
    "diverged": "PRUNED",
    "failed": "FAIL",
}


# Samplers see this many of the best and of the newest trials of a larger number, so that a suggestion stays quick.
BEST = NEWEST = 200


@final
class Suggester:
    """Suggests the trials of one stage, one by one. Suggestions depend only on the arguments and on earlier trials.

    Args:
        number: index of the stage in `spec.stages`.
        box: the box of the stage.
        known: finished trials of earlier stages that lie in the box, for the sampler.
        transferred: trials of the parent study; an equal trial of this stage copies their outcome.
    """

    def __init__(
        self,
        spec: Spec,
        space: Space,
        number: int,
        box: Box,
        known: Sequence[Trial],
        transferred: Sequence[Trial],
    ) -> None:
        self._spec = spec
        self._number = number
        self._stage = spec.stages[number]
        self._space = space
        self._box = box
        self._distributions = space.distributions(box)
        self._known = known
        self._curves = BestCurves(spec)
        self._transferred = {
            ((t.copied_from or "").partition(":")[2], point_key(t.internal_params)): t for t in transferred
        }

    def suggest(self, trials: Sequence[Trial], told: Sequence[Trial]) -> Trial:
        """Return the next trial of the stage; one whose outcome is copied is finished.

        Args:
            trials: the trials of the stage so far; only their points and boxes are used.
            told: those of them that have begun, as they are known now; `finished` is 0 for a paused trial.
        """
        number = len(trials)
        if not looks_back(self._spec, self._stage) or number < self._stage.repeated:
            return self._sampled(number, self._box, [], [], {})
        copied = {t.copied_from for t in told}
        known = [t for t in self._known if (t.copied_from or t.label) not in copied]
        box = trial_box(self._spec, self._space, self._number, self._box, trials, [*known, *told], self._curves)
        finished: dict[str, Trial] = {}
        if self._spec.duplicates == "reuse":
            ended = [*known, *(t for t in told if t.finished and t.state != "failed")]
            finished = {point_key(t.internal_params): t for t in reversed(ended)}
        return self._sampled(number, box, known, told, finished)

    def _sampled(
        self, number: int, box: Box, known: Sequence[Trial], told: Sequence[Trial], finished: dict[str, Trial]
    ) -> Trial:
        """Return the trial that the stage's sampler chooses in a box from what is known."""
        import optuna

        distributions = self._distributions if box is self._box else self._space.distributions(box)
        if self._stage.sampler in MEMORYLESS:
            known, told = [], []
        if box is not self._box:
            known, told = ([t for t in trials if in_box(self._space, box, t)] for trials in (known, told))
        with quiet_logger("optuna"):
            memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
            n_known, trials = self._memories(known, told, distributions)
            memory.add_trials(trials)
            context = self._context(number, n_known, distributions)
            points = [t.internal_params for t in (*known, *told)]
            memory.sampler = SAMPLERS[self._stage.sampler](context._replace(points=points))
            internal_params = self._sample(memory, number, distributions, self._guided(number, box, trials))
        trial = self._new_trial(number, internal_params, finished)
        return trial if box is self._box else trial._replace(box=box)

    def _memories(
        self, known: Sequence[Trial], told: Sequence[Trial], distributions: "Mapping[str, BaseDistribution]"
    ) -> "tuple[int, list[FrozenTrial]]":
        """Return trials as the sampler sees them: those of earlier stages, whose number comes first, then those of this
        stage by number.

        The value of a trial is a normal score of its standing. Diverged trials are pruned ones without a report, which
        samplers rank last.
        """
        from optuna.trial import TrialState, create_trial

        trials = [*known, *told]
        ranking = rank_trials(self._spec, trials, self._curves)
        normal = NormalDist()
        values = {id(t): normal.inv_cdf((n + 0.5) / len(ranking)) for n, (t, _) in enumerate(ranking)}
        if self._stage.sampler not in REPLAYING and len(trials) > BEST + NEWEST:
            seen = {id(t) for t, _ in ranking[:BEST]} | {id(t) for t in trials[-NEWEST:]}
            seen |= {id(t) for t in trials if t.state == "running"}
            known, told = ([t for t in group if id(t) in seen] for group in (known, told))
        states = OPTUNA_STATES | {"pruned": "COMPLETE"}
        return len(known), [
            create_trial(
                state=TrialState[states[t.state]],
                value=values.get(id(t)),
                params=dict(t.internal_params),
                distributions={key: distributions[key] for key in t.internal_params},
            )
            for t in (*known, *told)
        ]

    def frozen_trial(self, trial: Trial) -> "FrozenTrial":
        """Return a trial as Optuna stores it, with its best values at the rungs that it reached."""
        from optuna.trial import TrialState, create_trial

        frozen = create_trial(
            state=TrialState[OPTUNA_STATES[trial.state]],
            value=trial.value if trial.state == "complete" else None,
            params=dict(trial.internal_params),
            distributions={key: self._distributions[key] for key in trial.internal_params},
            intermediate_values=self._reports(trial),
            user_attrs={"state": trial.state} if trial.state == "diverged" else {},
        )
        frozen.datetime_start = datetime.fromtimestamp(trial.finished - trial.seconds)
        if frozen.state.is_finished():
            frozen.datetime_complete = datetime.fromtimestamp(trial.finished)
        return frozen

    def _context(self, number: int, known: int, distributions: "Mapping[str, BaseDistribution]") -> SamplerContext:
        name, spec = self._stage.name, self._spec
        return SamplerContext(
            stage_seed=derive(spec.seed, name, "ask"),
            seed=derive(spec.seed, name, number, "ask"),
            number=number,
            parallel=spec.parallel,
            known=known,
            distributions=distributions,
            conditional=frozenset(a.key for a in self._space.axes if a.when),
            deciding=self._space.deciding_keys(),
            active_keys=self._space.active_keys,
        )

    def _guided(self, number: int, box: Box, trials: "Sequence[FrozenTrial]") -> dict[str, InternalValue]:
        first = self._number == 0 and number == self._stage.repeated
        seed = derive(self._spec.seed, self._stage.name, number, "guess")
        return guided_params(self._space, box, self._stage.sampler, trials, seed, first=first)

    def _sample(
        self,
        memory: "OptunaStudy",
        number: int,
        distributions: "Mapping[str, BaseDistribution]",
        guided: dict[str, InternalValue],
    ) -> dict[str, InternalValue]:
        """Return the internal parameters of a listed point, whose missing values are sampled, or of a sampled point.

        A conditional axis is sampled after the axes that it depends on. Values that follow from guesses are kept.
        """
        axes, stage = self._space.axes, self._stage
        if number < stage.repeated:
            point = stage.points[number % len(stage.points)]
            memory.enqueue_trial({a.key: a.to_internal(point[a.name]) for a in axes if a.name in point})
        elif guided:
            memory.enqueue_trial(guided)
        trial = memory.ask({a.key: distributions[a.key] for a in axes if not a.when})
        waiting = [a for a in axes if a.when]
        while active := [a for a in waiting if a.is_active(self._space.point(trial.params))]:
            suggest_parameter(trial, active[0].key, distributions[active[0].key])
            waiting.remove(active[0])
        return trial.params

    def _new_trial(self, number: int, internal_params: dict[str, InternalValue], finished: dict[str, Trial]) -> Trial:
        """Return the new trial at a point.

        It copies the outcome of the equal trial of the parent study or, with `duplicates: reuse`, of a finished trial
        at the same point. Otherwise it is trained; a duplicate gets a new seed.
        """
        key, point = point_key(internal_params), self._space.point(internal_params)
        trial = Trial(self._stage.name, number, internal_params, point, "running")
        original = self._transferred.get((f"{self._stage.name}/{number}", key))
        if original is not None and original.state == "pruned":  # compared with other trials by other rules
            original = None
        if original is None and number >= self._stage.repeated:
            original = finished.get(key)
        if original is None:
            return trial
        copy = original._replace(stage=trial.stage, number=number, internal_params=internal_params, point=point)
        return copy._replace(copied_from=original.copied_from or original.label, seconds=0.0)

    def _reports(self, trial: Trial) -> dict[int, float]:
        """Return the best value at each rung that a trial reached, by epoch."""
        if trial.state not in ("complete", "pruned"):
            return {}
        metric, every = self._spec.metric, self._spec.train.check_every
        stage = next((s for s in self._spec.stages if s.name == trial.stage), self._stage)
        reached = [e for e in pruning.rungs(self._spec, stage, trial.number) if e <= trial.epochs]
        reports = {e: metric.sign * pruning.best_value(metric, trial, e, every) for e in reached}
        if not reports and trial.state == "pruned" and trial.value is not None:
            return {trial.epochs: trial.value}
        return reports
