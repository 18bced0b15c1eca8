"""The scikit-learn estimators: scikit-learn's own checks, its own networks for comparison, and typical uses."""

import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from threadpoolctl import threadpool_limits

from engine.activations import ReLU, Tanh
from engine.initializers import HeNormal, XavierNormal
from engine.layers import BatchNorm, Dense, Dropout
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.optimizers import Momentum, Nesterov, RMSprop
from engine.registry import UnknownName
from engine.training.hyperparameters import Hyperparameters
from engine.training.trainer import train
from engine.types import EngineError
from hpsearch.models.estimators import REGISTRIES, RULES, MLPClassifier, MLPRegressor

Both = type[MLPClassifier] | type[MLPRegressor]
BOTH: list[Both] = [MLPClassifier, MLPRegressor]
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"early_stopping": True},
    {"hidden": (32, 16), "batch_norm": True, "dropout": 0.1, "learning_rate": 0.01, "epochs": 40},
    {"optimizer": "momentum", "beta": 0.8, "learning_rate": 0.1, "activation": "tanh", "scale": "robust", "epochs": 40},
    {"optimizer": "nesterov", "learning_rate": 0.1, "early_stopping": True, "batch_norm": True, "epochs": 40},
]
DATA: dict[str, Callable[..., Any]] = {"iris": load_iris, "cancer": load_breast_cancer, "diabetes": load_diabetes}


def rows(name: str, count: int = 150) -> tuple[Any, Any]:
    """Return the first rows of a data set, shuffled."""
    x, y = DATA[name](return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:count]
    return x[order], y[order]


def of_kind(kind: Both, name: str = "iris") -> tuple[Any, Any]:
    return rows(name if kind is MLPClassifier else "diabetes")


def theta(estimator: Any) -> bytes:
    return bytes(estimator.state_.theta.tobytes())


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: the matrices are small, and on a busy machine threads would wait for each other."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def array_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable the array API, without which scikit-learn skips its check of such inputs."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the arguments of each call of the engine's `train`: network, trials, state, rows, val."""
    calls: list[Any] = []

    def spy(*arguments: Any) -> Any:
        calls.append(arguments)
        return train(*arguments)

    monkeypatch.setattr("hpsearch.models.estimators.train", spy)
    return calls


