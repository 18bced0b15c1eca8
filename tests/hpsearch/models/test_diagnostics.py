"""What a champion does with its rows: against its own scores, and against its model."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.config.spec import Spec
from hpsearch.models.diagnostics import DOTS, GRID, SHOWN, Diagnostics, Fit, _short, diagnose
from hpsearch.training.network import build_network
from hpsearch.training.scores import final_scores
from tests.hpsearch.training.test_folds import FOLDS, POINT, VALUES, model, one, prepared

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


def seen(folder: Path, **changes: Any) -> tuple[Diagnostics, dict[str, float], Spec, Any, Any]:
    """Diagnostics, and the same trial's scores."""
    spec = cases.small(**{"train.epochs": 6, **changes})
    made = prepared(spec, folder)
    result = one(spec, made[0])
    assert result.weights is not None
    scores = {name: values[result.best_epoch - 1] for name, values in result.history.items()}
    scores |= final_scores(spec, made[0], POINT, result.weights)
    return diagnose(spec, made[0], made[1][0], POINT, result.weights), scores, spec, made, result


def accuracy(fit: Fit) -> float:
    assert sum(map(sum, fit.confusion)) == fit.rows
    return float(np.trace(np.array(fit.confusion)) / fit.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_scores_say(tmp_path: Path, kind: str) -> None:
    """Counted otherwise than the scores are: the confusion's diagonal, and differences in the target's own units."""
    found, scores, _, made, _ = seen(tmp_path, **KINDS[kind])
    assert found.val is not None and found.test is not None
    dataset = made[0]
    assert found.val.rows == dict(dataset.rows)["val"] * dataset.folds and found.test.rows == dict(dataset.rows)["test"]
    for part, fit in (("val", found.val), ("test", found.test)):
        if dataset.classes:
            # folds may differ in size by a row, of which the mean over folds knows nothing
            assert accuracy(fit) == pytest.approx(scores[f"{part}/accuracy"], abs=0.01 if dataset.folds > 1 else 1e-6)
        else:
            wrong = np.array(fit.predicted) - np.array(fit.truth)
            assert len(wrong) == fit.rows == sum(fit.residuals)
            near = 0.02 if dataset.folds > 1 and part == "val" else 1e-4
            assert np.sqrt((wrong**2).mean()) == pytest.approx(scores[f"{part}/rmse"], rel=near)
            assert fit.edges[0] <= wrong.min() * 0.99 + 1e-3 and len(fit.edges) == len(fit.residuals) + 1


def test_the_test_rows_are_predicted_as_the_model_does(tmp_path: Path) -> None:
    """Of folds, all nets together: true and predicted by row, against `Model.predict` on rows as they came."""
    found, _, spec, made, result = seen(tmp_path, **VALUES)
    net = model(spec, made, result)
    table = spec.data.load()
    assert found.test is not None
    by_target: dict[float, list[float]] = {}
    for truth, said in zip(np.asarray(table.y, float), net.predict(table.x), strict=True):
        by_target.setdefault(float(f"{truth:.6g}"), []).append(float(said))
    for truth, said in zip(found.test.truth, found.test.predicted, strict=True):
        assert min(abs(said - other) for other in by_target[float(f"{truth:.4g}")]) < 1e-3 * abs(said)


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "quantile", "none"])
@pytest.mark.parametrize("split", [{"train": 0.7, "val": 0.3, "test": 0}, {"folds": 3, "test": 0}])
def test_regions_are_what_the_model_says_there(tmp_path: Path, scale: str, split: dict[str, Any]) -> None:
    changes = {"data": {"source": "formula", "name": "arc", "split": split, "scale": scale}}
    found, _, spec, made, result = seen(tmp_path, **changes)
    assert found.regions is not None
    net, r = model(spec, made, result), found.regions
    x, y = np.meshgrid(r.x, r.y)
    scores = net.scores(np.stack([x.ravel(), y.ravel()], axis=1))
    clear = np.abs(scores[:, 0] - 0.5) > 0.02  # coordinates are rounded to six digits
    said = np.array(r.said).ravel()
    assert clear.mean() > 0.5 and set(said) == {0.0, 1.0}
    assert (scores.argmax(axis=1)[clear] == said[clear]).all()
    sure = np.array(r.sure).ravel()
    np.testing.assert_allclose(sure[clear], scores.max(axis=1)[clear], atol=0.01)
    table = spec.data.load()
    rows = {(round(float(a), 3), round(float(b), 3)): c for (a, b), c in zip(table.x, np.ravel(table.y), strict=True)}
    assert len(r.dots) <= DOTS and len({tuple(d) for d in r.dots}) > 100
    matched = [rows.get((round(a, 3), round(b, 3))) == c for a, b, c in r.dots]
    assert np.mean(matched) > 0.95  # rounding to three digits may go either way


