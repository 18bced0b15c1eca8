"""scikit-learn estimators of the engine's networks: `MLPClassifier` and `MLPRegressor`, for pipelines and searches.

    MLPClassifier(hidden=(64, 32), optimizer="momentum", learning_rate=0.1).fit(X, y).predict_proba(X)

Fitted attributes end in `_`: `n_iter_` is the number of trained epochs; `loss_curve_` has the mean training loss of
each epoch, without l2; `validation_loss_curve_`, with early stopping, has the loss of the validation rows; `network_`,
`state_` and `scaler_` are engine objects. Rows of float32 are trained in float32, all others in float64.
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


def _is_positive_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _is_number(least: float, below: float) -> Callable[[Any], bool]:
    """Return a check for a real number in [least, below)."""
    return lambda v: isinstance(v, Real) and not isinstance(v, bool) and least <= float(v) < below


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


SMALLEST = float(np.nextafter(0, 1))  # the smallest number above 0
REGISTRIES: dict[str, Mapping[str, Any]] = {
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
    "scale": {**SCALERS, "none": None},
}
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hidden": (
        lambda v: isinstance(v, tuple | list) and all(map(_is_positive_int, v)),
        "a tuple of integers of at least 1, the units of each layer",
    ),
    "learning_rate": (_is_number(SMALLEST, inf), "a number above 0"),
    "beta": (_is_number(0, 1), "a number of at least 0 and below 1"),
    "batch_size": (_is_positive_int, "an integer of at least 1"),
    "l2": (_is_number(0, inf), "a number of at least 0"),
    "epochs": (_is_positive_int, "an integer of at least 1"),
    "early_stopping": (_is_bool, "True or False"),
    "patience": (_is_positive_int, "an integer of at least 1"),
    "min_delta": (_is_number(0, inf), "a number of at least 0"),
    "validation_fraction": (_is_number(SMALLEST, 1), "a number above 0 and below 1"),
    "dropout": (_is_number(0, 1), "a number of at least 0 and below 1"),
    "batch_norm": (_is_bool, "True or False"),
    "warm_start": (_is_bool, "True or False"),
}


class _MLP(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is not typed
    """The common part of both estimators: everything except the conversion of targets and predictions."""

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
        """Store the settings; `fit` checks them.

        Args:
            hidden: units of each hidden layer; `()` is a linear model.
            activation: of the hidden layers, from `engine.activations`: relu, tanh, sigmoid, elu, …
            optimizer: sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam or adamw.
            learning_rate: α, above 0, constant.
            beta: β of momentum and nesterov, v = βv + (1−β)g, and of rmsprop; other optimizers ignore it.
            batch_size: rows per step.
            l2: λ of λ/2 · Σw² over the weights, added to the mean loss of a batch.
            epochs: number of epochs; the maximum with early stopping.
            early_stopping: hold out validation rows, stop when their loss no longer improves, keep the best weights.
            patience: number of epochs without an improvement by more than `min_delta` after which training stops.
            min_delta: smallest improvement that counts.
            validation_fraction: fraction of the rows held out for validation, stratified by class.
            dropout: rate after each hidden layer.
            batch_norm: use batch normalization in each hidden layer, before the activation.
            scale: scaling of the inputs, fitted on the training rows: standard, minmax, robust, quantile or none.
            warm_start: `fit` continues from the previous fit: weights, optimizer state and scaling are kept.
            random_state: seed of weights, row order, dropout and validation rows: an integer for reproducible results,
                a RandomState, or None.
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
        """Train on rows `X (rows, features)` and targets `y (rows,)`; for a regression also `(rows, outputs)`.

        Raises:
            ValueError: settings, rows or targets are invalid, or training diverged; with a warm start, the estimator
                keeps its previous state.
        """
        self._check_settings()
        is_new = not (self.warm_start and self._fitted())
        return self._train(X, y, is_new=is_new, epochs=int(self.epochs), stop=bool(self.early_stopping))

    def _fitted(self) -> bool:
        return hasattr(self, "state_")

    def _check_settings(self) -> None:
        """Raise ValueError with all invalid settings."""
        settings = self.get_params()
        wrong = [
            f"{n} must be {words}, got {settings[n]!r}" for n, (holds, words) in RULES.items() if not holds(settings[n])
        ]
        for name, menu in REGISTRIES.items():
            if not (isinstance(settings[name], str) and settings[name] in menu):
                wrong.append(f"unknown {name} {settings[name]!r}{nearest(str(settings[name]), list(menu))}")
        if wrong:
            raise ValueError(f"{type(self).__name__}: {'; '.join(wrong)}")

    @abstractmethod
    def _convert_targets(self, y: Any, is_new: bool, classes: Any) -> tuple[Any, Loss, int]:
        """Return labels `(rows,)` or values `(rows, outputs)`, their loss, and the number of outputs."""

    def _train(self, X: Any, y: Any, *, is_new: bool, epochs: int, stop: bool, classes: Any = None) -> Self:
        """Train from new weights or from the current ones; hold out validation rows if `stop` is True."""
        least = (2 if self.batch_norm else 1) + stop  # rows
        several = get_tags(self).target_tags.multi_output
        x, y = validate_data(
            self, X, y, reset=is_new, dtype=DTYPES, ensure_min_samples=least, multi_output=several, y_numeric=several
        )
        if is_new:
            self.__dict__.pop("state_", None)  # not fitted until training succeeds
        values, loss, outputs = self._convert_targets(y, is_new, classes)
        network = Network((x.shape[1],), self._layers(outputs), loss)
        hyper = self._hyperparameters()
        generator = np.random.default_rng(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        training, held_out = slice(None), slice(0)
        if stop:
            count = min(max(1, round(self.validation_fraction * len(x))), len(x) - least + 1)
            training, held_out = _split_rows(values if loss.classifies else np.zeros(len(x)), count, generator)
        if is_new:
            self.scaler_ = None if self.scale == "none" else SCALERS[self.scale].fit(x[training])
            self.target_scaler_ = None if loss.classifies else Standard.fit(values[training])
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
            state = State.start(network, hyper.slots, [generator], x.dtype)
        else:
            state = self._continued_state(network, hyper)
        dtype = state.theta.dtype
        x, y = _scaled(self.scaler_, x, dtype), loss.targets(_scaled(self.target_scaler_, values), outputs, dtype)
        val = Rows(x[held_out], y[held_out]) if stop else None
        stopping = EarlyStopping(int(self.patience), float(self.min_delta))
        losses, val_losses = _run_epochs(network, hyper, state, Rows(x[training], y[training]), val, epochs, stopping)
        self.loss_curve_ = self.loss_curve_ + losses
        self.validation_loss_curve_ = self.validation_loss_curve_ + val_losses
        self.network_, self.state_, self.n_iter_ = network, state, state.epoch
        return self

    def _continued_state(self, network: Network, hyper: Hyperparameters) -> State:
        """Return a copy of the current state; the optimizer state is reset if the optimizer differs."""
        if _without_dropout(network) != _without_dropout(self.network_):
            raise ValueError(
                f"{type(self).__name__}: a warm start needs hidden, activation, batch_norm and the columns of y of the"
                f" first fit; set warm_start=False to start from new weights"
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
        """Return probabilities or standardized values, `(rows, outputs)`."""
        check_is_fitted(self, "state_")
        x = validate_data(self, X, reset=False, dtype=DTYPES)
        theta = self.state_.theta
        return np.ascontiguousarray(self.network_.predict(theta, _scaled(self.scaler_, x, theta.dtype))[0])


def _without_dropout(network: Network) -> Network:
    """Return the network without its dropout layers, which have no weights and may change between fits."""
    return dataclasses.replace(network, layers=tuple(p for p in network.layers if not isinstance(p, Dropout)))


def _scaled(scaler: Scaler | None, values: Any, dtype: DType | None = None) -> Any:
    return np.asarray(scaler.apply(values) if scaler else values, dtype, order="C")


def _split_rows(labels: npt.NDArray[Any], count: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Return masks of training rows and of `count` held-out rows, `(rows,)` each, stratified by label."""
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    held_out = np.zeros(len(labels), dtype=np.bool_)
    held_out[order[(2 * np.arange(count) + 1) * len(labels) // (2 * count)]] = True  # evenly spaced
    return ~held_out, held_out


def _run_epochs(
    network: Network,
    hyper: Hyperparameters,
    state: State,
    rows: Rows,
    val: Rows | None,
    epochs: int,
    stopping: EarlyStopping,
) -> tuple[list[float], list[float]]:
    """Train the state in place and return training and validation losses; with `val`, restore the best weights."""
    losses, val_losses = [], []
    state.best_theta, state.best_value[:], state.best_epoch[:] = state.theta.copy(), inf, state.epoch
    for epoch in islice(train(network, [hyper], state, rows, val), epochs):
        losses.append(float(epoch.train.loss[0]))
        if not (isfinite(losses[-1]) and np.isfinite(state.theta).all()):
            raise ValueError(
                f"epoch {epoch.number} diverged: its loss or weights are not finite; learning_rate must be lower,"
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
    """A multilayer perceptron classifier: a sigmoid output for two classes, softmax for more.

    Attributes:
        classes_: `(classes,)`, sorted, in the order of the columns of `predict_proba`.
        n_features_in_, feature_names_in_: number and names of the features; names only if the training rows had them.
    """

    classes_: npt.NDArray[Any]

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train for one epoch on these rows, with the scaling of the first call and without validation rows.

        Args:
            classes: all classes; required in the first call.

        Raises:
            ValueError: as for `fit`; also if `classes` is missing in the first call or differs in a later call.
        """
        self._check_settings()
        if not self._fitted() and classes is None:
            raise ValueError("MLPClassifier: classes must be given in the first call of partial_fit, got None")
        return self._train(X, y, is_new=not self._fitted(), epochs=1, stop=False, classes=classes)

    def _convert_targets(self, y: Any, is_new: bool, classes: Any) -> tuple[Integers, Loss, int]:
        check_classification_targets(y)
        known = np.unique(y if classes is None else classes) if is_new else self.classes_
        if not np.array_equal(np.unique(known if classes is None else classes), known):
            raise ValueError(
                f"MLPClassifier: classes must be those of the first call, {known.tolist()}, got {list(classes)}"
            )
        if len(known) < 2:
            raise ValueError(f"MLPClassifier: y must have at least two classes, got 1 class, {known.tolist()}")
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise ValueError(f"MLPClassifier: y must have only the classes {known.tolist()}, got {unknown.tolist()}")
        self.classes_ = known
        labels: Integers = np.searchsorted(known, y)
        return (labels, Logistic(), 1) if len(known) == 2 else (labels, SoftmaxCrossEntropy(), len(known))

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities `(rows, classes)`, in the order of `classes_`."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, `(rows,)`."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])


@final
class MLPRegressor(RegressorMixin, _MLP):  # type: ignore[misc]
    """A multilayer perceptron regressor with squared error; targets are standardized for training.

    The loss curves are ½(a − y)² of standardized targets, summed over the outputs.

    Attributes:
        target_scaler_: scaler of the targets, an engine object.
        n_features_in_, feature_names_in_: number and names of the features; names only if the training rows had them.
    """

    target_scaler_: Standard

    def __sklearn_tags__(self) -> Any:
        tags = RegressorMixin.__sklearn_tags__(self)
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one epoch on these rows, with the scalings of the first call and without validation rows.

        Raises:
            ValueError: as for `fit`.
        """
        self._check_settings()
        return self._train(X, y, is_new=not self._fitted(), epochs=1, stop=False)

    def _convert_targets(self, y: Any, is_new: bool, classes: Any) -> tuple[Floats, Loss, int]:
        values: Floats = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        if is_new:
            self._flat = values.ndim == 1
        columns = values.reshape(len(values), -1)
        return columns, SquaredError(), columns.shape[1]

    def predict(self, X: Any) -> Floats:
        """Return values in the units of the targets, `(rows,)` or `(rows, outputs)` as in the first fit."""
        outputs = self._outputs(X)
        values: Floats = self.target_scaler_.invert(outputs)
        return values[:, 0] if self._flat else values
