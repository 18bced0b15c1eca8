"""YAML → Spec: every mistake at once, each with its line and the nearest right word."""

import functools
import os
import posixpath
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from engine import registry
from engine.types import EngineError
from hpsearch.config import aliases as dialects
from hpsearch.config import document
from hpsearch.config.document import Document, Path_
from hpsearch.config.instantiate import builds
from hpsearch.config.references import Parameters, Use, conditions, uses
from hpsearch.config.spec import SECTIONS, AnyParameter, Metric, Model, Spec, Stage, Train
from hpsearch.core.schema import StrictModel
from hpsearch.core.space import Axis, Fixed, Parameter, Point, Range, Values, build_space
from hpsearch.data.sources import SOURCES, Source
from hpsearch.errors import Mistake, SpecError
from hpsearch.samplers import missing

Errors = list[tuple[Path_, str]]
LARGEST_INT = 10**300
PARAMETER = re.compile(r"[\w .:/-]+")  # what MLflow takes as a name
LONGEST = 200  # characters of one: MLflow takes 250, with log10_one_minus_ before it
ENOUGH = 100  # settings that do not fit: what thousands of words are near to takes minutes to find
LAYERS = 100_000  # that are built to see whether they can be


def load_spec(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Spec, list[str]]:
    """A study file, and notices about what was read from another tool's words.

    Args:
        overrides: `KEY=VALUE` each, as `--set` takes them.

    Raises:
        SpecError: everything that is wrong with it.
    """
    doc = document.read(path)
    for assignment in overrides:
        doc.override(assignment)
    return _checked(doc)


def spec_from_mapping(content: Mapping[str, Any], name: str) -> tuple[Spec, list[str]]:
    """What would stand in a study file, and notices likewise.

    Args:
        name: what messages call it.

    Raises:
        SpecError: everything that is wrong with it.
    """
    return _checked(Document(name, _plain(content), {}))


def _plain(value: Any) -> Any:
    """As YAML would give it, and nobody else's to change."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _checked(doc: Document) -> tuple[Spec, list[str]]:
    notices, mistakes = dialects.translate(doc.content, doc.moved, doc.where)
    spec, errors = _build(doc.content)
    mistakes += [Mistake(doc.where(p), ".".join(map(str, p)), message) for p, message in errors]
    if mistakes or spec is None:
        raise SpecError(sorted(set(mistakes), key=lambda m: _order(doc, m)))
    return spec, notices


def restore_spec(content: dict[str, Any], origin: str) -> Spec:
    """A spec from what `Spec.model_dump(mode="json")` gave, as the study database holds it.

    Raises:
        SpecError: this version cannot use it.
    """
    spec, errors = _build(content)
    if errors or spec is None:
        raise SpecError([Mistake(origin, ".".join(map(str, p)), message) for p, message in errors])
    return spec


def _order(doc: Document, mistake: Mistake) -> tuple[int, str, str]:
    line = mistake.where.removeprefix(f"{doc.name}:")
    return (int(line) if line.isdigit() else 0, mistake.path, mistake.message)


def _build(content: dict[str, Any]) -> tuple[Spec | None, Errors]:
    """Each section by itself, then what must hold between them, as far as they are sound."""
    errors: Errors = [
        ((key,), f"unknown key '{key}'{_nearest(key, list(SECTIONS))}") for key in content if key not in SECTIONS
    ]
    errors += _too_large(content, ())
    if errors and any(message.startswith("must lie within ±") for _, message in errors):
        return None, errors
    parts: dict[str, Any] = {}
    for name, field in Spec.model_fields.items():
        if name in content:
            parts[name] = _SECTIONS.get(name, _section)(name, content[name], errors)
        elif field.is_required():
            errors.append(((name,), f"missing; a study must have {_needed()}"))
        else:
            parts[name] = field.get_default(call_default_factory=True)
    errors += _between(parts)
    return (None, errors) if errors else (Spec(**parts), errors)


def _section(name: str, data: Any, errors: Errors) -> Any:
    """A section, or None when it is unsound."""
    kind: Any = Spec.model_fields[name].rebuild_annotation()
    return _valid((name,), data, kind, errors)


def _source(name: str, data: Any, errors: Errors) -> Any:
    """The data, by the class of their source."""
    source = data.get("source") if isinstance(data, dict) else data
    if not isinstance(source, str) or source not in SOURCES:
        errors.append(((name, "source"), f"unknown source '{source}'{_nearest(str(source), list(SOURCES))}"))
        return None
    return _valid((name,), data, SOURCES[source], errors)


def _parameters(name: str, data: Any, errors: Errors) -> Parameters | None:
    """Each parameter by itself: None for an unsound one, whose name is known all the same."""
    if not isinstance(data, dict):
        errors.append(((name,), "must be a mapping of names to ranges, values or fixed values"))
        return None
    for key in data:
        if not PARAMETER.fullmatch(key):
            errors.append(((name, key), "a name may hold letters, digits, spaces and _ . : / - alone"))
        elif len(key) > LONGEST:
            errors.append(((name, key), f"a name has at most {LONGEST} characters, got {len(key)}"))
        elif posixpath.normpath(key) != key or key.startswith(("/", ".")):
            errors.append(((name, key), "a name must not look like a path: no / or . to begin with, no // and no /../"))
        elif key != key.strip():
            errors.append(((name, key), "a name must not begin or end with a space"))
    return {key: _valid((name, key), value, AnyParameter, errors) for key, value in data.items()}


_SECTIONS = {"data": _source, "parameters": _parameters}


def _valid(path: Path_, data: Any, kind: Any, errors: Errors) -> Any:
    """The data as that kind, or None and what is wrong with them."""
    try:
        return _adapter(kind).validate_python(data, strict=True)
    except ValidationError as error:
        found: dict[Path_, list[str]] = {}
        for e in error.errors(include_url=False):
            shown, message = _reworded(path, e, kind)
            found.setdefault(shown, []).append(message)
        errors += [(shown, _one_of(messages)) for shown, messages in found.items()]
        return None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once a kind: a file may have thousands of parameters."""
    return TypeAdapter(kind)


