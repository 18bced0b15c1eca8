"""Diagnostics of a champion, compared with its scores and with its model."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fold_cases import FOLDS, POINT, VALUES, model, one, prepared

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.models.diagnostics import (
    GRID_POINTS,
    REGION_ROWS,
    SCATTER_ROWS,
    Diagnostics,
    PartPredictions,
    diagnose,
    rounded,
)
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.build import build_predictor
from hpsearch.storage.records import Trial
from hpsearch.training.network import build_network
from hpsearch.training.scores import final_scores
from hpsearch.training.task import TrialResult

MOONS: dict[str, Any] = {"data": {"source": "formula", "name": "arc", "split": {"train": 0.7, "val": 0.3, "test": 0}}}
KINDS: dict[str, dict[str, Any]] = {
    "classes": {},
    "folds": FOLDS,
    "two classes": {"data": {"source": "sklearn", "name": "breast_cancer"}},
    "values": {"data": {"source": "sklearn", "name": "diabetes"}, "metric": {"name": "val/rmse"}},
    "folds of values": VALUES,
    "batch norm": {
        "model.hidden": [{"units": "hidden_units", "activation": "relu", "batch_norm": True, "dropout": 0.2}]
    },
}


def predictor_of(spec: Spec, dataset: Dataset, result: TrialResult) -> Predictor:
    trial = Trial("a", 0, {}, POINT, "complete")
    return build_predictor(spec, dataset, dataset.folds, trial, result.weights or b"")


def seen(folder: Path, **changes: Any) -> tuple[Diagnostics, dict[str, float], Spec, Any, Any]:
    """Return diagnostics and scores of the same trial, and what they were computed from."""
    spec = cases.small(**{"train.epochs": 6, **changes})
    made = prepared(spec, folder)
    result = one(spec, made[0])
    assert result.weights is not None
    scores = {name: values[result.best_epoch - 1] for name, values in result.history.items()}
    scores |= final_scores(spec, made[0], POINT, result.weights)
    return diagnose(spec, made[0], made[1][0], POINT, predictor_of(spec, made[0], result)), scores, spec, made, result


def accuracy(fit: PartPredictions) -> float:
    assert sum(map(sum, fit.confusion)) == fit.rows
    return float(np.trace(np.array(fit.confusion)) / fit.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_agree_with_the_scores(tmp_path: Path, kind: str) -> None:
    """Accuracy from the diagonal of the confusion matrix; RMSE from predictions in the units of the target."""
    found, scores, _, made, _ = seen(tmp_path, **KINDS[kind])
    assert found.val is not None and found.test is not None
    dataset = made[0]
    assert found.val.rows == dict(dataset.rows)["val"] * dataset.folds and found.test.rows == dict(dataset.rows)["test"]
    for part, fit in (("val", found.val), ("test", found.test)):
        if dataset.classes:
            # folds may differ in size by a row, which the mean over folds ignores
            assert accuracy(fit) == pytest.approx(scores[f"{part}/accuracy"], abs=0.01 if dataset.folds > 1 else 1e-6)
        else:
            wrong = np.array(fit.predicted) - np.array(fit.targets)
            assert len(wrong) == fit.rows == sum(fit.residuals)
            near = 0.02 if dataset.folds > 1 and part == "val" else 1e-4
            assert np.sqrt((wrong**2).mean()) == pytest.approx(scores[f"{part}/rmse"], rel=near)
            assert fit.edges[0] <= wrong.min() * 0.99 + 1e-3 and len(fit.edges) == len(fit.residuals) + 1


def test_test_rows_are_predicted_as_by_the_model(tmp_path: Path) -> None:
    """In a cross-validation, the mean of all networks: each row against `Model.predict` of the raw rows."""
    found, _, spec, made, result = seen(tmp_path, **VALUES)
    net = model(spec, made, result)
    table = spec.data.load()
    assert found.test is not None
    by_target: dict[float, list[float]] = {}
    for truth, said in zip(np.asarray(table.y, float), net.predict(table.x), strict=True):
        by_target.setdefault(float(f"{truth:.6g}"), []).append(float(said))
    for truth, said in zip(found.test.targets, found.test.predicted, strict=True):
        assert min(abs(said - other) for other in by_target[float(f"{truth:.4g}")]) < 1e-3 * abs(said)


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "quantile", "none"])
@pytest.mark.parametrize("split", [{"train": 0.7, "val": 0.3, "test": 0}, {"folds": 3, "test": 0}])
def test_regions_agree_with_the_model(tmp_path: Path, scale: str, split: dict[str, Any]) -> None:
    changes = {"data": {"source": "formula", "name": "arc", "split": split, "scale": scale}}
    found, _, spec, made, result = seen(tmp_path, **changes)
    assert found.regions is not None
    net, r = model(spec, made, result), found.regions
    x, y = np.meshgrid(r.x, r.y)
    scores = net.scores(np.stack([x.ravel(), y.ravel()], axis=1))
    clear = np.abs(scores[:, 0] - 0.5) > 0.02  # coordinates are rounded to six digits
    said = np.array(r.predicted).ravel()
    assert clear.mean() > 0.5 and set(said) == {0.0, 1.0}
    assert (scores.argmax(axis=1)[clear] == said[clear]).all()
    sure = np.array(r.probability).ravel()
    np.testing.assert_allclose(sure[clear], scores.max(axis=1)[clear], atol=0.01)
    table = spec.data.load()
    rows = {(round(float(a), 3), round(float(b), 3)): c for (a, b), c in zip(table.x, np.ravel(table.y), strict=True)}
    assert len(r.training_rows) <= REGION_ROWS and len({tuple(d) for d in r.training_rows}) > 100
    matched = [rows.get((round(a, 3), round(b, 3))) == c for a, b, c in r.training_rows]
    assert np.mean(matched) > 0.95  # rounding to three digits may go either way


def test_only_two_numeric_features_have_regions(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    assert seen(tmp_path / "iris")[0].regions is None
    assert len(seen(tmp_path, **MOONS)[0].regions.x) == GRID_POINTS  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_layers(tmp_path: Path, kind: str) -> None:
    found, _, spec, made, result = seen(tmp_path, **KINDS[kind])
    net = build_network(spec, made[0], POINT)
    theta = np.frombuffer(result.weights, np.float32).reshape(made[0].folds, -1)[0]
    weights = [theta[s.start : s.stop] for s in net.slices if s.parameter.regularized]
    assert [w.size for w in found.weights] == [len(w) for w in weights]
    np.testing.assert_allclose([w.total for w in found.weights], [np.abs(w).sum() for w in weights], rtol=1e-5)
    assert [w.little for w in found.weights] == [int((np.abs(w) <= 0.01).sum()) for w in weights]
    assert len(found.activations) == len(net.layers)
    assert [s.layer.split()[0] for s in found.activations] == [str(n + 1) for n in range(len(net.layers))]
    assert {s.layer for s in found.gradients} <= {s.layer for s in found.activations}
    rows = [sum(s.counts) for s in found.activations]
    sizes = [int(np.prod(shape)) for shape in net.shapes[1:]]
    assert len({count / size for count, size in zip(rows, sizes, strict=True)}) == 1  # all numbers of all rows
    assert any(s.deviation > 0 for s in found.gradients)


def test_at_most_a_thousand_rows_are_kept(tmp_path: Path) -> None:
    found = seen(tmp_path, data={"source": "formula", "name": "curve"}, metric={"name": "val/rmse"})[0]
    assert found.val is not None
    few = found.val.rows
    assert len(found.val.targets) == min(few, SCATTER_ROWS)


def test_rounding_keeps_values_apart() -> None:
    """Six digits of the range of the values, so that the edges of a saturated layer remain different."""
    far = 1e9 + np.arange(5) * 0.25
    assert rounded(far) == list(far) and rounded(np.array([2 / 3, 1.0])) == [0.6666667, 1.0]
    near = np.array([0.99999970, 0.99999990])
    assert len(set(rounded(near))) == 2 and rounded(np.array([1 / 3, 1 / 3])) == [0.333333333] * 2


def test_bytes_and_back(tmp_path: Path) -> None:
    """Damaged bytes give None."""
    found = seen(tmp_path, **MOONS)[0]
    data = found.to_bytes()
    assert Diagnostics.from_bytes(data) == found and len(data) < 40_000
    for other in (None, b"", b"x", data[:-9], Diagnostics.from_bytes.__doc__.encode()):  # type: ignore[union-attr]
        assert Diagnostics.from_bytes(other) is None


def test_too_few_rows_for_batch_norm(tmp_path: Path) -> None:
    """With a single row, there are no histograms of activations and gradients; all else is there."""
    changes = {"model.hidden": [{"units": "hidden_units", "activation": "relu", "batch_norm": True}]}
    spec = cases.small(**changes)
    made = prepared(spec, tmp_path)
    result = one(spec, made[0])
    rows = made[0].part("train")
    assert rows is not None and result.weights is not None
    from hpsearch.models import diagnostics as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_ROWS", 1)
        found = diagnose(spec, made[0], made[1][0], POINT, predictor_of(spec, made[0], result))
    assert found.activations == found.gradients == [] and found.weights
