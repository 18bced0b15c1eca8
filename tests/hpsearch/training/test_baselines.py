"""Baselines: equal to scikit-learn's own models and metrics, bounded, and never an exception."""

import builtins
import sys
from itertools import product
from pathlib import Path
from typing import Any, get_args

import cases
import numpy as np
import pytest
from fold_cases import FOLDS, VALUES
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_info, threadpool_limits

from engine.metrics import METRICS
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import DataError
from hpsearch.training import baselines
from hpsearch.training.baselines import BASELINES, BaselineTask, fit_baseline, fitted_rows
from hpsearch.training.task import BaselineName

SIMPLE = {"data": {"source": "sklearn", "name": "iris"}}
TWO = {"data": {"source": "sklearn", "name": "breast_cancer"}, "metric": {"name": "val/f1"}}


def task(name: Any, content: dict[str, Any], folder: Path) -> BaselineTask:
    spec = cases.small(**content)
    return BaselineTask(name, spec, prepare(spec.data, spec.seed, folder)[0])


def estimators(name: str, dataset: Dataset, seed: int) -> list[Any]:
    """Return scikit-learn's estimator for each fold."""
    classes = bool(dataset.classes)
    made = {
        "constant": (DummyRegressor, lambda: DummyClassifier(strategy="prior")),
        "linear": (Ridge, lambda: LogisticRegression(max_iter=300)),
        "boosting": (
            lambda: HistGradientBoostingRegressor(random_state=seed),
            lambda: HistGradientBoostingClassifier(random_state=seed),
        ),
    }[name][classes]
    return [made() for _ in range(dataset.folds)]


def expected_scores(task: BaselineTask) -> dict[str, float]:
    """Return scores by scikit-learn's metrics, in the unit of the target."""
    dataset = task.dataset
    seed = derive(task.spec.seed, "baselines", task.name) % 2**32
    train, val, test = (dataset.part(part) for part in ("train", "val", "test"))
    assert train is not None and val is not None and test is not None
    by_fold, on_test = [], []
    for fold, model in enumerate(estimators(task.name, dataset, seed)):
        center, unit = dataset.units[fold]
        x, y = train.of(fold).x.astype(np.float64), train.of(fold).y
        labels = (y.argmax(axis=1) if len(dataset.classes) > 2 else y[:, 0] > 0.5) if dataset.classes else y[:, 0]
        model.fit(x, labels.astype(int) if dataset.classes else labels.astype(np.float64))
        said = [model.predict_proba(r.of(fold).x) if dataset.classes else model.predict(r.of(fold).x) * unit + center
                for r in (val, test)]  # fmt: skip
        truth = [r.of(fold).y if dataset.classes else r.of(fold).y[:, 0] * unit + center for r in (val, test)]
        by_fold.append(measured(dataset, said[0], truth[0]))
        on_test.append(said[1])
    scores = {f"val/{name}": float(np.mean([s[name] for s in by_fold])) for name in by_fold[0]}
    center, unit = dataset.units[0]
    truth = test.of(0).y if dataset.classes else test.of(0).y[:, 0] * unit + center
    return scores | {f"test/{name}": v for name, v in measured(dataset, np.mean(on_test, axis=0), truth).items()}


def measured(dataset: Dataset, said: Any, truth: Any) -> dict[str, float]:
    if not dataset.classes:
        errors = {"rmse": sk.root_mean_squared_error(truth, said), "mae": sk.mean_absolute_error(truth, said)}
        return {**errors, "r2": sk.r2_score(truth, said)}
    two = len(dataset.classes) == 2
    labels = (truth[:, 0] > 0.5).astype(int) if two else truth.argmax(axis=1)
    chosen = said.argmax(axis=1)
    f1 = {"pos_label": dataset.rarer} if two else {"average": "macro"}
    return {
        "loss": sk.log_loss(labels, said, labels=range(said.shape[1])),
        "accuracy": sk.accuracy_score(labels, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, chosen),
        "f1": sk.f1_score(labels, chosen, zero_division=0, **f1),
        "roc_auc": sk.roc_auc_score(labels, said[:, 1] if two else said, multi_class="ovr"),
    }


CONTENTS = {"classes": SIMPLE, "two": TWO, "values": VALUES, "folds": FOLDS}
SLOW = [("boosting", "classes"), ("boosting", "folds")]  # 1,200 trees that show nothing new


@pytest.mark.parametrize(("name", "kind"), [case for case in product(BASELINES, CONTENTS) if case not in SLOW])
def test_scores_are_those_of_scikit_learn(name: str, kind: str, tmp_path: Path) -> None:
    made = task(name, CONTENTS[kind], tmp_path)
    result = fit_baseline(made)
    assert result.error is None and result.rows == dict(made.dataset.rows)["train"]
    with threadpool_limits(1):
        expected = expected_scores(made)
    for score, value in expected.items():
        assert result.scores[score] == pytest.approx(value, rel=1e-4, abs=1e-5), score
    kinds = {n for n, m in METRICS.items() if m.classifies == bool(made.dataset.classes)} | {"loss"}
    assert {n for n in result.scores if not n.endswith("_std")} == {
        f"{part}/{n}" for part in ("train", "val", "test") for n in kinds
    }
    assert (f"{made.spec.metric.name}_std" in result.scores) == (made.dataset.folds > 1)
    with threadpool_limits(2):
        assert fit_baseline(made).scores == result.scores, "it follows from data and seed"


