"""The champion as a folder: saved without pickle, loaded elsewhere, predicting to the same bits.

model.json     network, classes, how rows are scaled, the trial it comes from and its scores
weights.npz    theta, and the arrays of the scaling fitted on the training rows
"""

import io
import json
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any, Self, final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.network import Network
from engine.registry import describe, restore
from engine.scaling import SCALERS, Scaler
from engine.types import Floats
from hpsearch.build import network
from hpsearch.dataset import DTYPE, Dataset, Scaling
from hpsearch.errors import DataError, OutputError
from hpsearch.record import Record
from hpsearch.spec import Spec

FORMAT = 2  # 1 knew no scaling but the standard one, and did not name it


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
            x: `(rows, features)` as the source gives them, unscaled; images as `(rows, channels, height, width)` too.

        Raises:
            DataError: another number of features, or images of another shape.
        """
        rows: Floats = np.asarray(x, np.float64)
        inputs, features = self.network.inputs, prod(self.network.inputs)
        if rows.ndim < 2 or rows.shape[1:] not in (inputs, (features,)):
            images = f" or be images of {inputs}" if len(inputs) > 1 else ""
            raise DataError(f"rows must have {features} features{images}, got an array of shape {rows.shape}")
        scaled = self.scaling.inputs(rows.reshape(len(rows), features), inputs)
        with threadpool_limits(1):  # as in training: two threads give other bits
            outputs = self.network.predict(self.theta, scaled)[0]
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
        scale: dict[str, str | None] = {"x": None, "y": None}
        for name, scaler in (("x", self.scaling.x), ("y", self.scaling.y)):
            if scaler is not None:
                scale[name] = next(word for word, kind in SCALERS.items() if type(scaler) is kind)
                arrays |= {f"{name}_{field}": getattr(scaler, field) for field in _fields(type(scaler))}
        content = {
            "format": FORMAT,
            "network": describe(self.network),
            "classes": list(self.classes),
            "scale": scale,
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
            if content["format"] not in (1, FORMAT):
                raise ValueError(f"its format is {content['format']}, this version reads 1 and {FORMAT}")
            with np.load(io.BytesIO((folder / "weights.npz").read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            net: Network = restore(content["network"])
            if arrays["theta"].shape != (1, net.size):
                raise ValueError(f"its weights are {arrays['theta'].shape}, its network has {net.size} parameters")
            scale = content["scale"] if content["format"] > 1 else _unnamed(arrays)
            return cls(
                net,
                arrays["theta"],
                Scaling(_scaler("x", scale, arrays), _scaler("y", scale, arrays)),
                tuple(content["classes"]),
                content["about"],
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise DataError(f"{folder}: holds no model that this version can read: {error}") from None


def _unnamed(arrays: dict[str, Floats]) -> dict[str, str | None]:
    """The scaling of a model of format 1."""
    return {name: "standard" if f"{name}_mean" in arrays else None for name in ("x", "y")}


def _scaler(name: str, scale: dict[str, str | None], arrays: dict[str, Floats]) -> Scaler | None:
    word = scale[name]
    if word is None:
        return None
    kind = SCALERS[word]
    return kind(**{field: arrays[f"{name}_{field}"] for field in _fields(kind)})


def _fields(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


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
