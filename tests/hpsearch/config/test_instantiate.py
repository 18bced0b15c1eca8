"""`model` and `train` in full: what the engine gets, and one clear message for each mistake."""

import copy
from pathlib import Path
from typing import Any

import cases
import pytest

from engine.activations import ReLU, Sigmoid, Softplus, Tanh
from engine.data.augmentation import Noise
from engine.data.row_sampling import Balanced
from engine.initializers import HeNormal, HeUniform, Normal, XavierNormal, XavierUniform, Zero
from engine.layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, Layer, Maxout, MaxPool2d, PReLU, Residual
from engine.losses import SoftmaxCrossEntropy, SquaredError
from engine.optimizers import SGD, Adam, Momentum, Nesterov
from engine.training.clipping import ClipValue
from engine.training.hyperparameters import Hyperparameters, Switch
from engine.training.schedules import Cosine, MultiStep
from hpsearch.config.instantiate import ALL_ROWS, hidden_layers, hyperparameters, resolve_setting
from hpsearch.config.spec import ModelSpec, Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import DataError, SpecError
from hpsearch.training.network import build_network, check_fit

X = XavierNormal()


def study(model: dict[str, Any], parameters: dict[str, Any] | None = None, **train: Any) -> Spec:
    """Return a study of digits as a file has it."""
    return cases.small(
        model=model,
        train={"optimizer": "sgd", "learning_rate": 0.1, "epochs": 6} | train,
        parameters=parameters or {},
        stages=[{"name": "only", "trials": 2}],
        data={"source": "sklearn", "name": "digits"},
    )


def layers(model: dict[str, Any], parameters: dict[str, Any] | None = None, **point: Any) -> tuple[Layer, ...]:
    given: Point = point
    return hidden_layers(study(model, parameters).model, given)


SHORT: dict[str, tuple[dict[str, Any], tuple[Layer, ...]]] = {
    "nothing": ({}, ()),
    "units alone": ({"hidden": [4, 5]}, (Dense(4), ReLU(), Dense(5), ReLU())),
    "depth repeats": ({"hidden": [4, 5], "depth": 3}, (Dense(4), ReLU(), Dense(5), ReLU(), Dense(5), ReLU())),
    "depth cuts": ({"hidden": [4, 5], "depth": 1}, (Dense(4), ReLU())),
    "depth of none": ({"hidden": [4], "depth": 0}, ()),
    "everything": (
        {"hidden": [{"units": 4, "activation": "tanh", "batch_norm": True, "dropout": 0.2}], "input_dropout": 0.1},
        (Dropout(0.1), Dense(4, X), BatchNorm(), Tanh(), Dropout(0.2)),
    ),
    "norm after": (
        {"hidden": [{"units": 4, "activation": "sigmoid", "batch_norm": "after"}]},
        (Dense(4, X), Sigmoid(), BatchNorm()),
    ),
    "maxout": ({"hidden": [{"units": 4, "activation": {"name": "maxout", "pieces": 3}}]}, (Maxout(4, 3, X),)),
    "prelu": ({"hidden": [{"units": 4, "activation": "prelu"}]}, (Dense(4, HeNormal()), PReLU())),
    "one initializer": (
        {"hidden": [4, {"units": 5, "initializer": "zero"}], "initializer": {"name": "normal", "sigma": 0.5}},
        (Dense(4, Normal(0.5)), ReLU(), Dense(5, Zero()), ReLU()),
    ),
}


@pytest.mark.parametrize("case", SHORT)
def test_short_form(case: str) -> None:
    model, expected = SHORT[case]
    assert layers(model) == expected


def test_full_form() -> None:
    found = layers(
        {
            "layers": [
                {"name": "conv2d", "channels": "filters", "kernel": [3, 5], "padding": 1},
                "relu",
                {"name": "max_pool2d", "size": 2},
                "flatten",
                {"name": "residual", "layers": [{"name": "dense", "units": 9}, "tanh"], "shortcut": ["identity"]},
                {"name": "dense", "units": "units", "initializer": "he_uniform"},
                {"name": "dropout", "rate": 0.5},
            ]
        },
        {"filters": {"values": [2, 3]}, "units": {"type": "int", "min": 2, "max": 9}},
        filters=3,
        units=7,
    )
    assert found[:4] == (Conv2d(3, (3, 5), padding=1), ReLU(), MaxPool2d(2), Flatten())
    assert isinstance(found[4], Residual) and found[4].layers == (Dense(9, X), Tanh())
    assert len(found[4].shortcut) == 1
    assert found[5:] == (Dense(7, HeUniform()), Dropout(0.5))


