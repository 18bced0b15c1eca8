"""A Gaussian process with log expected improvement, running trials considered. Ament et al. 2023, arXiv:2310.20708.

This is Optuna's `GPSampler` with four additions. Trials that ended without a value get the worst value so far; Optuna
ignores them and would keep sampling where training diverges. Integer axes with many values are passed as fractions,
which saves a third of the time. Until ten trials have finished, and for conditional axes, points come from the Sobol'
sequence. Computation uses one thread, because the number of threads affects the last bits.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpsearch.samplers.base import SEED_LIMIT, Distributions, SamplerContext, from_unit, optuna_sampler, to_unit

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

MIN_FINISHED = 10  # trials before the model is used, including those of earlier stages
MIN_FRACTION_STEPS = 16  # integer axes with at least this many steps are passed as fractions


def gp(context: SamplerContext) -> "BaseSampler":
    """Sample unconditional axes from the model and the others from the Sobol' sequence; needs torch."""
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import GPSampler

    from hpsearch.samplers.sobol import sobol_coordinates

    joint = context.joint()
    fractions = {
        k: d for k, d in joint.items() if isinstance(d, IntDistribution) and d.high - d.low >= MIN_FRACTION_STEPS
    }
    space = joint | dict.fromkeys(fractions, FloatDistribution(0, 1))

    def sample_joint(study: "Study", trial: "FrozenTrial") -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        if sum(t.state.is_finished() for t in trials) < MIN_FINISHED:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4
            sampler = GPSampler(seed=context.seed % SEED_LIMIT, n_startup_trials=0, deterministic_objective=False)
        with _one_thread():
            params = sampler.sample_relative(completed_study(study, space, fractions), trial, space)
        return params | {key: from_unit(d, params[key]) for key, d in fractions.items()}

    return optuna_sampler(joint, sample_joint, sobol_coordinates(context))


def completed_study(study: "Study", space: Distributions, fractions: "dict[str, IntDistribution]") -> "Study":
    """Return a copy of the study in which every finished trial is complete; the order of the trials is unchanged.

    A pruned trial gets its last report, but no worse than the worst value of a complete trial. Other trials without a
    value get that worst value.
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

    completed = optuna.create_study(direction=study.direction)
    for t in trials:
        params = {key: v for key, v in t.params.items() if key in space}
        completed.add_trial(
            create_trial(
                state=TrialState.COMPLETE if t.state.is_finished() else TrialState.RUNNING,
                value=value(t),
                params={key: to_unit(fractions[key], v) if key in fractions else v for key, v in params.items()},
                distributions={key: space[key] for key in params},
            )
        )
    return completed


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
