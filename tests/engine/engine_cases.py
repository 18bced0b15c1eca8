"""Cases of the contract tests, taken from the registries, so that new entries are tested automatically."""

import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.activations import ACTIVATIONS
from engine.data.rows import Rows
from engine.initializers import XavierNormal
from engine.kernels.choice import Kernel
from engine.layers import Dense
from engine.losses import LOSSES, Loss
from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.training import trainer
from engine.training.hyperparameters import Hyperparameters
from engine.training.schedules import SCHEDULES
from engine.training.state import State
from engine.training.trainer import Epoch
from engine.types import EngineError

KERNEL: Kernel = "numpy"  # the fixture `kernel` changes it
REFERENCES_FOLDER = Path(__file__).parent / "references"
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def targets(loss: Loss, outputs: int, count: int, seed: int, dtype: np.dtype[Any] = F32) -> np.ndarray | None:
    """Return targets for this number of outputs: labels or values; None when the loss does not accept them."""
    rng = np.random.default_rng([seed, 1])
    for labels in (rng.integers(0, max(outputs, 2), count), rng.standard_normal((count, outputs))):
        try:
            return loss.targets(labels, outputs, dtype)
        except EngineError:
            pass
    return None


# Every loss with every number of outputs that it accepts.
LOSS_CASES = [
    (name, outputs) for name in LOSSES for outputs in (1, 3) if targets(LOSSES[name](), outputs, 4, 0) is not None
]


def rows(loss: str, outputs: int, count: int, inputs: int, seed: int = 0, dtype: np.dtype[Any] = F32) -> Rows:
    y = targets(LOSSES[loss](), outputs, count, seed, dtype)
    assert y is not None
    return Rows(np.random.default_rng([seed, 0]).standard_normal((count, inputs)).astype(dtype), y)


def network(loss: str, outputs: int, activation: str, inputs: int, hidden: Sequence[int] = (6,)) -> Network:
    layers: list[Any] = []
    for units in hidden:
        layers += [Dense(units, XavierNormal()), ACTIVATIONS[activation]()]
    return Network((inputs,), (*layers, Dense(outputs, XavierNormal())), LOSSES[loss]())


def varied(config: Any, k: int) -> Any:
    """Return the k-th of configurations that differ in their numbers only."""
    numbers = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.type in (float, "float")}
    return dataclasses.replace(config, **{name: value * (1 - k / 50) for name, value in numbers.items()})


def hyperparameters(count: int, optimizer: str, schedule: str = "constant", batch: int = 8) -> list[Hyperparameters]:
    """Return this many trials of one kind with different numbers."""
    kind: Any = SCHEDULES[schedule]
    span = {"epochs": 10} if "epochs" in {f.name for f in dataclasses.fields(kind)} else {}  # as in a study
    return [
        Hyperparameters(
            optimizer=varied(OPTIMIZERS[optimizer](), k),
            learning_rate=0.02 * (k + 1),
            batch_size=batch,
            l2=0.001 * (k + 1),
            schedule=varied(kind(**span), k),
        )
        for k in range(count)
    ]


def start(net: Network, trials: Sequence[Hyperparameters], dtype: np.dtype[Any] = F32, seed: int = 0) -> State:
    generators = [np.random.default_rng([seed, k]) for k in range(len(trials))]
    return State.start(net, trials[0].optimizer.slots, generators, dtype)


def train(*args: Any, **settings: Any) -> Generator[Epoch, np.ndarray | None, None]:
    """Train as the engine does, by the kernel of the running test."""
    return trainer.train(*args, **({"kernel": KERNEL} | settings))


def run(net: Network, trials: Sequence[Hyperparameters], state: State, data: Rows, epochs: int) -> list[Epoch]:
    """Train all trials for this many epochs; the training rows are also the validation rows."""
    training = train(net, trials, state, data, data)
    return [next(training) for _ in range(epochs)]


def bits(state: State, number: int) -> bytes:
    """Return everything of one trial as bytes."""
    arrays = [state.theta[number], *(slot[number] for slot in state.slots.values()), state.best_theta[number]]
    return b"".join(plain(a) for a in arrays) + repr(state.generators[number].bit_generator.state).encode()


def scores_bits(epochs: Sequence[Epoch], number: int) -> bytes:
    """Return one trial's losses and accuracies as bytes."""
    kept = [s[number] for e in epochs for scores in (e.train, e.val) if scores is not None for s in scores]
    return plain(np.array(kept))


def plain(array: np.ndarray) -> bytes:
    """Return the bytes of an array with one NaN for all: its sign bit depends on the code path and has no meaning."""
    return np.where(np.isnan(array), np.nan, array).astype(array.dtype).tobytes()
