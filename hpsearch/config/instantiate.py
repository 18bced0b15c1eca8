"""A point → the network and the hyperparameters that it stands for."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.activations import ACTIVATIONS
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS, HeNormal, Initializer, XavierNormal
from engine.layers import LAYERS, BatchNorm, Dense, Dropout, Layer
from engine.optimizers import OPTIMIZERS
from engine.registry import Registry
from engine.training.clipping import CLIPS
from engine.training.hyperparameters import Hyperparameters, Switch
from engine.training.schedules import SCHEDULES
from engine.types import EngineError
from hpsearch.config.spec import Choice, Hidden, Model, Train, setting
from hpsearch.core.space import Point

# What an entry of `layers` may be, and the activation of a hidden layer; maxout is a dense layer of its own.
PARTS: Registry[Layer] = Registry.joined("layer", LAYERS, ACTIVATIONS)
HIDDEN: Registry[Layer] = Registry.joined(
    "activation", ACTIVATIONS, {name: LAYERS[name] for name in ("prelu", "rrelu", "maxout")}
)
NESTED = ("layers", "shortcut")  # settings that are lists of layers
ALL_ROWS = 1 << 62  # a batch size that no data set reaches
DEEPEST = 1000  # hidden layers
# Their inputs lose half their variance, which He's weights make up for.
RECTIFIERS = {"relu", "leaky_relu", "prelu", "rrelu", "elu", "softplus"}
UNBOUNDED = ("identity", "relu", "softplus")  # what an output may be, for a regression
NORMS = (False, True, "none", "before", "after")


def hidden_layers(model: Model, point: Point) -> tuple[Layer, ...]:
    """All layers before the output layer.

    Raises:
        EngineError: units or settings that cannot be.
    """
    if model.layers is not None:
        return _parts(model.layers, model, point)
    layers: list[Layer] = []
    rate = setting(model.input_dropout, "input_dropout", point, None)
    if rate is not None:
        layers.append(Dropout(float(rate)))
    for number in range(_depth(model, point)):
        layers += _hidden(model.hidden[min(number, len(model.hidden) - 1)], model, point)
    return tuple(layers)


def _depth(model: Model, point: Point) -> int:
    """How many hidden layers there are."""
    depth = int(setting(model.depth, "depth", point, len(model.hidden))) if model.hidden else 0
    if not 0 <= depth <= DEEPEST:
        raise EngineError(f"depth must lie between 0 and {DEEPEST}, got {depth}")
    return depth


def output_activation(model: Model, point: Point) -> Layer:
    """What follows the last dense layer.

    Raises:
        EngineError: it is one that values cannot leave.
    """
    name = resolved(model.output.activation, ACTIVATIONS, point)
    if name not in UNBOUNDED:
        raise EngineError(f"an output must not be squashed: activation {' or '.join(UNBOUNDED)}, got {name}")
    activation: Layer = named(model.output.activation, ACTIVATIONS, point)
    return activation


def hyperparameters(training: Train, point: Point) -> Hyperparameters:
    """The hyperparameters at a point.

    Raises:
        EngineError: a value outside of what the engine takes.
    """

    def number(name: str, default: float) -> float:
        return float(setting(getattr(training, name), name, point, default) or 0.0)

    full = training.batch_size == "full"
    batch = "full" if full else setting(training.batch_size, "batch_size", point, 32)
    return Hyperparameters(
        optimizer=named(training.optimizer, OPTIMIZERS, point),
        learning_rate=number("learning_rate", 0.01),
        batch_size=ALL_ROWS if batch == "full" else int(batch or 0),
        l2=number("l2", 0.0),
        schedule=named(training.schedule, SCHEDULES, point, {"epochs": training.epochs}),
        l1=number("l1", 0.0),
        by_batch=training.penalty_divisor == "batch_size",
        clip=named(training.clip, CLIPS, point) if training.clip else None,
        label_smoothing=number("label_smoothing", 0.0),
        augment=tuple(named(choice, AUGMENTATIONS, point) for choice in training.augment),
        row_sampling=named(training.row_sampling, ROW_SAMPLINGS, point),
        switch=_switch(training, point),
    )


def _switch(training: Train, point: Point) -> Switch | None:
    switch = training.switch
    if switch is None:
        return None
    rate = None if switch.learning_rate is None else setting(switch.learning_rate, "", point, None)
    epoch = int(setting(switch.epoch, "", point, 1))
    if epoch >= training.epochs:
        raise EngineError(f"switch: epoch must be below the {training.epochs} epochs of a trial, got {epoch}")
    return Switch(
        epoch=epoch,
        optimizer=named(switch.optimizer, OPTIMIZERS, point),
        learning_rate=None if rate is None else float(rate),
    )


def _hidden(hidden: Hidden, model: Model, point: Point) -> list[Layer]:
    units = setting(hidden.units, "", point, 0)
    name = resolved(hidden.activation, HIDDEN, point)
    initializer = initializer_for(hidden.initializer, model, point, name)
    fill = {"initializer": initializer, "units": units}
    if name == "maxout":
        layers: list[Layer] = [named(hidden.activation, HIDDEN, point, fill)]
    else:
        layers = [Dense(int(units or 0), initializer), named(hidden.activation, HIDDEN, point)]
    norm = hidden.batch_norm
    if norm not in NORMS:
        norm = setting(norm, "batch_norm", point, False)
    if norm not in NORMS:
        raise EngineError(f"batch_norm must be true, false, before or after (the activation), got {norm!r}")
    if norm in (True, "before", "after"):
        layers.insert(len(layers) if norm == "after" else 1, BatchNorm())
    rate = setting(hidden.dropout, "dropout", point, None)
    return layers if rate is None else [*layers, Dropout(float(rate))]


def _hidden_at(number: int, hidden: Hidden, model: Model, point: Point) -> list[Layer]:
    """The same for an entry of the file, which is not there when the net is less deep."""
    return _hidden(hidden, model, point) if number < _depth(model, point) else []


def _parts(choices: Sequence[Choice], model: Model, point: Point) -> tuple[Layer, ...]:
    """The full form: each entry one layer."""
    names = [resolved(choice, PARTS, point) for choice in choices]
    return tuple(_part(choice, model, point, names[i + 1 :]) for i, choice in enumerate(choices))


def _part(choice: Choice, model: Model, point: Point, followers: Sequence[str]) -> Layer:
    activation = next((name for name in followers if name in ACTIVATIONS or name in RECTIFIERS), "identity")
    fill: dict[str, Any] = {"initializer": initializer_for(None, model, point, activation)}
    for key in NESTED:
        given = choice.settings.get(key)
        fill[key] = _parts([Choice.of(g) for g in given], model, point) if isinstance(given, list) else ()
    layer: Layer = named(choice, PARTS, point, fill)
    return layer


def initializer_for(given: Choice | None, model: Model, point: Point, activation: str) -> Initializer:
    """As given, else the model's, else He's before rectifiers and Xavier's before the others."""
    choice = given or model.initializer
    if choice is not None:
        initializer: Initializer = named(choice, INITIALIZERS, point)
        return initializer
    return HeNormal() if activation in RECTIFIERS else XavierNormal()


