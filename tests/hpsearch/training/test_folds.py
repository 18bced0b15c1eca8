"""Cross-validation, and rows that are prepared in several ways: trials, the champion, and the model it becomes."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from sklearn import metrics as sk

from engine.metrics import METRICS
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Metric, MetricName, Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import DataError
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.grouping import group_trials
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Task, TrialResult, TrialTask
from hpsearch.training.trial import advance

POINT = {"learning_rate": 0.1, "beta": 0.8, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
FOLDS = {"data": {"source": "sklearn", "name": "wine", "split": {"folds": 3}}}
VALUES = {"data": {"source": "sklearn", "name": "diabetes", "split": {"folds": 4}}, "metric": {"name": "val/rmse"}}
WAYS: dict[str, Any] = {
    "data": {**FOLDS["data"], "scale": "scaling"},
    "parameters.scaling": {"values": ["standard", "minmax", "none"]},
}
Prepared = tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]


def prepared(spec: Spec, folder: Path) -> Prepared:
    return prepare(spec.data, spec.seed, folder, preprocessing_values(spec))


def one(spec: Spec, dataset: Dataset, point: dict[str, Any] = POINT, **others: Any) -> TrialResult:
    (result,) = advance(Task(spec, dataset, (TrialTask(0, point, 7, **others),), spec.train.epochs))
    return result


def model(spec: Spec, made: Prepared, result: TrialResult, point: dict[str, Any] = POINT) -> Model:
    dataset = made[0].at(point)
    assert result.weights is not None
    return build_model(spec, dataset, made[1][dataset.number], Trial("a", 0, {}, point, "complete"), result.weights)


def test_folds_fit_their_own_rows(tmp_path: Path) -> None:
    """Each fold's preprocessing is fitted on its training rows, and its rows to choose by are the others."""
    spec = cases.small(**FOLDS)
    dataset, [folds] = prepared(spec, tmp_path)
    table = spec.data.load()
    train, val, test = (dataset.part(part) for part in ("train", "val", "test"))
    assert train is not None and val is not None and test is not None and len(folds) == dataset.folds == 3
    seen = []
    for number, fold in enumerate(folds):
        raw = fold.input_scaler.invert(train.of(number).x.astype(np.float64))  # type: ignore[union-attr]
        np.testing.assert_allclose(raw.mean(axis=0), fold.input_scaler.mean, rtol=1e-5)  # type: ignore[union-attr]
        own = fold.input_scaler.invert(val.of(number).x.astype(np.float64)).round(4)  # type: ignore[union-attr]
        seen += [tuple(row) for row in own]
        assert not {tuple(row) for row in raw.round(4)} & {tuple(row) for row in own}
        again = fold.input_scaler.invert(test.of(number).x.astype(np.float64))  # type: ignore[union-attr]
        assert {tuple(row) for row in again.round(3)} <= {tuple(row) for row in np.asarray(table.x).round(3)}
    assert len({tuple(f.input_scaler.mean) for f in folds}) == 3  # type: ignore[union-attr]
    assert len(seen) == 3 * len(val) and len(train) + len(val) + len(test) == len(table.y)


@pytest.mark.parametrize("content", [FOLDS, VALUES], ids=["classes", "values"])
def test_value_is_the_mean(content: dict[str, Any], tmp_path: Path) -> None:
    """Over the folds, at one epoch for all, with the spread beside it; scored by scikit-learn from the weights."""
    spec = cases.small(**content, **{"train.epochs": 9})
    made = prepared(spec, tmp_path)
    dataset, result = made[0], one(spec, made[0])
    assert result.state == "complete" and result.weights is not None
    built, val = model(spec, made, result), dataset.part("val")
    assert val is not None and built.theta.shape[0] == dataset.folds
    each = []
    for number, (center, unit) in enumerate(dataset.units):
        rows = val.of(number)
        said = built.network.predict(built.theta[number : number + 1], rows.x)[0]
        if dataset.classes:
            each.append(sk.log_loss(rows.y.argmax(axis=1), said, labels=range(3)))
        else:
            each.append(sk.root_mean_squared_error(rows.y * unit + center, said * unit + center))
    name = spec.metric.name
    best = result.best_epoch - 1
    assert result.value == pytest.approx(np.mean(each), rel=1e-4)
    assert result.history[f"{name}_std"][best] == pytest.approx(np.std(each, ddof=1), rel=1e-3)
    assert result.value == min(result.history[name]) == result.history[name][best]
    assert ("val/accuracy" in result.history) == bool(dataset.classes)
    assert ("val/r2" in result.history) != bool(dataset.classes)


