"""Training by an estimator: scores, steps, resuming to the bit, and what fails a trial."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import estimator_cases as cases
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from threadpoolctl import threadpool_limits

from hpsearch.training.objectives.code import load_object
from hpsearch.training.objectives.estimator import score_estimators
from hpsearch.training.objectives.stepping.progress import unpack_saved
from hpsearch.training.objectives.stored_estimator import load_estimator
from hpsearch.training.task import STATELESS, TrainingCode


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fit by hand with one thread, like a trial."""
    with threadpool_limits(1):
        yield


def test_scores_are_those_of_scikit_learn(tmp_path: Path) -> None:
    spec = cases.study()
    dataset = cases.prepared(spec, tmp_path)
    result = cases.trial(spec, dataset, cases.POINT)
    (x, y), (x_val, y_val) = cases.rows(dataset, "train"), cases.rows(dataset, "val")
    for step in range(1, 5):
        by_hand = HistGradientBoostingClassifier(
            learning_rate=0.3, max_leaf_nodes=4, max_iter=2 * step, random_state=77
        ).fit(x, y)
        assert result.history["val/loss"][step - 1] == pytest.approx(
            log_loss(y_val, by_hand.predict_proba(x_val)), abs=1e-9
        )
        assert result.history["train/accuracy"][step - 1] == accuracy_score(y, by_hand.predict(x))
    assert result.state == "complete" and result.best_epoch == int(np.argmin(result.history["val/loss"])) + 1
    assert {"val/loss", "val/accuracy", "val/f1", "val/roc_auc", "val/log_loss", "val/balanced_accuracy"} < {
        *result.history
    }
    assert {name for name in result.history if name.startswith("train/")} == {"train/loss", "train/accuracy"}


def test_values_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    spec = cases.study(**cases.REGRESSION)
    dataset = cases.prepared(spec, tmp_path)
    result = cases.trial(spec, dataset, cases.POINT)
    (x, y), (x_val, y_val), (center, unit) = cases.rows(dataset, "train"), cases.rows(dataset, "val"), dataset.units[0]
    by_hand = HistGradientBoostingRegressor(learning_rate=0.3, max_leaf_nodes=4, max_iter=8, random_state=77).fit(x, y)
    rmse = root_mean_squared_error(y_val * unit + center, by_hand.predict(x_val) * unit + center)
    assert rmse > 30 and result.history["val/rmse"][-1] == pytest.approx(rmse, abs=1e-9)
    assert result.history["val/loss"][-1] == pytest.approx((rmse / unit) ** 2 / 2)


def test_folds_have_a_mean_and_a_deviation(tmp_path: Path) -> None:
    spec = cases.study(data={"source": "sklearn", "name": "wine", "split": {"folds": 3}})
    dataset = cases.prepared(spec, tmp_path)
    result = cases.trial(spec, dataset, cases.POINT)
    assert result.weights is not None and len(unpack_saved(result.weights)) == 3
    losses = []
    for fold, saved in enumerate(unpack_saved(result.weights)):
        x_val, y_val = cases.rows(dataset, "val", fold)
        losses.append(log_loss(y_val, load_estimator(saved or b"").predict_proba(x_val)))
    assert np.mean(losses) == pytest.approx(result.history["val/loss"][result.best_epoch - 1])
    assert np.std(losses, ddof=1) == pytest.approx(result.history["val/loss_std"][result.best_epoch - 1])
    assert result == cases.in_pieces(spec, dataset, cases.POINT)._replace(seconds=result.seconds)


RESUMED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "boosting": ("sklearn.ensemble.HistGradientBoostingClassifier", {"grow": {"max_iter": 2}}, {"max_features": 0.5}),
    "sgd": ("sklearn.linear_model.SGDClassifier", {}, {"loss": "log_loss", "average": True}),
    "forest": ("sklearn.ensemble.RandomForestClassifier", {"grow": {"n_estimators": 3}}, {}),
    "trees": ("sklearn.ensemble.GradientBoostingClassifier", {"grow": {"n_estimators": 2}}, {"subsample": 0.5}),
    "net": ("sklearn.neural_network.MLPClassifier", {}, {"hidden_layer_sizes": 5, "solver": "adam"}),
    "bayes": ("sklearn.naive_bayes.GaussianNB", {}, {}),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_paused_trial_equals_one_that_trains_at_once(name: str, tmp_path: Path) -> None:
    estimator, train, parameters = RESUMED[name]
    spec = cases.trained_by(estimator, 3, parameters, train=train)
    dataset = cases.prepared(spec, tmp_path)
    whole, first = cases.trial(spec, dataset, parameters), cases.trial(spec, dataset, parameters, 1)
    assert whole.state == "complete" and first.state == "running" and first.checkpoint
    paused = cases.in_pieces(spec, dataset, parameters)
    assert (paused.history, paused.value, paused.weights) == (whole.history, whole.value, whole.weights)


MODULE = '''
import itertools
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Forgetful(ClassifierMixin, BaseEstimator):
    """Counts in an object that is not stored with it."""
    def __init__(self, power=1):
        self.power = power
    def partial_fit(self, x, y, classes=None):
        self.classes_ = np.asarray(classes)
        self.seen_ = getattr(self, "seen_", 0) + 1
        return self
    fit = partial_fit
    def __getstate__(self):
        return {**super().__getstate__(), "seen_": 0}
    def predict(self, x):
        if self.power > 2:
            raise ValueError("power is too large\\nsecond line")
        return np.full(len(x), self.classes_[min(self.seen_, 2)])
'''


