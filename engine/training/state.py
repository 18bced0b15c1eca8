"""The training state: everything that changes in training, and the content of a checkpoint."""

import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from engine.network import Network
from engine.types import Booleans, DType, EngineError, Floats, Integers

CHECKSUM_SIZE = 4  # bytes at the end of a checkpoint
FLOAT32: DType = np.dtype(np.float32)
# Exceptions that reading truncated or damaged bytes may raise.
_BROKEN = (EOFError, KeyError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error)


@final
@dataclass(eq=False)
class State:
    """The state of trials that train together, one row per trial.

    Attributes:
        theta: `(trials, parameters)`, the parameters.
        slots: the optimizer's state, name → `(trials, parameters)`.
        generators: one per trial, for all its random draws in training.
        epoch, step: number of completed epochs and steps.
        best_theta: `(trials, parameters)`, the parameters after the best epoch so far.
        best_value: `(trials,)`, float64, lower is better; +inf before the first epoch.
        best_epoch: `(trials,)`, counted from 1; 0 before the first epoch.
        last_value: `(trials,)`, the value at the latest check.
        small_changes: `(trials,)`, number of consecutive checks with a small change of the value.
    """

    theta: Floats
    slots: dict[str, Floats]
    generators: list[np.random.Generator]
    epoch: int
    step: int
    best_theta: Floats
    best_value: Floats
    best_epoch: Integers
    last_value: Floats
    small_changes: Integers

    @classmethod
    def start(
        cls,
        network: Network,
        slots: Sequence[str],
        generators: Sequence[np.random.Generator],
        dtype: DType = FLOAT32,
    ) -> Self:
        """Return the state before the first epoch; each trial's weights are drawn with its own generator.

        Args:
            slots: names of the optimizer's state matrices, which start at zero.
            generators: one per trial.
        """
        theta = np.stack([network.initialize(generator, dtype) for generator in generators])
        return cls(
            theta=theta,
            slots={name: np.zeros_like(theta) for name in slots},
            generators=list(generators),
            epoch=0,
            step=0,
            best_theta=theta.copy(),
            best_value=np.full(len(theta), np.inf),
            best_epoch=np.zeros(len(theta), dtype=np.int64),
            last_value=np.full(len(theta), np.inf),
            small_changes=np.zeros(len(theta), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.theta)

    def take(self, rows: Booleans | Integers) -> "State":
        """Return a copy of some trials.

        Args:
            rows: mask `(trials,)` or indices of the trials.
        """
        numbers = np.arange(len(self))[rows]
        return State(
            theta=self.theta[numbers],
            slots={name: slot[numbers] for name, slot in self.slots.items()},
            generators=[self.generators[n] for n in numbers],
            epoch=self.epoch,
            step=self.step,
            best_theta=self.best_theta[numbers],
            best_value=self.best_value[numbers],
            best_epoch=self.best_epoch[numbers],
            last_value=self.last_value[numbers],
            small_changes=self.small_changes[numbers],
        )

    @classmethod
    def join(cls, states: Sequence["State"]) -> Self:
        """Join the trials of several states, to train them together.

        Raises:
            EngineError: the states differ in epoch, step, shape, dtype or slots.
        """
        if len({(s.epoch, s.step, s.theta.shape[1], s.theta.dtype, *s.slots) for s in states}) != 1:
            raise EngineError("states to join must have the same epoch, step, network shape, dtype and optimizer")
        return cls(
            theta=np.concatenate([s.theta for s in states]),
            slots={name: np.concatenate([s.slots[name] for s in states]) for name in states[0].slots},
            generators=[generator for s in states for generator in s.generators],
            epoch=states[0].epoch,
            step=states[0].step,
            best_theta=np.concatenate([s.best_theta for s in states]),
            best_value=np.concatenate([s.best_value for s in states]),
            best_epoch=np.concatenate([s.best_epoch for s in states]),
            last_value=np.concatenate([s.last_value for s in states]),
            small_changes=np.concatenate([s.small_changes for s in states]),
        )

    def to_bytes(self) -> bytes:
        """Return the state as `.npy` arrays without pickle, and their CRC-32; resumed training gives the same bits.

        The arrays follow one another: JSON as bytes, `matrices (2 + slots, trials, parameters)`, `values (2, trials)`
        and `counts (2, trials)`. A zip file of them would take twice the time.
        """
        meta = {
            "epoch": self.epoch,
            "step": self.step,
            "slots": list(self.slots),
            "generators": [generator.bit_generator.state for generator in self.generators],
        }
        file = io.BytesIO()
        for array in (
            np.frombuffer(json.dumps(meta).encode(), np.uint8),
            np.stack([self.theta, self.best_theta, *self.slots.values()]),
            np.stack([self.best_value, self.last_value]),
            np.stack([self.best_epoch, self.small_changes]),
        ):
            np.save(file, array, allow_pickle=False)
        content = file.getvalue()
        return content + _checksum(content)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state from the output of `to_bytes`.

        Raises:
            EngineError: the bytes are not a checkpoint, or are damaged.
        """
        content, checksum = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
        if _checksum(content) != checksum:
            raise EngineError("not a checkpoint: it is damaged")
        try:
            file = io.BytesIO(content)
            arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
            meta = json.loads(arrays[0].tobytes())
            theta, best_theta, *slots = arrays[1]
            best_value, last_value = arrays[2]
            best_epoch, small_changes = arrays[3]
            return cls(
                theta=theta,
                slots=dict(zip(meta["slots"], slots, strict=True)),
                generators=[_generator(state) for state in meta["generators"]],
                epoch=meta["epoch"],
                step=meta["step"],
                best_theta=best_theta,
                best_value=best_value,
                best_epoch=best_epoch,
                last_value=last_value,
                small_changes=small_changes,
            )
        except _BROKEN as error:
            raise EngineError(f"not a checkpoint: {error}") from None


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(CHECKSUM_SIZE)


def _generator(state: dict[str, object]) -> np.random.Generator:
    """Return a generator with the given bit generator state.

    Raises:
        ValueError: the state does not belong to PCG64, NumPy's default bit generator.
    """
    bits = np.random.PCG64()
    bits.state = state  # type: ignore[assignment]  # checked by the setter
    return np.random.Generator(bits)
