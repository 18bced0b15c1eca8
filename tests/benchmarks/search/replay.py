"""Replays of whole searches on learning curves that are looked up: no training, but the decisions of the package.

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
from hpsearch.core.space import Point, Space, Value
from hpsearch.search.earlier import distinct_outcomes, in_box, reusable_trials
from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.clock import Clock
from hpsearch.search.schedule.told import arrival, as_told
from hpsearch.search.suggest import Suggester
from hpsearch.search.zoom import stage_box
from hpsearch.storage.records import Trial

Curve = Callable[[Mapping[str, Value], int], np.ndarray]  # point and seed of its luck → loss after each epoch

PARAMETERS: dict[str, Any] = {
    "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
    "beta": {"min": 0.9, "max": 0.999, "scale": "one_minus_log"},
    "hidden_units": {"type": "int", "min": 16, "max": 256, "scale": "log"},
    "batch_size": {"values": [16, 32, 64, 128, 256], "ordered": True},
    "l2": {"min": 1e-7, "max": 1e-1, "scale": "log"},
}
EPOCHS = 50


def plan(budget: float, **changes: Any) -> dict[str, Any]:
    """Return the default plan for a budget of full trainings, as `init` writes it."""
    coarse = {"name": "coarse", "sampler": "random", "pruning": {"kind": "promote", "min_epochs": 2}}
    fine = {"name": "fine", "sampler": "tpe", "zoom": {}, "pruning": {"kind": "promote", "rungs": [6, 12, 25]}}
    return {"stages": [coarse, fine], "budget": budget, "parallel": 4, **changes}


def study(content: dict[str, Any], seed: int) -> Spec:
    """Return the spec of a plan on the space of the curves."""
    base = {
        "name": "replay",
        "seed": seed,
        "data": {"source": "sklearn", "name": "digits"},
        "model": {"hidden": [{"units": "hidden_units"}]},
        "train": {"optimizer": "momentum", "epochs": EPOCHS},
        "parameters": PARAMETERS,
    }
    return restore_spec({**base, **content}, "replay.py")


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


def rival(curve: Curve, budget: float, seed: int, pruner: optuna.pruners.BasePruner | None) -> list[Trial]:
    """Return the trials of Optuna's TPE, one after another, as a user writes it, pruned or not."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, spent, trials = search_space(study(plan(1), 0)), 0, list[Trial]()
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    search = optuna.create_study(sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
    distributions = space.distributions(space.full_box())
    while spent < budget * EPOCHS:
        trial = search.ask(distributions)
        point: Point = space.point(trial.params)
        values = [float(v) for v in np.minimum.accumulate(curve(point, seed * 10_000 + trial.number))]
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


def unit(point: Mapping[str, Value]) -> np.ndarray:
    """Return a point of `PARAMETERS` in the unit cube of its scales."""
    rate, beta, units, batch, l2 = (float(point[name]) for name in PARAMETERS)
    place = PARAMETERS["batch_size"]["values"].index(int(batch))
    logs = [(np.log10(rate) + 4) / 4, -(np.log10(1 - beta) + 1) / 2, np.log(units / 16) / np.log(16)]
    return np.array([*logs, (place + 0.5) / 5, (np.log10(l2) + 7) / 6])


def made_curve(world: int) -> Curve:
    """Return curves that are made: a narrow valley in the learning rate, wider ones beside it, and the luck of a seed.

    Networks with low learning rates learn slowly; those with high ones do not learn.
    """
    draw = np.random.default_rng(world)
    center, width = draw.uniform(0.25, 0.75, 5), draw.uniform([0.1, 0.2, 0.2, 0.3, 0.3], [0.2, 0.5, 0.6, 0.8, 0.9])

    def curve(point: Mapping[str, Value], seed: int) -> np.ndarray:
        u = unit(point)
        luck = np.exp(0.1 * np.random.default_rng(seed).normal())
        final = 0.05 * luck * np.exp(np.minimum(3.5, np.square((u - center) / width).sum() / 2))
        speed = 2.0 + 20.0 * max(0.0, center[0] - u[0])
        falling = final + 2.0 * np.exp(-np.arange(1, EPOCHS + 1) / speed)
        return np.minimum(2.3, falling)

    return curve
