"""Networks of the engine in a model."""

from dataclasses import dataclass
from typing import Any, final

import numpy.typing as npt

from engine.data.rows import Rows
from engine.network import Network
from engine.registry import describe
from engine.types import Floats, Shape


@final
@dataclass(frozen=True, eq=False)
class NetworkPredictor:
    """Networks of one kind, each with its weights.

    Attributes:
        theta: `(folds, parameters)`.
    """

    network: Network
    theta: Floats

    @property
    def inputs(self) -> Shape:
        return self.network.inputs

    @property
    def folds(self) -> int:
        return len(self.theta)

    def outputs(self, fold: int, inputs: Floats) -> Floats:
        outputs: Floats = self.network.predict(self.theta[fold : fold + 1], inputs)[0]
        return outputs

    def part_outputs(self, rows: Rows, *, by_row: bool = True) -> Floats:
        x = rows.x.reshape(rows.sets, len(rows), *self.network.inputs)
        if by_row:
            return self.network.predict(self.theta, x)
        return self.network.loss.predict(self.network.forward(self.theta, x))

    def check(self) -> None:
        """Do nothing: a network is checked against its weights when it is restored."""

    def describe(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        return {"network": describe(self.network)}, {"theta": self.theta}
