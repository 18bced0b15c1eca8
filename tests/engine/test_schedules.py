"""Learning-rate schedules, written out, and that the trainer follows them."""

import numpy as np
import pytest
from engine_cases import F64, network, rows, run, start

from engine.optimizers import SGD
from engine.schedules import SCHEDULES, Constant, InverseTime, Schedule
from engine.trainer import Hyperparameters
from engine.types import EngineError

# The factors of the first five epochs.
EXPECTED: dict[str, tuple[Schedule, list[float]]] = {
    "constant": (Constant(), [1, 1, 1, 1, 1]),
    "inverse_time": (InverseTime(0.5), [1, 0.6666666666666666, 0.5, 0.4, 0.3333333333333333]),
}


def test_every_schedule_has_its_numbers() -> None:
    assert EXPECTED.keys() == SCHEDULES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_factors(name: str) -> None:
    schedule, factors = EXPECTED[name]
    assert [schedule.factor(epoch) for epoch in range(5)] == pytest.approx(factors, rel=1e-15)
    assert SCHEDULES[name]().factor(0) == 1


@pytest.mark.parametrize("name", EXPECTED)
def test_the_trainer_follows(name: str) -> None:
    """With one batch an epoch and a linear net, each step is factor · α · g at the same weights as plain SGD's."""
    schedule, factors = EXPECTED[name]
    net = network("squared_error", 1, "identity", inputs=3, hidden=())
    data = rows("squared_error", 1, 8, 3, dtype=F64)
    trial = Hyperparameters(SGD(), 0.1, batch_size=8, schedule=schedule)
    state = start(net, [trial], F64)
    for factor in factors:
        plain = state.take(np.array([0]))
        before = state.theta.copy()
        run(net, [Hyperparameters(SGD(), 0.1, batch_size=8)], plain, data, 1)
        run(net, [trial], state, data, 1)
        np.testing.assert_allclose(state.theta - before, factor * (plain.theta - before), rtol=1e-9)


def test_decay() -> None:
    for decay in (-0.1, float("nan")):
        with pytest.raises(EngineError, match=f"inverse_time: decay must be at least 0, got {decay}"):
            InverseTime(decay)
