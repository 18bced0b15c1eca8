"""The model class that MLflow serves; MLflow copies this file into each registered model as code, without pickle."""

from pathlib import Path
from typing import Any, final

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pandas import DataFrame

from hpsearch.errors import DataError
from hpsearch.models.model import Model


@final
class ServedModel(PythonModel):
    """A `Model` with MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder that `Model.save` wrote.

        Raises:
            DataError: the folder contains no model that this version can read.
        """
        self._model = Model.load(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: DataFrame, params: dict[str, Any] | None = None
    ) -> DataFrame:
        """Return `Model.predictions` of the input.

        Raises:
            MlflowException: a column is missing, or contains text in place of numbers; a server answers with status
                400 and this message.
        """
        try:
            return self._model.predictions(_as_frame(model_input))
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def _as_frame(model_input: Any) -> Any:
    """Return mappings of columns, and lists of rows as mappings, as a frame; all other input unchanged."""
    of_mappings = isinstance(model_input, list) and all(isinstance(row, dict) for row in model_input)
    return DataFrame(model_input) if of_mappings or isinstance(model_input, dict) else model_input


set_model(ServedModel())
