"""Settings of a study by their role: which are searched, which are fixed, and where in the study file they are."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hpsearch.config.references import references
from hpsearch.config.spec import Spec, Train
from hpsearch.core.space import Fixed, Point, Range, Value, Values

SIZE_WORDS = re.compile(r"units|hidden|depth|layers|channels|width|filters")  # of code other than the engine
SIZES = ("units", "channels", "depth")
REGULARIZERS = ("l2", "l1", "dropout", "input_dropout", "weight_decay", "rate", "label_smoothing")


class StudySetting(NamedTuple):
    """A setting of the model or of training.

    Attributes:
        role: the last word of its path: `units`, `learning_rate`.
        key: dotted path of what to change: of the parameter if there is one, else of the setting.
        parameter: the parameter whose value it takes; None for a value of its own.
        value: its fixed value; None if it is searched or omitted.
        searched: it takes different values in the study.
    """

    role: str
    key: str
    parameter: str | None
    value: Any
    searched: bool

    def at(self, point: Point) -> Value | None:
        """Return its value at a point."""
        return self.value if self.parameter is None else point.get(self.parameter)


def settings_of(spec: Spec, *roles: str) -> list[StudySetting]:
    """Return the settings of some roles that have a value, each parameter once."""
    found: dict[str, StudySetting] = {}
    for setting in _settings(spec):
        if setting.role in roles:
            found.setdefault(setting.key, setting)
    return list(found.values())


def _settings(spec: Spec) -> Iterator[StudySetting]:
    for r in references(spec.model, spec.train, None, spec.parameters):
        if r.error is not None or not r.path:
            continue
        name = r.name if r.value is None else r.value
        role = next((str(word) for word in reversed(r.path) if isinstance(word, str)), "")
        if isinstance(name, str) and name in spec.parameters and (r.menu is None or name not in r.menu):
            parameter = spec.parameters[name]
            fixed = parameter.value if isinstance(parameter, Fixed) else None
            yield StudySetting(role, f"parameters.{name}", name, fixed, not isinstance(parameter, Fixed))
        elif r.value is not None:
            yield StudySetting(role, ".".join(map(str, r.path)), None, r.value, False)


def size_parameters(spec: Spec) -> set[str]:
    """Return the parameters that decide the size of the network; by their names for other code than the engine."""
    if isinstance(spec.train, Train):
        return {s.parameter for s in settings_of(spec, *SIZES) if s.parameter is not None}
    return {name for name in spec.parameters if SIZE_WORDS.search(name)}


def range_text(spec: Spec, name: str) -> Any:
    """Return a searched parameter as it stands in a study file."""
    parameter = spec.parameters[name]
    if isinstance(parameter, Range):
        kind = {"type": parameter.type} if parameter.type == "int" else {}
        scale = {"scale": parameter.scale} if parameter.scale != "linear" else {}
        return {**kind, "min": parameter.min, "max": parameter.max, **scale}
    if isinstance(parameter, Values):
        return {"values": list(parameter.values), **({"ordered": True} if parameter.ordered else {})}
    return parameter.value
