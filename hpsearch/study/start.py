"""Start or resume a study in its database, and check the changes of its file."""

from collections.abc import Hashable

from hpsearch.config.diff import changed_sections, compare_specs
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Space, Value
from hpsearch.core.text import format_count
from hpsearch.core.version import versions
from hpsearch.data.dataset import Dataset
from hpsearch.errors import StorageError
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.database import display_name
from hpsearch.storage.records import PRIOR, StoredFile, StoredStudy
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.fork import ParentStudy, transferable_trials
from hpsearch.training.objectives.code import kept_sources
from hpsearch.training.task import TrainingCode


def check_changes(storage: StudyDatabase, stored: StoredStudy, old: Spec, new: Spec) -> list[str]:
    """Return the changes of the study file since the study began, one line each.

    Raises:
        StorageError: the study cannot continue with one of the changes.
    """
    where = display_name(storage.url)
    begun = storage.stages.load()
    proposed = {s.name: storage.trials.count(s.name) for s in old.stages}
    proposed = {name: count for name, count in proposed.items() if count or name in begun}
    changes = compare_specs(old, new, proposed)
    if not proposed and storage.trials.count(PRIOR) and (differing := changed_sections(old, new)):
        raise StorageError(f"{where}: was forked with another {', '.join(differing)}, which its trials depend on")
    if not proposed and storage.trials.count(PRIOR) and _kinds(search_space(old)) != _kinds(search_space(new)):
        raise StorageError(f"{where}: was forked with parameters of other kinds, which its trials depend on")
    if changes.refused:
        raise StorageError(
            f"{where}: holds study '{stored.name}', which cannot continue with these changes of its file:\n"
            + "\n".join(f"  {change}" for change in changes.refused)
            + "\nStart a new study that reuses its trials where possible: hpsearch run STUDY.yaml --fork NEWNAME"
        )
    return [f"changed since the study began: {change}" for change in changes.changes]


def _kinds(space: Space) -> tuple[dict[str, Hashable], dict[str, Value]]:
    """Return what the internal values of trials depend on, which excludes the ends of ranges."""
    return {a.key: (a.integer, a.zoomable, a.choices, a.when) for a in space.axes}, dict(space.fixed)


def start_study(
    storage: StudyDatabase, spec: Spec, space: Space, dataset: Dataset, code: TrainingCode, parent: ParentStudy | None
) -> tuple[StoredStudy, list[str]]:
    """Store a new study; return it and messages for the user.

    Args:
        parent: the study to fork, if any.
    """
    begun = spec.name, spec.model_dump(mode="json"), dataset.fingerprint, versions()
    files = _stored_files(code)
    if parent is None:
        return storage.begin(*begun, code=files), []
    transfer = transferable_trials(parent, spec, space, dataset.fingerprint, versions(), code.digest)
    return storage.begin(*begun, transfer.trials, transfer.parent, files), [transfer.note]


def _stored_files(code: TrainingCode) -> list[StoredFile]:
    contents = kept_sources(code)
    return [StoredFile(name, digest, contents.get(name)) for name, digest in code.files]


def resume_study(
    storage: StudyDatabase, stored: StoredStudy, spec: Spec, dataset: Dataset, code: TrainingCode, changes: list[str]
) -> list[str]:
    """Resume a stored study with a spec that may have changed; return messages for the user.

    Args:
        changes: from `check_changes`.

    Raises:
        StorageError: the data or the training code have changed.
    """
    if stored.fingerprint != dataset.fingerprint:
        raise StorageError(
            f"{display_name(storage.url)}: the data have changed since the study began "
            f"(fingerprint {stored.fingerprint}, now {dataset.fingerprint}); "
            "start a new study: hpsearch run STUDY.yaml --fork NEWNAME"
        )
    _resume_code(storage, spec, code)
    if changes:
        storage.study.change_spec(spec.model_dump(mode="json"))
    if stored.version == versions():
        return changes
    return [*changes, f"started with {stored.version}, now {versions()}: results of trials may differ"]


def _resume_code(storage: StudyDatabase, spec: Spec, code: TrainingCode) -> None:
    """Check that the training code is that of the trials; before one has trained, it may change.

    Raises:
        StorageError: it has changed.
    """
    old = {file.name: file.digest for file in storage.study.code()}
    new = dict(code.files)
    if old == new:
        return
    trained = any(state != "running" for _, state in storage.trials.states())
    if not trained and not any(storage.trials.progress(stage.name) for stage in spec.stages):
        storage.study.change_code(_stored_files(code))
        return
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    raise StorageError(
        f"{display_name(storage.url)}: the training code has changed since the study began ({', '.join(changed[:5])}"
        f"{', …' * (len(changed) > 5)}), and results would differ; undo the change, or start a new study: "
        "hpsearch run STUDY.yaml --fork NEWNAME"
    )


def store_prepared(storage: StudyDatabase, spec: Spec, prepared: list[PreparedData]) -> None:
    """Store the prepared data, unless they are stored; they are replaced while the study has no trials."""
    contents, stored = [p.to_bytes() for p in prepared], storage.study.prepared()
    if not stored or (stored != contents and not any(storage.trials.count(stage.name) for stage in spec.stages)):
        storage.study.save_prepared(contents)


def retry_failed(storage: StudyDatabase, spec: Spec) -> list[str]:
    """Set failed trials back to running, so that they are trained again; return messages for the user."""
    count = sum(storage.retry_failed(stage.name) for stage in spec.stages)
    storage.baselines.delete_failed()
    return [f"{format_count(count, 'failed trial')} to train again"]
