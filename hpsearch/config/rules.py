"""Rules across sections: references to parameters, points, stages, and whether the engine can build every network."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from engine.types import EngineError
from hpsearch.config.code_rules import code_errors
from hpsearch.config.document import KeyPath
from hpsearch.config.hints import counterpart_of_parameter, hint, key_hint, parameter_hint, value_hint
from hpsearch.config.instantiate import builders
from hpsearch.config.messages import Errors, section_of, validate_part
from hpsearch.config.references import Parameters, Reference, conditions, references
from hpsearch.config.spec import (
    METRIC_NAMES,
    AnyTraining,
    CommandTraining,
    Ensemble,
    FunctionTraining,
    Metric,
    ModelSpec,
    Stage,
    Train,
)
from hpsearch.core.space import Axis, Fixed, Parameter, Point, Range, Values, build_space
from hpsearch.data.sources.base import Source
from hpsearch.samplers import missing_extra

MAX_REFERENCE_ERRORS = 100  # of each kind: hints for thousands of names take minutes
MAX_BUILT_LAYERS = 100_000  # built to check that the engine accepts them


def cross_section_errors(sections: Mapping[str, Any]) -> Errors:
    """Return the errors across sections; rules that involve an invalid section are skipped.

    Args:
        sections: name → validated section, or None for an invalid one.
    """
    stages: tuple[Stage, ...] = sections.get("stages") or ()
    model: ModelSpec | None = sections.get("model")
    train: AnyTraining | None = sections.get("train")
    data: Source | None = sections.get("data")
    parameters: Parameters | None = sections.get("parameters")
    shared = sections.get("budget") is not None or sections.get("timeout") is not None
    errors: Errors = [*_stages(stages, shared), *_metric(sections.get("metric"), train)]
    errors += _ensemble(sections.get("ensemble"), stages)
    if train is not None and not isinstance(train, Train):
        errors += code_errors(sections, train)
    if parameters is None:
        return errors
    all_references = list(references(model, train, data, parameters))
    used: set[str] = set()
    wrong = ((r.path, message) for r in all_references if (message := _reference_error(r, parameters, used)))
    reference_errors = list(islice(wrong, MAX_REFERENCE_ERRORS))
    errors += reference_errors
    own_data = isinstance(train, FunctionTraining | CommandTraining)
    if reference_errors or model is None or train is None or (data is None and not own_data):
        return errors
    if isinstance(train, Train):
        errors += islice(_unused(all_references, parameters, used), MAX_REFERENCE_ERRORS)
    valid = {name: p for name, p in parameters.items() if p is not None}
    if len(valid) < len(parameters):
        return errors
    axes = build_space(valid, conditions(model, train, data, valid)).axes
    keys = [a.key for a in axes]
    for key in {k for k in keys if keys.count(k) > 1}:
        errors.append((("parameters",), f"two parameters have the internal name '{key}'; rename one of them"))
    fixed = {name: p.value for name, p in valid.items() if isinstance(p, Fixed)}
    errors += _points(stages, {a.name: a for a in axes}, fixed)
    return errors + (list(_networks(model, train, valid, len(all_references))) if isinstance(train, Train) else [])


def _metric(metric: Metric | None, train: AnyTraining | None) -> Iterator[tuple[KeyPath, str]]:
    if metric and metric.name not in METRIC_NAMES and not isinstance(train, FunctionTraining | CommandTraining | None):
        yield ("metric", "name"), f"unknown '{metric.name}'{value_hint('metric.name', metric.name, list(METRIC_NAMES))}"
    if metric and train and metric.name == "epochs" and (train.stop is None or train.stop.value is None):
        yield ("metric", "name"), "epochs counts the epochs until train.stop.value is reached, which is missing"


def _ensemble(ensemble: Ensemble | None, stages: tuple[Stage, ...]) -> Iterator[tuple[KeyPath, str]]:
    if ensemble is not None and len(stages) == 1 and stages[0].trials == 1:
        yield ("ensemble",), "an ensemble is selected from two or more trials, the study has 1"


def _reference_error(reference: Reference, parameters: Parameters, used: set[str]) -> str | None:
    """Return the error of a setting's value, or None; add the parameters that it refers to to `used`."""
    value, menu, words = reference.value, reference.menu, reference.words
    if reference.error is not None:
        *section, key = reference.path
        return reference.error + (key_hint(section_of(section), str(key), words, value) if words else "")
    if value is not None and (value in menu if menu is not None else _is_among(value, words)):
        return None
    name = reference.name if value is None else value
    if value is None and name not in parameters:
        return _missing(reference, parameters) if reference.required else None
    if not isinstance(name, str):
        kinds = int if reference.needs == "whole number" else int | float
        if reference.needs != "word" and isinstance(name, kinds) and not isinstance(name, bool):
            return None
        needed = " or ".join(str(w).lower() for w in words) if reference.needs == "word" else f"a {reference.needs}"
        return f"must be {needed}, got {name!r}"
    if name not in parameters:
        kind = f"{menu.kind.replace('_', ' ')} or parameter" if menu else "parameter"
        names = [*(menu or map(str, words)), *parameters]
        return f"unknown {kind} '{name}'{value_hint(menu.kind if menu else '', name, names)}"
    used.add(name)
    parameter = parameters[name]
    if isinstance(parameter, Range) and reference.path[0] == "data":
        return f"data is prepared once per value, so parameter '{name}' must list values: […], got a range"
    return None if parameter is None else _parameter_error(parameter, name, reference)


def _missing(reference: Reference, parameters: Parameters) -> str:
    """Return the error of a setting without a value; a parameter may have the name that another tool gives it."""
    for name in parameters:
        if counterpart_of_parameter(name, [reference.name]):
            return f"missing; rename the parameter '{name}' to '{reference.name}', or write {reference.name}: {name}"
    return "missing; give a number, or add a parameter of this name"


