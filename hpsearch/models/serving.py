"""The champion as MLflow serves it: this file goes with the model, as its code; nothing is pickled."""

from pathlib import Path
from typing import Any, final

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pandas import DataFrame

from hpsearch.errors import DataError
from hpsearch.models.model import Model


@final
class Champion(PythonModel):
    """A folder that `Model.save` wrote."""

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the folder.

        Raises:
            DataError: it holds no model that this version can read.
        """
        self._model = Model.load(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: DataFrame, params: dict[str, Any] | None = None
    ) -> DataFrame:
        """`Model.predictions`.

        Raises:
            MlflowException: a column is not there, or holds text where numbers were; a server answers 400 and says so.
        """
        try:
            return self._model.predictions(model_input)
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


set_model(Champion())
