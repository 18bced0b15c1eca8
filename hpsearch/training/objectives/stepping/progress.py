"""The progress of a trial that trains step by step: its checkpoint, and the weights of its best step."""

import io
import json
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from engine.npz import BROKEN_NPZ, NpzError, read_npz, write_npz
from engine.training.state import State
from engine.types import EngineError

Saved = tuple[bytes | None, ...]  # what training code saved, for each fold


@final
@dataclass
class Progress:
    """The changing state of a trial in training, besides its curves.

    Attributes:
        state: the rules' record of one trial without weights; see `engine.training.state.State`.
        last: what the code saved after the latest step.
        best: what the code saved after the best step.
        generators: states of the global generators.
    """

    state: State
    last: Saved
    best: Saved
    generators: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def start(cls, folds: int) -> Self:
        """Return the progress before the first step."""
        empty = np.zeros((1, 0), np.float32)
        state = State(
            theta=empty,
            slots={},
            generators=[],
            epoch=0,
            step=0,
            best_theta=empty.copy(),
            best_value=np.full(1, np.inf),
            best_epoch=np.zeros(1, np.int64),
            last_value=np.full(1, np.inf),
            small_changes=np.zeros(1, np.int64),
        )
        nothing = (None,) * folds
        return cls(state, nothing, nothing)

    def to_bytes(self) -> bytes:
        """Return the progress as the content of an `.npz` file without pickle."""
        arrays = {"state": np.frombuffer(self.state.to_bytes(), np.uint8)}
        arrays |= _arrays("last", self.last) | _arrays("best", self.best)
        arrays |= {f"generator/{name}": array for name, array in self.generators.items()}
        return _packed(len(self.last), arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the progress from the output of `to_bytes`.

        Raises:
            EngineError: the bytes are not such a checkpoint, or are damaged.
        """
        folds, arrays = _unpacked(content)
        if "state" not in arrays:
            raise EngineError("not a checkpoint: it has no state")
        generators = {
            name.removeprefix("generator/"): array for name, array in arrays.items() if name.startswith("generator/")
        }
        state = State.from_bytes(arrays["state"].tobytes())
        return cls(state, _saved("last", arrays, folds), _saved("best", arrays, folds), generators)


def pack_saved(saved: Saved) -> bytes:
    """Return what the code saved for each fold as one text of bytes: the weights of a finished trial."""
    return _packed(len(saved), _arrays("best", saved))


def unpack_saved(content: bytes) -> Saved:
    """Return what the code saved for each fold, from the output of `pack_saved`.

    Raises:
        EngineError: the bytes have another form, or are damaged.
    """
    folds, arrays = _unpacked(content)
    return _saved("best", arrays, folds)


def _arrays(name: str, saved: Saved) -> dict[str, npt.NDArray[Any]]:
    parts = {f"{name}/{fold}": np.frombuffer(part, np.uint8) for fold, part in enumerate(saved) if part is not None}
    return dict(parts)


def _saved(name: str, arrays: dict[str, npt.NDArray[Any]], folds: int) -> Saved:
    parts = (arrays.get(f"{name}/{fold}") for fold in range(folds))
    return tuple(None if part is None else part.tobytes() for part in parts)


def _packed(folds: int, arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    write_npz(file, {"about": np.frombuffer(json.dumps({"folds": folds}).encode(), np.uint8), **arrays})
    return file.getvalue()


def _unpacked(content: bytes) -> tuple[int, dict[str, npt.NDArray[Any]]]:
    try:
        arrays = read_npz(content)
        folds = json.loads(arrays["about"].tobytes())["folds"]
    except (NpzError, KeyError, TypeError, *BROKEN_NPZ) as error:
        raise EngineError(f"not a checkpoint: {error}") from None
    if type(folds) is not int or not 1 <= folds <= 100:
        raise EngineError("not a checkpoint: its number of folds is invalid")
    return folds, arrays
