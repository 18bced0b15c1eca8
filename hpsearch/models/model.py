"""A trained model: saved as a folder without pickle; it predicts the same bits in every process.

model.json     network, classes, preprocessing, the study file, the trial and its scores
weights.npz    theta, and the arrays of the fitted preprocessing
"""

import io
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.network import Network
from engine.npz import write_npz
from engine.registry import describe, nearest, restore
from engine.types import Floats
from hpsearch.data.frame import Frame, frame_from_pandas, to_numeric
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import DataError, OutputError
from hpsearch.models.prepared import READ_ERRORS, pack, unpack

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 4  # of model.json; another number whenever its keys change


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with its preprocessing; in a cross-validation, one per fold, whose outputs are averaged.

    Attributes:
        theta: `(folds, parameters)`.
        preprocessing: the preprocessing of each fold.
        classes: names of the classes; empty for a regression.
        about: metadata: the study, the trial, its parameters and scores.
    """

    network: Network
    theta: Floats
    preprocessing: tuple[Preprocessing, ...]
    classes: tuple[str, ...]
    about: dict[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the model reads, in the column order of an array."""
        return self.preprocessing[0].features

    def scores(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> Floats:
        """Return probabilities `(rows, classes)`, or predicted values `(rows, 1)` in the units of the target.

        The scores of a row are the same to the bit, whatever the other rows are.

        Args:
            x: raw rows: a pandas frame with the model's columns in any order, and possibly others; or an array
                `(rows, features)`, for images also `(rows, channels, height, width)`. Tables may have missing cells
                and categories that did not occur in training.

        Raises:
            DataError: a column is missing or contains text in place of numbers, the number of features differs, or
                images have another shape.
        """
        raw = self._raw_rows(x)
        folds = []
        with threadpool_limits(1):  # as in training: more threads may change the last bits
            for theta, preprocessing in zip(self.theta, self.preprocessing, strict=True):
                inputs = preprocessing.inputs(raw, self.network.inputs)
                outputs = self.network.predict(theta[None], inputs)[0]
                if preprocessing.target_scaler is not None:
                    outputs = preprocessing.target_scaler.invert(outputs.astype(np.float64))
                folds.append(outputs)
        outputs = folds[0] if len(folds) == 1 else np.mean(folds, axis=0, dtype=np.float64).astype(folds[0].dtype)
        return np.hstack([1 - outputs, outputs]) if len(self.classes) == 2 else outputs

    def predict(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> npt.NDArray[Any]:
        """Return class names, spelled as in the training table, or values, `(rows,)`; otherwise like `scores`."""
        return self._predicted(self.scores(x))

    def predictions(self, x: "npt.ArrayLike | pd.DataFrame | Frame") -> "pd.DataFrame":
        """Return a table: `prediction`, and for each class `probability of CLASS`; otherwise like `scores`."""
        import pandas as pd

        scores = self.scores(x)
        columns: dict[str, Any] = {"prediction": self._predicted(scores)}
        columns |= {f"probability of {name}": scores[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame(columns)

    def _predicted(self, scores: Floats) -> npt.NDArray[Any]:
        return np.array(self.classes)[scores.argmax(axis=1)] if self.classes else scores[:, 0]

    def _raw_rows(self, x: Any) -> Floats | Frame:
        """Check the rows and return them in the form that the preprocessing takes."""
        tabular, input_format = self.preprocessing[0].tabular, self.preprocessing[0].input_format
        if not isinstance(x, Frame) and not hasattr(x, "columns"):
            if not tabular:
                return self._array(x)
            x = self._with_column_names(np.asarray(x, object))
        names = [str(name) for name in x.columns]
        for name in self.features:
            if name not in names:
                raise DataError(f"rows must have the column '{name}'{nearest(name, names)}")
        if not isinstance(x, Frame):
            x = frame_from_pandas(x, input_format.get("missing", ()), self.features)
        if tabular:
            return Frame({name: x.columns[name] for name in self.features})
        return self._array(np.stack([_complete_numbers(name, x) for name in self.features], axis=1))

    def _array(self, x: npt.ArrayLike) -> Floats:
        """Return an array or images as float64, `(rows, features)`."""
        try:
            rows: Floats = np.asarray(x, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"rows must be numbers: {error}") from None
        inputs, features = self.network.inputs, prod(self.network.inputs)
        if rows.ndim < 2 or rows.shape[1:] not in (inputs, (features,)):
            images = f" or be images of {inputs}" if len(inputs) > 1 else ""
            raise DataError(f"rows must have {features} features{images}, got an array of shape {rows.shape}")
        return rows.reshape(len(rows), features)

    def _with_column_names(self, x: npt.NDArray[Any]) -> "pd.DataFrame":
        """Return an array of objects as a frame whose columns are the features."""
        import pandas as pd

        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise DataError(f"rows must have {len(self.features)} features, got an array of shape {x.shape}")
        return pd.DataFrame(x, columns=list(self.features)).infer_objects()

    def save(self, folder: Path, *, example: bool = False) -> None:
        """Write the folder.

        Args:
            example: include example rows of the training data, for a tracker.

        Raises:
            OutputError: the folder cannot be written.
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
                write_npz(file, {"theta": self.theta, **arrays})
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            drafts["model.json"].write_text(f"{text}\n", "utf-8")
            for name, draft in drafts.items():  # replace an existing model only when both files are complete
                draft.replace(folder / name)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a model from a folder that `save` wrote.

        Raises:
            DataError: the folder contains no model, a damaged one or one of another format.
        """
        try:
            content = json.loads((folder / "model.json").read_text("utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, this version reads {FORMAT}")
            with np.load(io.BytesIO((folder / "weights.npz").read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            network: Network = restore(content["network"])
            folds = unpack(content, arrays)
            if arrays["theta"].shape != (len(folds), network.size):
                raise ValueError(f"its weights are {arrays['theta'].shape}, its network has {network.size} parameters")
            return cls(network, arrays["theta"], folds, tuple(content["classes"]), content["about"])
        except READ_ERRORS as error:
            raise DataError(f"{folder}: contains no model that this version can read: {error}") from None


def _complete_numbers(name: str, frame: Frame) -> Floats:
    """Return a column of numbers, `(rows,)`, without missing cells."""
    values, text = to_numeric(frame.columns[name])
    if text is not None:
        raise DataError(f"column '{name}' must hold numbers, got {text.first!r} in row {text.row + 1}")
    if np.isnan(values).any():
        raise DataError(f"column '{name}' must not have missing cells; the training rows had none")
    return values