def _parameter_error(parameter: Parameter, name: str, reference: Reference) -> str | None:
    """Return the error of a parameter as the value of a setting, or None."""
    values = parameter.values if isinstance(parameter, Values) else ()
    values = (parameter.value,) if isinstance(parameter, Fixed) else values
    if reference.menu is not None or reference.needs == "word":
        menu = reference.menu if reference.menu is not None else list(reference.words)
        wrong = [v for v in values if not _is_among(v, menu)]
        if isinstance(parameter, Range) or wrong:
            got = wrong[0] if wrong else "a range"
            kind = f"valid {reference.menu.kind.replace('_', ' ')}" if reference.menu else "allowed value"
            near = value_hint(reference.menu.kind if reference.menu else "", str(got), list(map(str, menu)))
            return f"parameter '{name}': each value must be a {kind}, got {got}{near}"
        return None
    if any((isinstance(v, str) and v not in reference.words) or isinstance(v, bool) for v in values):
        return f"parameter '{name}': each value must be a number, got {list(values)}"
    numbers = [v for v in values if not isinstance(v, str)]
    if reference.needs == "whole number":
        if isinstance(parameter, Range) and parameter.type != "int":
            return f"parameter '{name}' must be a whole number; add type: int"
        if not all(isinstance(v, int) for v in numbers):
            return f"parameter '{name}': each value must be a whole number, got {list(values)}"
    if reference.kind is not None:
        errors: Errors = []
        for value in values:
            validate_part((), value, reference.kind, errors)
        return f"parameter '{name}' {errors[0][1]}" if errors else None
    return None


def _unused(all_references: list[Reference], parameters: Parameters, used: set[str]) -> Iterator[tuple[KeyPath, str]]:
    settings = {r.name: (".".join(map(str, r.path)), r.value) for r in all_references if r.name}
    for name in parameters:
        if name not in used:
            path, _ = settings.get(name, ("", None))
            why = f": {path} has a value of its own" if path else parameter_hint(name, settings)
            yield ("parameters", name), f"not used by any setting of model, train or data{why}"


def _is_among(value: object, words: Iterable[object]) -> bool:
    """Return whether the value is among the words; 1 does not equal True here."""
    return any(type(value) is type(word) and value == word for word in words)


def _points(stages: tuple[Stage, ...], axes: dict[str, Axis], fixed: Point) -> Iterator[tuple[KeyPath, str]]:
    """Yield errors of listed points that are outside the space or come after the first zoom."""
    zoomed = False
    for number, stage in enumerate(stages):
        zoomed |= stage.zoom is not None
        path: KeyPath = ("stages", number, "points")
        if stage.seeds > 1 and axes and not stage.points and not stage.confirms:
            yield ("stages", number, "seeds"), "seeds needs points, unless the study searches no parameter"
        if stage.points and zoomed:
            yield path, "list points in a stage before the first zoom; a zoomed range may exclude them"
        for place, point in enumerate(stage.points):
            yield from (((*path, place, name), message) for name, message in _point(point, axes, fixed))


def _point(point: Point, axes: dict[str, Axis], fixed: Point) -> Iterator[tuple[str, str]]:
    for name, value in point.items():
        if name not in axes:
            yield name, f"'{name}' is not a searched parameter{hint(name, list(axes))}"
            continue
        try:
            axes[name].to_internal(value)
        except ValueError as error:
            yield name, str(error)
        known = {clause.parameter for condition in axes[name].when for clause in condition}
        if known <= point.keys() | fixed.keys() and not axes[name].is_active({**point, **fixed}):
            yield name, "inactive here: no setting uses it"


def _stages(stages: tuple[Stage, ...], shared: bool) -> Iterator[tuple[KeyPath, str]]:
    """Yield errors of the stages.

    Args:
        shared: the study has a budget or a timeout.
    """
    names = [s.name for s in stages]
    for number, stage in enumerate(stages):
        if not stage.limited and not shared:
            yield ("stages", number), "a stage must have trials, budget or timeout, or the study a budget or timeout"
        if stage.name in names[:number]:
            yield ("stages", number, "name"), f"names of stages must differ, got '{stage.name}' twice"
        if message := missing_extra(stage.sampler):
            yield ("stages", number, "sampler"), message
        if stage.confirms and number == 0:
            yield ("stages", 0, "top"), "the first stage has no earlier trials to confirm"
        if stage.confirms and number < len(stages) - 1:
            yield ("stages", number, "top"), "a confirming stage must be the last one"
        if number == 0 and stage.zoom:
            yield ("stages", 0, "zoom"), "the first stage has no earlier trials to zoom in on"


def _networks(
    model: ModelSpec, train: Train, parameters: dict[str, Parameter], references_count: int
) -> Iterator[tuple[KeyPath, str]]:
    """Build all parts at both ends of every range and at each listed value; yield the engine's errors.

    Args:
        references_count: number of references to parameters; resolving one costs about as much as building a layer.
    """
    paths: dict[str, KeyPath] = {}
    built_layers = 0
    for point in build_space(parameters).extreme_points():
        for path, build in builders(model, train, point):
            try:
                built = build()
            except EngineError as error:
                paths.setdefault(str(error), path)
            else:
                built_layers += len(built) if isinstance(built, tuple) else 0
        built_layers += references_count
        if built_layers > MAX_BUILT_LAYERS:
            yield ("parameters",), f"too many values and layers to check: more than {MAX_BUILT_LAYERS:,} layers"
            return
    yield from ((path, message) for message, path in paths.items())
