"""A new study that begins with what another one has found, as far as that means the same in it."""

import time
from typing import NamedTuple

from hpsearch.config.diff import changed_sections, same_value
from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis, InternalValue, Point, Space, box_contains
from hpsearch.search.zoom import outcomes
from hpsearch.storage.database import display_name
from hpsearch.storage.records import PRIOR, Trial
from hpsearch.storage.study_db import StudyDatabase


class Prior(NamedTuple):
    """What a fork begins with.

    Attributes:
        trials: finished ones, in the new study's coordinates.
        study: the one they are from.
        note: what a person should know.
    """

    trials: list[Trial]
    study: str
    note: str


def prior(url: str, spec: Spec, fingerprint: str, version: str) -> Prior:
    """The trials of a study that another one may use: those that would come out the same, where they lie in its space.

    Of another version they are known to the new study's samplers, but none is taken over for one of its own.

    Args:
        url: of the study that is forked.
        spec: of the new one.
        fingerprint: of the new one's data.
        version: of what trains the new one.

    Raises:
        StorageError: there is no study to fork.
    """
    storage = StudyDatabase.open(url, create=False)
    try:
        stored = storage.study.load()
        old = restore_spec(stored.spec, display_name(url))
        differing = list(changed_sections(old, spec)) + ["the data themselves"] * (stored.fingerprint != fingerprint)
        if differing:
            why = f"{', '.join(differing)} differ{'s' * (len(differing) == 1)}, so its trials would come out otherwise"
            return Prior([], stored.name, f"forked from '{stored.name}'; {why}: none is used again")
        before, after = search_space(old), search_space(spec)
        stages = [PRIOR, *(stage.name for stage in old.stages if not stage.confirms)]
        records = outcomes([_own(storage.trials.load(name, before)) for name in stages])
        finished = [r for r in records if r.state in ("complete", "pruned", "diverged")]
        same = stored.version == version
        found: list[Trial] = []
        for r in finished:
            internal_params = carried(before, after, r)
            if internal_params is not None:
                copied_from = (r.copied_from or f"{stored.name}:{r.label}") if same else None
                copy = r._replace(stage=PRIOR, number=len(found), internal_params=internal_params, finished=time.time())
                found.append(copy._replace(point=after.point(internal_params), copied_from=copied_from))
        note = f"forked from '{stored.name}': {len(found)} of its {len(finished)} finished trials are used again"
        if not same:
            note += f", by samplers alone: it was begun with {stored.version}, now {version}"
        return Prior(found, stored.name, note)
    finally:
        storage.close()


def _own(records: list[Trial]) -> list[Trial]:
    """Without those that have the outcome of another trial of the same study."""
    return [r for r in records if r.copied_from is None or ":" in r.copied_from]


def carried(old_space: Space, new_space: Space, record: Trial) -> dict[str, InternalValue] | None:
    """The record's point in the raw coordinates of another space; None where it does not lie in that."""
    axes = {a.name: a for a in old_space.axes}
    for name, value in new_space.fixed.items():
        # A searched parameter that the point has not does not count there, so that it may have any value.
        if not (same_value(record.point[name], value) if name in record.point else name in axes):
            return None
    internal_params: dict[str, InternalValue] = {}
    there: Point = dict(new_space.fixed)
    waiting = list(new_space.axes)
    while counting := next((a for a in waiting if a.is_active(there)), None):
        raw = _raw(axes.get(counting.name), counting, record)
        if raw is None:
            return None
        internal_params[counting.key] = raw
        there[counting.name] = record.point[counting.name]
        waiting.remove(counting)
    unneeded = {a.name for a in waiting} & old_space.fixed.keys()  # a fixed value is in every point
    return internal_params if record.point.keys() - there.keys() <= unneeded else None


def _raw(old: Axis | None, new: Axis, record: Trial) -> InternalValue | None:
    """Where the record lies on an axis, if it does."""
    value = record.point.get(new.name)
    if value is None or (new.choices and not any(same_value(value, choice) for choice in new.choices)):
        return None
    if old is not None and old.complement and new.complement:  # 1 − value and back again loses bits
        raw = record.internal_params[old.key]
        return raw if box_contains(new, {new.key: (new.low, new.high)}, raw) else None
    try:
        return new.to_internal(value)
    except ValueError:
        return None
