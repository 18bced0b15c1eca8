"""The protocol of what trains an epoch: NumPy for all networks, or the compiled kernel for those that it covers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from engine.data.rows import Rows
from engine.network import Network
from engine.optimizers import Optimizer
from engine.training.accumulator import Scores
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.types import Floats

if TYPE_CHECKING:
    from engine.metrics import Metric


class Steps(Protocol):
    """The steps of a fixed set of trials; all memory is allocated once, at the start.

    Attributes:
        number: number of steps of an epoch.
    """

    number: int

    def __init__(
        self, networks: Sequence[Network], trials: Sequence[Hyperparameters], state: State, rows: Rows
    ) -> None: ...

    def train_epoch(
        self, optimizers: Sequence[Optimizer], rates: Sequence[float], first: int, measured: bool
    ) -> Scores | None:
        """Train one epoch, changing the state in place except for its number of epochs.

        Args:
            optimizers, rates: optimizer and learning rate of each trial.
            first: number of steps before the optimizer's first.
            measured: return the mean scores over the epoch's batches, each scored before its step.
        """
        ...

    def measure(self, rows: Rows, metrics: "Mapping[str, Metric]") -> tuple[Scores, dict[str, Floats]]:
        """Return loss and accuracy of all rows, and the other metrics in their order, `(trials,)` each."""
        ...
