"""Checks of a study's estimator before the first trial."""

from pathlib import Path
from typing import Any

import estimator_cases as cases
import pytest

from hpsearch.errors import DataError, TrainingCodeError
from hpsearch.training.objectives.estimator_class import argument_names, check_estimator_class, create_estimator

SGD = "sklearn.linear_model.SGDClassifier"
FOREST = "sklearn.ensemble.RandomForestClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"


def notes_of(spec: Any, folder: Path) -> list[str]:
    return check_estimator_class(spec, cases.prepared(spec, folder), cases.code_of(spec, folder))


def test_a_valid_study(tmp_path: Path) -> None:
    assert notes_of(cases.study(), tmp_path) == []
    (note,) = notes_of(cases.trained_by(SGD, 1, {"loss": "log_loss"}), tmp_path)
    assert "train.epochs is 1, so a trial of SGDClassifier is one fit" in note


GROW: dict[str, Any] = {"train": {"grow": {"n_estimators": 5}}}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "package": ({"estimator": "scikit.A"}, "train.estimator: there is no module 'scikit'; install its package"),
    "module": ({"estimator": "sklearn.ensembles.A"}, "no module 'sklearn.ensembles'; did you mean 'ensemble'?"),
    "class": (
        {"estimator": "sklearn.ensemble.RandomForrestClassifier"},
        "has no 'RandomForrestClassifier'; did you mean 'RandomForestClassifier'?",
    ),
    "function": ({"estimator": "sklearn.base.clone"}, "sklearn.base.clone: must be a class with fit and predict"),
    "transformer": ({"estimator": "sklearn.preprocessing.StandardScaler"}, "must be a class with fit and predict"),
    "clusterer": ({"estimator": "sklearn.cluster.KMeans"}, "KMeans is a clusterer, but the target of data has 3 class"),
    "task": (
        {"estimator": "sklearn.ensemble.RandomForestRegressor"},
        "is a regressor, but the target of data has 3 classes; did you mean 'sklearn.ensemble.RandomForestClassifier'?",
    ),
    "argument": (
        {"estimator": FOREST, "parameters": {"max_dept": 3}},
        "parameters.max_dept: RandomForestClassifier has no such argument; did you mean 'max_depth'?",
    ),
    "grow": (
        {"estimator": FOREST, "train": {"grow": {"n_estimator": 5}}},
        "train.grow: RandomForestClassifier has no argument 'n_estimator'; did you mean 'n_estimators'?",
    ),
    "cold": (
        {"estimator": "sklearn.tree.DecisionTreeClassifier", "train": {"grow": {"max_depth": 1}}},
        "train.grow: DecisionTreeClassifier has no warm_start, so it cannot grow",
    ),
    "both": (
        {"estimator": FOREST, "parameters": {"n_estimators": 3}, **GROW},
        "parameters.n_estimators: grows by train.grow in each step; remove one of both",
    ),
    "warm": ({"estimator": FOREST, "parameters": {"warm_start": False}, **GROW}, "parameters.warm_start: is true when"),
    "steps": (
        {"estimator": FOREST, "epochs": 3},
        "a trial of RandomForestClassifier has one step, because the class has no partial_fit; name the argument that",
    ),
    "single": ({"estimator": "sklearn.svm.SVC", "epochs": 3}, "has no partial_fit; remove train.epochs"),
    "needed": (
        {"estimator": "sklearn.multiclass.OneVsRestClassifier"},
        "OneVsRestClassifier needs the argument estimator; give it in parameters",
    ),
    "probabilities": (
        {"estimator": SGD, "epochs": 2},
        "metric.name: val/loss needs probabilities, and SGDClassifier has no predict_proba; choose a metric of pred",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_named_with_the_right_word(name: str, tmp_path: Path) -> None:
    changes, message = WRONG[name]
    spec = cases.trained_by(**changes)
    with pytest.raises(TrainingCodeError) as caught:
        notes_of(spec, tmp_path)
    assert message in str(caught.value)


def test_the_metric_must_fit_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metric\.name: val/rmse is for regression"):
        notes_of(cases.study(metric={"name": "val/rmse"}), tmp_path)


def test_metrics_of_classes_need_no_probabilities(tmp_path: Path) -> None:
    assert notes_of(cases.trained_by(SGD, 2, metric={"name": "val/f1"}), tmp_path) == []


def test_what_is_set_besides_the_parameters(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.naive_bayes import GaussianNB

    spec = cases.trained_by(FOREST, 2, {"max_depth": 3}, **GROW)
    dataset = cases.prepared(spec, tmp_path)
    made = create_estimator(spec, dataset, RandomForestClassifier, {"max_depth": 3}, 9).get_params()
    assert {name: made[name] for name in ("max_depth", "random_state", "n_jobs", "warm_start")} == {
        "max_depth": 3,
        "random_state": 9,
        "n_jobs": 1,
        "warm_start": True,
    }
    own = create_estimator(spec, dataset, RandomForestClassifier, {"random_state": 1, "n_jobs": 2}, 9)
    assert (own.random_state, own.n_jobs) == (1, 2)
    assert "random_state" not in create_estimator(spec, dataset, GaussianNB, {}, 9).get_params()


def test_arguments_that_are_passed_on_are_those_of_the_base_class() -> None:
    class Base:
        def __init__(self, alpha: float, *, beta: int = 1) -> None:
            pass

    class Derived(Base):
        def __init__(self, gamma: int = 2, **others: Any) -> None:
            pass

    class Open:
        def __init__(self, **others: Any) -> None:
            pass

    assert argument_names(Derived) == ({"gamma": False, "alpha": True, "beta": False}, False)
    assert argument_names(Open) == ({}, True)
