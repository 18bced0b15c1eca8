"""A Gaussian process with log expected improvement, running trials considered. Ament et al. 2023, arXiv:2310.20708.

Optuna's, with four things around it. What ended without a value is shown to it as the worst that was seen, for it
leaves such trials out and would go where training diverges again and again. Whole numbers of many values are shown as
fractions of their axis, which takes a third off the time. Until ten trials have ended, and for axes that count at some
points only, the Sobol' sequence is drawn from. And it computes on one thread, because the number of threads is seen in
the last bits of what it draws.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpsearch.samplers.base import SEEDS, Box, SamplerContext, place, stateless, unit
from hpsearch.samplers.sobol import coordinates

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STARTUP = 10  # ended trials, those of earlier stages included
MANY = 16  # up to so many values Optuna tries each


def gp(context: SamplerContext) -> "BaseSampler":
    """Needs torch."""
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.samplers import GPSampler

    joint = context.joint()
    many = {k: d for k, d in joint.items() if isinstance(d, IntDistribution) and d.high - d.low >= MANY}
    space = joint | dict.fromkeys(many, FloatDistribution(0, 1))

    def sample_joint(study: "Study", trial: "FrozenTrial") -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        if sum(t.state.is_finished() for t in trials) < STARTUP:
            return {}
        inner = GPSampler(seed=context.seed % SEEDS, n_startup_trials=0, deterministic_objective=False)
        with _one_thread():
            drawn = inner.sample_relative(_shown(study, space, many), trial, space)
        return drawn | {key: place(d, drawn[key]) for key, d in many.items()}

    return stateless(joint, sample_joint, coordinates(context))


def _shown(study: "Study", space: Box, many: "dict[str, IntDistribution]") -> "Study":
    """The study as Optuna's model is to see it. All trials are there, so that each keeps its number.

    One that ended without a value is complete: by its last report, at worst with the worst of the values there are.
    """
    import optuna
    from optuna.study import StudyDirection
    from optuna.trial import TrialState, create_trial

    trials = study.get_trials(deepcopy=False)
    better, worse = (min, max) if study.direction == StudyDirection.MINIMIZE else (max, min)
    worst = worse((t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None), default=0.0)

    def value(t: "FrozenTrial") -> float | None:
        if t.state == TrialState.COMPLETE or not t.state.is_finished():
            return t.value
        reports = t.intermediate_values if t.state == TrialState.PRUNED else {}
        return better(worst, reports[max(reports)]) if reports else worst

    shown = optuna.create_study(direction=study.direction)
    for t in trials:
        shown.add_trial(
            create_trial(
                state=TrialState.COMPLETE if t.state.is_finished() else TrialState.RUNNING,
                value=value(t),
                params={k: unit(many[k], v) if k in many else v for k, v in t.params.items() if k in space},
                distributions={key: space[key] for key in t.params if key in space},
            )
        )
    return shown


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
