"""Instantiate a spec at a point: the layers of the network and the hyperparameters of training."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.activations import ACTIVATIONS, ALL_LAYERS, HIDDEN_ACTIVATIONS
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS, HeNormal, Initializer, XavierNormal
from engine.layers import BatchNorm, Dense, Dropout, Layer
from engine.optimizers import OPTIMIZERS
from engine.training.clipping import CLIPS
from engine.training.hyperparameters import Hyperparameters, Switch
from engine.training.schedules import SCHEDULES
from engine.types import EngineError
from hpsearch.config.document import KeyPath
from hpsearch.config.spec import Choice, Hidden, ModelSpec, Setting, Train
from hpsearch.config.spec.model import BATCH_NORM_PLACES, LAYER_LISTS
from hpsearch.core.space import Point

ALL_ROWS = 1 << 62  # batch size of a full batch: no data set has this many rows
MAX_HIDDEN_LAYERS = 1000
# Activations that halve the variance, for which He initialization compensates.
RECTIFIERS = {"relu", "leaky_relu", "prelu", "rrelu", "elu", "softplus"}
UNBOUNDED = ("identity", "relu", "softplus")  # activations allowed for the output layer


def hidden_layers(model: ModelSpec, point: Point) -> tuple[Layer, ...]:
    """Return all layers before the output layer.

    Raises:
        EngineError: a setting is outside its range.
    """
    if model.layers is not None:
        return _parts(model.layers, model, point)
    layers: list[Layer] = []
    rate = resolve_setting(model.input_dropout, "input_dropout", point, None)
    if rate is not None:
        layers.append(Dropout(float(rate)))
    for number in range(_depth(model, point)):
        layers += _hidden(model.hidden[min(number, len(model.hidden) - 1)], model, point)
    return tuple(layers)


def _depth(model: ModelSpec, point: Point) -> int:
    """Return the number of hidden layers."""
    depth = int(resolve_setting(model.depth, "depth", point, len(model.hidden))) if model.hidden else 0
    if not 0 <= depth <= MAX_HIDDEN_LAYERS:
        raise EngineError(f"depth must lie between 0 and {MAX_HIDDEN_LAYERS}, got {depth}")
    return depth


def output_activation(model: ModelSpec, point: Point) -> Layer:
    """Return the activation after the last dense layer.

    Raises:
        EngineError: the activation bounds its values.
    """
    name = resolve_name(model.output.activation, ACTIVATIONS, point)
    if name not in UNBOUNDED:
        raise EngineError(
            f"the activation of the output must be {' or '.join(UNBOUNDED)}, which do not bound it, got {name}"
        )
    activation: Layer = instantiate_choice(model.output.activation, ACTIVATIONS, point)
    return activation


def hyperparameters(train: Train, point: Point) -> Hyperparameters:
    """Return the hyperparameters of training at a point.

    Raises:
        EngineError: a value is outside its range.
    """

    def number(name: str, default: float) -> float:
        return float(resolve_setting(getattr(train, name), name, point, default) or 0.0)

    full = train.batch_size == "full"
    batch = "full" if full else resolve_setting(train.batch_size, "batch_size", point, 32)
    return Hyperparameters(
        optimizer=instantiate_choice(train.optimizer, OPTIMIZERS, point),
        learning_rate=number("learning_rate", 0.01),
        batch_size=ALL_ROWS if batch == "full" else int(batch or 0),
        l2=number("l2", 0.0),
        schedule=instantiate_choice(train.schedule, SCHEDULES, point, {"epochs": train.epochs}),
        l1=number("l1", 0.0),
        divide_by_batch=train.penalty_divisor == "batch_size",
        clip=instantiate_choice(train.clip, CLIPS, point) if train.clip else None,
        label_smoothing=number("label_smoothing", 0.0),
        augment=tuple(instantiate_choice(choice, AUGMENTATIONS, point) for choice in train.augment),
        row_sampling=instantiate_choice(train.row_sampling, ROW_SAMPLINGS, point),
        switch=_switch(train, point),
    )


def _switch(train: Train, point: Point) -> Switch | None:
    switch = train.switch
    if switch is None:
        return None
    rate = None if switch.learning_rate is None else resolve_setting(switch.learning_rate, "", point, None)
    epoch = int(resolve_setting(switch.epoch, "", point, 1))
    if epoch >= train.epochs:
        raise EngineError(f"switch: epoch must be below the {train.epochs} epochs of a trial, got {epoch}")
    return Switch(
        epoch=epoch,
        optimizer=instantiate_choice(switch.optimizer, OPTIMIZERS, point),
        learning_rate=None if rate is None else float(rate),
    )


def _hidden(hidden: Hidden, model: ModelSpec, point: Point) -> list[Layer]:
    units = resolve_setting(hidden.units, "", point, 0)
    name = resolve_name(hidden.activation, HIDDEN_ACTIVATIONS, point)
    initializer = initializer_for(hidden.initializer, model, point, name)
    fill = {"initializer": initializer, "units": units}
    if name == "maxout":
        layers: list[Layer] = [instantiate_choice(hidden.activation, HIDDEN_ACTIVATIONS, point, fill)]
    else:
        layers = [Dense(int(units or 0), initializer), instantiate_choice(hidden.activation, HIDDEN_ACTIVATIONS, point)]
    norm = hidden.batch_norm
    if norm not in BATCH_NORM_PLACES:
        norm = resolve_setting(norm, "batch_norm", point, False)
    if norm not in BATCH_NORM_PLACES:
        raise EngineError(f"batch_norm must be true, false, before or after (the activation), got {norm!r}")
    if norm in (True, "before", "after"):
        layers.insert(len(layers) if norm == "after" else 1, BatchNorm())
    rate = resolve_setting(hidden.dropout, "dropout", point, None)
    return layers if rate is None else [*layers, Dropout(float(rate))]


def _hidden_at(number: int, hidden: Hidden, model: ModelSpec, point: Point) -> list[Layer]:
    """Return the layers of an entry of `hidden`; none if the network has fewer hidden layers."""
    return _hidden(hidden, model, point) if number < _depth(model, point) else []


def _parts(choices: Sequence[Choice], model: ModelSpec, point: Point) -> tuple[Layer, ...]:
    """Return one layer for each entry of `layers`."""
    names = [resolve_name(choice, ALL_LAYERS, point) for choice in choices]
    return tuple(_part(choice, model, point, names[i + 1 :]) for i, choice in enumerate(choices))


def _part(choice: Choice, model: ModelSpec, point: Point, followers: Sequence[str]) -> Layer:
    activation = next((name for name in followers if name in ACTIVATIONS or name in RECTIFIERS), "identity")
    fill: dict[str, Any] = {"initializer": initializer_for(None, model, point, activation)}
    for key in LAYER_LISTS:
        given = choice.settings.get(key)
        fill[key] = _parts([Choice.of(g) for g in given], model, point) if isinstance(given, list) else ()
    layer: Layer = instantiate_choice(choice, ALL_LAYERS, point, fill)
    return layer


def initializer_for(own: Choice | None, model: ModelSpec, point: Point, activation: str) -> Initializer:
    """Return a layer's initializer.

    Args:
        own: the layer's setting. Default: `model.initializer`, else He normal before rectifiers and Xavier normal
            before other activations.
        activation: name of the activation that follows.
    """
    choice = own or model.initializer
    if choice is not None:
        initializer: Initializer = instantiate_choice(choice, INITIALIZERS, point)
        return initializer
    return HeNormal() if activation in RECTIFIERS else XavierNormal()


def builders(model: ModelSpec, train: Train, point: Point) -> Iterator[tuple[KeyPath, Callable[[], object]]]:
    """Yield (path in the study file, function that builds this part) for each part at a point."""
    yield ("model", "depth"), partial(_depth, model, point)
    for number, hidden in enumerate(model.hidden):
        yield ("model", "hidden", number), partial(_hidden_at, number, hidden, model, point)
    for number, choice in enumerate(model.layers or ()):
        yield ("model", "layers", number), partial(_part, choice, model, point, ())
    yield ("model",), partial(hidden_layers, model, point)
    yield ("model", "output"), partial(output_activation, model, point)
    yield ("model", "output"), partial(initializer_for, model.output.initializer, model, point, "identity")
    schedule = {"epochs": train.epochs}
    yield ("train", "optimizer"), partial(instantiate_choice, train.optimizer, OPTIMIZERS, point)
    yield ("train", "schedule"), partial(instantiate_choice, train.schedule, SCHEDULES, point, schedule)
    if train.clip:
        yield ("train", "clip"), partial(instantiate_choice, train.clip, CLIPS, point)
    for number, choice in enumerate(train.augment):
        yield ("train", "augment", number), partial(instantiate_choice, choice, AUGMENTATIONS, point)
    yield ("train", "switch"), partial(_switch, train, point)
    yield ("train",), partial(hyperparameters, train, point)


def resolve_name(choice: Choice, menu: Mapping[str, Any], point: Point) -> str:
    """Return the name in the menu; `choice.name` may be a parameter whose value at the point is the name."""
    return choice.name if choice.name in menu else str(point[choice.name])


def instantiate_choice(
    choice: Choice, menu: Mapping[str, Any], point: Point, fill: Mapping[str, Any] | None = None
) -> Any:
    """Instantiate a choice from a menu; omitted settings use the parameter of the same name, then a default.

    Args:
        fill: defaults that take precedence over those of the class.
    """
    kind: Any = menu[resolve_name(choice, menu, point)]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        given = choice.settings.get(field.name)
        default = (fill or {}).get(field.name, field.default)
        if field.name in LAYER_LISTS:
            values[field.name] = default
        elif field.name == "initializer":
            values[field.name] = default if given is None else instantiate_choice(Choice.of(given), INITIALIZERS, point)
        elif given is None and (field.name in (fill or {}) or isinstance(default, tuple)):
            values[field.name] = default
        elif isinstance(given, list):
            values[field.name] = tuple(resolve_setting(item, "", point, 0) for item in given)  # type: ignore[arg-type]
        else:
            values[field.name] = resolve_setting(given, field.name, point, default)  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if value is not dataclasses.MISSING})


def resolve_setting(value: Setting | None, name: str, point: Point, default: Any) -> Any:
    """Return a setting at a point: the number, or the value of the parameter that it names.

    Omitted settings use the parameter `name`, then the default.
    """
    if value is None:
        return point.get(name, default)
    return point[value] if isinstance(value, str) and value in point else value
