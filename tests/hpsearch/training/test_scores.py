"""Scores of epochs and of the best model."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fold_cases import FOLDS, POINT, VALUES, WAYS, model, one, prepared
from sklearn import metrics as sk

from engine.metrics import METRICS
from hpsearch.config.spec import METRIC_NAMES, Metric
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.scores import final_scores, positive_notice


@pytest.mark.parametrize("content", [FOLDS, VALUES, WAYS], ids=["classes", "values", "ways"])
def test_folds_predict_test_rows_together(content: dict[str, Any], tmp_path: Path) -> None:
    """Test scores are those of the mean prediction of the folds' networks, as scikit-learn computes them."""
    spec = cases.small(**content, **{"train.epochs": 8})
    made = prepared(spec, tmp_path)
    point = {**POINT, **({"scaling": "minmax"} if made[0].choices else {})}
    result = one(spec, made[0], point)
    assert result.weights is not None
    scores = final_scores(spec, made[0], point, result.weights)
    built, test = model(spec, made, result, point), made[0].at(point).part("test")
    assert test is not None
    scaler = built.preprocessing[0].input_scaler
    raw = test.of(0).x.astype(np.float64) if scaler is None else scaler.invert(test.of(0).x.astype(np.float64))
    said = built.scores(raw)
    if built.classes:
        truth = test.of(0).y.argmax(axis=1)
        expected = {
            "accuracy": sk.accuracy_score(truth, said.argmax(axis=1)),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said.argmax(axis=1)),
            "f1": sk.f1_score(truth, said.argmax(axis=1), average="macro"),
            "precision": sk.precision_score(truth, said.argmax(axis=1), average="macro", zero_division=0),
            "recall": sk.recall_score(truth, said.argmax(axis=1), average="macro"),
            "log_loss": sk.log_loss(truth, said),
            "roc_auc": sk.roc_auc_score(truth, said, multi_class="ovr"),
        }
        assert scores["test/loss"] == scores["test/log_loss"]
        singles = [built.network.predict(built.theta[k : k + 1], test.of(k).x)[0] for k in range(3)]
        np.testing.assert_allclose(said, np.mean(singles, axis=0, dtype=np.float64), atol=1e-6)
    else:
        center, unit = made[0].units[0]
        truth = test.of(0).y[:, 0] * unit + center
        expected = {
            "r2": sk.r2_score(truth, said[:, 0]),
            "rmse": sk.root_mean_squared_error(truth, said[:, 0]),
            "mae": sk.mean_absolute_error(truth, said[:, 0]),
        }
        assert 30 < scores["test/rmse"] < 80  # in the target's own units
    for name, value in expected.items():
        assert scores[f"test/{name}"] == pytest.approx(value, rel=1e-4), name
    assert set(scores) == {
        "test/loss",
        "fit/loss",
        *(f"test/{n}" for n in expected),
        *(k for k in scores if "fit/" in k),
    }


def test_a_study_of_folds(tmp_path: Path) -> None:
    """The champion's metrics equal the final scores of its stored weights, with searched preprocessing."""
    spec = cases.small(**{**cases.FULL, **WAYS})
    dataset, _ = prepared(spec, tmp_path)
    study = cases.run(spec, dataset, tmp_path / "small.db")
    states = {r.state for r in cases.rows(study)}
    assert states == {"complete", "pruned", "diverged"} and study.best is not None
    assert {"test/roc_auc", "fit/loss", "val/loss_std"} <= set(study.best.metrics)
    storage = StudyDatabase.open(url_of(str(tmp_path / "small.db")), create=False)
    (weights,) = [c.weights for c in storage.weights.load().values() if c.number == study.best.number]
    storage.close()
    scores = final_scores(spec, dataset, study.best.point, weights)
    assert scores == {k: v for k, v in study.best.metrics.items() if k.startswith(("test/", "fit/"))}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_searched_on(name: str, tmp_path: Path) -> None:
    """The best epoch is the best by the metric, and the weights are of that epoch."""
    data = {"source": "sklearn", "name": "breast_cancer" if METRICS[name].classifies else "diabetes"}
    spec = cases.small(data=data, metric={"name": f"val/{name}"}, **{"train.epochs": 6, "train.early_stopping": None})
    dataset, _ = prepared(spec, tmp_path)
    result = one(spec, dataset)
    curve = result.history[f"val/{name}"]
    better = min if METRICS[name].sign > 0 else max
    assert (
        result.value == better(curve) == curve[result.best_epoch - 1]
        and result.best_epoch == curve.index(result.value) + 1
    )
    study = cases.run(spec, dataset, tmp_path / "small.db")
    values = [r.value for r in cases.rows(study) if r.value is not None]
    assert study.best is not None and study.best.value == better(values) and f"test/{name}" in study.best.metrics
    other = "accuracy" if not METRICS[name].classifies else "r2"
    assert not any(other in key for key in study.best.metrics)


def test_names_of_metrics() -> None:
    """A study file may name every metric of the engine, and it is optimized in its direction."""
    names = [name.removeprefix("val/") for name in METRIC_NAMES if name.startswith("val/")]
    assert names == ["loss", *METRICS]
    for name, kind in METRICS.items():
        metric = Metric.model_validate({"name": f"val/{name}"})
        assert metric.sign == kind.sign and metric.monitored == f"val/{name}" and metric.of == name


@pytest.mark.parametrize("rare", ["a-fraud", "z-fraud"])
def test_f1_is_of_the_rarer_class_whatever_its_name(rare: str, tmp_path: Path) -> None:
    rows = "".join(f"{k % 9 / 9 + (k % 8 == 0)},{rare if k % 8 == 0 else 'genuine'}\n" for k in range(160))
    (tmp_path / "payments.csv").write_text(f"amount,status\n{rows}")
    data = {"source": "csv", "path": str(tmp_path / "payments.csv"), "target": "status"}

    def scored(**metric: str) -> tuple[dict[str, float], str, np.ndarray, np.ndarray]:
        spec = cases.small(data=data, metric={"name": "val/f1", **metric}, **{"train.epochs": 3})
        made = prepared(spec, tmp_path)
        result = one(spec, made[0], POINT)
        assert result.weights is not None
        test, built = made[0].part("test"), model(spec, made, result, POINT)
        assert test is not None
        said = built.network.predict(built.theta, test.of(0).x)[0][:, 0] > 0.5
        notice = positive_notice(spec, made[0])
        return final_scores(spec, made[0], POINT, result.weights), notice, test.of(0).y[:, 0] > 0.5, said

    scores, notice, truth, said = scored()
    second = rare > "genuine"
    assert scores["test/f1"] == pytest.approx(sk.f1_score(truth, said, pos_label=second, zero_division=0))
    assert notice == f"val/f1 is the F1 of class '{rare}', the rarer one; to choose the other: metric.positive"
    scores, notice, truth, said = scored(positive="genuine")
    assert scores["test/f1"] == pytest.approx(sk.f1_score(truth, said, pos_label=not second))
    assert notice == "val/f1 is the F1 of class 'genuine'"


def test_f1_is_said_only_where_it_is_of_one_class(tmp_path: Path) -> None:
    iris = cases.small(metric={"name": "val/f1"})
    assert not positive_notice(iris, prepared(iris, tmp_path)[0])
    chosen = cases.small(metric={"name": "val/f1", "positive": "setosa"})
    assert "class 'setosa'" in positive_notice(chosen, prepared(chosen, tmp_path)[0])
    assert iris.metric.described.startswith("val/f1 of the rarer class")
    assert chosen.metric.described == "val/f1 of class 'setosa'" and cases.small().metric.described == "val/loss"
