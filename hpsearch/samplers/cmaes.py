"""CMA-ES: a normal distribution that moves, turns and shrinks toward the better trials. Hansen 2016, arXiv:1604.00772.

The optimizer is built anew for each trial by telling it again what the study holds (Optuna's is stored as a pickle).
It lives in the unit cube of the axes' own scales, begins at its center, or at the best trial of earlier stages with a
smaller width, and takes each ended trial once, in the order of numbers, a population at a time.

A population is never smaller than a wave, whose trials are all drawn from one distribution. With waves overlapping by
one they are told a generation late. Leaving late ones out, as the generation they were drawn for is over, was tried:
on a quadratic in four dimensions the best of 192 trials was then 2.5 times as far from the optimum's value.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.core.seeds import derive
from hpsearch.samplers.base import SEEDS, SamplerContext, place, stateless, uniform, unit

if TYPE_CHECKING:
    from cmaes import CMA
    from optuna import Study
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Numbers = dict[str, "FloatDistribution | IntDistribution"]

WIDTH = 1 / 6  # standard deviation at the beginning: three of them from the center to the walls
WIDTH_KNOWN = (
    1 / 8
)  # around a known best: of 1/4, 1/6, 1/8, 1/12, 1/20 the best in four dimensions after 16 and after 64


def cmaes(context: SamplerContext) -> "BaseSampler":
    """Numbers that count everywhere are drawn together, whole ones rounded; the rest is drawn uniformly."""
    from optuna.distributions import FloatDistribution, IntDistribution

    joint = context.joint()
    numbers: Numbers = {k: d for k, d in joint.items() if isinstance(d, FloatDistribution | IntDistribution)}

    def sample_joint(study: "Study", trial: "FrozenTrial") -> dict[str, Any]:
        optimizer = _replayed(context, numbers, study)
        optimizer.reseed_rng(derive(context.seed, "together") % SEEDS)
        return {key: place(d, x) for (key, d), x in zip(numbers.items(), optimizer.ask().tolist(), strict=True)}

    return stateless(numbers, sample_joint, uniform(context.seed))


def _replayed(context: SamplerContext, numbers: Numbers, study: "Study") -> "CMA":
    """The optimizer after everything this trial may see."""
    from cmaes import CMA
    from optuna.study import StudyDirection

    sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
    trials = study.get_trials(deepcopy=False)
    known = sorted((t for t in trials[: context.known] if _rank(t, sign) < (1,)), key=lambda t: _rank(t, sign))
    ended = [t for t in trials[context.known :] if t.state.is_finished()]
    count = len(numbers)
    population = max(4 + math.floor(3 * math.log(count)), context.wave)  # eq. 48
    optimizer = CMA(
        mean=_position(known[0], numbers) if known else np.full(count, 0.5),
        sigma=WIDTH_KNOWN if known else WIDTH,
        bounds=np.array([[0.0, 1.0]] * count),
        seed=context.stage_seed % SEEDS,
        population_size=population,
    )
    for first in range(0, len(ended) - population + 1, population):
        ranked = sorted(ended[first : first + population], key=lambda t: _rank(t, sign))
        if _rank(ranked[0], sign) < (2,):  # else nothing is known of any of them
            optimizer.tell([(_position(t, numbers), float(rank)) for rank, t in enumerate(ranked)])
    return optimizer


def _rank(trial: "FrozenTrial", sign: float) -> tuple[float, ...]:
    """Lower is better: complete ones by value, pruned ones by their last report, then diverged and failed ones.

    The method knows ranks only, so that nobody has to make up values for trials that have none.
    """
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return (0, sign * trial.value)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return (1, sign * trial.intermediate_values[max(trial.intermediate_values)])
    return (2,)


def _position(trial: "FrozenTrial", numbers: Numbers) -> np.ndarray:
    return np.array([unit(d, trial.params[key]) for key, d in numbers.items()])
