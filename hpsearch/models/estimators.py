"""The engine's nets as scikit-learn estimators: `MLPClassifier` and `MLPRegressor`, for pipelines and searches.

    MLPClassifier(hidden=(64, 32), optimizer="momentum", learning_rate=0.1).fit(X, y).predict_proba(X)

What is fitted has names ending in `_`: `n_iter_` epochs were trained, with losses `loss_curve_` (means over batches as
they were seen, without l2) and, with early stopping, `validation_loss_curve_`; `network_`, `state_` and `scaler_` are
the engine's. Rows of float32 are trained in float32, all others in float64.
"""

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import islice
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_random_state, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from engine.activations import ACTIVATIONS
from engine.data.rows import Rows
from engine.data.scaling import SCALERS, Scaler, Standard
from engine.initializers import HeNormal, XavierNormal
from engine.layers import BatchNorm, Dense, Dropout, Layer
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.registry import nearest
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.stopping import EarlyStopping
from engine.training.trainer import train
from engine.types import DType, Floats, Integers
from hpsearch.config.instantiate import RECTIFIERS

DTYPES = (np.float64, np.float32)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _number(least: float, below: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, Real) and not isinstance(v, bool) and least <= float(v) < below


def _switch(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


TINY = float(np.nextafter(0, 1))  # the least number above 0
MENUS: dict[str, Mapping[str, Any]] = {
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
    "scale": {**SCALERS, "none": None},
}
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hidden": (
        lambda v: isinstance(v, tuple | list) and all(map(_whole, v)),
        "a tuple of whole numbers of at least 1, the units of each layer",
    ),
    "learning_rate": (_number(TINY, inf), "a number above 0"),
    "beta": (_number(0, 1), "a number of at least 0 and below 1"),
    "batch_size": (_whole, "a whole number of at least 1"),
    "l2": (_number(0, inf), "a number of at least 0"),
    "epochs": (_whole, "a whole number of at least 1"),
    "early_stopping": (_switch, "True or False"),
    "patience": (_whole, "a whole number of at least 1"),
    "min_delta": (_number(0, inf), "a number of at least 0"),
    "validation_fraction": (_number(TINY, 1), "a number above 0 and below 1"),
    "dropout": (_number(0, 1), "a number of at least 0 and below 1"),
    "batch_norm": (_switch, "True or False"),
    "warm_start": (_switch, "True or False"),
}


