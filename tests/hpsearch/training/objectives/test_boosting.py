"""Boosted trees searched on real tables have the scores that scikit-learn has by hand, on the same split."""

from pathlib import Path
from typing import Any

import estimator_cases as cases
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error
from threadpoolctl import threadpool_limits

from hpsearch.training.objectives.estimator import score_estimators
from tests.hpsearch.paths import DATA

POINT = {"learning_rate": 0.12, "max_leaf_nodes": 20, "l2_regularization": 0.5}
SEED, STEPS, TREES = 77, 4, 10  # of `estimator_cases.trial`
ROWS = 1200  # unless whole tables are asked for


def study_of(name: str, folder: Path, rows: int | None) -> Any:
    """Return the study of a table, of which the first rows are taken; None for all."""
    file = DATA / ("california.csv" if name == "california" else "adult-train.csv")
    if not file.exists():
        pytest.skip(f"{file.name} is not in ../shared/data")
    header = 0 if name == "california" else None
    table = pd.read_csv(file, header=header, nrows=rows, skipinitialspace=True, na_values=["?"])
    table.columns = [f"c{number}" for number in range(len(table.columns))]
    table.to_csv(folder / "table.csv", index=False)
    regression = name == "california"
    kind = "HistGradientBoostingRegressor" if regression else "HistGradientBoostingClassifier"
    return cases.study(
        data={"source": "csv", "path": str(folder / "table.csv"), "target": "c8" if regression else "c14"},
        metric={"name": "val/rmse" if regression else "val/loss"},
        train={"estimator": f"sklearn.ensemble.{kind}", "grow": {"max_iter": TREES}, "epochs": STEPS},
        parameters=dict(POINT),
    )


def by_hand(kind: Any, dataset: Any, trees: int) -> Any:
    with threadpool_limits(1):
        return kind(**POINT, max_iter=trees, random_state=SEED).fit(*cases.rows(dataset, "train"))


def check(name: str, folder: Path, rows: int | None) -> None:
    spec = study_of(name, folder, rows)
    dataset = cases.prepared(spec, folder)
    result = cases.trial(spec, dataset, POINT)
    assert result.state == "complete" and result.weights is not None
    tested = score_estimators(spec, dataset, POINT, result.weights)
    curves, best = result.history, result.best_epoch
    for step in {1, best, STEPS}:
        kind = HistGradientBoostingRegressor if name == "california" else HistGradientBoostingClassifier
        model = by_hand(kind, dataset, TREES * step)
        for part, found in (
            ("val", {k: v[step - 1] for k, v in curves.items()}),
            ("test", tested if step == best else {}),
        ):
            x, y = cases.rows(dataset, part)
            want: dict[str, float] = {}
            if name == "california":
                center, unit = dataset.units[0]
                values, truth = model.predict(x) * unit + center, y * unit + center
                want["rmse"] = float(root_mean_squared_error(truth, values))
                want["mae"] = float(mean_absolute_error(truth, values))
            else:
                probabilities = model.predict_proba(x)
                want["loss"] = log_loss(y, probabilities)
                want["accuracy"] = accuracy_score(y, model.predict(x))
                want["roc_auc"] = roc_auc_score(y, probabilities[:, 1])
            for metric, value in want.items():
                if found:
                    assert found[f"{part}/{metric}"] == pytest.approx(value, rel=1e-9, abs=1e-9), (part, metric, step)
    assert best == 1 + int(np.argmin(curves[spec.metric.name]))


@pytest.mark.parametrize("name", ["california", "adult"])
def test_scores_on_the_first_rows(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, ROWS)


@pytest.mark.experiments
@pytest.mark.parametrize("name", ["california", "adult"])
def test_scores_on_whole_tables(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, None)
