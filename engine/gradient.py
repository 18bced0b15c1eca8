"""The gradient of a batch: forwards, the loss, backwards, and the regularizer."""

from collections.abc import Callable, Sequence

import numpy as np

from engine.network import Network
from engine.types import Floats, column


def bind_gradient(
    network: Network, l2: Sequence[float], theta: Floats, grad: Floats, scratch: Floats, batch: int
) -> Callable[[Floats, Floats, Floats], None]:
    """What the trainer calls every step and the gradient check compares with differences.

    Args:
        l2: λ of each trial, for λ/2 · Σw² over the weights.
        theta, grad, scratch: `(trials, parameters)`: read, written, and free.
        batch: rows a call.

    Returns:
        (x, y, logits) → nothing: the gradient of the batch's mean loss and regularizer is in `grad`, and what the
        network put out in `logits (trials, batch, outputs)`.
    """
    bound = network.bind(theta, grad, batch)
    forwards = [layer.forward for layer in bound]
    backwards = [layer.backward for layer in reversed(bound)]
    delta = network.loss.bind((len(theta), batch, network.outputs), theta.dtype)
    decay = np.where(network.regularized, column(l2, theta.dtype), theta.dtype.type(0))

    def gradient(x: Floats, y: Floats, logits: Floats) -> None:
        for forward in forwards:
            x = forward(x)
        logits[...] = x
        d = delta(logits, y)
        for backward in backwards:
            d = backward(d)
        np.multiply(theta, decay, scratch)  # d(λ/2 · Σw²) = λw
        np.add(grad, scratch, grad)

    return gradient
