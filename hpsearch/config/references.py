"""Where a study file needs a number or a name, and at which points: so which parameters count, and when."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.activations import ACTIVATIONS
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS
from engine.optimizers import OPTIMIZERS
from engine.registry import Registry, nearest
from engine.training.clipping import CLIPS
from engine.training.schedules import SCHEDULES
from hpsearch.config.document import Path_
from hpsearch.config.instantiate import HIDDEN, NESTED, PARTS
from hpsearch.config.spec import Choice, Model, Spec, Train
from hpsearch.core.space import Clause, Condition, Fixed, Parameter, Space, Value, Values, build_space
from hpsearch.data.preprocessing import IMPUTES, SCALES
from hpsearch.data.sources import Source

FILLED = ("epochs",)  # settings that follow from another one when they are not given
Parameters = Mapping[str, Parameter | None]  # None: unsound, but its name is known


class Use(NamedTuple):
    """A place where a number or a name is needed, or the parameter that gives it.

    Attributes:
        value: None where nothing is given.
        name: the parameter that gives it when nothing is given.
        needs: "number", "whole number", "name", "switch", or what is wrong already.
        menu: of names.
        words: what may stand there beside numbers and parameters.
        kind: what values must be valid as, where only their section says.
        required: it has no default.
        when: what must hold at a point for this place to exist there.
    """

    path: Path_
    value: Any
    name: str
    needs: str
    menu: Registry[Any] | None = None
    words: tuple[Any, ...] = ()
    kind: Any = None
    required: bool = False
    when: Condition = ()


def search_space(spec: Spec) -> Space:
    """The space that a study searches, each axis with the condition under which it counts."""
    return build_space(spec.parameters, conditions(spec.model, spec.train, spec.data, spec.parameters))


def conditions(
    model: Model, train: Train, data: Source | None, parameters: Parameters
) -> dict[str, tuple[Condition, ...]]:
    """Parameter → when it counts: where any of these holds, or always when there are none."""
    found: dict[str, list[Condition]] = {}
    for use in uses(model, train, data, parameters):
        name = use.name if use.value is None else use.value
        if isinstance(name, str) and name in parameters and not (use.menu is not None and name in use.menu):
            found.setdefault(name, []).append(use.when)
    return {name: () if () in some else tuple(some) for name, some in found.items()}


def preprocessing_values(spec: Spec) -> dict[str, tuple[Value, ...]]:
    """Parameters that say how rows are prepared → all their values."""
    found: dict[str, tuple[Value, ...]] = {}
    for use in _data(spec.data):
        parameter = spec.parameters.get(use.value) if isinstance(use.value, str) else None
        if isinstance(parameter, Values) and use.value not in (use.menu or ()):
            found[use.value] = parameter.values
        elif isinstance(parameter, Fixed) and use.value not in (use.menu or ()):
            found[use.value] = (parameter.value,)
    return found


def _data(data: Source) -> Iterator[Use]:
    """How rows are prepared."""
    for name, menu in (("scale", SCALES), ("impute", IMPUTES), ("min_frequency", None), ("max_categories", None)):
        if hasattr(data, name):
            kind = None if menu else type(data).model_fields[name].rebuild_annotation()
            yield Use(("data", name), getattr(data, name), "", "name" if menu else "whole number", menu, kind=kind)


def uses(model: Model | None, train: Train | None, data: Source | None, parameters: Parameters) -> Iterator[Use]:
    """Every place of a study file that a parameter could fill."""
    if data:
        yield from _data(data)
    if model:
        yield from _model(model, parameters)
    if train:
        for name in ("learning_rate", "l2", "l1", "label_smoothing"):
            rate = name == "learning_rate"
            yield Use(("train", name), getattr(train, name), name, "number", required=rate)
        yield Use(("train", "batch_size"), train.batch_size, "batch_size", "whole number", words=("full",))
        yield from _choice(("train", "optimizer"), train.optimizer, OPTIMIZERS, parameters)
        yield from _choice(("train", "schedule"), train.schedule, SCHEDULES, parameters)
        yield from _choice(("train", "row_sampling"), train.row_sampling, ROW_SAMPLINGS, parameters)
        if train.clip:
            yield from _choice(("train", "clip"), train.clip, CLIPS, parameters)
        for number, choice in enumerate(train.augment):
            yield from _choice(("train", "augment", number), choice, AUGMENTATIONS, parameters)
        if train.switch:
            path: Path_ = ("train", "switch")
            yield Use((*path, "epoch"), train.switch.epoch, "", "whole number")
            yield from _choice((*path, "optimizer"), train.switch.optimizer, OPTIMIZERS, parameters)
            if train.switch.learning_rate is not None:
                yield Use((*path, "learning_rate"), train.switch.learning_rate, "", "number")


def _model(model: Model, parameters: Parameters) -> Iterator[Use]:
    yield Use(("model", "depth"), model.depth, "depth" if model.hidden else "", "whole number")
    if model.layers is None:
        yield Use(("model", "input_dropout"), model.input_dropout, "input_dropout", "number")
    depth = "depth" if model.depth is None else model.depth
    fixed = parameters.get(depth) if isinstance(depth, str) else None
    most = fixed.value if isinstance(fixed, Fixed) else depth
    for number, hidden in enumerate(model.hidden):
        if isinstance(most, int) and number >= most:
            break  # of layers that are never there nothing is needed
        path: Path_ = ("model", "hidden", number)
        there = (Clause(depth, minimum=number + 1),) if isinstance(depth, str) and depth in parameters else ()
        yield Use((*path, "units"), hidden.units, "", "whole number", when=there)
        yield Use((*path, "dropout"), hidden.dropout, "dropout", "number", when=there)
        norms = ("none", "before", "after", True, False)
        yield Use((*path, "batch_norm"), hidden.batch_norm, "batch_norm", "switch", words=norms, when=there)
        filled = ("units", "initializer")
        yield from _choice((*path, "activation"), hidden.activation, HIDDEN, parameters, there, filled)
        if hidden.initializer:
            yield from _choice((*path, "initializer"), hidden.initializer, INITIALIZERS, parameters, there)
    for number, choice in enumerate(model.layers or ()):
        yield from _choice(("model", "layers", number), choice, PARTS, parameters)
    if model.initializer:
        yield from _choice(("model", "initializer"), model.initializer, INITIALIZERS, parameters)
    output: Path_ = ("model", "output")
    yield from _choice((*output, "activation"), model.output.activation, ACTIVATIONS, parameters)
    if model.output.initializer:
        yield from _choice((*output, "initializer"), model.output.initializer, INITIALIZERS, parameters)


def _choice(
    path: Path_,
    choice: Choice,
    menu: Registry[Any],
    parameters: Parameters,
    when: Condition = (),
    filled: Sequence[str] = (),
) -> Iterator[Use]:
    """The name on a menu, or the parameter that gives it, and the settings of whatever it may be."""
    yield Use(path, choice.name, "", "name", menu, when=when)
    searched = None if choice.name in menu else parameters.get(choice.name)
    given = searched.values if isinstance(searched, Values) else (choice.name,)
    names = [n for n in ((searched.value,) if isinstance(searched, Fixed) else given) if n in menu]
    fields = {f.name: f for name in names for f in dataclasses.fields(menu[str(name)]) if f.name not in filled}
    for key in choice.settings if names else ():
        if key not in fields:
            yield Use((*path, key), None, "", f"unknown key '{key}'{nearest(key, list(fields)) if fields else ''}")
    for key, field in fields.items():
        having = tuple(n for n in names if key in {f.name for f in dataclasses.fields(menu[str(n)])})
        there = when if len(having) == len(names) else (*when, Clause(choice.name, one_of=having))
        yield from _setting((*path, key), choice.settings.get(key), field, parameters, there)


def _setting(
    path: Path_, given: Any, field: "dataclasses.Field[Any]", parameters: Parameters, when: Condition
) -> Iterator[Use]:
    """One setting of a class on a menu."""
    key = field.name
    bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if key in NESTED:
        yield from _nested(path, given, bare, parameters, when)
    elif key == "initializer":
        if given is not None:
            yield from _parsed(path, given, INITIALIZERS, parameters, when)
    elif field.type is bool:
        yield Use(path, given, key, "switch", words=(True, False), when=when)
    else:
        kinds = _kinds(field.type)
        needs = "number" if float in kinds else "whole number"
        listed = isinstance(given, list)
        if listed != (tuple in kinds) and (listed or not kinds - {tuple}) and given is not None:
            yield Use(
                path, None, "", f"must be a {'single ' + needs if listed else f'list of {needs}s'}, got {given!r}"
            )
            return
        for number, item in enumerate(given if isinstance(given, list) else ()):
            yield Use((*path, number), item, "", needs, when=when)
        if not listed and (given is not None or kinds != {tuple}):
            yield Use(path, given, "" if key in FILLED else key, needs, required=bare, when=when)


def _nested(path: Path_, given: Any, required: bool, parameters: Parameters, when: Condition) -> Iterator[Use]:
    """A list of layers inside of a layer."""
    if given is None and not required:
        return
    if not isinstance(given, list) or (required and not given):
        yield Use(path, None, "", "missing" if given is None else f"must be a list of layers, got {given!r}")
        return
    for number, item in enumerate(given):
        yield from _parsed((*path, number), item, PARTS, parameters, when)


def _parsed(path: Path_, given: Any, menu: Registry[Any], parameters: Parameters, when: Condition) -> Iterator[Use]:
    try:
        choice = Choice.of(given)
    except ValidationError:
        yield Use(path, None, "", f"must be a name or a mapping with one, got {given!r}")
        return
    yield from _choice(path, choice, menu, parameters, when)


def _kinds(annotation: Any) -> set[Any]:
    """The plain types a field takes: `{int}`, `{float}`, `{int, tuple}`, …"""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return {kind for part in typing.get_args(annotation) for kind in _kinds(part)} - {type(None)}
    return {typing.get_origin(annotation) or annotation}
