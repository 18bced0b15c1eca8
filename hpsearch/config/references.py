"""References from settings to parameters: which settings a parameter can fill, and at which points it is active.

A setting has a value of its own, or refers to a parameter by name. Omitted settings use the parameter of the same name,
then a default.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from engine.activations import ACTIVATIONS, ALL_LAYERS, HIDDEN_ACTIVATIONS
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS
from engine.optimizers import OPTIMIZERS
from engine.registry import Registry
from engine.training.clipping import CLIPS
from engine.training.schedules import SCHEDULES
from hpsearch.config.document import KeyPath
from hpsearch.config.spec import AnyTraining, Choice, ModelSpec, Spec, Train
from hpsearch.config.spec.model import BATCH_NORM_PLACES, LAYER_LISTS
from hpsearch.core.space import Clause, Condition, Fixed, Parameter, Space, Value, Values, build_space
from hpsearch.data.preprocessing import IMPUTES, SCALES
from hpsearch.data.sources.base import Source

DERIVED = ("epochs",)  # settings that follow from another section when omitted, never from a parameter
Parameters = Mapping[str, Parameter | None]  # None for an invalid parameter


class Reference(NamedTuple):
    """A setting that takes a value or the name of a parameter.

    Attributes:
        value: the value in the file; None when omitted.
        name: the parameter that it uses when omitted; empty for none.
        needs: the kind of value.
        menu: the valid names, for needs "name".
        words: valid words; for needs "word" only these.
        kind: the type of the section's field, if each value of the parameter must meet its constraints; else None.
        required: it has no default.
        when: the condition under which the setting exists at a point.
        error: the error of the setting itself, if any; then only `path` is used besides, and, for an unknown key,
            `value` and, as `words`, the valid keys.
    """

    path: KeyPath
    value: Any = None
    name: str = ""
    needs: Literal["number", "whole number", "name", "word"] = "number"
    menu: Registry[Any] | None = None
    words: tuple[Any, ...] = ()
    kind: Any = None
    required: bool = False
    when: Condition = ()
    error: str | None = None


def search_space(spec: Spec) -> Space:
    """Return the space that a study searches, each axis with the conditions under which it is active."""
    return build_space(spec.parameters, conditions(spec.model, spec.train, spec.data, spec.parameters))


def conditions(
    model: ModelSpec, train: AnyTraining, data: Source | None, parameters: Parameters
) -> dict[str, tuple[Condition, ...]]:
    """Return parameter → conditions: it is active where any of them holds; without conditions it is always active."""
    by_parameter: dict[str, list[Condition]] = {}
    for reference in references(model, train, data, parameters):
        name = reference.name if reference.value is None else reference.value
        if isinstance(name, str) and name in parameters and not (reference.menu is not None and name in reference.menu):
            by_parameter.setdefault(name, []).append(reference.when)
    return {name: () if () in whens else tuple(whens) for name, whens in by_parameter.items()}


def preprocessing_values(spec: Spec) -> dict[str, tuple[Value, ...]]:
    """Return parameter → all its values, for the parameters that settings of preprocessing refer to."""
    values: dict[str, tuple[Value, ...]] = {}
    for reference in _data(spec.data) if spec.data else ():
        parameter = spec.parameters.get(reference.value) if isinstance(reference.value, str) else None
        if isinstance(parameter, Values) and reference.value not in (reference.menu or ()):
            values[reference.value] = parameter.values
        elif isinstance(parameter, Fixed) and reference.value not in (reference.menu or ()):
            values[reference.value] = (parameter.value,)
    return values


def _data(data: Source) -> Iterator[Reference]:
    """Yield the settings of preprocessing."""
    numbers = dict.fromkeys(("min_frequency", "max_categories", "train_rows"))
    for name, menu in {"scale": SCALES, "impute": IMPUTES, **numbers}.items():
        if hasattr(data, name):
            kind = None if menu else type(data).model_fields[name].rebuild_annotation()
            yield Reference(
                ("data", name), getattr(data, name), "", "name" if menu else "whole number", menu, kind=kind
            )


def references(
    model: ModelSpec | None, train: AnyTraining | None, data: Source | None, parameters: Parameters
) -> Iterator[Reference]:
    """Yield every setting of a study file that may refer to a parameter."""
    if data:
        yield from _data(data)
    if model and isinstance(train, Train | None):
        yield from _model(model, parameters)
    if isinstance(train, Train):
        for name in ("learning_rate", "l2", "l1", "label_smoothing"):
            rate = name == "learning_rate"
            yield Reference(("train", name), getattr(train, name), name, "number", required=rate)
        yield Reference(("train", "batch_size"), train.batch_size, "batch_size", "whole number", words=("full",))
        yield from _choice(("train", "optimizer"), train.optimizer, OPTIMIZERS, parameters)
        yield from _choice(("train", "schedule"), train.schedule, SCHEDULES, parameters)
        yield from _choice(("train", "row_sampling"), train.row_sampling, ROW_SAMPLINGS, parameters)
        if train.clip:
            yield from _choice(("train", "clip"), train.clip, CLIPS, parameters)
        for number, choice in enumerate(train.augment):
            yield from _choice(("train", "augment", number), choice, AUGMENTATIONS, parameters)
        if train.switch:
            path: KeyPath = ("train", "switch")
            yield Reference((*path, "epoch"), train.switch.epoch, "", "whole number")
            yield from _choice((*path, "optimizer"), train.switch.optimizer, OPTIMIZERS, parameters)
            if train.switch.learning_rate is not None:
                yield Reference((*path, "learning_rate"), train.switch.learning_rate, "", "number")


def _model(model: ModelSpec, parameters: Parameters) -> Iterator[Reference]:
    yield Reference(("model", "depth"), model.depth, "depth" if model.hidden else "", "whole number")
    if model.layers is None:
        yield Reference(("model", "input_dropout"), model.input_dropout, "input_dropout", "number")
    depth = "depth" if model.depth is None else model.depth
    fixed = parameters.get(depth) if isinstance(depth, str) else None
    most = fixed.value if isinstance(fixed, Fixed) else depth
    for number, hidden in enumerate(model.hidden):
        if isinstance(most, int) and number >= most:
            break  # never built
        path: KeyPath = ("model", "hidden", number)
        when = (Clause(depth, minimum=number + 1),) if isinstance(depth, str) and depth in parameters else ()
        yield Reference((*path, "units"), hidden.units, "", "whole number", when=when)
        yield Reference((*path, "dropout"), hidden.dropout, "dropout", "number", when=when)
        yield Reference(
            (*path, "batch_norm"), hidden.batch_norm, "batch_norm", "word", words=BATCH_NORM_PLACES, when=when
        )
        derived = ("units", "initializer")
        yield from _choice((*path, "activation"), hidden.activation, HIDDEN_ACTIVATIONS, parameters, when, derived)
        if hidden.initializer:
            yield from _choice((*path, "initializer"), hidden.initializer, INITIALIZERS, parameters, when)
    for number, choice in enumerate(model.layers or ()):
        yield from _choice(("model", "layers", number), choice, ALL_LAYERS, parameters)
    if model.initializer:
        yield from _choice(("model", "initializer"), model.initializer, INITIALIZERS, parameters)
    output: KeyPath = ("model", "output")
    yield from _choice((*output, "activation"), model.output.activation, ACTIVATIONS, parameters)
    if model.output.initializer:
        yield from _choice((*output, "initializer"), model.output.initializer, INITIALIZERS, parameters)


def _choice(
    path: KeyPath,
    choice: Choice,
    menu: Registry[Any],
    parameters: Parameters,
    when: Condition = (),
    derived: Sequence[str] = (),
) -> Iterator[Reference]:
    """Yield the reference of a choice itself, then those of the settings of all classes that it may select."""
    yield Reference(path, choice.name, "", "name", menu, when=when)
    searched = None if choice.name in menu else parameters.get(choice.name)
    candidates = searched.values if isinstance(searched, Values) else (choice.name,)
    names = [n for n in ((searched.value,) if isinstance(searched, Fixed) else candidates) if n in menu]
    fields = {f.name: f for name in names for f in dataclasses.fields(menu[str(name)]) if f.name not in derived}
    for key in choice.settings if names else ():
        if key not in fields:
            error = f"unknown key '{key}'"
            yield Reference((*path, key), choice.settings[key], words=tuple(fields), error=error)
    for key, field in fields.items():
        with_key = tuple(n for n in names if key in {f.name for f in dataclasses.fields(menu[str(n)])})
        condition = when if len(with_key) == len(names) else (*when, Clause(choice.name, one_of=with_key))
        yield from _setting((*path, key), choice.settings.get(key), field, parameters, condition)


def _setting(
    path: KeyPath, given: Any, field: "dataclasses.Field[Any]", parameters: Parameters, when: Condition
) -> Iterator[Reference]:
    """Yield the references of one setting of a class on a menu."""
    key = field.name
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if key in LAYER_LISTS:
        yield from _nested(path, given, required, parameters, when)
    elif key == "initializer":
        if given is not None:
            yield from _parsed(path, given, INITIALIZERS, parameters, when)
    elif field.type is bool:
        yield Reference(path, given, key, "word", words=(True, False), when=when)
    else:
        kinds = field_kinds(field.type)
        needs: Literal["number", "whole number"] = "number" if float in kinds else "whole number"
        listed = isinstance(given, list)
        if listed != (tuple in kinds) and (listed or not kinds - {tuple}) and given is not None:
            needed = f"single {needs}" if listed else f"list of {needs}s"
            yield Reference(path, error=f"must be a {needed}, got {given!r}")
            return
        for number, item in enumerate(given if isinstance(given, list) else ()):
            yield Reference((*path, number), item, "", needs, when=when)
        if not listed and (given is not None or kinds != {tuple}):
            yield Reference(path, given, "" if key in DERIVED else key, needs, required=required, when=when)


def _nested(path: KeyPath, given: Any, required: bool, parameters: Parameters, when: Condition) -> Iterator[Reference]:
    """Yield the references of a list of layers inside a layer."""
    if given is None and not required:
        return
    if not isinstance(given, list) or (required and not given):
        yield Reference(path, error="missing" if given is None else f"must be a list of layers, got {given!r}")
        return
    for number, item in enumerate(given):
        yield from _parsed((*path, number), item, ALL_LAYERS, parameters, when)


def _parsed(
    path: KeyPath, given: Any, menu: Registry[Any], parameters: Parameters, when: Condition
) -> Iterator[Reference]:
    try:
        choice = Choice.of(given)
    except ValidationError:
        yield Reference(path, error=f"must be a name, or a mapping with name and settings, got {given!r}")
        return
    yield from _choice(path, choice, menu, parameters, when)


def field_kinds(annotation: Any) -> set[Any]:
    """Return the plain types that a field takes: `{int}`, `{float}`, `{int, tuple}`, …"""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return {kind for part in typing.get_args(annotation) for kind in field_kinds(part)} - {type(None)}
    return {typing.get_origin(annotation) or annotation}