@pytest.mark.parametrize("content", [FOLDS, WAYS, VALUES], ids=["folds", "ways", "values"])
def test_company_pause_and_checkpoint(content: dict[str, Any], tmp_path: Path) -> None:
    """Alone, together, stopped half-way and gone on with: to the bit."""
    spec = cases.small(**content, **{"train.epochs": 6})
    dataset, _ = prepared(spec, tmp_path)
    way = {"scaling": "minmax"} if dataset.choices else {}
    points = [{**POINT, **way, "learning_rate": rate} for rate in (0.05, 0.2)]
    starts = tuple(TrialTask(n, point, 5 + n) for n, point in enumerate(points))
    together = advance(Task(spec, dataset, starts, 6))
    for start, result in zip(starts, together, strict=True):
        (alone,) = advance(Task(spec, dataset, (start,), 6))
        assert alone._replace(seconds=0) == result._replace(seconds=0)
        (half,) = advance(Task(spec, dataset, (start,), 2))
        assert half.state == "running" and half.checkpoint is not None
        onwards = start._replace(epochs=2, checkpoint=half.checkpoint, history=half.history)
        (whole,) = advance(Task(spec, dataset, (onwards,), 6))
        assert whole._replace(seconds=0) == result._replace(seconds=0)


def test_one_fold_that_diverges(tmp_path: Path) -> None:
    """Ends its trial: a mean without it would be another number."""
    spec = cases.small(**FOLDS)
    dataset, _ = prepared(spec, tmp_path)
    rows = np.load(f"{dataset.folder}/train_x.npy")
    rows[-1] = np.inf  # of the last fold
    np.save(f"{dataset.folder}/train_x.npy", rows)
    assert one(spec, dataset).state == "diverged"


def test_ways_do_not_train_together(tmp_path: Path) -> None:
    """They have other rows; and each way's rows are what it says."""
    spec = cases.small(**WAYS)
    dataset, made = prepared(spec, tmp_path)
    assert dataset.choices == ("scaling",) and len(dataset.variants) == len(made) == 3
    starts = [
        TrialTask(n, {**POINT, "scaling": way}, n) for n, way in enumerate(["standard", "none", "standard", "none"])
    ]
    cut = group_trials(spec, dataset, starts, 1)
    assert sorted(tuple(t.number for t in group) for group in cut) == [(0, 2), (1, 3)]
    train = {way: dataset.at({**POINT, "scaling": way}).part("train") for way in ("standard", "minmax", "none")}
    standard, minmax, plain = (rows.of(0).x for rows in train.values() if rows is not None)
    assert np.abs(standard.mean(axis=0)).max() < 1e-5 and (minmax.min(), minmax.max()) == (0, 1)
    np.testing.assert_allclose(minmax * np.ptp(plain, axis=0) + plain.min(axis=0), plain, rtol=1e-4)
    results = [one(spec, dataset, {**POINT, "scaling": way}) for way in ("standard", "minmax")]
    assert results[0].value != results[1].value


@pytest.mark.parametrize("content", [FOLDS, VALUES, WAYS], ids=["classes", "values", "ways"])
def test_the_folds_predict_together(content: dict[str, Any], tmp_path: Path) -> None:
    """The champion's test scores are of the mean of what its nets say, as scikit-learn scores the model."""
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
    """Pruned, zoomed and confirmed over ways of preparing rows; the database makes the champion's model."""
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


# --- what is searched on


def test_names_of_metrics() -> None:
    """The study file takes what the engine measures, with its direction."""
    names = [name.removeprefix("val/") for name in MetricName.__args__ if name.startswith("val/")]  # type: ignore[attr-defined]
    assert names == ["loss", *METRICS]
    for name, kind in METRICS.items():
        metric = Metric.model_validate({"name": f"val/{name}"})
        assert metric.sign == kind.sign and metric.monitored == f"val/{name}" and metric.of == name


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_searched_on(name: str, tmp_path: Path) -> None:
    """Its best epoch is the best by it, and the weights are those of that epoch."""
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


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (
            "wine",
            "val/rmse",
            "metric.name: val/rmse is for regression, the task is classification; choose from accuracy",
        ),
        (
            "diabetes",
            "val/roc_auc",
            "metric.name: val/roc_auc is for classification, the task is regression; choose from r2",
        ),
        ("diabetes", "val/f1", "choose from r2, rmse, mae"),
    ],
)
def test_metrics_of_another_task(data: str, name: str, message: str, tmp_path: Path) -> None:
    from hpsearch.training.network import check_fit

    spec = cases.small(data={"source": "sklearn", "name": data}, metric={"name": name})
    with pytest.raises(DataError) as caught:
        check_fit(spec, prepared(spec, tmp_path)[0])
    assert message in str(caught.value)
