"""A new study that begins with what another one has found, as far as that means the same in it."""

from typing import NamedTuple

from hpsearch.changes import carried, forked
from hpsearch.checking import restore
from hpsearch.database import shown
from hpsearch.errors import StorageError
from hpsearch.spec import Spec
from hpsearch.storage import Given, Storage
from hpsearch.study import load
from hpsearch.trial import Result
from hpsearch.uses import searched


class Prior(NamedTuple):
    """What a fork begins with.

    Attributes:
        trials: finished ones, in the new study's coordinates.
        study: the one they are from.
        note: what a person should know.
    """

    trials: list[Given]
    study: str
    note: str


def prior(url: str, spec: Spec, fingerprint: str) -> Prior:
    """The trials of a study that another one may use: those that would come out the same, where they lie in its space.

    Args:
        url: of the study that is forked.
        spec: of the new one.
        fingerprint: of the new one's data.

    Raises:
        StorageError: there is no study to fork.
    """
    storage = Storage.open(url, create=False)
    try:
        stored = storage.study()
        if stored is None:
            raise StorageError(f"{shown(url)}: holds no study to fork")
        old = restore(stored.spec, shown(url))
        differing = list(forked(old, spec)) + ["the data themselves"] * (stored.fingerprint != fingerprint)
        if differing:
            why = f"{', '.join(differing)} differ{'s' * (len(differing) == 1)}, so its trials would come out otherwise"
            return Prior([], stored.name, f"forked from '{stored.name}'; {why}: none is used again")
        before, after = searched(old), searched(spec)
        found, total = [], 0
        for stage in (s for s in old.stages if not s.confirms):
            for r in load(old, before, storage, stage.name)[0]:
                repeat = r.origin is not None and ":" not in r.origin  # of one that is among these
                if repeat or r.state not in ("complete", "pruned", "diverged"):
                    continue
                total += 1
                raws = carried(before, after, r)
                if raws is not None:
                    history = dict(r.history)
                    result = Result(r.number, r.state, r.value, r.epochs, r.best_epoch, history, r.seconds)
                    found.append(Given(raws, result, r.origin or f"{stored.name}:{r.label}"))
        note = f"forked from '{stored.name}': {len(found)} of its {total} finished trials are used again"
        return Prior(found, stored.name, note)
    finally:
        storage.close()
