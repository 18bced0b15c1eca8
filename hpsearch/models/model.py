"""The champion as a folder: saved without pickle, loaded elsewhere, predicting to the same bits.

model.json     network, classes, how rows are prepared, the study file, the trial it comes from and its scores
weights.npz    theta, and what was found in the training rows
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.network import Network
from engine.registry import describe, nearest, restore
from engine.types import Floats
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.frame import Frame, frame_from_pandas, to_numeric
from hpsearch.data.preprocessing import DTYPE, Preprocessing
from hpsearch.errors import DataError, OutputError
from hpsearch.storage.records import Trial
from hpsearch.training.network import build_network

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3  # 1 knew no scaling but the standard one, and did not name it; 2 knew columns of numbers alone
BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile)
Arrays = Mapping[str, Floats]


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and everything it needs to predict; from a cross-validation one of each fold, which predict
    together, as the mean of what each says.

    Attributes:
        theta: `(folds, parameters)`.
        preprocessing: of each fold.
        classes: a name for each; empty for a regression.
        about: the study, the trial, its parameters and scores.
    """

    network: Network
    theta: Floats
    preprocessing: tuple[Preprocessing, ...]
    classes: tuple[str, ...]
    about: dict[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it needs, in the order in which an array has them."""
        return self.preprocessing[0].features

    def scores(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> Floats:
        """Probabilities `(rows, classes)`, or predicted values `(rows, 1)` in their own units.

        A row's scores do not depend on the other rows, to the bit.

        Args:
            x: rows as they come, unscaled: a pandas frame whose columns may be in any order and more than are needed,
                or an array `(rows, features)`; images as `(rows, channels, height, width)` too. A table may have
                missing cells and names that were not there in training.

        Raises:
            DataError: a column is not there, or holds text where numbers were; another number of features, or images
                of another shape.
        """
        rows = self._rows(x)
        each = []
        with threadpool_limits(1):  # as in training: two threads give other bits
            for theta, preprocessing in zip(self.theta, self.preprocessing, strict=True):
                inputs = preprocessing.inputs(rows, self.network.inputs)
                outputs = self.network.predict(theta[None], inputs)[0]
                if preprocessing.target_scaler is not None:
                    outputs = preprocessing.target_scaler.invert(outputs.astype(np.float64))
                each.append(outputs)
        outputs = each[0] if len(each) == 1 else np.mean(each, axis=0, dtype=np.float64).astype(each[0].dtype)
        return np.hstack([1 - outputs, outputs]) if len(self.classes) == 2 else outputs

    def predict(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> npt.NDArray[Any]:
        """Names of classes, text as it stands in the table, or values, `(rows,)`; otherwise as `scores`."""
        return self._said(self.scores(x))

    def predictions(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> "pd.DataFrame":
        """The same as a table: `prediction`, and for classes `probability of …` for each; otherwise as `scores`."""
        import pandas as pd

        scores = self.scores(x)
        columns: dict[str, Any] = {"prediction": self._said(scores)}
        columns |= {f"probability of {name}": scores[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame(columns)

    def _said(self, scores: Floats) -> npt.NDArray[Any]:
        return np.array(self.classes)[scores.argmax(axis=1)] if self.classes else scores[:, 0]

    def _rows(self, x: Any) -> Floats | Frame:
        """As preprocessing takes them."""
        tabular, input_format = self.preprocessing[0].tabular, self.preprocessing[0].input_format
        if not isinstance(x, Frame) and not hasattr(x, "columns"):
            if not tabular:
                return self._array(x)
            x = self._named(np.asarray(x, object))
        names = [str(name) for name in x.columns]
        for name in self.features:
            if name not in names:
                raise DataError(f"rows must have the column '{name}'{nearest(name, names)}")
        if not isinstance(x, Frame):
            x = frame_from_pandas(x, input_format.get("missing", ()), self.features)
        if tabular:
            return Frame({name: x.columns[name] for name in self.features})
        return self._array(np.stack([_present(name, x) for name in self.features], axis=1))

    def _array(self, x: npt.ArrayLike) -> Floats:
        try:
            rows: Floats = np.asarray(x, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"rows must hold numbers: {error}") from None
        inputs, features = self.network.inputs, prod(self.network.inputs)
        if rows.ndim < 2 or rows.shape[1:] not in (inputs, (features,)):
            images = f" or be images of {inputs}" if len(inputs) > 1 else ""
            raise DataError(f"rows must have {features} features{images}, got an array of shape {rows.shape}")
        return rows.reshape(len(rows), features)

    def _named(self, x: npt.NDArray[Any]) -> "pd.DataFrame":
        import pandas as pd

        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise DataError(f"rows must have {len(self.features)} features, got an array of shape {x.shape}")
        return pd.DataFrame(x, columns=list(self.features)).infer_objects()

    def save(self, folder: Path, *, example: bool = False) -> None:
        """Writes the folder.

        Args:
            example: with the few training rows that a tracker shows.

        Raises:
            OutputError: it cannot be written.
        """
        described, arrays = pack(self.preprocessing)
        if not example:
            described["input_format"].pop("example", None)
        content = {
            "format": FORMAT,
            "network": describe(self.network),
            "classes": list(self.classes),
            **described,
            "about": self.about,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            drafts = {name: folder / f"{name}.part" for name in ("weights.npz", "model.json")}
            with drafts["weights.npz"].open("wb") as file:
                np.savez(file, allow_pickle=False, theta=self.theta, **arrays)
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            drafts["model.json"].write_text(f"{text}\n", "utf-8")
            for name, draft in drafts.items():  # over a model that is there, once both are whole
                draft.replace(folder / name)
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
            if content["format"] not in range(1, FORMAT + 1):
                raise ValueError(f"its format is {content['format']}, this version reads 1 to {FORMAT}")
            with np.load(io.BytesIO((folder / "weights.npz").read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            net: Network = restore(content["network"])
            folds = unpack(content, arrays) if content["format"] == FORMAT else (_before(content, arrays, net),)
            if arrays["theta"].shape != (len(folds), net.size):
                raise ValueError(f"its weights are {arrays['theta'].shape}, its network has {net.size} parameters")
            return cls(net, arrays["theta"], folds, tuple(content["classes"]), content["about"])
        except BROKEN as error:
            raise DataError(f"{folder}: holds no model that this version can read: {error}") from None


def check_folder(folder: Path) -> None:
    """That a model can go there: nothing is, or another model.

    Raises:
        OutputError: something else is there.
    """
    if folder.is_dir():
        others = [file.name for file in folder.iterdir()]
        if others and "model.json" not in others:
            raise OutputError(f"{folder}: holds something else ({min(others)}); name a new folder")
    elif folder.exists():
        raise OutputError(f"{folder}: must be a folder, is a file")


def pack(folds: Sequence[Preprocessing]) -> tuple[dict[str, Any], dict[str, Floats]]:
    """What is done to rows as plain JSON and arrays; `unpack` makes it again."""
    described = [fold.describe() for fold in folds]
    content = {"features": list(folds[0].features), "input_format": dict(folds[0].input_format)}
    arrays = {f"{number}_{name}": array for number, (_, of_it) in enumerate(described) for name, array in of_it.items()}
    return content | {"preprocessing": [content for content, _ in described]}, arrays


def unpack(content: Mapping[str, Any], arrays: Arrays) -> tuple[Preprocessing, ...]:
    """What `pack` was given.

    Raises:
        KeyError, TypeError: it is something else.
    """
    features, input_format = tuple(content["features"]), content["input_format"]
    return tuple(
        Preprocessing.restore(described, _of(f"{number}_", arrays), features, input_format)
        for number, described in enumerate(content["preprocessing"])
    )


def _before(content: Mapping[str, Any], arrays: Arrays, net: Network) -> Preprocessing:
    """Of a model of an earlier format: columns of numbers that it did not name."""
    names = [str(place) for place in range(prod(net.inputs))]
    unnamed = {name: "standard" if f"{name}_mean" in arrays else None for name in ("x", "y")}
    scale = unnamed if content["format"] == 1 else content["scale"]
    described = {"scale": scale, "numeric": names, "missing_indicators": [], "categorical": {}}
    return Preprocessing.restore(described, arrays, tuple(names), {})


def _of(prefix: str, arrays: Arrays) -> dict[str, Floats]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _present(name: str, frame: Frame) -> Floats:
    """A column of numbers, none of which is missing."""
    values, text = to_numeric(frame.columns[name])
    if text is not None:
        raise DataError(f"column '{name}' must hold numbers, got {text.first!r} in row {text.row + 1}")
    if np.isnan(values).any():
        raise DataError(f"column '{name}' must not have missing cells, as none had in training")
    return values


@final
@dataclass(frozen=True, eq=False)
class PreparedData:
    """All that a model needs of the data that it learned from, so that it can be made when these are gone.

    Attributes:
        dataset: without its rows.
        folds: what was done to them.
    """

    dataset: Dataset
    folds: tuple[Preprocessing, ...]

    @classmethod
    def each(cls, dataset: Dataset, prepared: Sequence[Sequence[Preprocessing]]) -> list[Self]:
        """One for each way of preparing rows, as `dataset.prepare` gives them."""
        variants = [variant for _, variant in dataset.variants] or [dataset]
        return [cls(variant, tuple(folds)) for variant, folds in zip(variants, prepared, strict=True)]

    @classmethod
    def at(cls, blueprints: Sequence[Self], spec: Spec, point: Point) -> Self:
        """That of the rows as they are prepared at a point."""
        values = tuple(point[name] for name in preprocessing_values(spec))
        return blueprints[list(product(*preprocessing_values(spec).values())).index(values)]

    def to_bytes(self) -> bytes:
        """An `.npz` file without pickle."""
        content, arrays = pack(self.folds)
        kept = ("inputs", "outputs", "classes", "fingerprint", "rows", "units")
        content["dataset"] = {name: getattr(self.dataset, name) for name in kept}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, content=np.array(json.dumps(content)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = dict(file)
            content = json.loads(str(arrays.pop("content")))
            given = content["dataset"].items()
            kept: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given}
            folds = unpack(content, arrays)
            return cls(Dataset(folder="", folds=len(folds), **kept), folds)
        except BROKEN as error:
            raise DataError(f"how rows were prepared cannot be read: {error}") from None


def champion(
    spec: Spec, dataset: Dataset, folds: Sequence[Preprocessing], record: Trial, weights: bytes, version: str = ""
) -> Model:
    """The model of a finished trial.

    Args:
        folds: what was done to the rows that it learned from.
        version: of what it was made with.

    Raises:
        DataError: the weights are those of another network.
    """
    net, theta = build_network(spec, dataset, record.point), np.frombuffer(weights, DTYPE)
    if len(theta) != len(folds) * net.size:
        raise DataError(f"{record.label}: {len(theta)} weights are not those of {len(folds)} × {net.size} parameters")
    return Model(
        network=net,
        theta=theta.reshape(len(folds), -1),
        preprocessing=tuple(folds),
        classes=dataset.classes,
        about={
            "study": spec.name,
            "trial": record.label,
            "parameters": dict(record.point),
            "metrics": {name: value for name, value in record.metrics.items() if isfinite(value)},
            "data": dataset.fingerprint,
            "version": version,
            "spec": spec.model_dump(mode="json"),
        },
    )
