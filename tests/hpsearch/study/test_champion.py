"""The champion at the end of a study: its test scores are those of its weights, computed once."""

from pathlib import Path

import cases
import pytest
from fault_cases import (
    DyingExecutor,
    StudyCase,
    finished_table,
)

from engine.metrics import METRICS
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset
from hpsearch.storage.records import Trial
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance
from tests.hpsearch.study import test_loop

spec, dataset, done, reference = test_loop.spec, test_loop.dataset, test_loop.done, test_loop.reference  # fixtures


def test_only_the_champion_has_test_scores(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    """They are those of its best weights, trained again from its seed."""
    records, _ = reference
    scored = [r for r in records if any(name.startswith("test/") for name in r.metrics)]
    assert scored == [min(records, key=lambda r: (r.value, r.stage, r.number))]
    best = scored[0]
    start = TrialTask(best.number, best.point, derive(spec.seed, best.stage, best.number, "train"))
    (again,) = advance(Task(spec, dataset, (start,), spec.train.epochs))
    assert again.history == best.history and again.weights is not None
    scores = final_scores(spec, dataset, best.point, again.weights)
    assert scores == {name: value for name, value in best.metrics.items() if name.startswith(("test/", "fit/"))}
    of_classes = {f"test/{name}" for name, metric in METRICS.items() if metric.classifies}
    assert set(scores) == {"test/loss", "fit/loss", "fit/accuracy"} | of_classes


def test_workers_that_die_while_the_champion_is_trained_again(
    plain: StudyCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that were not kept, as in a fork, are trained again; this may cost two workers, not three."""
    from hpsearch.storage.study_tables import WeightsTable

    monkeypatch.setattr(WeightsTable, "find", lambda *_: None)
    for deaths in (2, 3):
        left = [deaths]

        def dies(task: Task, left: list[int] = left) -> bool:
            again = task.seconds is None
            left[0] -= again
            return again and left[0] >= 0

        with cases.opened(plain.spec, plain.dataset, tmp_path / f"{deaths}.db", DyingExecutor(dies)) as study:
            notes = [note for progress in study.run() for note in progress.notes]
            lost = "trained again for its weights: its worker process ended 3 times"
            assert any(lost in note for note in notes) == (deaths == 3)
    monkeypatch.undo()
    assert finished_table(tmp_path / "2.db") == plain.table
