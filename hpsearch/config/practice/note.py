"""A note on a setting, and the values that each setting takes in a study."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from hpsearch.config.document import KeyPath
from hpsearch.config.references import references
from hpsearch.config.spec import Spec
from hpsearch.core.space import Fixed, Range, Values


class PracticeNote(NamedTuple):
    """A note on a setting.

    Attributes:
        path: the setting, or the parameter that it takes its values from.
        text: what is unusual, why, and what to do.
        source: where that is explained.
    """

    path: KeyPath
    text: str
    source: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.text} ({self.source})"


class SettingValues(NamedTuple):
    """The values that a setting takes in a study.

    Attributes:
        role: the last word of its path: `units`, `activation`.
        path: the setting, or the parameter that it takes its values from.
        setting: the path of the setting itself.
        values: all values; empty for a range.
        range: the range; None for values.
    """

    role: str
    path: KeyPath
    setting: KeyPath
    values: tuple[Any, ...]
    range: Range | None

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers among the values, or the ends of the range."""
        if self.range is not None:
            return float(self.range.min), float(self.range.max)
        return tuple(float(v) for v in self.values if isinstance(v, int | float) and not isinstance(v, bool))


def setting_values(spec: Spec) -> Iterator[SettingValues]:
    """Yield the values of each setting of the model and of training that has one."""
    for r in references(spec.model, spec.train, None, spec.parameters):
        name = r.name if r.value is None else r.value
        role = next((str(word) for word in reversed(r.path) if isinstance(word, str)), "")
        parameter = spec.parameters.get(name) if isinstance(name, str) else None
        if parameter is None or (r.menu is not None and name in r.menu):
            if r.value is not None:
                yield SettingValues(role, r.path, r.path, (r.value,), None)
            continue
        path: KeyPath = ("parameters", str(name))
        if isinstance(parameter, Range):
            yield SettingValues(role, path, r.path, (), parameter)
        else:
            values = parameter.values if isinstance(parameter, Values) else (parameter.value,)
            assert isinstance(parameter, Values | Fixed)
            yield SettingValues(role, path, r.path, tuple(values), None)