@parametrize_with_checks([kind(**settings) for kind in BOTH for settings in CONFIGURATIONS])
def test_every_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None], array_api: None) -> None:
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@pytest.mark.parametrize("kind", BOTH)
def test_warm_start_fails_only_the_check_that_fits_twice(kind: Both, array_api: None) -> None:
    """The check expects the same predictions from an estimator fitted again, which a warm start cannot give;
    scikit-learn's own networks fail it too."""

    def not_passed(estimator: Any) -> set[str]:
        results = check_estimator(estimator, on_skip=None, on_fail=None)
        assert len(results) > 50
        return {result["check_name"] for result in results if result["status"] != "passed"}

    assert not_passed(kind(warm_start=True, epochs=50, learning_rate=0.01)) == {"check_supervised_y_2d"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = not_passed(getattr(neural_network, kind.__name__)(warm_start=True, max_iter=20))
    assert "check_supervised_y_2d" in theirs


@pytest.mark.parametrize(
    ("load", "settings", "least", "margin"),
    [
        (load_iris, {}, 0.93, 0.01),
        (load_breast_cancer, {}, 0.95, 0.01),
        (load_digits, {}, 0.965, 0.01),
        (load_breast_cancer, {"early_stopping": True}, 0.95, 0.015),
        (load_diabetes, {}, 0.35, 0.03),
        (load_diabetes, {"early_stopping": True}, 0.35, 0.02),
        (load_diabetes, {"dropout": 0.2}, 0.4, 0.0),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "-".join(value) if not isinstance(value, float) else "",
)
def test_as_good_as_scikit_learn(load: Any, settings: dict[str, Any], least: float, margin: float) -> None:
    """Both with their defaults and scaled inputs and targets: accuracy or R², medians over splits."""
    x, y = load(return_X_y=True)
    classes = load is not load_diabetes
    ours, theirs = [], []
    for seed in range(
        1 if load is load_digits else 5
    ):  # one split of digits is enough: most of the time is scikit-learn's
        split = train_test_split(x, y, random_state=seed, test_size=0.3, stratify=y if classes else None)
        x_train, x_test, y_train, y_test = split
        us: Any = (MLPClassifier if classes else MLPRegressor)(random_state=seed, **settings)
        them: Any = (neural_network.MLPClassifier if classes else neural_network.MLPRegressor)(random_state=seed)
        if "early_stopping" in settings:
            them.set_params(early_stopping=True)
        them = make_pipeline(StandardScaler(), them)
        if not classes:
            them = TransformedTargetRegressor(them, transformer=StandardScaler())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs.append(them.fit(x_train, y_train).score(x_test, y_test))
        ours.append(us.fit(x_train, y_train).score(x_test, y_test))
    print(f"{load.__name__} {settings}: ours {median(ours):.4f}, theirs {median(theirs):.4f}")
    assert median(ours) >= least
    assert median(ours) >= median(theirs) - margin


def test_settings_reach_the_engine(handed: list[Any]) -> None:
    settings: dict[str, Any] = {"hidden": (8, 4), "learning_rate": 0.03, "batch_size": 9, "l2": 0.02, "epochs": 1}
    MLPRegressor(optimizer="nesterov", beta=0.7, dropout=0.3, batch_norm=True, **settings).fit(*rows("diabetes"))
    MLPClassifier(optimizer="rmsprop", activation="tanh", **settings).fit(*rows("iris"))
    MLPClassifier(optimizer="momentum", beta=0.6, hidden=(), epochs=1).fit(*rows("cancer"))
    networks, trials = zip(*(call[:2] for call in handed), strict=True)
    common: dict[str, Any] = {"learning_rate": 0.03, "batch_size": 9, "l2": 0.02}
    assert trials[0] == [Hyperparameters(optimizer=Nesterov(beta=0.7), **common)]
    assert trials[1] == [Hyperparameters(optimizer=RMSprop(), **common)]
    assert trials[2][0].optimizer == Momentum(beta=0.6)
    he, xavier = HeNormal(), XavierNormal()
    hidden = [(Dense(units, he), BatchNorm(), ReLU(), Dropout(0.3)) for units in (8, 4)]
    assert networks[0] == Network((10,), (*hidden[0], *hidden[1], Dense(1, xavier)), SquaredError())
    tanh = (Dense(8, xavier), Tanh(), Dense(4, xavier), Tanh(), Dense(3, xavier))
    assert networks[1] == Network((4,), tanh, SoftmaxCrossEntropy())
    assert networks[2] == Network((30,), (Dense(1, xavier),), Logistic())


def test_probabilities() -> None:
    for name in ("iris", "cancer"):
        x, y = rows(name)
        names = np.array(["red", "green", "blue"])[y]
        model = MLPClassifier(epochs=20, random_state=0).fit(x, names)
        assert model.classes_.tolist() == sorted(set(names))
        p = model.predict_proba(x)
        assert p.shape == (len(x), len(model.classes_)) and (p >= 0).all()
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (model.predict(x) == model.classes_[p.argmax(axis=1)]).all()
        right = p[np.arange(len(x)), np.searchsorted(model.classes_, names)]
        assert model.score(x, names) > 0.9 and right.mean() > 0.8  # columns are in the order of classes_


def test_targets_are_standardized_inside() -> None:
    """With targets in other units, the network is the same and predictions have the other units."""
    x, y = rows("diabetes")
    one, other = (MLPRegressor(epochs=20, random_state=0).fit(x, values) for values in (y, 1e6 * y - 3e9))
    np.testing.assert_allclose(other.predict(x), 1e6 * one.predict(x) - 3e9, rtol=1e-6)
    assert one.score(x, y) > 0.4


def test_several_targets() -> None:
    x, y = rows("diabetes")
    both = np.stack([y, -3 * y + x[:, 2]], axis=1)
    model = MLPRegressor(random_state=0).fit(x, both)
    assert model.predict(x).shape == both.shape and model.score(x, both) > 0.5
    assert MLPRegressor(epochs=1).fit(x, y[:, None]).predict(x).shape == (len(x), 1)


def test_scaling_is_fitted_on_the_training_rows() -> None:
    """Scaling is fitted without the validation rows; `none` does not scale."""
    x, y = rows("diabetes")
    model = MLPRegressor(early_stopping=True, epochs=3, validation_fraction=0.5, random_state=0).fit(x, y)
    half: Any = model.scaler_
    assert not np.allclose(half.mean, x.mean(axis=0), rtol=1e-3)
    assert not np.isclose(model.target_scaler_.mean[0], y.mean(), rtol=1e-3)
    assert MLPRegressor(scale="none", epochs=1).fit(x, y).scaler_ is None
    for scale in ("standard", "minmax", "robust", "quantile"):
        fitted = [MLPRegressor(scale=scale, epochs=5, random_state=0).fit(rows, y) for rows in (x, 100 * x + 7)]
        np.testing.assert_allclose(fitted[0].predict(x), fitted[1].predict(100 * x + 7), rtol=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_partial_fit_trains_one_epoch(kind: Both) -> None:
    """One call with all rows gives the same bits as `fit`."""
    x, y = of_kind(kind)
    whole = kind(epochs=4, random_state=3, dropout=0.2).fit(x, y)
    pieces = kind(random_state=3, dropout=0.2)
    for _ in range(4):
        pieces.partial_fit(x, y, **({"classes": np.unique(y)} if kind is MLPClassifier else {}))
    assert theta(pieces) == theta(whole) and pieces.loss_curve_ == whole.loss_curve_ and pieces.n_iter_ == 4


@pytest.mark.parametrize("stop", [False, True])
def test_partial_fit_in_pieces(stop: bool) -> None:
    """Pieces without every class; no validation rows, even with early stopping."""
    x, y = rows("iris")
    order = np.argsort(y, kind="stable")
    model = MLPClassifier(random_state=0, learning_rate=0.01, early_stopping=stop)
    with pytest.raises(ValueError, match=r"classes must be given in the first call of partial_fit"):
        model.partial_fit(x, y)
    for epoch in range(40):
        for piece in np.array_split(order if epoch == 0 else np.random.default_rng(epoch).permutation(order), 5):
            model.partial_fit(x[piece], y[piece], classes=[2, 0, 1] if epoch == 0 else None)
    assert model.classes_.tolist() == [0, 1, 2] and model.n_iter_ == 200 == len(model.loss_curve_)
    assert model.validation_loss_curve_ == [] and model.score(x, y) > 0.9
    with pytest.raises(ValueError, match=r"classes must be those of the first call, \[0, 1, 2\], got \[0, 1\]"):
        model.partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y must have only the classes \[0, 1, 2\], got \[3, 5\]"):
        model.partial_fit(x[:3], [3, 0, 5])
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit(x[:, :3], y)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("kind", BOTH)
def test_warm_start_continues(kind: Both, optimizer: str) -> None:
    """Twice three epochs equal six, to the bit, with the optimizer state; without a warm start they start again."""
    x, y = of_kind(kind)
    settings: dict[str, Any] = {"optimizer": optimizer, "random_state": 1, "dropout": 0.1, "batch_norm": True}
    six = kind(epochs=6, **settings).fit(x, y)
    warm = kind(epochs=3, warm_start=True, **settings).fit(x, y)
    three = theta(warm)
    assert warm.fit(x, y).n_iter_ == 6 and warm.loss_curve_ == six.loss_curve_ and theta(warm) == theta(six)
    assert theta(kind(epochs=3, **settings).fit(x, y).fit(x, y)) == three


def test_warm_start_with_changed_settings() -> None:
    x, y = rows("iris")
    model = MLPClassifier(warm_start=True, epochs=2, random_state=0).fit(x, y)
    before, scaler = model.state_, model.scaler_
    model.set_params(optimizer="momentum", learning_rate=0.05, dropout=0.3, batch_size=7).fit(3 * x, y)
    assert model.n_iter_ == 4 and set(model.state_.slots) == {"velocity"} and model.scaler_ is scaler
    assert model.state_.step == 2 * 22  # a new optimizer counts steps from 0, which Adam's bias correction needs
    assert before.epoch == 2  # arrays that the caller may hold are not changed
    for change in ({"hidden": (7,)}, {"activation": "tanh"}, {"batch_norm": True}):
        with pytest.raises(ValueError, match="a warm start needs hidden, activation, batch_norm and the columns of y"):
            clone(model).set_params(epochs=1).fit(x, y).set_params(**change).fit(x, y)
    regressor = MLPRegressor(warm_start=True, epochs=1).fit(x, y)
    with pytest.raises(ValueError, match="columns of y"):
        regressor.fit(x, np.stack([y, y], axis=1))
    assert regressor.predict(x).shape == y.shape  # as it was


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping(kind: Both) -> None:
    """Training ends `patience` epochs after the best epoch, whose weights are kept."""
    x, y = of_kind(kind)
    settings: dict[str, Any] = {"learning_rate": 0.02, "random_state": 0, "early_stopping": True, "min_delta": 0.0}
    model = kind(epochs=500, patience=7, **settings).fit(x, y)
    curve = model.validation_loss_curve_
    best = int(np.argmin(curve)) + 1
    assert best < model.n_iter_ < 500 and model.n_iter_ - best == 7
    assert len(curve) == len(model.loss_curve_) == model.n_iter_
    assert theta(model) == theta(kind(epochs=best, **settings).fit(x, y))
    coarse = kind(epochs=500, patience=7, **settings | {"min_delta": 10.0}).fit(x, y)
    assert coarse.n_iter_ == 8  # nothing after the first epoch improves by so much
    coarse.set_params(warm_start=True).fit(x, y)
    assert coarse.n_iter_ == 16  # patience starts again


def test_rows_are_set_aside_in_proportion(handed: list[Any]) -> None:
    y = np.repeat(["a", "b", "c"], [60, 30, 10])
    x = np.arange(100.0)[:, None]
    for seed in range(5):
        model = MLPClassifier(early_stopping=True, validation_fraction=0.2, epochs=1, scale="none", random_state=seed)
        model.fit(x, y)
        *_, learned, val = handed[-1]
        numbers = [set(part.x[:, 0]) for part in (learned, val)]
        assert val.y.sum(axis=0).tolist() == [12, 6, 2] and learned.y.sum(axis=0).tolist() == [48, 24, 8]
        assert numbers[0] | numbers[1] == set(range(100)) and not numbers[0] & numbers[1]
    assert len({tuple(sorted(val.x[:, 0])) for *_, val in handed}) == 5
    MLPClassifier(early_stopping=True, epochs=1, validation_fraction=0.99).fit(x[[0, 99]], ["a", "c"])
    assert [len(part) for part in handed[-1][-2:]] == [1, 1]  # at least one each
    MLPClassifier(epochs=1).fit(x, y)
    assert len(handed[-1][-2]) == 100 and handed[-1][-1] is None


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("settings", CONFIGURATIONS, ids=str)
def test_same_random_state_same_bits(kind: Both, settings: dict[str, Any]) -> None:
    x, y = of_kind(kind)
    settings = settings | {"epochs": 3}
    fitted = [kind(random_state=seed, **settings).fit(x, y) for seed in (5, 5, 6)]
    assert theta(fitted[0]) == theta(fitted[1]) != theta(fitted[2])
    drawn = [kind(random_state=np.random.RandomState(5), **settings).fit(x, y) for _ in range(2)]
    assert theta(drawn[0]) == theta(drawn[1])


def test_float32_and_float64() -> None:
    x, y = rows("iris")
    single, double = (MLPClassifier(random_state=0).fit(x.astype(dtype), y) for dtype in (np.float32, np.float64))
    assert single.state_.theta.dtype == np.float32 and double.state_.theta.dtype == np.float64
    assert (
        single.predict_proba(x).dtype == np.float32 and double.predict_proba(x.astype(np.float32)).dtype == np.float64
    )
    np.testing.assert_allclose(single.predict_proba(x), double.predict_proba(x), atol=0.01)
    assert MLPClassifier(epochs=1).fit((10 * x).astype(int), y).state_.theta.dtype == np.float64


def test_names_of_columns() -> None:
    frame, y = load_iris(return_X_y=True, as_frame=True)
    model = MLPClassifier(epochs=2, random_state=0).fit(frame, y)
    assert model.feature_names_in_.tolist() == list(frame) and model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"sepal length (cm)": "length"}))
    regressor = MLPRegressor(epochs=2).fit(frame, pd.DataFrame({"a": y, "b": -y}))
    assert regressor.predict(frame).shape == (150, 2)


