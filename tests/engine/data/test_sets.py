"""Several sets of rows in one state, such as the folds of a cross-validation: each trial trains as if alone."""

import numpy as np
import pytest
from engine_cases import F32, train

from engine.activations import ACTIVATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.data.rows import Rows
from engine.layers import LAYERS
from engine.losses import LOSSES, Loss
from engine.metrics import METRICS
from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import evaluate, measure
from engine.types import EngineError

pytestmark = pytest.mark.usefixtures("kernel")

SETS, ROWS = 3, 23


def made(loss: Loss, shape: tuple[int, ...] = (5,)) -> tuple[Network, Rows]:
    """Return a network and three different sets of rows."""
    generator = np.random.default_rng(4)
    x = generator.standard_normal((SETS * ROWS, *shape)).astype(np.float32)
    outputs = 3 if "Softmax" in type(loss).__name__ else 1
    labels = (
        generator.integers(0, max(outputs, 2), len(x)) if loss.classifies else generator.standard_normal(len(x)) * 3
    )
    flat = [LAYERS["conv2d"](2, 3), LAYERS["flatten"]()] if len(shape) == 3 else []
    layers = (*flat, LAYERS["dense"](4), ACTIVATIONS["tanh"](), LAYERS["dense"](outputs))
    return Network(shape, layers, loss), Rows(x, loss.targets(labels, outputs, F32), SETS)


def states(net: Network, hyper: Hyperparameters, numbers: list[int]) -> State:
    return State.start(net, hyper.slots, [np.random.default_rng(n) for n in numbers])


@pytest.mark.parametrize("draw", ROW_SAMPLINGS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(5,), (1, 4, 5)], ids=["rows", "images"])
def test_batched_and_alone_are_equal(loss: str, draw: str, shape: tuple[int, ...]) -> None:
    """Equal to the bit: two trials of three folds each, compared with six runs on one set of rows."""
    net, rows = made(LOSSES[loss](), shape)
    hyper = Hyperparameters(OPTIMIZERS["momentum"](), 0.1, 8, 1e-3, row_sampling=ROW_SAMPLINGS[draw]())
    names = [name for name, kind in METRICS.items() if kind.classifies == net.loss.classifies]
    metrics = {name: METRICS[name]() for name in names}
    state = states(net, hyper, list(range(2 * SETS)))
    training = train(net, [hyper] * 6, state, rows, rows, 1, metrics)
    together = [next(training) for _ in range(3)]
    for trial in range(6):
        own = rows.of(trial)
        assert len(own) == len(rows) == ROWS and own.sets == 1
        alone = states(net, hyper, [trial])
        lonely = train(net, [hyper], alone, own, own, 1, metrics)
        for epoch in together:
            one = next(lonely)
            for both, single in ((epoch.train, one.train), (epoch.val, one.val)):
                assert both is not None and single is not None
                assert both.loss[trial] == single.loss[0] and both.accuracy[trial] == single.accuracy[0]
            assert {name: values[trial] for name, values in epoch.others.items()} == {
                name: values[0] for name, values in one.others.items()
            }
        assert state.theta[trial].tobytes() == alone.theta[0].tobytes()
    assert len({row.tobytes() for row in state.theta}) == 6


def test_r2_is_of_each_set() -> None:
    """Sets with a different spread of targets have different R² at the same loss."""
    net, rows = made(LOSSES["squared_error"]())
    rows.y[:ROWS] /= 100
    theta = states(net, Hyperparameters(OPTIMIZERS["sgd"](), 0.1, 8), [0, 0, 0]).theta
    scores, others = measure(net, theta, rows, {"r2": METRICS["r2"]()})
    np.testing.assert_allclose(scores.accuracy, others["r2"], rtol=1e-5)
    assert len({round(float(v), 3) for v in scores.accuracy}) == 3


def test_trials_end_with_all_their_sets() -> None:
    """All sets of a trial end together; the others continue unchanged."""
    net, rows = made(LOSSES["softmax_cross_entropy"]())
    hyper = Hyperparameters(OPTIMIZERS["sgd"](), 0.1, 8)
    state, alone = states(net, hyper, list(range(6))), states(net, hyper, [3, 4, 5])
    training, rest = train(net, [hyper] * 6, state, rows), train(net, [hyper] * 3, alone, rows)
    next(training)
    training.send(np.repeat([False, True], SETS))
    next(rest), next(rest)
    assert state.theta.tobytes() == alone.theta.tobytes()


def test_as_many_trials_as_sets() -> None:
    net, rows = made(LOSSES["logistic"]())
    hyper = Hyperparameters(OPTIMIZERS["sgd"](), 0.1, 8)
    with pytest.raises(EngineError, match="the number of trials must be a multiple of the 3 sets of rows, got 4"):
        next(train(net, [hyper] * 4, states(net, hyper, [1, 2, 3, 4]), rows))


def test_evaluate_many_rows() -> None:
    """More rows than a forward pass holds at a time."""
    net, _ = made(LOSSES["softmax_cross_entropy"]())
    generator = np.random.default_rng(1)
    x = generator.standard_normal((2 * 1500, 5)).astype(np.float32)
    rows = Rows(x, net.loss.targets(generator.integers(0, 3, 3000), 3, F32), 2)
    theta = states(net, Hyperparameters(OPTIMIZERS["sgd"](), 0.1, 8), [1, 2, 3, 4]).theta
    together = evaluate(net, theta, rows)
    for trial in range(4):
        assert evaluate(net, theta[trial : trial + 1], rows.of(trial)).loss[0] == together.loss[trial]
