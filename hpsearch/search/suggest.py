"""One stage's conversation with Optuna: points are suggested on a copy in memory, and stored a wave at a time."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, final

from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.core.space import Box, InternalValue, Space, point_key
from hpsearch.samplers import MEMORYLESS, SAMPLERS, SamplerContext, suggest_parameter
from hpsearch.search import pruning
from hpsearch.storage.records import Trial
from hpsearch.storage.study_db import StudyDatabase

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial

# A diverged trial's loss is beyond all others': Optuna's samplers take a pruned trial without reports for that.
STATES = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED", "failed": "FAIL"}


@final
class Suggester:
    """Asks a stage's trials wave by wave, and tells Optuna's database what has come of them.

    Args:
        number: of the stage.
        box: what it searches.
        known: finished trials of earlier stages in the box, for the sampler.
        prior: trials of the study this one was forked from, whose outcome a trial takes that is the same.
    """

    def __init__(
        self,
        spec: Spec,
        space: Space,
        number: int,
        box: Box,
        known: Sequence[Trial],
        prior: Sequence[Trial],
        storage: StudyDatabase,
    ) -> None:
        self._spec = spec
        self._stage = spec.stages[number]
        self._space = space
        self._distributions = space.distributions(box)
        self._known = known
        self._prior = {((r.copied_from or "").partition(":")[2], point_key(r.internal_params)): r for r in prior}
        self._storage = storage

    def visible(self, wave: int) -> int:
        """How many of the stage's trials a wave sees the outcome of: those of the waves up to the last but one."""
        return max(0, (wave - 1) * self._spec.wave)

    def ask(self, wave: int, records: list[Trial], total: int) -> list[Trial]:
        """Asks what is missing of a wave, appends it to the records, and gives the records of the wave.

        Args:
            records: of the stage, as many as have been asked.
            total: trials the stage is to have.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        spec, had = self._spec, len(records)
        first, last = wave * spec.wave, min((wave + 1) * spec.wave, total)
        if had < last:
            memory = optuna.create_study(direction="minimize" if spec.metric.sign > 0 else "maximize")
            told, running = records[: self.visible(wave)], records[self.visible(wave) :]
            taken = {r.copied_from for r in told}  # these are told already
            known = [r for r in self._known if (r.copied_from or r.label) not in taken]
            if self._stage.sampler not in MEMORYLESS:  # who does not look back need not be told
                memory.add_trials([self.frozen(r) for r in [*known, *told]])
                # Whatever has become of them meanwhile, those of the wave before count as running.
                memory.add_trials([self.frozen(r._replace(state="running", value=None)) for r in running])
            finished = {point_key(r.internal_params): r for r in reversed([*known, *told]) if r.state != "failed"}
            new = []
            for number in range(had, last):
                memory.sampler = SAMPLERS[self._stage.sampler](self._context(number, len(known)))
                internal_params = self._suggest(memory, number)
                new.append(self._given(number, internal_params, finished))
            self._storage.trials.add(new)
            records += new
        return records[first:last]

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

    def _suggest(self, memory: "OptunaStudy", number: int) -> dict[str, InternalValue]:
        """A point that is given, or a sampled one; a parameter is sampled where it counts, after those that say so."""
        given = len(self._stage.points) * self._stage.seeds
        if number < given:
            point = self._stage.points[number % len(self._stage.points)]
            fixed = {a.key: a.to_internal(point[a.name]) for a in self._space.axes if a.name in point}
            memory.enqueue_trial(fixed)
        trial = memory.ask({a.key: self._distributions[a.key] for a in self._space.axes if not a.when})
        waiting = [a for a in self._space.axes if a.when]
        while counting := [a for a in waiting if a.is_active(self._space.point(trial.params))]:
            suggest_parameter(trial, counting[0].key, self._distributions[counting[0].key])
            waiting.remove(counting[0])
        return trial.params

    def _given(self, number: int, internal_params: dict[str, InternalValue], finished: dict[str, Trial]) -> Trial:
        """Return the new trial: with the result of the same trial of another study, or, where the file says so, of
        the same point; else to be trained, a repeated point with another seed."""
        point = self._space.point(internal_params)
        trial = Trial(self._stage.name, number, internal_params, point, "running")
        same = self._prior.get((f"{self._stage.name}/{number}", point_key(internal_params)))
        if same is not None and same.state == "pruned":  # under other rules, and among other trials
            same = None
        if same is None and self._spec.duplicates == "reuse" and number >= len(self._stage.points) * self._stage.seeds:
            same = finished.get(point_key(internal_params))
        if same is None:
            return trial
        copied_from = same.copied_from or same.label
        copy = same._replace(stage=trial.stage, number=number, internal_params=internal_params, point=point)
        return copy._replace(copied_from=copied_from, seconds=0.0, finished=time.time())

    def tell(self, records: Sequence[Trial]) -> None:
        """Tells Optuna's database of the finished trials it has not got, in the order of their numbers."""
        mirrored = self._storage.mirror.count(self._stage.name, self._spec.metric.sign)
        self._storage.mirror.add(self._stage.name, [self.frozen(r) for r in records[mirrored:]])

    def frozen(self, record: Trial) -> "FrozenTrial":
        """A record as Optuna has it, with its best values at the rungs it came to."""
        from optuna.trial import TrialState, create_trial

        trial = create_trial(
            state=TrialState[STATES[record.state]],
            value=record.value if record.state == "complete" else None,
            params=dict(record.internal_params),
            distributions={key: self._distributions[key] for key in record.internal_params},
            intermediate_values=self._reports(record),
            user_attrs={"state": record.state} if record.state == "diverged" else {},
        )
        trial.datetime_start = datetime.fromtimestamp(record.finished - record.seconds)
        if trial.state.is_finished():
            trial.datetime_complete = datetime.fromtimestamp(record.finished)
        return trial

    def _reports(self, record: Trial) -> dict[int, float]:
        if record.state not in ("complete", "pruned"):
            return {}
        metric, every = self._spec.metric, self._spec.train.check_every
        stage = next((s for s in self._spec.stages if s.name == record.stage), self._stage)
        reached = [e for e in pruning.rungs(self._spec, stage, record.number) if e <= record.epochs]
        values = {e: metric.sign * pruning.value(metric, record, e, every) for e in reached}
        return values or (
            {record.epochs: record.value} if record.state == "pruned" and record.value is not None else {}
        )
