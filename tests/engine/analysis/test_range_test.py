"""The learning-rate range test: by hand on one weight, then every optimizer."""

import numpy as np
import pytest
from engine_cases import F32, F64, network, plain

from engine.analysis.range_test import RangeTest, range_test
from engine.data.augmentation import AUGMENTATIONS
from engine.data.rows import Rows
from engine.layers import BatchNorm, Dense
from engine.losses import SquaredError
from engine.network import Network
from engine.optimizers import OPTIMIZERS, SGD, Momentum
from engine.training.hyperparameters import Hyperparameters
from engine.types import EngineError, Floats, Shape


def two(generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
    return np.full(shape, 2.0)


# J = ½w² with w = 2 at first, since x = ±1 and y = 0: the gradient is w, and that of the bias 0.
BOWL = Network((1,), (Dense(1, two),), SquaredError())
BOWL_ROWS = Rows(np.array([[1.0], [-1.0]]), np.zeros((2, 1)))
# w ← w(1 − α) with α = 0.125, 0.5, 2, 8: w = 2, 1.75, 0.875, −0.875, 6.125.
LOSSES = [2, 1.53125, 0.3828125, 0.3828125, 18.7578125]


def bowl(**kwargs: float) -> RangeTest:
    return range_test(BOWL, Hyperparameters(), np.random.default_rng(0), BOWL_ROWS, low=0.125, **kwargs)  # type: ignore[arg-type]


def test_losses_by_hand() -> None:
    found = bowl(high=8, steps=4, smoothing=0)
    np.testing.assert_allclose(found.rates, [0.125, 0.5, 2, 8])
    np.testing.assert_allclose(found.losses, [LOSSES[:4]])
    np.testing.assert_allclose(found.best, [0.5])  # from 2 to 0.38 around it
    assert found.blown.tolist() == [np.inf] and found.tenth[0] == pytest.approx(0.8)


def test_smoothing_by_hand() -> None:
    """a = 1, 1.265625, 0.82421875, 0.603515625, over 1 − ½ᵗ."""
    found = bowl(high=8, steps=4, smoothing=0.5)
    np.testing.assert_allclose(found.losses, [[2, 1.6875, 0.94196429, 0.64375]])


def test_ends_at_four_times_the_lowest_loss() -> None:
    found = bowl(high=512, steps=7, smoothing=0)
    np.testing.assert_allclose(found.losses, [LOSSES])
    np.testing.assert_allclose(found.rates, [0.125, 0.5, 2, 8, 32])
    assert found.blown[0] == pytest.approx(32) and found.tenth[0] == pytest.approx(3.2)


def test_optimizer_state_is_kept_between_steps() -> None:
    """v = 0.9v + w and w ← w − αv: w = 2, 1.75, −0.025 with v = 2, 3.55."""
    trial = Hyperparameters(Momentum(0.9, classical=True))
    found = range_test(BOWL, trial, np.random.default_rng(0), BOWL_ROWS, 0.125, 2, 3, 0)
    np.testing.assert_allclose(found.losses, [[2, 1.53125, 0.0003125]])


def test_steps_are_counted() -> None:
    """Adam's bias correction: w = 2, 2 − 0.125, and 1.875 − 0.5·(0.3675/0.19) / √(0.007511625/0.001999) = 1.3761."""
    trial = Hyperparameters(OPTIMIZERS["adam"]())
    found = range_test(BOWL, trial, np.random.default_rng(0), BOWL_ROWS, 0.125, 2, 3, 0)
    np.testing.assert_allclose(found.losses, [[2, 1.7578125, 0.946827]], rtol=1e-5)


def heaps(dtype: np.dtype[np.floating] = F32) -> Rows:
    """Return three well separated clusters."""
    labels = np.arange(90) % 3
    x = np.array([[3, 0], [0, 3], [-3, -3]])[labels] + np.random.default_rng(0).standard_normal((90, 2))
    return Rows(x.astype(dtype), np.eye(3, dtype=dtype)[labels])


HEAPS = network("softmax_cross_entropy", 3, "relu", inputs=2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_and_several_seeds(optimizer: str) -> None:
    """The results of a seed are the same in a batch, and rows are used repeatedly."""
    trial = Hyperparameters(OPTIMIZERS[optimizer](), batch_size=16)
    together = range_test(HEAPS, trial, [np.random.default_rng(k) for k in range(3)], heaps())
    assert together.losses.shape == (3, len(together.rates)) and together.losses.dtype == np.float64
    assert together.rates[0] == pytest.approx(1e-6) and len(together.rates) <= 100
    np.testing.assert_allclose(together.rates[1:] / together.rates[:-1], 10 ** (7 / 99))
    assert (together.best < together.blown).all() and (np.nanmin(together.losses) < together.losses[:, 0]).all()
    for k in range(3):
        alone = range_test(HEAPS, trial, np.random.default_rng(k), heaps())
        steps = len(alone.rates)
        assert plain(together.losses[k, :steps]) == plain(alone.losses[0])
        assert np.isnan(together.losses[k, steps:]).all()
        assert (together.best[k], together.blown[k]) == (alone.best[0], alone.blown[0])


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"adadelta"}))
def test_the_best_rate_learns(optimizer: str) -> None:
    """For all optimizers but AdaDelta: two decades lower the loss stays, at the best rate it falls."""
    kind = OPTIMIZERS[optimizer]()
    seeds = [np.random.default_rng(k) for k in range(5)]
    best = float(np.median(range_test(HEAPS, Hyperparameters(kind, batch_size=16), seeds, heaps()).best))

    def left(rate: float) -> float:
        """Return the share of the loss that remains after 40 steps at about that rate."""
        trial, generator = Hyperparameters(kind, batch_size=16), np.random.default_rng(9)
        losses = range_test(HEAPS, trial, generator, heaps(), rate, rate * 1.0001, 40).losses[0]
        return float(losses[-1] / losses[0])

    assert left(best) < 0.5 and left(best) < left(best / 100)


