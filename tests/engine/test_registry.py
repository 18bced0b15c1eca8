"""Registries: they are complete; entries are frozen, and survive JSON and another process."""

import ast
import dataclasses
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_cases import LOSS_CASES, hyperparameters, network, rows, run, start, varied

import engine
from engine.activations import ACTIVATIONS, LeakyReLU
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS, Normal
from engine.layers import LAYERS, Dense
from engine.losses import LOSSES, SoftmaxCrossEntropy
from engine.metrics import METRICS
from engine.network import NETWORKS, Network
from engine.optimizers import OPTIMIZERS, Adam, Momentum
from engine.registry import Registry, UnknownName, describe, nearest, restore
from engine.training.clipping import CLIPS
from engine.training.schedules import SCHEDULES
from engine.types import EngineError

REGISTRIES = [
    *(LAYERS, ACTIVATIONS, INITIALIZERS, LOSSES, OPTIMIZERS, SCHEDULES),
    *(NETWORKS, AUGMENTATIONS, CLIPS, ROW_SAMPLINGS, METRICS),
]
ENTRIES = [(registry, name) for registry in REGISTRIES for name in registry]
IDS = [f"{registry.kind}-{name}" for registry, name in ENTRIES]
FOLDER = Path(engine.__file__).parent


def example(registry: Registry, name: str) -> object:  # type: ignore[type-arg]
    """Return an instance of that name, with values for the settings without a default."""
    if registry is NETWORKS:
        return network("softmax_cross_entropy", 3, "relu", inputs=5)
    needed = {
        f.name: (Dense(3), Dense(4)) if f.name == "layers" else 3
        for f in dataclasses.fields(registry[name])
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    return varied(registry[name](**needed), 1)


@pytest.mark.parametrize(("registry", "name"), ENTRIES, ids=IDS)
def test_entries_are_frozen_final_dataclasses_that_compare_by_value(registry, name: str) -> None:  # type: ignore[no-untyped-def]
    entry = registry[name]
    assert dataclasses.is_dataclass(entry) and entry.__dataclass_params__.frozen
    assert getattr(entry, "__final__", False), f"{entry.__name__} is not @final"
    assert example(registry, name) == example(registry, name)
    hash(example(registry, name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        example(registry, name).anything = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("registry", "name"), ENTRIES, ids=IDS)
def test_json_and_back(registry, name: str) -> None:  # type: ignore[no-untyped-def]
    config = example(registry, name)
    text = json.dumps(describe(config))
    assert json.loads(text)[registry.kind] == name
    assert restore(json.loads(text)) == config


@pytest.mark.parametrize(("package", "registry"), [("layers", LAYERS), ("optimizers", OPTIMIZERS)])
def test_every_file_is_in_its_registry(package: str, registry: Registry) -> None:  # type: ignore[type-arg]
    files = {file.stem for file in (FOLDER / package).rglob("*.py")} - {"__init__", "base", "chain", "im2col"}
    assert {entry.__module__.rpartition(".")[2] for entry in registry.values()} == files


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_final_class_of_a_registrys_files_is_in_it(registry: Registry) -> None:  # type: ignore[type-arg]
    modules = {importlib.import_module(entry.__module__) for entry in registry.values()}
    written = {
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__
        and dataclasses.is_dataclass(value)
        and getattr(value, "__final__", False)
    }
    assert written == set(registry.values())


def test_the_engine_imports_numpy_and_the_standard_library_only() -> None:
    """Only the two doors of the compiled kernel import Numba, which is optional."""
    doors = {FOLDER / "kernels" / "jit.py", FOLDER / "kernels" / "kernel.py"}
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                allowed = {"engine", "numpy"} | ({"numba"} if file in doors else set())
                assert top in allowed | sys.stdlib_module_names, f"{file}: {name}"
                assert top not in {"pickle", "random", "marshal", "shelve"}, f"{file}: {name}"


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"^unknown optimizer 'momentun'; did you mean 'momentum'\?$"):
        OPTIMIZERS["momentun"]
    with pytest.raises(UnknownName, match=r"^unknown layer 'xyzzy'; there is dense"):
        LAYERS["xyzzy"]
    assert nearest("rellu", ACTIVATIONS) == "; did you mean 'relu'?"
    assert issubclass(UnknownName, EngineError)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'?"),
        ({"optimiser": "adam"}, "a configuration must name one of layer, "),
        ({"optimizer": "momentum", "betta": 0.9}, "optimizer 'momentum': "),
        ({"layer": "dense"}, "layer 'dense': "),
        ({"optimizer": "momentum", "beta": 2}, "momentum: beta must be at least 0 and below 1, got 2"),
    ],
)
def test_invalid_descriptions(description: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        restore(description)
    assert message.removesuffix("layer, ") in str(caught.value)


def test_settings_survive() -> None:
    net = Network((5,), (Dense(7, Normal(0.3)), LeakyReLU(0.2), Dense(3)), SoftmaxCrossEntropy())
    for config in (net, Momentum(0.5, classical=True), Adam(0.8, 0.9, 1e-4)):
        assert restore(json.loads(json.dumps(describe(config)))) == config


PREDICT = """
import json, sys
import numpy as np
from engine import activations, layers, losses, network
from engine.registry import restore

with np.load(sys.argv[1], allow_pickle=False) as saved:
    net = restore(json.loads(str(saved["network"])))
    sys.stdout.buffer.write(net.predict(saved["theta"], saved["x"]).tobytes())
"""


def test_another_process_predicts_the_same_bits(tmp_path: Path) -> None:
    cases = [(loss, outputs, a) for (loss, outputs), a in zip(LOSS_CASES * 5, ACTIVATIONS, strict=False)]
    for number, (loss, outputs, activation) in enumerate(cases):
        net = network(loss, outputs, activation, inputs=5)
        trials = hyperparameters(2, "momentum")
        state = start(net, trials)
        data = rows(loss, outputs, 21, 5)
        run(net, trials, state, data, 2)
        path = tmp_path / f"{number}.npz"
        np.savez(path, network=json.dumps(describe(net)), theta=state.theta, x=data.x)
        command = [sys.executable, "-c", PREDICT, str(path)]
        done = subprocess.run(command, capture_output=True, check=True, cwd=FOLDER.parent)
        assert done.stdout == net.predict(state.theta, data.x).tobytes()
