"""Defaults for a table: the metric and the split."""

from pathlib import Path

import pytest

from tests.hpsearch.config.starter.test_starter import source, table, written


@pytest.mark.parametrize(
    ("rare", "rows", "classes", "metric"),
    [
        (60, 600, 2, "val/roc_auc"),
        (300, 600, 2, "val/loss"),
        (40, 600, 3, "val/balanced_accuracy"),
        (8, 60, 2, "val/loss"),
    ],
)
def test_the_metric(rare: int, rows: int, classes: int, metric: str, tmp_path: Path) -> None:
    y = ["rare"] * rare + [f"c{k % (classes - 1)}" for k in range(rows - rare)]
    assert written(tmp_path, table(rows, y=y)).metric.name == metric


@pytest.mark.parametrize(
    ("rows", "parts"),
    [(2600, (0.6, 0.2, 0.2)), (20_100, (0.8, 0.1, 0.1)), (200_100, (0.98, 0.01, 0.01))],
)
def test_the_split(rows: int, parts: tuple[float, ...], tmp_path: Path) -> None:
    split = source(written(tmp_path, table(rows))).split
    assert split is not None and split.folds is None and (split.train, split.val, split.test) == parts


def test_a_class_too_rare_for_folds(tmp_path: Path) -> None:
    split = source(written(tmp_path, table(y=["rare"] * 4 + ["a", "b"] * 28))).split
    assert split is not None and split.folds is None
