"""Backpropagation compared with central differences, over the registries."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from engine_cases import F64, LOSS_CASES, network, rows

from engine.activations import ACTIVATIONS
from engine.analysis.gradcheck import check_gradient
from engine.layers import Bound, Dense, Layer, Parameter, Place
from engine.losses import SquaredError
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.types import EngineError, Floats, Shape


def draw(net: Network, trials: int) -> Floats:
    return np.random.default_rng(5).standard_normal((trials, net.size)) * 0.7


@pytest.fixture(params=[(0, 10**6), (1 << 14, 10**6), (1 << 14, 200)], ids=["large", "small", "cut"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cover both treatments of a dense layer's bias, and products that are cut for BLAS."""
    small, unpacked = request.param
    monkeypatch.setattr("engine.layers.dense.SMALL", small)
    monkeypatch.setattr("engine.layers.dense.UNPACKED", unpacked)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradient_equals_differences(loss: str, outputs: int, activation: str, l2: float) -> None:
    net = network(loss, outputs, activation, inputs=4, hidden=(6, 5))
    check = check_gradient(net, draw(net, 3), rows(loss, outputs, 7, 4, dtype=F64), Hyperparameters(l2=l2))
    assert check.ratio.shape == (3,)
    assert check.worst.ratio.max() <= 1e-7, str(check)
    assert check.good and "good" in str(check)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_with_activations_first_last_and_twice(activation: str) -> None:
    a = ACTIVATIONS[activation]()
    net = Network((4,), (a, Dense(5), a, a, Dense(3), a), SquaredError())
    check = check_gradient(net, draw(net, 2), rows("squared_error", 3, 7, 4, dtype=F64), Hyperparameters(l2=0.1))
    assert check.good, str(check)


@dataclass(frozen=True)
class Faulty(Layer):
    """A dense layer whose gradient of one parameter is `factor` times the correct one."""

    parameter: str
    factor: float
    keeps_output: ClassVar[bool] = False

    def outputs(self, inputs: Shape) -> Shape:
        return Dense(5).outputs(inputs)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return Dense(5).parameters(inputs)

    def bind(self, place: Place) -> Bound:
        right = Dense(5).bind(place)

        def backward(dy: Floats) -> Floats:
            dx = right.backward(dy)
            place.grad[self.parameter][...] *= self.factor
            return dx

        return Bound(right.forward, backward)


@pytest.mark.parametrize("parameter", ["W", "b"])
@pytest.mark.parametrize(("factor", "verdict"), [(-1.0, "wrong"), (1.1, "wrong"), (1.0001, "suspicious")])
def test_a_wrong_gradient_is_found_and_named(parameter: str, factor: float, verdict: str) -> None:
    net = Network((4,), (Dense(6), ACTIVATIONS["tanh"](), Faulty(parameter, factor), Dense(2)), SquaredError())
    check = check_gradient(net, draw(net, 2), rows("squared_error", 2, 7, 4, dtype=F64))
    assert (check.worst.layer, check.worst.name) == (3, parameter)
    assert not check.good
    assert str(check).startswith(f"gradient {verdict}: ") and str(check).endswith(f"largest in layer 3, {parameter}")


def test_a_nan_gradient_is_wrong() -> None:
    net = Network((4,), (Faulty("b", np.nan),), SquaredError())
    check = check_gradient(net, draw(net, 2), rows("squared_error", 5, 7, 4, dtype=F64))
    assert check.worst.name == "b" and "wrong" in str(check)


def test_parameters_without_influence_are_accepted() -> None:
    net = network("squared_error", 1, "relu", inputs=4)
    check = check_gradient(net, np.zeros((1, net.size)), rows("squared_error", 1, 7, 4, dtype=F64))
    assert check.good


def test_float64_and_parameters_are_required() -> None:
    net = network("squared_error", 1, "relu", inputs=4)
    with pytest.raises(EngineError, match="a gradient check needs float64, got float32, float64"):
        check_gradient(net, draw(net, 1), rows("squared_error", 1, 7, 4))
    bare = Network((4,), (ACTIVATIONS["tanh"](),), SquaredError())
    with pytest.raises(EngineError, match="a gradient check needs a network with parameters"):
        check_gradient(bare, np.zeros((1, 0)), rows("squared_error", 4, 7, 4, dtype=F64))
