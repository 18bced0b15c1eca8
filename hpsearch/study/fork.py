"""Forks: new studies that start with the valid trials of another study, their parent."""

import time
from typing import NamedTuple

from hpsearch.config.diff import changed_sections, same_value
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis, InternalValue, Point, Space, box_contains
from hpsearch.search.earlier import distinct_outcomes
from hpsearch.storage.records import PRIOR, StoredStudy, Trial
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import restore_study
from hpsearch.training.task import TrainingCode


class ParentStudy(NamedTuple):
    """The study that is forked.

    Attributes:
        trials: its finished trials, each outcome once, without failed trials and trials of a confirming stage.
        code: digest of the files that train it.
    """

    stored: StoredStudy
    spec: Spec
    space: Space
    trials: list[Trial]
    code: str = ""


class Transfer(NamedTuple):
    """The trials that a fork starts with.

    Attributes:
        trials: finished trials, in internal values of the new study.
        parent: name of the parent study.
        note: a message for the user.
    """

    trials: list[Trial]
    parent: str
    note: str


def read_parent(url: str, study: str | None = None) -> ParentStudy:
    """Read the study to fork; nothing is written.

    Args:
        study: name of the study; None for the only one.

    Raises:
        StorageError: the database does not exist, or it holds no study.
    """
    return read(url, _parent, study)


def _parent(storage: StudyDatabase) -> ParentStudy:
    stored, spec = restore_study(storage)
    space = search_space(spec)
    stages = [PRIOR, *(stage.name for stage in spec.stages if not stage.confirms)]
    trials = distinct_outcomes([_without_copies(storage.trials.load(name, space)) for name in stages])
    code = TrainingCode("", tuple((file.name, file.digest) for file in storage.study.code()))
    finished = [t for t in trials if t.state in ("complete", "pruned", "diverged")]
    return ParentStudy(stored, spec, space, finished, code.digest)


def transferable_trials(
    parent: ParentStudy, spec: Spec, space: Space, fingerprint: str, version: str, code: str = ""
) -> Transfer:
    """Return the trials of a parent that lie in the space of a fork and would have the same outcome in it.

    When the parent was started with another version, the fork's samplers know its trials, but no outcome is copied.

    Args:
        spec, space: of the fork.
        fingerprint: of the fork's data.
        version: of the packages that train the fork.
        code: digest of the files that train the fork.
    """
    stored, name = parent.stored, parent.stored.name
    differing = list(changed_sections(parent.spec, spec)) + ["data fingerprint"] * (stored.fingerprint != fingerprint)
    differing += ["training code"] * (parent.code != code)
    if differing:
        reason = f"{', '.join(differing)} differ{'s' * (len(differing) == 1)}, which changes the outcome of its trials"
        return Transfer([], name, f"forked from '{name}'; {reason}: none is reused")
    same_version = stored.version == version
    transferred: list[Trial] = []
    for t in parent.trials:
        internal_params = converted(parent.space, space, t)
        if internal_params is not None:
            source = (t.copied_from or f"{name}:{t.label}") if same_version else None
            copy = t._replace(stage=PRIOR, number=len(transferred), finished=time.time(), copied_from=source)
            transferred.append(copy._replace(internal_params=internal_params, point=space.point(internal_params)))
    note = f"forked from '{name}': {len(transferred)} of its {len(parent.trials)} finished trials are reused"
    if not same_version:
        note += f", by samplers only: it was started with {stored.version}, now {version}"
    return Transfer(transferred, name, note)


def _without_copies(trials: list[Trial]) -> list[Trial]:
    """Return the trials without those whose outcome is copied from another trial of the same study."""
    return [t for t in trials if t.copied_from is None or ":" in t.copied_from]


def converted(old: Space, new: Space, trial: Trial) -> dict[str, InternalValue] | None:
    """Return a trial's point in internal values of another space; None when it does not lie in that space."""
    axes = {a.name: a for a in old.axes}
    for name, value in new.fixed.items():
        # A searched parameter that is inactive at the point may have any value.
        if not (same_value(trial.point[name], value) if name in trial.point else name in axes):
            return None
    internal_params: dict[str, InternalValue] = {}
    point: Point = dict(new.fixed)
    waiting = list(new.axes)
    while active := next((a for a in waiting if a.is_active(point)), None):
        internal = _internal(axes.get(active.name), active, trial)
        if internal is None:
            return None
        internal_params[active.key] = internal
        point[active.name] = trial.point[active.name]
        waiting.remove(active)
    inactive = {a.name for a in waiting} & old.fixed.keys()  # fixed values are in every point
    return internal_params if trial.point.keys() - point.keys() <= inactive else None


def _internal(old: Axis | None, new: Axis, trial: Trial) -> InternalValue | None:
    """Return a trial's internal value on an axis; None when its value does not lie on the axis."""
    value = trial.point.get(new.name)
    if value is None or (new.choices and not any(same_value(value, choice) for choice in new.choices)):
        return None
    if old is not None and old.complement and new.complement:  # converting 1 − value twice loses bits
        internal = trial.internal_params[old.key]
        return internal if box_contains(new, {new.key: (new.low, new.high)}, internal) else None
    try:
        return new.to_internal(value)
    except ValueError:
        return None
