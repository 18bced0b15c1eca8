"""The gradient of a batch: forward pass, loss, backward pass, regularizers and clipping."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.data.rows import rows_adjacent
from engine.types import Floats, column

if TYPE_CHECKING:
    from engine.network import Network
    from engine.training.hyperparameters import Hyperparameters


def bind_gradient(
    networks: "Sequence[Network]",
    trials: "Sequence[Hyperparameters]",
    generators: Sequence[np.random.Generator],
    theta: Floats,
    grad: Floats,
    scratch: Floats,
    batch: int,
) -> Callable[[Floats, Floats, Floats], None]:
    """Return a function that computes the gradient of a batch.

    The trainer calls it in each step; the gradient check compares it with finite differences.

    Args:
        networks: one per trial, equal except for dropout rates.
        generators: one per trial, for the random draws of layers.
        theta, grad, scratch: `(trials, parameters)`; `theta` is read, `grad` is written, `scratch` is overwritten.
        batch: rows of a batch.

    Returns:
        A function of x `(trials, batch, *inputs)`, y and logits `(trials, batch, outputs)`. It writes the clipped
        gradient of the batch's mean loss and regularizers into `grad`, and the network's outputs into `logits`. Call it
        under `np.errstate(all="ignore")`: overflow is handled.
    """
    network = networks[0]
    bound = network.bind(theta, grad, batch, generators, networks)
    forwards = [layer.forward for layer in bound]
    backwards = [layer.backward for layer in reversed(bound)]
    delta = network.loss.bind((len(theta), batch, network.outputs), theta.dtype)
    smooth = _bind_smoothing([t.label_smoothing for t in trials], (len(theta), batch, network.outputs), theta)
    penalize = _bind_penalty(network, trials, theta, grad, scratch, batch)
    limits = [t.clip for t in trials if t.clip is not None]  # all of one class, as the trainer checks
    clip = type(limits[0]).bind(limits, grad) if limits else None

    def gradient(x: Floats, y: Floats, logits: Floats) -> None:
        for forward in forwards:
            x = forward(x)
        logits[...] = x
        d = delta(logits, smooth(y) if smooth else y)
        for backward in backwards:
            d = backward(d)
        penalize()
        if clip:
            clip()

    return gradient


def _bind_smoothing(
    rates: Sequence[float], shape: tuple[int, int, int], theta: Floats
) -> Callable[[Floats], Floats] | None:
    """Return a function that maps targets y to (1 − s)y + s/k; None without smoothing."""
    if not any(rates):
        return None
    classes = max(shape[2], 2)
    keep = np.asarray(column([1 - s for s in rates], theta.dtype)).reshape(-1, 1, 1)
    share = np.asarray(column([s / classes for s in rates], theta.dtype)).reshape(-1, 1, 1)
    targets = rows_adjacent(shape, theta.dtype)

    def smooth(y: Floats) -> Floats:
        np.multiply(y, keep, targets)
        np.add(targets, share, targets)
        return targets

    return smooth


def _bind_penalty(
    network: "Network", trials: "Sequence[Hyperparameters]", theta: Floats, grad: Floats, scratch: Floats, batch: int
) -> Callable[[], None]:
    """Return a function that adds λw + λ₁ sign(w) to the weights' gradient and clears the one of running statistics."""
    dtype, rows = theta.dtype, batch if trials[0].divide_by_batch else 1
    weights = network.regularized.astype(dtype)
    decay = weights * column([t.l2 / rows for t in trials], dtype) if trials[0].l2 else None
    pull = weights * column([t.l1 / rows for t in trials], dtype) if trials[0].l1 else None
    not_learned = [slice(s.start, s.stop) for s in network.slices if not s.parameter.learned]

    def penalize() -> None:
        if decay is not None:
            np.multiply(theta, decay, scratch)  # d(λ/2 · Σw²) = λw
            np.add(grad, scratch, grad)
        if pull is not None:
            np.sign(theta, scratch)  # d(λ₁ Σ|w|) = λ₁ sign(w), 0 at 0
            np.multiply(scratch, pull, scratch)
            np.add(grad, scratch, grad)
        for columns in not_learned:
            grad[:, columns] = 0

    return penalize
