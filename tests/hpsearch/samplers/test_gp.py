"""The Gaussian process."""

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sampler_cases import SCALES, Outcome, Params, after, bowl, complete, context, frozen, members, searched

from hpsearch.samplers.gp import completed_study


@pytest.mark.parametrize("name", members("gp"))
def test_avoids_diverged_regions(name: str) -> None:
    """Half of an axis has no values; a model without these trials would explore it."""
    box = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}

    def outcome(number: int, params: Params) -> Outcome:
        far = params["x"] > 0.5
        return (TrialState.PRUNED, None, {}) if far else complete(1 - params["x"] + (params["y"] - 0.5) ** 2)

    done = searched(name, outcome, 24, box=box, parallel=5)
    assert sum(p["x"] > 0.6 for p, _ in done[15:]) <= 3


@pytest.mark.parametrize("name", members("gp"))
def test_number_of_threads_has_no_effect(name: str) -> None:
    """Sums over many rows would depend on how threads split them."""
    import torch

    trials = [p for p, _ in searched("random", lambda n, p: complete(0.0), 116, parallel=58, box=SCALES)]
    past = [frozen(p, complete(bowl(p)) if n < 100 else None, SCALES) for n, p in enumerate(trials)]
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(after(past, name, context(116, box=SCALES)))
            assert torch.get_num_threads() == threads, "restored"
    finally:
        torch.set_num_threads(before)
    assert drawn[0] == drawn[1]


def test_trials_without_a_value_count_as_the_worst() -> None:
    """A pruned trial's report counts if it is better; running trials stay, and integers become fractions."""
    box = {"x": FloatDistribution(0, 1), "n": IntDistribution(0, 99)}
    space = {**box, "n": FloatDistribution(0, 1)}
    outcomes = [
        complete(1.0),
        complete(3.0),
        (TrialState.FAIL, None, {}),
        (TrialState.PRUNED, None, {}),
        (TrialState.PRUNED, None, {1: 9.0, 2: 5.0}),
        (TrialState.PRUNED, None, {1: 2.0}),
        None,
    ]
    study = optuna.create_study()
    study.add_trials([frozen({"x": 0.5, "n": 99}, outcome, box) for outcome in outcomes])
    trials = completed_study(study, space, {"n": box["n"]}).trials
    assert [t.value for t in trials] == [1.0, 3.0, 3.0, 3.0, 3.0, 2.0, None]
    assert [t.state.name for t in trials] == ["COMPLETE"] * 6 + ["RUNNING"]
    assert all(t.params == {"x": 0.5, "n": 0.995} for t in trials)
