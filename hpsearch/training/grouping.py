"""Grouping: which trials train together as one batch, and in which order the groups start."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from engine.kernels.choice import is_covered
from engine.network import Network
from engine.types import EngineError
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.training.network import build_network
from hpsearch.training.task import TrialTask

MAX_BATCHED_WORK = 10_000  # multiply-adds per row; larger networks train no faster in a batch of trials
STEP_OVERHEAD = 500_000  # multiply-adds that take as long as the fixed part of an optimizer step
STEP_WORK = 40  # multiply-adds that take as long as updating one parameter


class _Plan(NamedTuple):
    """A trial and the properties that determine its group.

    Attributes:
        key: trials with equal keys can train together.
        batched: training together is faster than training alone.
        cost: duration of an epoch, in multiply-adds, approximately.
    """

    trial: TrialTask
    key: Hashable
    batched: bool
    cost: float


def group_trials(
    spec: Spec, dataset: Dataset, trials: Sequence[TrialTask], workers: int
) -> list[tuple[TrialTask, ...]]:
    """Group trials of equal shape at the same epoch, and return the groups with the longest first.

    Grouping affects no result, only the duration. Groups are small enough to keep all workers busy, and trials of large
    networks train alone, because batched training does not make them faster, as do those of the compiled kernel.
    """
    max_size = -(-len(trials) // (2 * workers)) or 1
    by_key: dict[Hashable, list[_Plan]] = {}
    for trial in trials:
        plan = _plan(spec, dataset, trial)
        by_key.setdefault((plan.key, trial.epochs), []).append(plan)
    groups: list[list[_Plan]] = []
    for plans in by_key.values():
        size = max_size if plans[0].batched else 1
        groups += [plans[i : i + size] for i in range(0, len(plans), size)]
    groups.sort(key=lambda group: -sum(plan.cost for plan in group))
    return [tuple(plan.trial for plan in group) for group in groups]


def _plan(spec: Spec, dataset: Dataset, trial: TrialTask) -> _Plan:
    """Return the plan of a trial; if its network cannot be built, it trains alone and `advance` returns the error."""
    try:
        network, hyper = build_network(spec, dataset, trial.point), hyperparameters(spec.engine, trial.point)
    except EngineError:
        return _Plan(trial, trial.number, batched=False, cost=0.0)
    key = (network.shape_key, hyper.kind, dataset.at(trial.point).number)
    rows = dict(dataset.at(trial.point).rows)["train"] * dataset.folds
    cost = _epoch_cost(network, rows, min(hyper.batch_size, rows))
    alone = spec.engine.kernel == "compiled" and is_covered(network)
    return _Plan(trial, key, network.work <= MAX_BATCHED_WORK and not alone, cost)


def _epoch_cost(network: Network, rows: int, batch_size: int) -> float:
    """Return the multiply-adds of the forward and backward passes of all rows and of the optimizer's steps."""
    return rows * network.work * 3 + (rows / batch_size) * (STEP_OVERHEAD + network.size * STEP_WORK)