def builds(model: Model, train: Train, point: Point) -> Iterator[tuple[tuple[str | int, ...], Callable[[], object]]]:
    """What a study file asks the engine for at a point, piece by piece, each with where it is written."""
    yield ("model", "depth"), partial(_depth, model, point)
    for number, hidden in enumerate(model.hidden):
        yield ("model", "hidden", number), partial(_hidden_at, number, hidden, model, point)
    for number, choice in enumerate(model.layers or ()):
        yield ("model", "layers", number), partial(_part, choice, model, point, ())
    yield ("model",), partial(hidden_layers, model, point)
    yield ("model", "output"), partial(output_activation, model, point)
    yield ("model", "output"), partial(initializer_for, model.output.initializer, model, point, "identity")
    schedule = {"epochs": train.epochs}
    yield ("train", "optimizer"), partial(named, train.optimizer, OPTIMIZERS, point)
    yield ("train", "schedule"), partial(named, train.schedule, SCHEDULES, point, schedule)
    if train.clip:
        yield ("train", "clip"), partial(named, train.clip, CLIPS, point)
    for number, choice in enumerate(train.augment):
        yield ("train", "augment", number), partial(named, choice, AUGMENTATIONS, point)
    yield ("train", "switch"), partial(_switch, train, point)
    yield ("train",), partial(hyperparameters, train, point)


def resolved(choice: Choice, menu: Mapping[str, Any], point: Point) -> str:
    """The name on the menu: as written, or as a parameter gives it."""
    return choice.name if choice.name in menu else str(point[choice.name])


def named(choice: Choice, menu: Mapping[str, Any], point: Point, fill: Mapping[str, Any] | None = None) -> Any:
    """What a choice from a menu is at a point: each setting as given, else its parameter, else a default.

    Args:
        fill: defaults that go before those of the class.
    """
    kind: Any = menu[resolved(choice, menu, point)]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        given = choice.settings.get(field.name)
        default = (fill or {}).get(field.name, field.default)
        if field.name in NESTED:
            values[field.name] = default
        elif field.name == "initializer":
            values[field.name] = default if given is None else named(Choice.of(given), INITIALIZERS, point)
        elif given is None and (field.name in (fill or {}) or isinstance(default, tuple)):
            values[field.name] = default
        elif isinstance(given, list):
            values[field.name] = tuple(setting(item, "", point, 0) for item in given)  # type: ignore[arg-type]
        else:
            values[field.name] = setting(given, field.name, point, default)  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if value is not dataclasses.MISSING})
