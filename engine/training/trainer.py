"""Training as a generator: it yields an epoch and receives the trials that continue."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from engine.data.rows import Rows
from engine.kernels.choice import Kernel, compiled_steps, is_covered
from engine.network import Network
from engine.optimizers import Optimizer
from engine.training.accumulator import Scores
from engine.training.hyperparameters import Hyperparameters
from engine.training.numpy_steps import NumpySteps, measure
from engine.training.state import State
from engine.training.steps import Steps
from engine.types import Booleans, EngineError, Floats

if TYPE_CHECKING:
    from engine.metrics import Metric


@final
@dataclass(frozen=True, eq=False)
class Epoch:
    """The scores of one epoch.

    Attributes:
        number: counted from 1.
        train: mean over the epoch's batches, each scored before its step, so that no extra pass is needed.
        val: scores of all validation rows after the epoch; None without validation rows.
        others: requested metrics of the validation rows, `(trials,)` each.
    """

    number: int
    train: Scores
    val: Scores | None
    others: Mapping[str, Floats]


def train(
    network: Network | Sequence[Network],
    trials: Sequence[Hyperparameters],
    state: State,
    rows: Rows,
    val: Rows | None = None,
    every: int = 1,
    metrics: "Mapping[str, Metric] | None" = None,
    kernel: Kernel = "numpy",
) -> Generator[Epoch, Booleans | None, None]:
    """Train while any trial continues; the caller stops training by closing the generator.

    Overflow is a result: the trial's loss is then not finite, and other trials are not affected.

    Args:
        network: one network for all trials, or one per trial, equal except for dropout rates.
        trials: hyperparameters of each trial, all of one `kind`.
        state: changed in place; only the rows of trials that continue are kept.
        rows: training rows; each trial draws their order every epoch with its own generator.
        val: validation rows, scored after each epoch.
        every: score and yield every n-th epoch only.
        metrics: metrics of the validation rows in addition to loss and accuracy, by name.
        kernel: "compiled" trains networks that the compiled kernel covers by it, faster and with other last bits.

    Yields:
        An epoch. The caller sends a mask `(trials,)` of the trials that continue, or None for all. With several sets of
        rows, the trials of all sets must continue or end together.

    Raises:
        EngineError: the trials cannot train together, or the rows do not fit the network.
        KernelUnavailable: the compiled kernel cannot be loaded.
    """
    trials = list(trials)
    networks = [network] * len(trials) if isinstance(network, Network) else list(network)
    if every < 1:
        raise EngineError(f"every must be at least 1, got {every}")
    _check(networks, trials, state, rows)
    bind = compiled_steps() if kernel == "compiled" and is_covered(networks[0]) else NumpySteps
    while trials:
        epochs = _epochs(bind(networks, trials, state, rows), trials, state, val, every, metrics or {})
        active = None
        while active is None or active.all():
            active = yield next(epochs)
        _keep(state, active)
        trials = [t for t, is_active in zip(trials, active, strict=True) if is_active]
        networks = [n for n, is_active in zip(networks, active, strict=True) if is_active]


def evaluate(network: Network, theta: Floats, rows: Rows) -> Scores:
    """Return loss and accuracy of each trial on all rows, `(trials,)` each."""
    return measure(network, theta, rows, {})[0]


def _epochs(
    steps: Steps,
    trials: Sequence[Hyperparameters],
    state: State,
    val: Rows | None,
    every: int,
    metrics: "Mapping[str, Metric]",
) -> Generator[Epoch, None, None]:
    """Yield the epochs of a fixed set of trials."""
    while True:
        measured = (state.epoch + 1) % every == 0
        scores = steps.train_epoch(*_phase(trials, state, steps.number), measured)
        state.epoch += 1
        if measured and scores is not None:
            val_scores, others = steps.measure(val, metrics) if val else (None, {})
            yield Epoch(state.epoch, scores, val_scores, others)


def _phase(trials: Sequence[Hyperparameters], state: State, steps: int) -> tuple[list[Optimizer], list[float], int]:
    """Return the optimizers of the next epoch, their learning rates, and the number of steps before the switch."""
    switch = trials[0].switch
    factors = [t.schedule.factor(state.epoch) for t in trials]
    if switch is None or state.epoch < switch.epoch:
        rates = [t.learning_rate * factor for t, factor in zip(trials, factors, strict=True)]
        return [t.optimizer for t in trials], rates, 0
    if state.epoch == switch.epoch:
        for slot in state.slots.values():
            slot[...] = 0
    later = [t.switch for t in trials if t.switch is not None]
    rates = [
        (t.learning_rate if s.learning_rate is None else s.learning_rate) * factor
        for t, s, factor in zip(trials, later, factors, strict=True)
    ]
    return [s.optimizer for s in later], rates, switch.epoch * steps


def _keep(state: State, rows: Booleans) -> None:
    """Keep some trials in place, so that the caller's state remains the state in training."""
    state.__dict__.update(state.take(rows).__dict__)


def _check(networks: Sequence[Network], trials: Sequence[Hyperparameters], state: State, rows: Rows) -> None:
    network = networks[0]
    if len(trials) != len(state) or state.theta.shape[1] != network.size:
        raise EngineError(
            f"the state must be ({len(trials)} trials, {network.size} parameters), got {state.theta.shape}"
        )
    if len(networks) != len(trials) or any(n is not network and n.shape_key != network.shape_key for n in networks):
        raise EngineError("trials that train together must have networks that differ only in dropout rates")
    if any(t.kind != trials[0].kind for t in trials):
        raise EngineError("trials that train together must have the same batch size and the same kinds of settings")
    check_rows(network, rows, state.theta)
    if len(trials) % rows.sets:
        raise EngineError(f"the number of trials must be a multiple of the {rows.sets} sets of rows, got {len(trials)}")
    for trial in trials:
        check_fit(network, trial, len(rows))


def check_fit(network: Network, trial: Hyperparameters, rows: int) -> None:
    """Check that a trial's hyperparameters fit its network.

    Args:
        rows: number of training rows.

    Raises:
        EngineError: batches too small for batch norm, label smoothing for a regression, or image augmentation
            without images.
    """
    batch = min(trial.batch_size, rows)
    if batch < network.least_rows:
        raise EngineError(f"batch_norm needs batches of at least {network.least_rows} rows, got a batch of {batch}")
    if trial.label_smoothing and not network.loss.classifies:
        raise EngineError(f"label_smoothing must be 0 for a regression, got {trial.label_smoothing}")
    for augmentation in trial.augment:
        augmentation.check(network.inputs)


def check_rows(network: Network, rows: Rows, theta: Floats) -> None:
    """Check that rows have the network's shapes and the dtype of its parameters.

    Raises:
        EngineError: they differ; the message names both shapes or both dtypes.
    """
    if not len(rows) or rows.x.shape[1:] != network.inputs or rows.y.shape[1:] != (network.outputs,):
        raise EngineError(
            f"rows must be {network.inputs} with ({network.outputs},) targets, "
            f"got {len(rows)} rows {rows.x.shape[1:]} with {rows.y.shape[1:]}"
        )
    if {rows.x.dtype, rows.y.dtype} != {theta.dtype}:
        raise EngineError(f"rows must be {theta.dtype} like the parameters, got {rows.x.dtype} and {rows.y.dtype}")
