"""The champion as a folder: saved without pickle, loaded elsewhere, predicting to the same bits.

model.json     network, classes, the trial it comes from and its scores
weights.npz    theta, and the scaling fitted on the training rows
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.network import Network
from engine.registry import describe, restore
from engine.scaling import Standard
from engine.types import Floats
from hpsearch.dataset import DTYPE, Dataset, Scaling
from hpsearch.errors import DataError, OutputError
from hpsearch.record import Record
from hpsearch.spec import Spec
from hpsearch.trial import network

FORMAT = 1


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and everything it needs to predict.

    Attributes:
        theta: `(1, parameters)`.
        classes: a name for each; empty for a regression.
        about: the study, the trial, its parameters and scores.
    """

    network: Network
    theta: Floats
    scaling: Scaling
    classes: tuple[str, ...]
    about: dict[str, Any]

    def scores(self, x: npt.ArrayLike) -> Floats:
        """Probabilities `(rows, classes)`, or predicted values `(rows, 1)` in their own units.

        Args:
            x: `(rows, features)` as the source gives them, unscaled.

        Raises:
            DataError: another number of features.
        """
        rows: Floats = np.asarray(x, np.float64)
        if rows.ndim != 2 or rows.shape[1:] != self.network.inputs:
            raise DataError(f"rows must have {self.network.inputs[0]} features, got an array of shape {rows.shape}")
        if self.scaling.x is not None:
            rows = self.scaling.x.apply(rows)
        with threadpool_limits(1):  # as in training: two threads give other bits
            outputs = self.network.predict(self.theta, rows.astype(DTYPE))[0]
        if self.scaling.y is not None:
            return self.scaling.y.invert(outputs.astype(np.float64))
        return np.hstack([1 - outputs, outputs]) if len(self.classes) == 2 else outputs

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Names of classes, or values, `(rows,)`; otherwise as `scores`."""
        scores = self.scores(x)
        return np.array(self.classes)[scores.argmax(axis=1)] if self.classes else scores[:, 0]

    def save(self, folder: Path) -> None:
        """Writes the folder.

        Raises:
            OutputError: it cannot be written.
        """
        arrays = {"theta": self.theta}
        for name, scaler in (("x", self.scaling.x), ("y", self.scaling.y)):
            if scaler is not None:
                arrays |= {f"{name}_mean": scaler.mean, f"{name}_deviation": scaler.deviation}
        content = {
            "format": FORMAT,
            "network": describe(self.network),
            "classes": list(self.classes),
            "about": self.about,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / "weights.npz", allow_pickle=False, **arrays)
            (folder / "model.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote.

        Raises:
            DataError: the folder holds no model, or one of a later version.
        """
        try:
            content = json.loads((folder / "model.json").read_text("utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, this version reads {FORMAT}")
            with np.load(io.BytesIO((folder / "weights.npz").read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            net: Network = restore(content["network"])
            if arrays["theta"].shape != (1, net.size):
                raise ValueError(f"its weights are {arrays['theta'].shape}, its network has {net.size} parameters")
            return cls(
                net,
                arrays["theta"],
                Scaling(_scaler("x", arrays), _scaler("y", arrays)),
                tuple(content["classes"]),
                content["about"],
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise DataError(f"{folder}: holds no model that this version can read: {error}") from None


def _scaler(name: str, arrays: dict[str, Floats]) -> Standard | None:
    mean = arrays.get(f"{name}_mean")
    return None if mean is None else Standard(mean, arrays[f"{name}_deviation"])


def champion(spec: Spec, dataset: Dataset, scaling: Scaling, record: Record, weights: bytes) -> Model:
    """The model of a finished trial."""
    return Model(
        network=network(spec, dataset, record.point),
        theta=np.frombuffer(weights, DTYPE)[None],
        scaling=scaling,
        classes=dataset.classes,
        about={
            "study": spec.name,
            "trial": record.label,
            "parameters": dict(record.point),
            "metrics": dict(record.metrics),
            "data": dataset.fingerprint,
        },
    )
