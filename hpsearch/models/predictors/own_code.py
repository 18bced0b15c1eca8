"""Predictions by the user's own code, from a folder that `export_own_code` wrote."""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from engine.data.rows import Rows
from engine.types import Floats, Shape
from hpsearch.core.atomic import read_folder
from hpsearch.core.bounded import MAX_TEXT, decode_mapping
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.text import printable
from hpsearch.errors import DataError, TrainingCodeError
from hpsearch.models.model import Model
from hpsearch.models.predictors.own_files import MAX_CODE_FOLDS, OWN_FORMAT, STATE_FILES
from hpsearch.models.prepared import READ_ERRORS, PreparedData
from hpsearch.training.objectives.code import load_object, located, split_reference
from hpsearch.training.task import TrainingCode

MAX_FILE = 1 << 33  # bytes
PREDICT = "predict"  # the function of a module that predicts


@contextmanager
def predicting_model(folder: Path) -> Iterator[Model]:
    """Provide the model of a folder, also one that predicts by the user's own code, which is then run.

    Raises:
        DataError: the folder contains no model, or its code has no function that predicts.
    """
    content = _own_content(folder)
    if content is None:
        yield Model.load(folder)
        return
    function, trained_by = content["function"], printable(str(content["trained_by"]))
    if function is None:
        raise DataError(
            f"{folder}: predicts by your own code, the command {trained_by}; run it with the parameters in model.json"
            f" and what it saved, {STATE_FILES[0]}"
        )
    names = {"sources.zip": MAX_FILE, "prepared.npz": MAX_FILE}
    names |= dict.fromkeys(STATE_FILES[: content["folds"]], MAX_FILE)
    files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    if "prepared.npz" not in files:
        raise DataError(
            f"{folder}: predicts by your own code, {trained_by}, and its study has no data, so hpsearch does not know"
            f" the form of its rows; call your code with the parameters in model.json and {STATE_FILES[0]}"
        )
    prepared = PreparedData.from_bytes(files["prepared.npz"])
    with private_folder() as scratch:
        try:
            with zipfile.ZipFile(io.BytesIO(files.get("sources.zip", b""))) as archive:
                archive.extractall(scratch)
            module, code = split_reference(function)[0], TrainingCode(str(scratch))
            predict = load_object(f"{module}:{PREDICT}", code)
        except (TrainingCodeError, *READ_ERRORS) as error:
            raise DataError(
                f"{folder}: predicts by your own code, {trained_by}, which needs a function predict(params, state,"
                f" rows) beside it: {printable(str(error))}"
            ) from None
        states = tuple(files.get(name) for name in STATE_FILES[: content["folds"]])
        about, data = content["about"], prepared.dataset
        predictor = OwnCodePredictor(predict, about["parameters"], states, data.inputs, len(data.classes), code)
        yield Model(predictor, prepared.folds, data.classes, about)


def _own_content(folder: Path) -> dict[str, Any] | None:
    """Return the content of `model.json` of a folder of own code, checked; None for another folder."""
    try:
        content = decode_mapping(read_folder(folder, {"model.json": MAX_TEXT})["model.json"])
    except READ_ERRORS:
        return None
    if "own_code" not in content:
        return None
    about = content.get("about")
    valid = (
        content["own_code"] == OWN_FORMAT
        and isinstance(content.get("function"), str | None)
        and type(content.get("folds")) is int
        and 1 <= content["folds"] <= MAX_CODE_FOLDS
        and isinstance(about, dict)
        and isinstance(about.get("parameters"), dict)
        and "trained_by" in content
    )
    if not valid:
        raise DataError(f"{folder}: contains no model that this version can read: model.json has another form")
    return content


@final
@dataclass(frozen=True, eq=False)
class OwnCodePredictor:
    """A function `predict(params, state, rows)` of the user's own code.

    Attributes:
        function: returns for prepared rows `(rows, *inputs)` an array `(rows, classes)` of probabilities, or `(rows,)`
            of class indices, or of standardized values.
        states: what the code saved, for each fold.
        classes: number of classes; 0 for a regression.
    """

    function: Callable[..., Any]
    parameters: Mapping[str, Any]
    states: tuple[bytes | None, ...]
    inputs: Shape
    classes: int
    code: TrainingCode

    @property
    def folds(self) -> int:
        return len(self.states)

    def outputs(self, fold: int, inputs: Floats) -> Floats:
        try:
            returned = self.function(dict(self.parameters), self.states[fold], inputs)
            found = np.asarray(returned.detach() if hasattr(returned, "detach") else returned)
            return self._as_outputs(found, len(inputs))
        except Exception as error:
            raise DataError(printable(located(error, self.code, "predict()"))) from None

    def _as_outputs(self, found: npt.NDArray[Any], rows: int) -> Floats:
        if not self.classes:
            return found.astype(np.float64).reshape(rows, 1)
        if found.size == rows and found.dtype.kind in "iub":
            found = np.eye(self.classes)[found.reshape(rows).astype(np.intp)]
        elif found.size == rows and self.classes == 2:
            found = np.stack([1 - found.reshape(rows), found.reshape(rows)], axis=1)
        probabilities: Floats = found.astype(np.float64)
        if probabilities.shape != (rows, self.classes):
            raise ValueError(f"must return an array ({rows}, {self.classes}), got the shape {found.shape}")
        return probabilities if self.classes > 2 else probabilities[:, 1:]

    def part_outputs(self, rows: Rows, *, by_row: bool = True) -> Floats:
        return np.stack([self.outputs(k, rows.of(k).x.reshape(-1, *self.inputs)) for k in range(self.folds)])

    def check(self) -> None:
        """Do nothing: the function is found."""

    def describe(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        raise DataError("a model of your own code is written by hpsearch export")
