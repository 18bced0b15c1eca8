"""Trials trained again have the weights that they had, by their own seeds, whatever their stages."""

from pathlib import Path

import cases
from fault_cases import StudyCase

from hpsearch.config.references import search_space
from hpsearch.storage.records import StoredWeights
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.context import StudyContext, StudyState
from hpsearch.study.ending.retraining import retrained, usable_weights
from hpsearch.tracking import NullTracker
from hpsearch.training.executors import Inline


def test_same_weights(full: StudyCase, tmp_path: Path) -> None:
    """Trials of all stages at once, which share numbers and, if confirming, seeds, get their weights again."""
    spec = full.spec
    study = cases.run(spec, full.dataset, tmp_path / "small.db")
    storage = StudyDatabase.open(url_of(str(tmp_path / "small.db")), create=False)
    try:
        stored = {key: kept.weights for key, kept in storage.weights.load().items()}
        parts = (full.dataset, storage, Inline(), NullTracker())
        state = StudyState(spec, study.totals, [], set(), trials=study.trials)
        trials = [t for stage in study.trials for t in stage if t.key in stored]
        assert {t.stage for t in trials} == {"coarse", "fine", "confirm"} and len({t.number for t in trials}) < len(
            trials
        )
        with storage.lease.hold():
            found = {t.key: w for t, w in retrained(StudyContext(spec, search_space(spec), *parts), state, trials)}
        assert found == stored and state.notes == []
        context = StudyContext(spec, search_space(spec), *parts)
        assert usable_weights(context, trials[0]) is not None
        with storage.lease.hold():
            storage.weights.add(StoredWeights(*trials[0].key, stored[trials[0].key][:-3], None))
        assert usable_weights(context, trials[0]) is None, "not those of its network"
    finally:
        storage.close()
