"""Replays of whole searches on recorded curves: no training, but the decisions of the package.

A replay runs the clock, the suggester and the zoom of the package on trials whose curves are looked up. Its plans are
study files; `rival` is a search written by hand with Optuna alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna

from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Space, Value
from hpsearch.samplers import suggest_parameter
from hpsearch.search.earlier import distinct_outcomes, in_box, reusable_trials
from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.clock import Clock
from hpsearch.search.schedule.told import arrival, as_told
from hpsearch.search.suggest import Suggester
from hpsearch.search.zoom import stage_box
from hpsearch.storage.records import Trial
from tests.benchmarks.search.recorded_curves import EPOCHS, study_of

Curve = Callable[[Mapping[str, Value], int], np.ndarray]  # point and seed → best loss so far after each epoch


def plan(budget: float, **changes: Any) -> dict[str, Any]:
    """Return the default plan for a budget of full trainings, as `init` writes it."""
    coarse = {"name": "coarse", "sampler": "random", "pruning": {"kind": "promote", "min_epochs": 2}}
    fine = {"name": "fine", "sampler": "tpe", "zoom": {}, "pruning": {"kind": "promote", "rungs": [6, 12, 25]}}
    return {"stages": [coarse, fine], "budget": budget, "parallel": 4, **changes}


def study(name: str, content: dict[str, Any], seed: int) -> Spec:
    """Return the spec of a plan on a recorded set."""
    return restore_spec(study_of(name, **content) | {"seed": seed}, name)


def replayed(spec: Spec, curve: Curve) -> list[Trial]:
    """Return all trials of a study; paused trials are pruned where they are."""
    space, stages = search_space(spec), list[list[Trial]]()
    for number in range(len(spec.stages)):
        stages.append(_stage(spec, space, number, stages, curve))
    return [t for trials in stages for t in trials]


def _stage(spec: Spec, space: Space, number: int, earlier: list[list[Trial]], curve: Curve) -> list[Trial]:
    stage, box = spec.stages[number], stage_box(spec, space, number, earlier)
    suggester = Suggester(spec, space, number, box, reusable_trials(space, box, earlier), [])
    peers = [t for t in distinct_outcomes(earlier) if in_box(space, box, t)]
    total = float("inf") if stage.trials is None else stage.trials
    least = int(number == len(spec.stages) - 1)
    clock = Clock(pruning.stage_rules(spec, stage, least), total, peers=pruning.peer_values(spec, stage, peers))
    trials: list[Trial] = []
    told: dict[tuple[int, int], Trial] = {}

    def known() -> list[Trial]:
        for n, reached in clock.reached.items():
            if n < len(trials) and (n, reached) not in told:
                told[n, reached] = as_told(spec, trials[n], reached)
        return [told[n, reached] for n, reached in sorted(clock.reached.items()) if n < len(trials)]

    for job in clock.advance(lambda job: arrival(spec, trials[job.number], job)):
        if job.number == len(trials):
            t = suggester.suggest(trials, known())
            values = [float(v) for v in curve(t.point, spec.seed * 10_000 + 1000 * number + job.number)]
            best = int(np.argmin(values))
            history = {"val/loss": values}
            trials.append(
                t._replace(state="complete", value=values[best], epochs=EPOCHS, best_epoch=best + 1, history=history)
            )
    return [as_told(spec, t, clock.reached[t.number]) for t in trials]


def rival(
    space: Space, curve: Curve, budget: float, seed: int, pruner: optuna.pruners.BasePruner | None, sampler: str = "tpe"
) -> list[Trial]:
    """Return the trials of Optuna alone, one after another, as a user writes the search, pruned or not."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "random": lambda: optuna.samplers.RandomSampler(seed),
    }
    search = optuna.create_study(sampler=samplers[sampler](), pruner=pruner or optuna.pruners.NopPruner())
    distributions, spent, trials = space.distributions(space.full_box()), 0, list[Trial]()
    while spent < budget * EPOCHS:
        trial = search.ask()
        for axis in sorted(space.axes, key=lambda axis: bool(axis.when)):
            if axis.is_active(space.point(trial.params)):
                suggest_parameter(trial, axis.key, distributions[axis.key])
        point = space.point(trial.params)
        values = [float(v) for v in curve(point, seed * 10_000 + trial.number)]
        epoch = 0
        for epoch in range(1, EPOCHS + 1):
            trial.report(values[epoch - 1], epoch)
            if pruner is not None and epoch < EPOCHS and trial.should_prune():
                break
        spent += epoch
        complete = epoch == EPOCHS
        search.tell(trial, values[-1] if complete else None, None if complete else optuna.trial.TrialState.PRUNED)
        made = Trial("rival", trial.number, trial.params, point, "complete" if complete else "pruned")
        trials.append(made._replace(value=values[epoch - 1], epochs=epoch))
    return trials


def chosen(trials: list[Trial]) -> Trial | None:
    """Return the complete trial with the best value."""
    return min((t for t in trials if t.state == "complete"), key=lambda t: t.value or 0.0, default=None)
