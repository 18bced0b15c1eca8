"""Progress reports of a running study."""

from pathlib import Path

import cases

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.storage.records import Trial
from tests.hpsearch.study import test_loop

spec, dataset = test_loop.spec, test_loop.dataset  # fixtures
TRIALS = test_loop.TRIALS


def test_progress(spec: Spec, dataset: Dataset, tmp_path: Path) -> None:
    news: list[Trial] = []
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        for progress in study.run():
            news += progress.news
            assert progress.total == TRIALS and progress.stages == 2
            assert progress.finished + progress.running <= progress.total
            assert progress.best is None or progress.best.value == min(r.value for r in news if r.value is not None)
    assert progress.finished == TRIALS and progress.stage == "fine"
    assert sorted(r.label for r in news) == sorted(r.label for r in cases.rows(study))