def _one_of(messages: list[str]) -> str:
    """The members of a union that all refused a value, as one sentence."""
    if len(messages) == 1 or not all(m.startswith("must be a valid ") for m in messages):
        return messages[0]
    *first, last = [m.removeprefix("must be a valid ").split(",")[0] for m in messages]
    return f"must be a valid {', '.join(first)} or {last}, {messages[0].partition(', ')[2]}"


def _needed() -> str:
    return ", ".join(name for name, field in Spec.model_fields.items() if field.is_required())


def _reworded(path: Path_, error: Mapping[str, Any], kind: Any) -> tuple[Path_, str]:
    """pydantic's error in our words, with what it got and the nearest right word."""
    within: Path_ = error["loc"]
    shown = (*path, *(p for p in within if not str(p).startswith("<") and str(p) not in _UNION))
    message = str(error["msg"]).removeprefix("Value error, ")
    got = error.get("input")
    if error["type"] == "extra_forbidden":
        keys = sorted(_keys(kind, within[:-1]))
        return shown, f"unknown key '{shown[-1]}'{_nearest(str(shown[-1]), keys)}"
    if error["type"] == "missing":
        return shown, "missing"
    if error["type"] == "literal_error" and isinstance(got, str):
        words = [w.strip("' ") for w in str(error["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        return shown, f"unknown '{got}'{_nearest(got, words)}"
    if error["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}".replace("input should", "must").split(" or instance of ")[0]
        message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping") + f", got {got!r}"
    return shown, message


_UNION = {"int", "float", "str", "bool", "constrained-int", "literal['auto']", "function-before[_listed(), tuple]"}


def _keys(kind: Any, path: Path_) -> set[str]:
    """The keys there may be at a path of a section, found by walking the annotations."""
    sections: set[type[StrictModel]] = set(_sections(kind))
    for step in path:
        if isinstance(step, str) and not step.startswith("<"):
            fields = [s.model_fields[step] for s in sections if step in s.model_fields]
            sections = {s for f in fields for s in _sections(f.annotation)} or sections
        elif isinstance(step, str):
            tags: dict[str, type[StrictModel]] = {"<range>": Range, "<values>": Values, "<fixed>": Fixed}
            sections = {tags[step]}
    return {key for s in sections for key in s.model_fields}


def _sections(kind: Any) -> Iterator[type[StrictModel]]:
    if isinstance(kind, type) and issubclass(kind, StrictModel):
        yield kind
    for inner in typing.get_args(kind):
        yield from _sections(inner)


def _between(parts: dict[str, Any]) -> Errors:
    """What must hold between sections, as far as each is sound by itself."""
    errors: Errors = list(_stages(parts.get("stages") or ()))
    model: Model | None = parts.get("model")
    train: Train | None = parts.get("train")
    metric: Metric | None = parts.get("metric")
    if metric and train and metric.name == "epochs" and (train.stop is None or train.stop.value is None):
        errors.append((("metric", "name"), "epochs are counted up to train.stop.value, which is not given"))
    parameters: Parameters | None = parts.get("parameters")
    if parameters is None:
        return errors
    data: Source | None = parts.get("data")
    places = list(uses(model, train, data, parameters))
    used: set[str] = set()
    misfits = list(islice(((use.path, message) for use in places if (message := _fits(use, parameters, used))), ENOUGH))
    errors += misfits
    if misfits or model is None or train is None or data is None:
        return errors
    settings = {use.name: use.path for use in places if use.name}
    for name in islice((name for name in parameters if name not in used), ENOUGH):
        path = ".".join(map(str, settings.get(name, ())))
        why = f": {path} is given" if path else _nearest(name, sorted(settings))
        errors.append((("parameters", name), f"used nowhere in model, train or data{why}"))
    sound = {name: p for name, p in parameters.items() if p is not None}
    if len(sound) < len(parameters):
        return errors
    axes = build_space(sound, conditions(model, train, data, sound)).axes
    keys = [a.key for a in axes]
    for key in {k for k in keys if keys.count(k) > 1}:
        errors.append((("parameters",), f"two of them are '{key}' to Optuna; rename one"))
    fixed = {name: p.value for name, p in sound.items() if isinstance(p, Fixed)}
    errors += _points(parts.get("stages") or (), {a.name: a for a in axes}, fixed)
    return errors + list(_builds(model, train, sound, len(places)))


def _fits(use: Use, parameters: Parameters, used: set[str]) -> str | None:
    """What is wrong with a use, if anything; the parameters it names are noted in `used`."""
    if use.needs not in ("number", "whole number", "name", "switch"):
        return use.needs
    if use.value is not None and (_is_one(use.value, use.words) if use.menu is None else use.value in use.menu):
        return None
    name = use.name if use.value is None else use.value
    if use.value is None and name not in parameters:
        return "missing: give it a number, or add a parameter of that name" if use.required else None
    if not isinstance(name, str):
        kinds = int if use.needs == "whole number" else int | float
        if use.needs != "switch" and isinstance(name, kinds) and not isinstance(name, bool):
            return None
        what = " or ".join(str(w).lower() for w in use.words) if use.needs == "switch" else f"a {use.needs}"
        return f"must be {what}, got {name!r}"
    if name not in parameters:
        words = [*(use.menu or map(str, use.words)), *parameters]
        what = f"neither {use.menu.kind} nor parameter" if use.menu else "no parameter"
        return f"'{name}' is {what}{_nearest(name, words)}"
    used.add(name)
    parameter = parameters[name]
    if isinstance(parameter, Range) and use.path[0] == "data":
        return f"rows are prepared once for each value, so parameter '{name}' must have values: […], got a range"
    return None if parameter is None else _gives(parameter, name, use)


def _gives(parameter: Parameter, name: str, use: Use) -> str | None:
    """What is wrong with a parameter in that place, if anything."""
    values = parameter.values if isinstance(parameter, Values) else ()
    values = (parameter.value,) if isinstance(parameter, Fixed) else values
    if use.menu is not None or use.needs == "switch":
        menu = use.menu if use.menu is not None else list(use.words)
        wrong = [v for v in values if not _is_one(v, menu)]
        if isinstance(parameter, Range) or wrong:
            got = wrong[0] if wrong else "a range"
            kind = f"names of a {use.menu.kind}" if use.menu else "some of its words"
            return f"parameter '{name}' must give {kind}, got {got}{_nearest(str(got), list(map(str, menu)))}"
        return None
    if any((isinstance(v, str) and v not in use.words) or isinstance(v, bool) for v in values):
        return f"parameter '{name}' must give numbers, got {list(values)}"
    numbers = [v for v in values if not isinstance(v, str)]
    whole = parameter.type == "int" if isinstance(parameter, Range) else all(isinstance(v, int) for v in numbers)
    if use.needs == "whole number" and not whole:
        return f"parameter '{name}' must give whole numbers; add type: int"
    if use.kind is not None:
        errors: Errors = []
        for value in values:
            _valid((), value, use.kind, errors)
        return f"parameter '{name}' {errors[0][1]}" if errors else None
    return None


def _nearest(name: str, names: list[str]) -> str:
    """The hint; of very long or very many names to the first, or it would take minutes."""
    return registry.nearest(name[:LONGEST], names[: 5 * LONGEST])


def _is_one(value: object, words: Iterable[object]) -> bool:
    """Whether it is among them; 1 is not true here."""
    return any(type(value) is type(word) and value == word for word in words)


def _points(stages: tuple[Stage, ...], axes: dict[str, Axis], fixed: Point) -> Iterator[tuple[Path_, str]]:
    """Points that stages begin with lie on the axes, before anything is zoomed."""
    zoomed = False
    for number, stage in enumerate(stages):
        zoomed |= stage.zoom is not None
        path: Path_ = ("stages", number, "points")
        if stage.seeds > 1 and axes and not stage.points and not stage.confirms:
            yield ("stages", number, "seeds"), "seeds repeat points; give points, or search nothing"
        if stage.points and zoomed:
            yield path, "points belong into a stage before the first zoom, whose box might not hold them"
        for place, point in enumerate(stage.points):
            for name, value in point.items():
                if name not in axes:
                    yield (*path, place, name), f"'{name}' is no searched parameter{_nearest(name, list(axes))}"
                    continue
                try:
                    axes[name].to_internal(value)
                except ValueError as error:
                    yield (*path, place, name), str(error)
                known = {clause.parameter for condition in axes[name].when for clause in condition}
                if known <= point.keys() | fixed.keys() and not axes[name].is_active({**point, **fixed}):
                    yield (*path, place, name), "does not count at this point: nothing there needs it"


def _stages(stages: tuple[Stage, ...]) -> Iterator[tuple[Path_, str]]:
    names = [s.name for s in stages]
    for number, stage in enumerate(stages):
        if stage.name in names[:number]:
            yield ("stages", number, "name"), f"stages must differ in name, got '{stage.name}' twice"
        if lack := missing(stage.sampler):
            yield ("stages", number, "sampler"), lack
        if stage.confirms and number == 0:
            yield ("stages", 0, "top"), "the first stage has no earlier trials to confirm"
        if stage.confirms and number < len(stages) - 1:
            yield ("stages", number, "top"), "a stage that confirms must be the last"
        if number == 0 and stage.zoom:
            yield ("stages", 0, "zoom"), "the first stage has no earlier trials to zoom in on"


def _builds(model: Model, train: Train, parameters: dict[str, Parameter], places: int) -> Iterator[tuple[Path_, str]]:
    """Whether the engine takes both ends of every range, and every one of values; each refusal where it is written."""
    found: dict[str, Path_] = {}
    work = 0
    for point in build_space(parameters).extreme_points():
        for path, build in builds(model, train, point):
            try:
                built = build()
            except EngineError as error:
                found.setdefault(str(error), path)
            else:
                work += len(built) if isinstance(built, tuple) else 0
        work += places
        if work > LAYERS:
            yield ("parameters",), f"so many values times so many layers are too many: more than {LAYERS:,}"
            return
    yield from ((path, message) for message, path in found.items())


def _too_large(content: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    """Whole numbers that nothing here can hold."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _too_large(value, (*path, key))
    elif isinstance(content, int) and abs(content) > LARGEST_INT:
        yield path, f"must lie within ±1e300, got a number of {len(str(abs(content)))} digits"