def test_only_two_numbers_have_regions(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    assert seen(tmp_path / "iris")[0].regions is None
    assert len(seen(tmp_path, **MOONS)[0].regions.x) == GRID  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_layers(tmp_path: Path, kind: str) -> None:
    found, _, spec, made, result = seen(tmp_path, **KINDS[kind])
    net = build_network(spec, made[0], POINT)
    theta = np.frombuffer(result.weights, np.float32).reshape(made[0].folds, -1)[0]
    weights = [theta[s.start : s.stop] for s in net.slices if s.parameter.regularized]
    assert [w.numbers for w in found.weights] == [len(w) for w in weights]
    np.testing.assert_allclose([w.total for w in found.weights], [np.abs(w).sum() for w in weights], rtol=1e-5)
    assert [w.little for w in found.weights] == [int((np.abs(w) <= 0.01).sum()) for w in weights]
    assert len(found.activations) == len(net.layers)
    assert [s.layer.split()[0] for s in found.activations] == [str(n + 1) for n in range(len(net.layers))]
    assert {s.layer for s in found.gradients} <= {s.layer for s in found.activations}
    rows = [sum(s.counts) for s in found.activations]
    sizes = [int(np.prod(shape)) for shape in net.shapes[1:]]
    assert len({count / size for count, size in zip(rows, sizes, strict=True)}) == 1  # every number of every row
    assert any(s.deviation > 0 for s in found.gradients)


def test_a_thousand_rows_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    found = seen(tmp_path, data={"source": "formula", "name": "curve"}, metric={"name": "val/rmse"})[0]
    assert found.val is not None
    few = found.val.rows
    assert len(found.val.truth) == min(few, SHOWN)


def test_numbers_far_from_zero_stay_apart() -> None:
    """Six digits of what they differ by, not of themselves; of a layer that is saturated there are edges still."""
    far = 1e9 + np.arange(5) * 0.25
    assert _short(far) == list(far) and _short(np.array([2 / 3, 1.0])) == [0.6666667, 1.0]
    near = np.array([0.99999970, 0.99999990])
    assert len(set(_short(near))) == 2 and _short(np.array([1 / 3, 1 / 3])) == [0.333333333] * 2


def test_bytes(tmp_path: Path) -> None:
    """It comes back as it was; what is something else, or older, is none."""
    found = seen(tmp_path, **MOONS)[0]
    data = found.to_bytes()
    assert Diagnostics.from_bytes(data) == found and len(data) < 40_000
    for other in (None, b"", b"x", data[:-9], Diagnostics.from_bytes.__doc__.encode()):  # type: ignore[union-attr]
        assert Diagnostics.from_bytes(other) is None


def test_rows_that_batch_norm_cannot_take(tmp_path: Path) -> None:
    """A single training row has no spread: the diagnostics go without histograms, and the study to its end."""
    changes = {"model.hidden": [{"units": "hidden_units", "activation": "relu", "batch_norm": True}]}
    spec = cases.small(**changes)
    made = prepared(spec, tmp_path)
    result = one(spec, made[0])
    rows = made[0].part("train")
    assert rows is not None and result.weights is not None
    from hpsearch.models import diagnostics as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 1)
        found = diagnose(spec, made[0], made[1][0], POINT, result.weights)
    assert found.activations == found.gradients == [] and found.weights