def own(folder: Path, **changes: Any) -> Any:
    (folder / "forgetful.py").write_text(MODULE)
    metric = {"name": "val/accuracy"}
    return cases.trained_by("forgetful.py:Forgetful", 3, {"power": 1}, metric=metric, **changes)


def test_an_estimator_that_is_not_stored_whole_trains_again_from_its_seed(tmp_path: Path) -> None:
    spec = own(tmp_path)
    dataset, code = cases.prepared(spec, tmp_path), cases.code_of(spec, tmp_path)
    assert cases.trial(spec, dataset, {"power": 1}, 2, code).checkpoint == STATELESS
    assert "val/loss" not in cases.trial(spec, dataset, {"power": 1}, 3, code).history


def test_a_failed_trial_says_where(tmp_path: Path) -> None:
    spec = own(tmp_path)
    dataset, code = cases.prepared(spec, tmp_path), cases.code_of(spec, tmp_path)
    failed = cases.trial(spec, dataset, {"power": 3}, 3, code)
    assert failed.state == "failed" and failed.error == "forgetful.py:19: ValueError: power is too large"


@pytest.mark.parametrize(
    ("point", "error"),
    [
        (
            {"learning_rate": -0.1},
            "HistGradientBoostingClassifier: InvalidParameterError: The 'learning_rate' parameter",
        ),
        ({"learning_rate": "fast"}, "HistGradientBoostingClassifier: InvalidParameterError: The 'learning_rate' para"),
        ({"max_leaf_nodes": 1}, "HistGradientBoostingClassifier: InvalidParameterError: The 'max_leaf_nodes' parame"),
    ],
)
def test_a_wrong_value_fails_its_trial(point: dict[str, Any], error: str, tmp_path: Path) -> None:
    spec = cases.study()
    result = cases.trial(spec, cases.prepared(spec, tmp_path), {**cases.POINT, **point})
    assert result.state == "failed" and str(result.error).startswith(error) and "\n" not in str(result.error)


def test_a_point_without_probabilities_fails(tmp_path: Path) -> None:
    spec = cases.trained_by("sklearn.linear_model.SGDClassifier", 2, {"loss": {"values": ["hinge", "log_loss"]}})
    dataset = cases.prepared(spec, tmp_path)
    assert cases.trial(spec, dataset, {"loss": "log_loss"}).state == "complete"
    assert "val/loss needs probabilities" in str(cases.trial(spec, dataset, {"loss": "hinge"}).error)


def test_parameters_of_the_preprocessing_are_no_arguments(tmp_path: Path) -> None:
    data = {"source": "sklearn", "name": "wine", "scale": "scaling"}
    scaling = {"values": ["standard", "minmax"]}
    spec = cases.study(data=data, parameters={**cases.CONTENT["parameters"], "scaling": scaling})
    dataset = cases.prepared(spec, tmp_path)
    for value in scaling["values"]:
        assert cases.trial(spec, dataset, {**cases.POINT, "scaling": value}).state == "complete"


@pytest.mark.parametrize(
    "changes", [{}, cases.REGRESSION, {"data": {"source": "sklearn", "name": "wine", "split": {"folds": 3}}}]
)
def test_final_scores(changes: dict[str, Any], tmp_path: Path) -> None:
    spec = cases.study(**changes)
    dataset = cases.prepared(spec, tmp_path)
    result = cases.trial(spec, dataset, cases.POINT)
    assert result.weights is not None
    scores = score_estimators(spec, dataset, cases.POINT, result.weights)
    models = [load_estimator(saved or b"") for saved in unpack_saved(result.weights)]
    x, y = cases.rows(dataset, "test")
    if dataset.classes:
        own_rows = [cases.rows(dataset, "test", fold)[0] for fold in range(dataset.folds)]
        predicted = np.mean([model.predict_proba(x) for model, x in zip(models, own_rows, strict=True)], axis=0)
        assert scores["test/loss"] == pytest.approx(log_loss(y, predicted), abs=1e-6)
        assert {"fit/loss", "fit/accuracy", "test/accuracy", "test/roc_auc"} < {*scores}
    else:
        center, unit = dataset.units[0]
        rmse = root_mean_squared_error(y * unit + center, models[0].predict(x) * unit + center)
        assert scores["test/rmse"] == pytest.approx(rmse) and {"fit/loss", "fit/r2"} < {*scores}


def test_other_code_is_forgotten_without_what_was_loaded_before(tmp_path: Path) -> None:
    """A study file may lie in the folder of a project, with the modules of this process and its packages below it."""
    (tmp_path / "helper.py").write_text("VALUE = 1")
    (tmp_path / "known.py").write_text("")
    (tmp_path / "one.py").write_text("import helper\nclass One:\n    value = helper.VALUE")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "installed.py").write_text("")
    spec = importlib.util.spec_from_file_location("known", tmp_path / "known.py")
    assert spec is not None
    sys.modules["known"] = known = importlib.util.module_from_spec(spec)
    code = TrainingCode(str(tmp_path))
    assert load_object("one.py:One", code).value == 1
    sys.path.insert(0, str(tmp_path / "site-packages"))
    installed = importlib.import_module("installed")
    (tmp_path / "helper.py").write_text("VALUE = 22")
    changed = code._replace(files=(("helper.py", hashlib.sha256(b"VALUE = 22").hexdigest()),))
    try:
        assert load_object("one.py:One", changed).value == 22
        assert sys.modules["known"] is known and sys.modules["installed"] is installed
    finally:
        sys.path.remove(str(tmp_path / "site-packages"))
        for name in ("known", "helper", "one", "installed"):
            sys.modules.pop(name, None)
