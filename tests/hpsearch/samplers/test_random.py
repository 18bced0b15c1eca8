"""Random search: uniform on each axis's scale."""

import math

import numpy as np
import optuna

from hpsearch.core.space import Range, Space, Values, build_space
from hpsearch.samplers import SAMPLERS, SamplerContext

PARAMETERS = {
    "rate": Range(min=1e-4, max=1.0, scale="log"),
    "beta": Range(min=0.9, max=0.999, scale="one_minus_log"),
    "share": Range(min=0.2, max=0.6),
    "units": Range(type="int", min=16, max=256, scale="log"),
    "batch": Values(values=(16, 32, 64), ordered=True),
    "kind": Values(values=("a", "b", "c")),
}


def context(seed: int, every: Space) -> SamplerContext:
    """Return the context of the thirteenth trial of a stage over the full space."""
    return SamplerContext(
        seed, seed, 12, 4, 0, every.distributions(every.full_box()), frozenset(), frozenset(), every.active_keys
    )


def sample(count: int) -> dict[str, list[object]]:
    """Return random samples; the sampler is built again for each trial, as in the loop."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    every = build_space(PARAMETERS)
    study, distributions = optuna.create_study(), every.distributions(every.full_box())
    values: dict[str, list[object]] = {name: [] for name in PARAMETERS}
    for seed in range(count):
        study.sampler = SAMPLERS["random"](context(seed, every))
        for name, value in every.point(study.ask(distributions).params).items():
            values[name].append(value)
    return values


def test_uniform_on_each_scale() -> None:
    """β's median is 0.990, where a log scale in β itself would give 0.95."""
    count = 1500
    values = sample(count)
    # The median of n draws that are uniform on a width w scatters by w/(2√n); four times that is allowed.
    slack = 4 * 0.5 / math.sqrt(count)
    beta = np.log10(1 - np.array(values["beta"], float))
    assert abs(np.median(beta) - -2) < slack * 2
    assert abs(np.median(values["beta"]) - 0.990) < 0.001
    assert abs(np.median(np.log10(np.array(values["rate"], float))) - -2) < slack * 4
    assert abs(np.median(np.array(values["share"], float)) - 0.4) < slack * 0.4
    assert abs(np.median(np.log2(np.array(values["units"], float))) - 6) < slack * 4 + 0.05
    for name, parameter in PARAMETERS.items():
        if isinstance(parameter, Range):
            assert all(parameter.min <= v <= parameter.max for v in values[name])  # type: ignore[operator]
        else:
            shares = [values[name].count(v) / count for v in parameter.values]
            assert sum(shares) == 1 and max(shares) - min(shares) < 0.1
