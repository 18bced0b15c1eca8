"""Steps by the compiled kernel: one call trains an epoch of one trial."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from engine.data.augmentation import augment
from engine.data.rows import Batches, Rows
from engine.kernels.choice import compile_network
from engine.kernels.kernel import kernel
from engine.kernels.program import Code
from engine.kernels.rules import ClipKind, StepSettings
from engine.network import Network
from engine.optimizers import Optimizer
from engine.training.accumulator import MetricAccumulator, Scores
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.types import Floats, Integers

if TYPE_CHECKING:
    from engine.metrics import Metric

CHUNK = 256  # rows at a time at inference
BITS = 1 << 22  # bytes of random bits drawn at a time


@final
class CompiledSteps:
    """See `engine.training.steps.Steps`. The trials train one after another, in the same memory."""

    def __init__(
        self, networks: Sequence[Network], trials: Sequence[Hyperparameters], state: State, rows: Rows
    ) -> None:
        dtype = state.theta.dtype
        self._network, self._trials, self._state, self._rows = networks[0], trials, state, rows
        self._kernel = kernel(dtype)
        self._codes = [compile_network(network) for network in networks]
        self._settings = [_settings(trial, self._network.outputs) for trial in trials]
        self._batch = min(trials[0].batch_size, len(rows))
        whole, rest = divmod(len(rows), self._batch)
        left = rest if rest >= self._network.least_rows else 0
        self._used, self.number = whole * self._batch + left, whole + bool(left)
        own = [rows.of(t) for t in range(len(trials))]
        self._each = [Rows(np.ascontiguousarray(r.x), np.ascontiguousarray(r.y)) for r in own]
        self._unused = np.zeros(0, dtype)  # in place of a slot
        values, gradients = self._codes[0].widths
        self._memory = (
            np.zeros(self._batch * values, dtype),
            np.zeros(self._batch * gradients, dtype),
            np.zeros(state.theta.shape[1], dtype),
        )
        self._scoring = np.zeros(CHUNK * values, dtype), np.zeros(CHUNK * self._network.outputs, dtype)

    def train_epoch(
        self, optimizers: Sequence[Optimizer], rates: Sequence[float], first: int, measured: bool
    ) -> Scores | None:
        state, rows = self._state, self._rows
        losses, correct = np.zeros(len(rates)), np.zeros(len(rates))
        for t, (optimizer, rate) in enumerate(zip(optimizers, rates, strict=True)):
            losses[t], correct[t] = self._train_trial(t, optimizer, rate, state.step - first)
        state.step += self.number
        if not measured:
            return None
        return self._scores(rows, self._used, losses, correct)

    def measure(self, rows: Rows, metrics: "Mapping[str, Metric]") -> tuple[Scores, dict[str, Floats]]:
        loss, theta = self._network.loss, self._state.theta
        losses, correct = np.zeros(len(theta)), np.zeros(len(theta))
        others: dict[str, Floats] = {name: np.zeros(len(theta)) for name in metrics}
        logits = np.zeros((len(rows) if metrics else 0, self._network.outputs), theta.dtype)
        for t, parameters in enumerate(theta):
            own = rows.of(t)
            x, y = np.ascontiguousarray(own.x), np.ascontiguousarray(own.y)
            losses[t], correct[t] = self._kernel.score_rows(
                self._codes[t], int(loss.kind), parameters, x, y, logits, CHUNK, self._scoring
            )
            with np.errstate(all="ignore"):
                predicted = loss.predict(logits) if metrics else logits
            for name, metric in metrics.items():
                others[name][t] = metric.of(predicted, y)
        return self._scores(rows, len(rows), losses, correct), others

    def _scores(self, rows: Rows, count: int, losses: Floats, correct: Floats) -> Scores:
        """Return the mean scores of `count` rows from their sums."""
        if self._network.loss.classifies:
            return Scores(losses / count, correct / count)
        accumulator = MetricAccumulator(
            self._network.loss, len(losses), rows.y.reshape(rows.sets, -1, self._network.outputs)
        )
        accumulator.add_sums(count, losses)
        return accumulator.scores()

    def _train_trial(self, t: int, optimizer: Optimizer, rate: float, steps: int) -> tuple[float, float]:
        """Train an epoch of one trial; return the sum of the losses and the number of correct rows.

        Args:
            steps: number of steps before the first.
        """
        code, rule, state = self._codes[t], optimizer.update_rule(rate), self._state
        numbers = np.array([*rule.numbers, 0.0, 0.0, 0.0][:4])
        total_loss, total_correct = 0.0, 0.0
        for x, y, order in self._parts(t):
            bits = _draw(code, len(order), self._batch, state.generators[t])
            loss, correct = self._kernel.train_steps(
                code,
                self._settings[t],
                (int(rule.kind), numbers, float(rule.kept), steps),
                int(self._network.loss.kind),
                state.theta[t],
                self._slots(t, optimizer.slots),
                x,
                y,
                order,
                self._batch,
                bits,
                self._memory,
            )
            steps += -(-len(order) // self._batch)
            total_loss += loss
            total_correct += correct
        return total_loss, total_correct

    def _slots(self, t: int, names: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Return the two slots of a trial's optimizer, each `(parameters,)`; empty in place of one that it has not."""
        first, second = [*(self._state.slots[name][t] for name in names), self._unused, self._unused][:2]
        return first, second

    def _parts(self, t: int) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.int64]]]:
        """Yield inputs, targets and the numbers of rows to train on, for some steps at a time.

        The random numbers are drawn in the order of the NumPy steps.
        """
        common, rows, generator = self._trials[0], self._each[t], self._state.generators[t]
        if common.augment:
            batches = Batches(rows, 1, self._batch, common.row_sampling, self._network.least_rows)
            for block in batches.epoch([generator]):
                augment(common.augment, block.x, [generator])
                x, y = (a.reshape(-1, a.shape[-1]) for a in (block.x, block.y))
                yield x, np.ascontiguousarray(y), np.arange(len(x))
            return
        order = common.row_sampling.order(rows, generator)[: self._used].astype(np.int64, copy=False)
        words = _words(self._codes[t], self._batch)
        size = self._batch * max(1, BITS // (8 * words)) if words else len(order)
        for start in range(0, len(order), size):
            yield rows.x, rows.y, order[start : start + size]


def _draw(code: Code, rows: int, batch: int, generator: np.random.Generator) -> Integers:
    """Draw the random bits of all steps, uint16; each layer draws whole words of 64 bits for each batch."""
    words = rows // batch * _words(code, batch) + _words(code, rows % batch)
    return np.asarray(generator.bit_generator.random_raw(words)).view(np.uint16)


def _words(code: Code, rows: int) -> int:
    """Return the number of random words of a step."""
    return sum(-(-rows * int(width) // 4) for width in code.random)


def _settings(trial: Hyperparameters, outputs: int) -> StepSettings:
    clip, s = trial.clip, trial.label_smoothing
    return StepSettings(
        l2=float(trial.l2),
        l1=float(trial.l1),
        divide_by_batch=trial.divide_by_batch,
        clip=int(clip.kind if clip else ClipKind.NONE),
        limit=float(clip.limit) if clip else 0.0,
        keep=1.0 - s,
        share=s / max(outputs, 2),
    )
