"""Suggestions: the points of a stage's next trials, sampled by Optuna on a study in memory."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, final

from hpsearch.config.spec import Spec
from hpsearch.core.loggers import quiet_logger
from hpsearch.core.seeds import derive
from hpsearch.core.space import Box, InternalValue, Space, point_key
from hpsearch.samplers import MEMORYLESS, SAMPLERS, SamplerContext, suggest_parameter
from hpsearch.search import pruning
from hpsearch.storage.records import Trial

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial

# A diverged trial is worse than all others; Optuna's samplers treat a pruned trial without reports that way.
OPTUNA_STATES = {
    "running": "RUNNING",
    "complete": "COMPLETE",
    "pruned": "PRUNED",
    "diverged": "PRUNED",
    "failed": "FAIL",
}


@final
class Suggester:
    """Suggests the trials of one stage, wave by wave. Suggestions depend only on the arguments and on earlier trials.

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
        self._stage = spec.stages[number]
        self._space = space
        self._distributions = space.distributions(box)
        self._known = known
        self._transferred = {
            ((t.copied_from or "").partition(":")[2], point_key(t.internal_params)): t for t in transferred
        }

    def visible(self, wave: int) -> int:
        """Return the number of the stage's trials that wave k sees as finished: those of the waves up to k − 2."""
        return max(0, (wave - 1) * self._spec.wave)

    def suggest(self, wave: int, trials: Sequence[Trial], total: int) -> list[Trial]:
        """Return the missing trials of a wave; trials whose outcome is copied are finished.

        Args:
            trials: the trials of the stage so far.
            total: planned trials of the stage.
        """
        last = min((wave + 1) * self._spec.wave, total)
        if len(trials) >= last:
            return []
        import optuna

        seen, running = trials[: self.visible(wave)], trials[self.visible(wave) :]
        copied = {t.copied_from for t in seen}
        known = [t for t in self._known if (t.copied_from or t.label) not in copied]
        finished = {point_key(t.internal_params): t for t in reversed([*known, *seen]) if t.state != "failed"}
        new = []
        with quiet_logger("optuna"):
            memory = optuna.create_study(direction="minimize" if self._spec.metric.sign > 0 else "maximize")
            if self._stage.sampler not in MEMORYLESS:
                memory.add_trials([self.frozen_trial(t) for t in [*known, *seen]])
                # The previous wave counts as running, even if its trials have finished in the meantime.
                memory.add_trials([self.frozen_trial(t._replace(state="running", value=None)) for t in running])
            for number in range(len(trials), last):
                memory.sampler = SAMPLERS[self._stage.sampler](self._context(number, len(known)))
                new.append(self._new_trial(number, self._sample(memory, number), finished))
        return new

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

    def _context(self, number: int, known: int) -> SamplerContext:
        name, spec = self._stage.name, self._spec
        return SamplerContext(
            stage_seed=derive(spec.seed, name, "ask"),
            seed=derive(spec.seed, name, number, "ask"),
            number=number,
            wave=spec.wave,
            known=known,
            distributions=self._distributions,
            conditional=frozenset(a.key for a in self._space.axes if a.when),
        )

    def _sample(self, memory: "OptunaStudy", number: int) -> dict[str, InternalValue]:
        """Return the internal parameters of a listed point, whose missing values are sampled, or of a sampled point.

        A conditional axis is sampled after the axes that it depends on.
        """
        axes, stage = self._space.axes, self._stage
        if number < len(stage.points) * stage.seeds:
            point = stage.points[number % len(stage.points)]
            memory.enqueue_trial({a.key: a.to_internal(point[a.name]) for a in axes if a.name in point})
        trial = memory.ask({a.key: self._distributions[a.key] for a in axes if not a.when})
        waiting = [a for a in axes if a.when]
        while active := [a for a in waiting if a.is_active(self._space.point(trial.params))]:
            suggest_parameter(trial, active[0].key, self._distributions[active[0].key])
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
        if (
            original is None
            and self._spec.duplicates == "reuse"
            and number >= len(self._stage.points) * self._stage.seeds
        ):
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