@pytest.mark.parametrize("kind", BOTH)
def test_copies(kind: Both) -> None:
    """A clone has the settings; a pickle is also fitted, and continues with the same bits."""
    x, y = of_kind(kind)
    model = kind(hidden=(9, 5), epochs=2, warm_start=True, dropout=0.1, random_state=4).fit(x, y)
    copied = pickle.loads(pickle.dumps(model))
    assert (copied.predict(x) == model.predict(x)).all()
    assert theta(copied.fit(x, y)) == theta(model.fit(x, y))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(x)


def test_in_pipelines_and_searches() -> None:
    x, y = rows("cancer")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(epochs=10, random_state=0, scale="none"))
    grid = {"mlpclassifier__hidden": [(), (8,), (16, 8)], "mlpclassifier__optimizer": ["adam", "sgd"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    assert search.best_params_["mlpclassifier__optimizer"] == "adam" and search.best_score_ > 0.9
    assert search.predict_proba(x).shape == (len(x), 2)
    assert cross_val_score(MLPClassifier(random_state=0), x, y, cv=3).mean() > 0.93
    assert cross_val_score(MLPRegressor(random_state=0), *rows("diabetes", 442), cv=3).mean() > 0.25


@pytest.mark.parametrize("kind", BOTH)
def test_threads_share_nothing(kind: Both) -> None:
    """In threads, fitting several estimators and predicting with one gives the same bits as in sequence."""
    x, y = of_kind(kind)
    estimators = [kind(epochs=15, random_state=seed, dropout=0.2, early_stopping=seed % 2 == 0) for seed in range(8)]
    alone = [theta(clone(e).fit(x, y)) for e in estimators]
    model = clone(estimators[0]).fit(x, y)
    predicted = model.predict(x).tobytes()
    with ThreadPoolExecutor(8) as pool:
        assert [theta(e) for e in pool.map(lambda e: e.fit(x, y), estimators)] == alone
        assert {p.tobytes() for p in pool.map(lambda _: model.predict(x), range(32))} == {predicted}
    one = cross_val_score(estimators[0], x, y, cv=3)
    with joblib.parallel_backend("threading", n_jobs=2):
        two = cross_val_score(estimators[0], x, y, cv=3)
    assert one.tolist() == two.tolist()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"hidden": 100}, "hidden must be a tuple of integers of at least 1, the units of each layer, got 100"),
    ({"hidden": (5, 0)}, r"hidden must .*, got \(5, 0\)"),
    ({"hidden": (5.0,)}, r"hidden must .*, got \(5.0,\)"),
    ({"activation": "rleu"}, "unknown activation 'rleu'; did you mean 'relu'?"),
    ({"activation": None}, "unknown activation None; there is identity, "),
    ({"optimizer": "admm"}, "unknown optimizer 'admm'; did you mean 'adam'?"),
    ({"optimizer": []}, r"unknown optimizer \[\]; "),
    ({"scale": "standrd"}, "unknown scale 'standrd'; did you mean 'standard'?"),
    ({"learning_rate": 0.0}, "learning_rate must be a number above 0, got 0.0"),
    ({"learning_rate": "0.1"}, "learning_rate must be a number above 0, got '0.1'"),
    ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, got nan"),
    ({"learning_rate": float("inf")}, "learning_rate must be a number above 0, got inf"),
    ({"beta": 1}, "beta must be a number of at least 0 and below 1, got 1"),
    ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ({"batch_size": 32.5}, "batch_size must be an integer of at least 1, got 32.5"),
    ({"l2": -1e-9}, "l2 must be a number of at least 0, got -1e-09"),
    ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    ({"epochs": True}, "epochs must be an integer of at least 1, got True"),
    ({"early_stopping": "yes"}, "early_stopping must be True or False, got 'yes'"),
    ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
    ({"min_delta": -1}, "min_delta must be a number of at least 0, got -1"),
    ({"validation_fraction": 1.0}, "validation_fraction must be a number above 0 and below 1, got 1.0"),
    ({"dropout": 1}, "dropout must be a number of at least 0 and below 1, got 1"),
    ({"batch_norm": 2}, "batch_norm must be True or False, got 2"),
    ({"warm_start": None}, "warm_start must be True or False, got None"),
    ({"random_state": "seed"}, "'seed' cannot be used to seed"),
    ({"batch_norm": True, "batch_size": 1}, "batch_norm needs batches of at least 2 rows, got a batch of 1"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=str)