def test_a_loss_that_is_not_finite_ends_it() -> None:
    data = heaps()
    data.x[:] = np.inf
    found = range_test(HEAPS, Hyperparameters(batch_size=16), np.random.default_rng(0), data)
    assert found.losses.shape == (1, 1) and np.isnan(found.best[0]) and found.blown[0] == pytest.approx(1e-6)
    straight = network("squared_error", 1, "identity", inputs=2)
    data = Rows(heaps().x, heaps().y[:, :1])
    overflown = range_test(straight, Hyperparameters(SGD()), np.random.default_rng(0), data, 1e19, 1e38, 9, 0)
    assert not np.isfinite(overflown.losses[0, -1]) or overflown.losses[0, -1] > 1e30
    assert len(overflown.rates) < 9 and overflown.blown[0] == overflown.rates[-1]


def test_batch_norm_augmentation_and_a_batch_of_all_rows() -> None:
    net = Network((2,), (Dense(8), BatchNorm(), Dense(3)), HEAPS.loss)
    noise = AUGMENTATIONS["noise"]()
    plainly, noisily = (
        range_test(net, Hyperparameters(batch_size=500, augment=a), np.random.default_rng(0), heaps(F64), 0.01, 1, 9)
        for a in ((), (noise,))
    )
    assert np.isfinite(plainly.losses).all() and not np.array_equal(plainly.losses, noisily.losses)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"low": 0.0}, "range test: low must be above 0 and below high, got low=0.0, high=10.0"),
        ({"low": 10.0}, "range test: low must be above 0 and below high, got low=10.0, high=10.0"),
        ({"high": np.inf}, "range test: low must be above 0 and below high, got low=1e-06, high=inf"),
        ({"steps": 1}, "range test: steps must be at least 2, got 1"),
        ({"smoothing": 1.0}, "range test: smoothing must be at least 0 and below 1, got 1.0"),
        ({"generator": []}, "range test: there must be at least one generator, got none"),
        ({"rows": BOWL_ROWS}, r"rows must be \(2,\) with \(3,\) targets, got 2 rows \(1,\) with \(1,\)"),
    ],
)
def test_invalid_range_tests(kwargs: dict[str, object], message: str) -> None:
    given = {"trial": Hyperparameters(), "generator": np.random.default_rng(0), "rows": heaps(), **kwargs}
    with pytest.raises(EngineError, match=f"^{message}$"):
        range_test(HEAPS, **given)  # type: ignore[arg-type]