def test_train_in_full() -> None:
    spec = study(
        {},
        optimizer={"name": "nesterov", "classical": True},
        switch={"epoch": 2, "optimizer": {"name": "sgd"}, "learning_rate": 0.01},
        schedule="cosine",
        batch_size="full",
        l1=0.1,
        l2=0.2,
        penalty_divisor="batch_size",
        clip={"name": "value", "limit": 3},
        label_smoothing=0.1,
        augment=["noise", {"name": "noise", "sigma": 0.3}],
        row_sampling="balanced",
    )
    assert hyperparameters(spec.train, {}) == Hyperparameters(
        optimizer=Nesterov(classical=True),
        learning_rate=0.1,
        batch_size=ALL_ROWS,
        l2=0.2,
        schedule=Cosine(epochs=6),
        l1=0.1,
        divide_by_batch=True,
        clip=ClipValue(3),
        label_smoothing=0.1,
        augment=(Noise(), Noise(0.3)),
        row_sampling=Balanced(),
        switch=Switch(2, SGD(), 0.01),
    )
    steps = study({}, schedule={"name": "multi_step", "milestones": [2, 4]})
    assert hyperparameters(steps.train, {}).schedule == MultiStep(milestones=(2, 4))


def test_every_setting_can_be_searched() -> None:
    parameters = {
        "learning_rate": {"min": 0.1, "max": 1.0},
        "smoothing": {"min": 0.0, "max": 0.2},
        "l1": {"min": 0.0, "max": 1.0},
        "when": {"type": "int", "min": 1, "max": 5},
        "batch_size": {"values": [16, "full"]},
        "optimizer": {"values": ["sgd", "adam"]},
        "beta1": {"min": 0.1, "max": 0.9},
        "sigma": {"min": 0.1, "max": 0.2},
        "batch_norm": {"values": [False, "before", "after"]},
        "dropout": {"min": 0.0, "max": 0.5},
        "start": {"values": ["he_uniform", "normal"]},
        "shape": {"values": ["tanh", "maxout"]},
        "pieces": {"type": "int", "min": 2, "max": 4},
    }
    spec = cases.small(
        model={"hidden": [{"units": 8, "activation": "shape"}], "initializer": "start"},
        train={
            "optimizer": "optimizer",
            "label_smoothing": "smoothing",
            "augment": ["noise"],
            "epochs": 6,
            "switch": {"epoch": "when", "optimizer": "optimizer"},
        },
        parameters=parameters,
        stages=[{"name": "only", "trials": 2}],
    )
    point: Point = {
        "learning_rate": 0.2, "smoothing": 0.1, "l1": 0.5, "when": 3, "batch_size": "full", "optimizer": "adam",
        "beta1": 0.8, "sigma": 0.15, "batch_norm": "after", "dropout": 0.4, "start": "he_uniform", "shape": "maxout",
        "pieces": 4,
    }  # fmt: skip
    hyper = hyperparameters(spec.train, point)
    assert (hyper.optimizer, hyper.batch_size, hyper.label_smoothing) == (Adam(beta1=0.8), ALL_ROWS, 0.1)
    assert hyper.switch == Switch(3, Adam(beta1=0.8)) and hyper.augment == (Noise(0.15),) and hyper.l1 == 0.5
    assert hidden_layers(spec.model, point) == (Maxout(8, 4, HeUniform()), BatchNorm(), Dropout(0.4))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(study({}).data, 0, tmp_path_factory.mktemp("digits"))[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    spec = cases.small(data={"source": "sklearn", "name": "digits", "image": [1, 8, 8]})
    return prepare(spec.data, 0, tmp_path_factory.mktemp("images"))[0]


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    spec = cases.small(data={"source": "sklearn", "name": "diabetes"})
    return prepare(spec.data, 0, tmp_path_factory.mktemp("diabetes"))[0]


def test_the_data_determine_the_output_layer(digits: Dataset, images: Dataset, diabetes: Dataset) -> None:
    net = build_network(study({"hidden": [4]}), digits, {})
    assert net.inputs == (64,) and net.layers[-1] == Dense(10, X) and net.loss == SoftmaxCrossEntropy()
    flat = build_network(study({"hidden": [4]}), images, {})
    assert flat.inputs == (1, 8, 8) and flat.layers[0] == Flatten(), "short forms take images as rows of pixels"
    output = {"activation": "softplus", "initializer": "xavier_uniform"}
    raw = {"source": "sklearn", "name": "diabetes", "target_scale": "none"}
    plain = study({"hidden": [4], "output": output})
    values = build_network(plain.model_copy(update={"data": cases.small(data=raw).data}), diabetes, {})
    assert values.layers[-2:] == (Dense(1, XavierUniform()), Softplus()) and values.loss == SquaredError()


CONV = {"name": "conv2d", "channels": 2, "kernel": 3}
# Models that do not fit the data, and text of the message.
MISFITS: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "rows to a convolution": ("digits", {"layers": [CONV]}, {}, ["layer 1 of 2", "conv2d", "(64,)"]),
    "image to dense": ("images", {"layers": [CONV, "relu"]}, {}, ["layer 3 of 3", "dense", "(2, 6, 6)"]),
    "kernel too large": ("images", {"layers": [{**CONV, "kernel": 9}, "flatten"]}, {}, ["layer 1", "9", "(1, 8, 8)"]),
    "shortcut": (
        "digits",
        {"layers": [{"name": "residual", "layers": [{"name": "dense", "units": 5}]}]},
        {},
        ["layer 1", "residual", "(64,)", "(5,)"],
    ),
    "batch of one": ("digits", {"hidden": [{"units": 4, "batch_norm": True}]}, {"batch_size": 1}, ["batch_norm", "2"]),
    "smoothing values": ("diabetes", {}, {"label_smoothing": 0.1}, ["label_smoothing", "regression"]),
    "flipped rows": ("digits", {}, {"augment": ["flip"]}, ["flip", "(64,)"]),
    "output of standardized values": ("diabetes", {"output": "relu"}, {}, ["standardized", "target_scale: none"]),
    "output of classes": ("digits", {"output": "relu"}, {}, ["model.output.activation", "regression"]),
}