@pytest.mark.parametrize("kind", BOTH)
def test_bad_settings(kind: Both, settings: dict[str, Any], message: str) -> None:
    x, y = of_kind(kind)
    classes = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    for call in (lambda model: model.fit(x, y), lambda model: model.partial_fit(x, y, **classes)):
        model = kind(**settings)
        with pytest.raises(ValueError, match=message.replace("?", r"\?")):
            call(model)
        with pytest.raises(NotFittedError):
            model.predict(x)


def test_every_setting_has_its_rule() -> None:
    for kind in BOTH:
        assert set(kind().get_params()) == {*RULES, *REGISTRIES, "random_state"}
        assert {name for settings, _ in BAD for name in settings} == set(kind().get_params())
        for name in REGISTRIES["optimizer"]:
            kind(optimizer=name, epochs=1).fit(*of_kind(kind))
        for name in REGISTRIES["activation"]:
            kind(activation=name, epochs=1, hidden=(3,)).fit(*of_kind(kind))
    assert issubclass(UnknownName, ValueError) and issubclass(EngineError, ValueError)
    numbers = {"hidden": (np.int64(4),), "epochs": np.int64(2), "learning_rate": np.float32(0.1), "dropout": 0}
    MLPRegressor(**numbers).fit(*rows("diabetes"))  # type: ignore[arg-type]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ValueError) as error:
        MLPRegressor(hidden=(0,), l2=-1, optimizer="momentm").fit([[1.0]], [1.0])
    assert str(error.value) == (
        "MLPRegressor: hidden must be a tuple of integers of at least 1, the units of each layer, got (0,); "
        "l2 must be a number of at least 0, got -1; unknown optimizer 'momentm'; did you mean 'momentum'?"
    )


