"""A trained model: saved as a folder without pickle; it predicts the same bits in every process.

model.json     network or estimator, classes, preprocessing, the study file, the trial and its scores; its members
weights.npz    theta, or the bytes of estimators, and the arrays of the fitted preprocessing, of each member
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.network import Network
from engine.npz import read_npz, write_npz
from engine.types import Floats
from hpsearch.core.atomic import read_folder, recover_folder, replaced_folder
from hpsearch.core.bounded import MAX_TEXT, decode_mapping
from hpsearch.core.text import printable
from hpsearch.data.frame import Frame, to_numeric
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import DataError, OutputError
from hpsearch.models.content import check_preprocessing, checked_model
from hpsearch.models.input_rows import frame_of_features
from hpsearch.models.members import Member, weighted_mean, weights_of
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.restore import restored_predictor
from hpsearch.models.prepared import READ_ERRORS, SLACK, pack, pack_others, unpack, unpack_others

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 5  # of model.json; another number whenever its keys change
MAX_WEIGHTS = 1 << 33  # bytes of weights.npz
MODEL_FILES = ("model.json", "weights.npz", "model.onnx")


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained predictor with its preprocessing; in a cross-validation, one per fold, whose outputs are averaged.

    The outputs of the members of an ensemble are averaged in the same way.

    Attributes:
        predictor: networks of the engine, or estimators.
        preprocessing: the preprocessing of each fold.
        classes: names of the classes; empty for a regression.
        about: metadata: the study, the trial, its parameters and scores.
        count: how often the predictor counts in an ensemble.
        others: the other members of an ensemble.
    """

    predictor: Predictor
    preprocessing: tuple[Preprocessing, ...]
    classes: tuple[str, ...]
    about: dict[str, Any]
    count: int = 1
    others: tuple[Member, ...] = ()

    @property
    def members(self) -> tuple[Member, ...]:
        """The predictor itself as the first member, and the others."""
        return Member(self.predictor, self.preprocessing, self.count), *self.others

    @property
    def network(self) -> Network:
        """The network; raises like `weights_of`."""
        return weights_of(self.predictor).network

    @property
    def theta(self) -> Floats:
        """The network's weights, `(folds, parameters)`; raises like `weights_of`."""
        return weights_of(self.predictor).theta

    @property
    def folds(self) -> tuple[Preprocessing, ...]:
        """The preprocessing of all members and folds."""
        return tuple(fold for member in self.members for fold in member.preprocessing)

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
        # One thread as in training: more threads may change the last bits. Numbers beyond float32 become infinite.
        with threadpool_limits(1), np.errstate(all="ignore"):
            outputs = weighted_mean([m.outputs(raw) for m in self.members], [m.count for m in self.members])
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
        tabular = self.preprocessing[0].tabular
        if not isinstance(x, Frame) and not hasattr(x, "columns"):
            if not tabular:
                return self._array(x)
            x = self._with_column_names(np.asarray(x, object))
        x = frame_of_features(x, self.folds)
        if tabular:
            return Frame({name: x.columns[name] for name in self.features})
        return self._array(np.stack([_complete_numbers(name, x) for name in self.features], axis=1))

    def _array(self, x: npt.ArrayLike) -> Floats:
        """Return an array or images as float64, `(rows, features)`."""
        try:
            rows: Floats = np.asarray(x, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"rows must be numbers: {error}") from None
        inputs, features = self.predictor.inputs, prod(self.predictor.inputs)
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
        """Write the folder: a new one, or one that holds a model, which is replaced in one step.

        Args:
            example: include example rows of the training data, for a tracker.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            with replaced_folder(folder, MODEL_FILES) as draft:
                self.write(draft, example=example)
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            raise OutputError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}") from None

    def write(self, folder: Path, *, example: bool = False) -> None:
        """Write the files of the model into a new folder; see `save`.

        Raises:
            OSError: a file cannot be written.
        """
        described, arrays = pack(self.preprocessing)
        predictor, predictor_arrays = self.predictor.describe()
        others, other_arrays = pack_others(self.others)
        if not example:
            described["input_format"].pop("example", None)
        content = {
            "format": FORMAT,
            **predictor,
            "classes": list(self.classes),
            **described,
            "count": self.count,
            "others": others,
            "about": self.about,
        }
        with (folder / "weights.npz").open("xb") as file:
            write_npz(file, {**predictor_arrays, **arrays, **other_arrays})
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        with (folder / "model.json").open("xb") as file:
            file.write(f"{text}\n".encode())

    @classmethod
    def load(cls, folder: Path, *, check: bool = True) -> Self:
        """Load a model from a folder that `save` wrote.

        Args:
            check: load estimators at once, not when they predict first.

        Raises:
            DataError: the folder contains no model, a damaged one or one of another format.
        """
        try:
            recover_folder(folder, MODEL_FILES)
            _check_own_code(folder)
            files = read_folder(folder, {"model.json": MAX_TEXT, "weights.npz": MAX_WEIGHTS})
            content = decode_mapping(files["model.json"])
            if content.get("format") != FORMAT:
                raise ValueError(f"its format is {content.get('format')}, this version reads {FORMAT}")
            content, kinds = checked_model(content), "f" if "network" in content else "fu"
            arrays = read_npz(files["weights.npz"], None, kinds, SLACK)
            folds, classes = unpack(content, arrays), tuple(content["classes"])
            predictor = restored_predictor(content, arrays, len(folds), classes)
            check_preprocessing(folds, predictor.inputs)
            first = Member(predictor, folds, content["count"])
            others = unpack_others(content, arrays, first)
            model = cls(predictor, folds, classes, content["about"], first.count, others)
        except READ_ERRORS as error:
            reason = printable(str(error))  # it may quote the content
            raise DataError(f"{folder}: contains no model that this version can read: {reason}") from None
        if check:
            try:
                predictor.check()
            except DataError as error:
                raise DataError(f"{folder}: {error}") from None
        return model


def _check_own_code(folder: Path) -> None:
    """Raise a ValueError for a folder that `export_own_code` wrote."""
    content = decode_mapping(read_folder(folder, {"model.json": MAX_TEXT})["model.json"])
    if "own_code" in content:
        code = content.get("trained_by")
        raise ValueError(
            f"it predicts by your own code, {code}, which is not run when a model is loaded; hpsearch predict runs it"
        )


def _complete_numbers(name: str, frame: Frame) -> Floats:
    """Return a column of numbers, `(rows,)`, without missing cells."""
    values, text = to_numeric(frame.columns[name])
    if text is not None:
        raise DataError(f"column '{name}' must hold numbers, got {text.first!r} in row {text.row + 1}")
    if np.isnan(values).any():
        raise DataError(f"column '{name}' must not have missing cells; the training rows had none")
    return values
