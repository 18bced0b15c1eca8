"""Learning-rate schedules, compared with PyTorch or numbers computed by hand; the trainer applies them.

The marked factors are those of PyTorch 2.13.0 for

    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    s = torch.optim.lr_scheduler.ExponentialLR(o, 0.8)                        # or another, as written beside
    for _ in range(9):
        print(o.param_groups[0]["lr"]); o.step(); s.step()
"""

from typing import Any

import numpy as np
import pytest
from engine_cases import F64, network, rows, run, start

from engine.optimizers import SGD
from engine.training.hyperparameters import Hyperparameters
from engine.training.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Inverse,
    InverseTime,
    MultiStep,
    Polynomial,
    Root,
    Schedule,
    Step,
)
from engine.types import EngineError

# Factors of the first epochs.
EXPECTED: dict[str, tuple[Schedule, list[float]]] = {
    "constant": (Constant(), [1, 1, 1, 1, 1]),
    "inverse_time": (InverseTime(0.5), [1, 0.6666666666666666, 0.5, 0.4, 0.3333333333333333]),
    "exponential": (  # torch ExponentialLR(o, 0.8)
        Exponential(0.8),
        [1.0, 0.8, 0.6400000000000001, 0.5120000000000001, 0.40960000000000013, 0.32768000000000014],
    ),
    "root": (Root(2.0), [2, 1.414213562373095, 1.154700538379251, 1, 0.894427190999916, 0.816496580927726]),
    "step": (Step(3, 0.5), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),  # torch StepLR(o, 3, 0.5)
    "multi_step": (  # torch MultiStepLR(o, [2, 5, 6], 0.5)
        MultiStep((2, 5, 6), 0.5),
        [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125],
    ),
    "inverse": (Inverse(3.0, 0.5), [1, 0.5, 0.377964473009227, 0.316227766016838, 0.277350098112615, 0.25]),
    "polynomial": (  # torch PolynomialLR(o, 6, 2.0)
        Polynomial(6, 2.0),
        [
            1.0,
            0.6944444444444445,
            0.4444444444444446,
            0.25000000000000006,
            0.11111111111111116,
            0.027777777777777773,
            0.0,
            0.0,
            0.0,
        ],
    ),
    "cosine": (  # torch CosineAnnealingLR(o, 8, eta_min=0.1)
        Cosine(8, 0.1),
        [
            1.0,
            0.9657457896300791,
            0.8681980515339464,
            0.7222075445642905,
            0.55,
            0.3777924554357097,
            0.2318019484660537,
            0.134254210369921,
            0.1,
        ],
    ),
}
SPANNED = [name for name in SCHEDULES if hasattr(SCHEDULES[name](), "epochs")]


def test_every_schedule_has_expected_factors() -> None:
    assert EXPECTED.keys() == SCHEDULES.keys()
    assert all(type(EXPECTED[name][0]) is kind for name, kind in SCHEDULES.items())


@pytest.mark.parametrize("name", EXPECTED)
def test_factors(name: str) -> None:
    schedule, factors = EXPECTED[name]
    found = [schedule.factor(epoch) for epoch in range(len(factors))]
    assert found == pytest.approx(factors, rel=1e-14, abs=0)
    assert all(type(factor) is float for factor in found)
    default = SCHEDULES[name](epochs=10) if name in SPANNED else SCHEDULES[name]()  # type: ignore[call-arg]
    assert default.factor(0) == 1


@pytest.mark.parametrize("name", EXPECTED)
def test_the_trainer_applies_the_schedule(name: str) -> None:
    """With one batch per epoch and a linear network, each step is factor · α · g at the weights of plain SGD."""
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


@pytest.mark.parametrize("name", SPANNED)
def test_constant_after_the_last_epoch(name: str) -> None:
    for end in (0.0, 0.25, 1.0):
        schedule: Any = SCHEDULES[name](epochs=4, end=end)  # type: ignore[call-arg]
        assert [schedule.factor(epoch) for epoch in (0, 4, 5, 8, 1000)] == [1, end, end, end, end]


@pytest.mark.parametrize("name", SPANNED)
def test_epochs_are_required(name: str) -> None:
    schedule = SCHEDULES[name]()
    with pytest.raises(EngineError, match=f"^{name}: epochs must be set, got None$"):
        schedule.factor(0)


def test_end_of_a_polynomial() -> None:
    """Halfway on a straight line from 1 to 0.2."""
    assert Polynomial(10, end=0.2).factor(5) == pytest.approx(0.6, rel=1e-15)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        # torch SequentialLR(o, [LinearLR(o, 1 / 3, 1, 2), CosineAnnealingLR(o, 6, eta_min=0.1)], [2])
        (
            Cosine(8, 0.1, warmup=2),
            [
                0.3333333333333333,
                0.6666666666666666,
                1.0,
                0.9397114317029974,
                0.775,
                0.55,
                0.3250000000000002,
                0.1602885682970026,
                0.1,
            ],
        ),
        # torch SequentialLR(o, [LinearLR(o, 1 / 3, 1, 2), PolynomialLR(o, 6, 2.0)], [2])
        (
            Polynomial(8, 2.0, warmup=2),
            [
                0.3333333333333333,
                0.6666666666666666,
                1.0,
                0.6944444444444445,
                0.4444444444444446,
                0.25000000000000006,
                0.11111111111111116,
                0.027777777777777773,
                0.0,
            ],
        ),
    ],
)
def test_warmup(schedule: Schedule, factors: list[float]) -> None:
    assert [schedule.factor(epoch) for epoch in range(9)] == pytest.approx(factors, rel=1e-14, abs=1e-16)
    with pytest.raises(EngineError, match=r"^(cosine|polynomial): warmup must be below epochs, 3, got 3$"):
        type(schedule)(3, warmup=3)  # type: ignore[call-arg]


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "field", "values", "must"),
    [
        ("inverse_time", "decay", (-0.1, NAN), "at least 0"),
        *((name, "gamma", (0.0, 1.1, NAN), "above 0 and at most 1") for name in ("exponential", "step", "multi_step")),
        ("root", "k", (0.0, NAN), "above 0"),
        ("step", "every", (0, NAN), "at least 1"),
        ("inverse", "gamma", (-0.1, NAN), "at least 0"),
        ("inverse", "power", (-0.1, NAN), "at least 0"),
        ("polynomial", "power", (0.0, NAN), "above 0"),
        *((name, "epochs", (0, NAN), "at least 1") for name in SPANNED),
        *((name, "warmup", (-1, NAN), "at least 0") for name in SPANNED),
        *((name, "end", (-0.1, 1.1, NAN), "at least 0 and at most 1") for name in SPANNED),
    ],
)
def test_invalid_settings(name: str, field: str, values: tuple[float, ...], must: str) -> None:
    for value in values:
        with pytest.raises(EngineError, match=f"^{name}: {field} must be {must}, got {value}$"):
            SCHEDULES[name](**{field: value})


def test_milestones_increase() -> None:
    for milestones in ((3, 2), (2, 2), (0, 2), (-1,)):
        with pytest.raises(
            EngineError, match=r"^multi_step: milestones must increase and be at least 1, got \["
        ) as caught:
            MultiStep(milestones)
        assert str(caught.value).endswith(str(list(milestones)))
    assert MultiStep(()).factor(1000) == 1