@pytest.mark.parametrize("case", MISFITS)
def test_misfits_are_reported_before_training(case: str, request: pytest.FixtureRequest) -> None:
    data, model, train, fragments = MISFITS[case]
    with pytest.raises(DataError, match="the model does not fit the data") as caught:
        check_fit(study(model, **train), request.getfixturevalue(data))
    for fragment in fragments:
        assert fragment in str(caught.value), str(caught.value)


def test_a_misfit_at_one_end_of_a_range_names_the_value(images: Dataset) -> None:
    parameters = {"kernel": {"type": "int", "min": 3, "max": 11}}
    spec = study({"layers": [{"name": "conv2d", "channels": 2}, "flatten"]}, parameters)
    with pytest.raises(DataError, match=r"\(at kernel 11\)"):
        check_fit(spec, images)


# A valid file, one change, the path and text of the message.
VALID: dict[str, Any] = {
    "model": {"layers": [{"name": "dense", "units": 4}, "relu", {"name": "dropout", "rate": 0.5}]},
    "train": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "clip": "norm",
        "augment": ["noise"],
        "schedule": {"name": "multi_step", "milestones": [2, 4]},
        "stop": {"value": 0.1},
        "switch": {"epoch": 3, "optimizer": "adam"},
    },
    "parameters": {"gamma": {"min": 0.1, "max": 0.9}},
}
MISTAKES: dict[str, tuple[str, Any, str, str]] = {
    "layer": ("model.layers.0.name", "dence", "model.layers.0", "did you mean 'dense'?"),
    "layer by activation": ("model.layers.1", "rellu", "model.layers.1", "did you mean 'relu'?"),
    "key of a layer": ("model.layers.0.unit", 3, "model.layers.0.unit", "did you mean 'units'?"),
    "needed": ("model.layers.0", "dense", "model.layers.0.units", "missing"),
    "part of a unit": ("model.layers.0.units", 2.5, "model.layers.0.units", "must be a whole number, got 2.5"),
    "no units": ("model.layers.0.units", 0, "model.layers.0", "units must be at least 1, got 0"),
    "dropout of 1": ("model.layers.2.rate", 1, "model.layers.2", "rate must be at least 0 and below 1, got 1"),
    "list for a number": ("model.layers.2.rate", [0.5], "model.layers.2.rate", "single number"),
    "number for a list": ("train.schedule.milestones", 2, "train.schedule.milestones", "list of whole numbers"),
    "word in a list": ("train.schedule.milestones", [2, "x"], "train.schedule.milestones.1", "unknown parameter 'x'"),
    "nested": (
        "model.layers.0",
        {"name": "residual", "layers": [{"name": "dens"}]},
        "model.layers.0.layers.0",
        "dense",
    ),
    "nested is empty": (
        "model.layers.0",
        {"name": "residual", "layers": []},
        "model.layers.0.layers",
        "list of layers",
    ),
    "nested is missing": ("model.layers.0", "residual", "model.layers.0.layers", "missing"),
    "nested is a number": (
        "model.layers.0",
        {"name": "residual", "layers": [3]},
        "model.layers.0.layers.0",
        "a name, or a mapping",
    ),
    "initializer": ("model.layers.0.initializer", "hee_normal", "model.layers.0.initializer", "'he_normal'"),
    "both forms": ("model.hidden", [3], "model", "so hidden is not allowed with it"),
    "squashed output": ("model.output", "sigmoid", "model.output", "must be identity or relu or softplus"),
    "depth of nothing": ("model.depth", 2, "model", "depth"),
    "clip": ("train.clip", "nrom", "train.clip", "did you mean 'norm'?"),
    "limit": ("train.clip", {"name": "norm", "limit": 0}, "train.clip", "limit must be above 0, got 0"),
    "augmentation": ("train.augment.0", "nois", "train.augment.0", "did you mean 'noise'?"),
    "row_sampling": ("train.row_sampling", "shufle", "train.row_sampling", "did you mean 'shuffle'?"),
    "switch": ("train.switch.optimizer", "adm", "train.switch.optimizer", "'adam'"),
    "switch of nothing": ("train.switch.optimizer", None, "train.switch.optimizer", "must"),
    "switch at zero": ("train.switch.epoch", 0, "train.switch", "epoch must be at least 1, got 0"),
    "smoothing": ("train.label_smoothing", 1.0, "train", "label_smoothing must be at least 0 and below 1, got 1"),
    "negative l1": ("train.l1", -1, "train", "l1 must be at least 0, got -1"),
    "stop at nothing": ("train.stop", {"checks": 2}, "train.stop", "a value to reach or a change to fall below"),
    "check between": ("train.check_every", 7, "train", "multiple of check_every, got 50 and 7"),
    "keep": ("train.keep", "first", "train.keep", "'first'"),
    "words for a batch": ("train.batch_size", "ful", "train.batch_size", "did you mean 'full'?"),
    "no rate": ("train.optimizer", "opt", "train.optimizer", "unknown optimizer or parameter 'opt'"),
    "switch never": ("train.switch.epoch", 50, "train.switch", "epoch must be below the 50 epochs of a trial, got 50"),
    "checks of nothing": ("train.stop", {"value": 0.1, "checks": 3}, "train.stop", "checks needs change"),
    "no layers at all": (
        "model",
        {"hidden": [4], "depth": -1},
        "model.depth",
        "depth must lie between 0 and 1000, got -1",
    ),
    "too deep": ("model", {"hidden": [4], "depth": 10**8}, "model.depth", "depth must lie between 0 and 1000"),
    "a number too large": ("train.learning_rate", 10**400, "train.learning_rate", "a number of 401 digits"),
    "output's initializer": (
        "model.output",
        {"initializer": {"name": "normal", "sigma": -1}},
        "model.output",
        "sigma must be at least 0, got -1",
    ),
    "milestones go down": ("train.schedule.milestones", [4, 2], "train.schedule", "milestones"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_one_mistake(case: str) -> None:
    place, value, path, message = MISTAKES[case]
    content = copy.deepcopy(VALID)
    *outer, last = place.split(".")
    inner: Any = content
    for key in outer:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[int(last) if isinstance(inner, list) else last] = value
    with pytest.raises(SpecError) as caught:
        cases.small(**content, stages=[{"name": "only", "trials": 2}])
    found = [str(m) for m in caught.value.mistakes if m.path == path]
    assert found and message in found[0], str(caught.value)
    assert "Traceback" not in str(caught.value) and "pydantic" not in str(caught.value)


FIXED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "setting of a wrong type": ({"optimizer": {"name": "opt", "beta": "nonsense"}}, {"opt": "momentum"}, "'nonsense'"),
    "setting of another name": ({"optimizer": {"name": "opt", "betta": 3}}, {"opt": "momentum"}, "unknown key 'betta'"),
    "switch of a wrong type": ({"optimizer": {"name": "opt", "classical": 7}}, {"opt": "momentum"}, "classical"),
    "list for a name": ({"schedule": "s"}, {"s": "multi_step", "milestones": 5}, "milestones"),
    "word for epochs": (
        {"schedule": "cosine"},
        {"epochs": {"type": "int", "min": 1, "max": 9}},
        "not used by any setting",
    ),
    "name for MLflow": ({}, {"a+b": 3}, "letters, digits"),
}


@pytest.mark.parametrize("case", FIXED)
def test_names_given_by_fixed_parameters_are_checked(case: str) -> None:
    train, parameters, message = FIXED[case]
    base = {"beta": {"min": 0.1, "max": 0.9}} if "optimizer" in train else {}
    with pytest.raises(SpecError) as caught:
        study({"hidden": [4]}, parameters | base, **{"optimizer": "momentum", **train})
    assert message in str(caught.value)


def test_a_fixed_name_takes_its_settings_from_parameters() -> None:
    parameters = {"opt": "momentum", "beta": {"min": 0.1, "max": 0.9}, "old": {"values": [True, False]}}
    spec = study({}, parameters, optimizer={"name": "opt", "classical": "old"})
    hyper = hyperparameters(spec.train, {"opt": "momentum", "beta": 0.5, "old": True})
    assert hyper.optimizer == Momentum(0.5, classical=True)


def test_given_values_take_precedence_over_parameters() -> None:
    """The units of a maxout layer, the epochs of a schedule, and the word `full` for the batch size."""
    parameters = {"units": {"type": "int", "min": 2, "max": 9}, "full": {"values": [4, 8]}}
    model = {"hidden": [{"units": 10, "activation": "maxout"}, {"units": "units"}, {"units": "full"}]}
    spec = study(model, parameters, batch_size="full")
    point: Point = {"units": 3, "full": 4}
    assert hidden_layers(spec.model, point)[:2] == (Maxout(10, 2, X), Dense(3))
    assert hyperparameters(spec.train, point).batch_size == ALL_ROWS


def test_batch_norm_and_a_batch_of_one_at_different_points(digits: Dataset) -> None:
    parameters = {"norm": {"values": [True, False]}, "batch_size": {"values": [16, 1]}}
    with pytest.raises(DataError, match="batch_norm needs batches of at least 2 rows"):
        check_fit(study({"hidden": [{"units": 4, "batch_norm": "norm"}]}, parameters), digits)


def test_the_valid_file_is_valid() -> None:
    cases.small(**VALID, stages=[{"name": "only", "trials": 2}])


def test_models_are_frozen() -> None:
    assert ModelSpec.model_validate({}).layers is None


def test_an_invalid_model_stores_nothing(tmp_path: Path) -> None:
    """The database is unchanged, so the study can run once the file is corrected."""
    from hpsearch.storage.sqlite_file import url_of
    from hpsearch.study.session import Options, Session

    database = tmp_path / "small.db"
    wrong = study({"layers": [CONV, "flatten"]})
    with pytest.raises(DataError, match="conv2d"):
        Session(wrong, url_of(str(database)), Options(1, "none"))
    right = study({"hidden": [4]})
    with Session(right, url_of(str(database)), Options(1, "none")) as session:
        for _ in session.run():
            pass
        assert len(session.summary().trials[0]) == 2


def test_resolve_setting() -> None:
    """In this order: a number, a parameter's name, the parameter of the setting's own name, the default."""
    point = {"a": 3, "rate": 0.5}
    assert resolve_setting(2, "rate", point, 9) == 2
    assert resolve_setting("a", "rate", point, 9) == 3
    assert resolve_setting(None, "rate", point, 9) == 0.5
    assert resolve_setting(None, "other", point, 9) == 9