def test_every_name_has_a_model() -> None:
    assert tuple(BASELINES) == get_args(BaselineName)


def test_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every library uses one thread, whatever the process has set: with more, the last bits of sums differ."""
    seen: list[int] = []

    def fit(*arguments: Any) -> Any:
        seen.extend(library["num_threads"] for library in threadpool_info())
        return BASELINES["constant"](*arguments)

    monkeypatch.setitem(BASELINES, "boosting", fit)
    assert fit_baseline(task("boosting", SIMPLE, tmp_path)).error is None
    assert set(seen) == {1} and len(seen) > 1


def test_images_are_flattened(tmp_path: Path) -> None:
    content = {"data": {"source": "sklearn", "name": "digits", "image": [1, 8, 8]}}
    flat = {"data": {"source": "sklearn", "name": "digits", "scale": "minmax"}}
    image = task("linear", {"data": {**content["data"], "scale": "minmax"}}, tmp_path)
    assert image.dataset.inputs == (1, 8, 8)
    result = fit_baseline(image)
    assert result.error is None and result.scores["val/accuracy"] > 0.9
    (tmp_path / "flat").mkdir()
    other = fit_baseline(task("linear", flat, tmp_path / "flat"))
    assert other.scores["val/loss"] == pytest.approx(result.scores["val/loss"], abs=0.1)


def test_a_part_of_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = task("boosting", SIMPLE, tmp_path)
    total = dict(made.dataset.rows)["train"]
    monkeypatch.setattr(baselines, "MIN_FITTED_ROWS", 20)
    monkeypatch.setattr(baselines, "MAX_FITTED_CELLS", 4 * 30)
    assert fitted_rows("boosting", made.dataset) == fitted_rows("linear", made.dataset) == 30 < total
    assert fitted_rows("constant", made.dataset) == total
    result = fit_baseline(made)
    assert result.rows == 30 and result.error is None and result.scores == fit_baseline(made).scores
    monkeypatch.setattr(baselines, "MIN_FITTED_ROWS", 31)
    with pytest.raises(DataError, match="4 inputs and 3 classes would take too long"):
        fitted_rows("boosting", made.dataset)
    assert fit_baseline(made).error == "4 inputs and 3 classes would take too long"


def test_the_limit_on_work() -> None:
    """About a minute on one core; the rows of ordinary tables are all used."""

    def rows(name: Any, count: int, inputs: int, outputs: int = 1) -> int:
        classes = tuple(map(str, range(outputs))) if outputs > 1 else ()
        parts = (("train", count), ("val", 1), ("test", 1))
        return fitted_rows(name, Dataset("", (inputs,), outputs, classes, "", parts))

    assert rows("boosting", 32_561, 106) == 32_561 and rows("linear", 32_561, 106) == 32_561
    assert 1000 < rows("boosting", 60_000, 784, 10) < 10_000
    assert 30_000 < rows("linear", 60_000, 784, 10) < 60_000
    assert rows("constant", 10**9, 784, 10) == 10**9
    assert rows("linear", 10**9, 3) == 10**7 > rows("boosting", 10**9, 3) > 10**6, "as much as memory holds"
    with pytest.raises(DataError, match="3,072 inputs and 100 classes would take too long"):
        rows("boosting", 50_000, 3072, 100)


def test_a_class_that_a_fold_has_not_seen(tmp_path: Path) -> None:
    """Its probability is 0; with a single class left, there is a reason."""
    made = task("linear", SIMPLE, tmp_path)
    y = np.load(tmp_path / "train_y.npy")
    for left, path in ((2, tmp_path / "two"), (1, tmp_path / "one")):
        path.mkdir()
        for file in tmp_path.glob("*.npy"):
            (path / file.name).write_bytes(file.read_bytes())
        fewer = y.copy()
        fewer[:] = np.eye(3)[y.argmax(axis=1) % left]
        np.save(path / "train_y.npy", fewer)
        other = made._replace(dataset=Dataset(**{**vars(made.dataset), "folder": str(path)}))
        result = fit_baseline(other)
        if left == 2:
            assert result.error is None and 0 < result.scores["val/accuracy"] < 0.7
        else:
            assert result.error is not None and "class" in result.error and "\n" not in result.error
            assert result.scores == {} and result.rows > 0


def test_errors_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without scikit-learn, which the constant does not need."""
    made = task("linear", SIMPLE, tmp_path)
    real = builtins.__import__

    def broken(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError("No module named 'sklearn'")
        return real(name, *arguments, **named)

    monkeypatch.delitem(sys.modules, "sklearn")
    monkeypatch.setattr(builtins, "__import__", broken)
    assert fit_baseline(made).error == "ModuleNotFoundError: No module named 'sklearn'"
    assert fit_baseline(made._replace(name="constant")).error is None
    monkeypatch.undo()
    monkeypatch.setitem(BASELINES, "linear", lambda *_: 1 / 0)
    assert fit_baseline(made).error == "ZeroDivisionError: division by zero"