def test_bad_rows() -> None:
    x, y = rows("iris")
    with pytest.raises(ValueError, match="y must have at least two classes, got 1 class, "):
        MLPClassifier().fit(x, np.zeros(len(x), int))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MLPClassifier().fit(x, y + 0.5)
    with pytest.raises(ValueError, match="y contains NaN"):
        MLPRegressor().fit(x, np.where(y == 1, np.nan, y))
    with pytest.raises(ValueError, match="X contains NaN"):
        MLPRegressor().fit(np.where(x > 5, np.nan, x), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPRegressor().fit(x[:7], y)
    with pytest.raises(ValueError, match="1 sample"):
        MLPRegressor(early_stopping=True).fit(x[:1], y[:1])
    with pytest.raises(ValueError, match="2 sample"):
        MLPRegressor(early_stopping=True, batch_norm=True).fit(x[:2], y[:2])
    with pytest.raises(ValueError, match="5 features"):
        MLPRegressor(epochs=1).fit(x, y).predict(np.ones((2, 5)))


@pytest.mark.parametrize("stop", [False, True])
def test_divergence_raises_an_error_and_changes_nothing(stop: bool) -> None:
    x, y = rows("diabetes")
    wild: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e6, "epochs": 50, "early_stopping": stop}
    with pytest.raises(ValueError, match=r"epoch \d+ diverged: .* learning_rate must be lower, got 1e\+06"):
        MLPRegressor(**wild).fit(x, y)
    model = MLPRegressor(epochs=5, warm_start=True, random_state=0).fit(x, y)
    before, curve = model.predict(x), list(model.loss_curve_)
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(**wild).fit(x, y)
    assert (model.predict(x) == before).all() and model.loss_curve_ == curve and model.n_iter_ == 5
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(warm_start=False).fit(x, y)
    with pytest.raises(NotFittedError):
        model.predict(x)