class _MLP(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is not typed
    """What the two have in common: everything but how targets are read and predictions written."""

    def __init__(
        self,
        hidden: tuple[int, ...] = (100,),
        *,
        activation: str = "relu",
        optimizer: str = "adam",
        learning_rate: float = 0.002,
        beta: float = 0.9,
        batch_size: int = 32,
        l2: float = 0.005,
        epochs: int = 100,
        early_stopping: bool = False,
        patience: int = 10,
        min_delta: float = 1e-4,
        validation_fraction: float = 0.1,
        dropout: float = 0.0,
        batch_norm: bool = False,
        scale: str = "standard",
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        """Settings, checked by `fit`.

        Args:
            hidden: units of each hidden layer; `()` is a linear model.
            activation: of the hidden layers: relu, tanh, sigmoid, elu, … (`engine.activations`).
            optimizer: sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam or adamw.
            learning_rate: α, above 0, the same in all epochs.
            beta: β of momentum and nesterov, v = βv + (1−β)g; the others do without.
            batch_size: rows a step.
            l2: λ of λ/2 · Σw² over the weights, beside the mean loss of a batch.
            epochs: that `fit` trains, at most when it stops early.
            early_stopping: sets rows aside and ends when their loss has not fallen; the best weights are kept.
            patience: epochs without an improvement by more than `min_delta` after which it ends.
            min_delta: the least that counts as an improvement.
            validation_fraction: of the rows, that are set aside; of each class as many as it has in proportion.
            dropout: rate after each hidden layer.
            batch_norm: in each hidden layer, before the activation.
            scale: of the inputs, as fitted on the rows to learn from: standard, minmax, robust, quantile or none.
            warm_start: `fit` goes on from where the last one ended: weights, optimizer and scaling stay.
            random_state: of weights, order of rows, dropout and rows set aside: a whole number, for the same bits each
                time, a RandomState or None.
        """
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.beta = beta
        self.batch_size = batch_size
        self.l2 = l2
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.min_delta = min_delta
        self.validation_fraction = validation_fraction
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.scale = scale
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on rows `X (rows, features)` with targets `y (rows,)`; a regression's may be `(rows, outputs)`.

        Raises:
            ValueError: a setting that cannot be, rows or targets that cannot be learned from, or a loss that became
                infinite; an estimator that goes on is left as it was.
        """
        self._check_settings()
        begin = not (self.warm_start and self._fitted())
        return self._learn(X, y, begin=begin, epochs=int(self.epochs), stop=bool(self.early_stopping))

    def _fitted(self) -> bool:
        return hasattr(self, "state_")

    def _check_settings(self) -> None:
        """All mistakes at once."""
        given = self.get_params()
        wrong = [f"{n} must be {words}, got {given[n]!r}" for n, (holds, words) in RULES.items() if not holds(given[n])]
        for name, menu in MENUS.items():
            if not (isinstance(given[name], str) and given[name] in menu):
                wrong.append(f"unknown {name} {given[name]!r}{nearest(str(given[name]), list(menu))}")
        if wrong:
            raise ValueError(f"{type(self).__name__}: {'; '.join(wrong)}")

    @abstractmethod
    def _read(self, y: Any, begin: bool, classes: Any) -> tuple[Any, Loss, int]:
        """Labels `(rows,)` or values `(rows, outputs)`, their loss, and how many outputs the network needs."""

    def _learn(self, X: Any, y: Any, *, begin: bool, epochs: int, stop: bool, classes: Any = None) -> Self:
        """Trains so many epochs, from new weights or on from those there are; sets rows aside if it may stop."""
        least = (2 if self.batch_norm else 1) + stop  # rows
        several = get_tags(self).target_tags.multi_output
        x, y = validate_data(
            self, X, y, reset=begin, dtype=DTYPES, ensure_min_samples=least, multi_output=several, y_numeric=several
        )
        if begin:
            self.__dict__.pop("state_", None)  # until all has gone well it is not fitted
        values, loss, outputs = self._read(y, begin, classes)
        network = Network((x.shape[1],), self._layers(outputs), loss)
        hyper = self._hyperparameters()
        generator = np.random.default_rng(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        kept, aside = slice(None), slice(0)
        if stop:
            count = min(max(1, round(self.validation_fraction * len(x))), len(x) - least + 1)
            kept, aside = _parts(values if loss.classifies else np.zeros(len(x)), count, generator)
        if begin:
            self.scaler_ = None if self.scale == "none" else SCALERS[self.scale].fit(x[kept])
            self.target_scaler_ = None if loss.classifies else Standard.fit(values[kept])
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
            state = State.start(network, hyper.slots, [generator], x.dtype)
        else:
            state = self._going_on(network, hyper)
        dtype = state.theta.dtype
        x, y = _scaled(self.scaler_, x, dtype), loss.targets(_scaled(self.target_scaler_, values), outputs, dtype)
        val = Rows(x[aside], y[aside]) if stop else None
        stopping = EarlyStopping(int(self.patience), float(self.min_delta))
        losses, val_losses = _train(network, hyper, state, Rows(x[kept], y[kept]), val, epochs, stopping)
        self.loss_curve_ = self.loss_curve_ + losses
        self.validation_loss_curve_ = self.validation_loss_curve_ + val_losses
        self.network_, self.state_, self.n_iter_ = network, state, state.epoch
        return self

    def _going_on(self, network: Network, hyper: Hyperparameters) -> State:
        """The state to go on from, a copy; another optimizer begins afresh."""
        if _without_dropout(network) != _without_dropout(self.network_):
            raise ValueError(
                f"{type(self).__name__}: to go on, hidden, activation, batch_norm and the columns of y must be those"
                f" of the first fit; set warm_start=False to begin anew"
            )
        state = copy.deepcopy(self.state_)
        if set(state.slots) != set(hyper.slots):
            state.slots, state.step = {name: np.zeros_like(state.theta) for name in hyper.slots}, 0
        return state

    def _layers(self, outputs: int) -> tuple[Layer, ...]:
        layers: list[Layer] = []
        for units in self.hidden:
            layers.append(Dense(int(units), HeNormal() if self.activation in RECTIFIERS else XavierNormal()))
            layers += [BatchNorm()] if self.batch_norm else []
            layers.append(ACTIVATIONS[self.activation]())
            layers += [Dropout(float(self.dropout))] if self.dropout else []
        return (*layers, Dense(outputs, XavierNormal()))

    def _hyperparameters(self) -> Hyperparameters:
        kind: Any = OPTIMIZERS[self.optimizer]
        takes_beta = "beta" in {field.name for field in dataclasses.fields(kind)}
        return Hyperparameters(
            optimizer=kind(beta=float(self.beta)) if takes_beta else kind(),
            learning_rate=float(self.learning_rate),
            batch_size=int(self.batch_size),
            l2=float(self.l2),
        )

    def _outputs(self, X: Any) -> Floats:
        """What the network makes of rows, `(rows, outputs)`: probabilities, or standardized values."""
        check_is_fitted(self, "state_")
        x = validate_data(self, X, reset=False, dtype=DTYPES)
        theta = self.state_.theta
        return np.ascontiguousarray(self.network_.predict(theta, _scaled(self.scaler_, x, theta.dtype))[0])


def _without_dropout(network: Network) -> Network:
    """What the weights are of: dropout has none, so it may be changed, added and left out."""
    return dataclasses.replace(network, layers=tuple(p for p in network.layers if not isinstance(p, Dropout)))


def _scaled(scaler: Scaler | None, values: Any, dtype: DType | None = None) -> Any:
    return np.asarray(scaler.apply(values) if scaler else values, dtype, order="C")


def _parts(labels: npt.NDArray[Any], count: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Which rows are learned from and which are set aside, `(rows,)` of bool each; of every label in proportion."""
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    aside = np.zeros(len(labels), dtype=np.bool_)
    aside[order[(2 * np.arange(count) + 1) * len(labels) // (2 * count)]] = True  # at equal distances
    return ~aside, aside


def _train(
    network: Network,
    hyper: Hyperparameters,
    state: State,
    rows: Rows,
    val: Rows | None,
    epochs: int,
    stopping: EarlyStopping,
) -> tuple[list[float], list[float]]:
    """Changes the state; with validation rows it ends with the best weights.

    Returns:
        The losses of each epoch, and those of the validation rows.
    """
    losses, val_losses = [], []
    state.best_theta, state.best_value[:], state.best_epoch[:] = state.theta.copy(), inf, state.epoch
    for epoch in islice(train(network, [hyper], state, rows, val), epochs):
        losses.append(float(epoch.train.loss[0]))
        if not (isfinite(losses[-1]) and np.isfinite(state.theta).all()):
            raise ValueError(
                f"epoch {epoch.number} diverged, its loss or weights are not finite: learning_rate must be lower,"
                f" got {hyper.learning_rate:g}"
            )
        if epoch.val is not None:
            val_losses.append(float(epoch.val.loss[0]))
            if not stopping.update(state, epoch.val.loss).all():
                break
    if val is not None:
        state.theta[...] = state.best_theta
    return losses, val_losses


@final
class MLPClassifier(ClassifierMixin, _MLP):  # type: ignore[misc]
    """A multilayer perceptron for classes: a sigmoid for two of them, a softmax for more.

    Attributes:
        classes_: `(classes,)`, sorted, in the order of the columns of `predict_proba`.
        n_features_in_, feature_names_in_: of the rows it was fitted on, the names where they had any.
    """

    classes_: npt.NDArray[Any]

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """One epoch more on these rows, scaled as those of the first call were; nothing is set aside.

        Args:
            classes: all there will ever be; must be given in the first call.

        Raises:
            ValueError: as `fit`; no classes in the first call, or others in a later one.
        """
        self._check_settings()
        if not self._fitted() and classes is None:
            raise ValueError("MLPClassifier: classes must be given in the first call of partial_fit, got None")
        return self._learn(X, y, begin=not self._fitted(), epochs=1, stop=False, classes=classes)

    def _read(self, y: Any, begin: bool, classes: Any) -> tuple[Integers, Loss, int]:
        check_classification_targets(y)
        known = np.unique(y if classes is None else classes) if begin else self.classes_
        if not np.array_equal(np.unique(known if classes is None else classes), known):
            raise ValueError(f"MLPClassifier: classes must stay {known.tolist()}, got {list(classes)}")
        if len(known) < 2:
            raise ValueError(f"MLPClassifier: y must have at least two classes, got 1 class, {known.tolist()}")
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise ValueError(f"MLPClassifier: y must be of the classes {known.tolist()}, got {unknown.tolist()}")
        self.classes_ = known
        labels: Integers = np.searchsorted(known, y)
        return (labels, Logistic(), 1) if len(known) == 2 else (labels, SoftmaxCrossEntropy(), len(known))

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities `(rows, classes)`, in the order of `classes_`."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row, `(rows,)`."""
        most = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most])


@final
class MLPRegressor(RegressorMixin, _MLP):  # type: ignore[misc]
    """A multilayer perceptron for values, by squared error; targets are standardized for training and back again.

    The losses of its curves are ½(a − y)² of standardized targets, summed over the outputs.

    Attributes:
        target_scaler_: the engine's scaling of the targets.
        n_features_in_, feature_names_in_: of the rows it was fitted on, the names where they had any.
    """

    target_scaler_: Standard

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any) -> Self:
        """One epoch more on these rows, scaled, like their targets, as those of the first call; nothing is set aside.

        Raises:
            ValueError: as `fit`.
        """
        self._check_settings()
        return self._learn(X, y, begin=not self._fitted(), epochs=1, stop=False)

    def _read(self, y: Any, begin: bool, classes: Any) -> tuple[Floats, Loss, int]:
        values: Floats = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        if begin:
            self._flat = values.ndim == 1
        columns = values.reshape(len(values), -1)
        return columns, SquaredError(), columns.shape[1]

    def predict(self, X: Any) -> Floats:
        """Values in the targets' own units, `(rows,)`, or `(rows, outputs)` where the targets were at first."""
        outputs = self._outputs(X)
        values: Floats = self.target_scaler_.invert(outputs)
        return values[:, 0] if self._flat else values
