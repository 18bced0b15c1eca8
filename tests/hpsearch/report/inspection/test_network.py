"""`hpsearch inspect`: layers, gradient check, first loss, signals, units and the one-batch test, before training."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.report.inspection import network
from hpsearch.report.inspection.network import NetworkInspection, inspect_network
from hpsearch.report.inspection.text import findings
from hpsearch.training.network import build_network
from tests.hpsearch.test_cli import Call, call  # noqa: F401 (a fixture)

FIXED: dict[str, Any] = {"parameters": {"learning_rate": 0.1}, "train": {"optimizer": "sgd", "batch_size": 16}}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OVERFIT_STEPS", 150)


def inspected(**changes: Any) -> tuple[NetworkInspection, str]:
    found = inspect_network(cases.small(**{**FIXED, **changes}))
    return found, "\n".join(findings(found))


def test_a_sound_network() -> None:
    found, text = inspected(model={"hidden": [{"units": 16, "dropout": 0.3}], "initializer": "he_normal"})
    assert [layer.kind for layer in found.layers] == ["Dense", "ReLU", "Dropout", "Dense"]
    assert [layer.parameters for layer in found.layers] == [4 * 16 + 16, 0, 0, 16 * 3 + 3] and found.parameters == 131
    assert [layer.shape for layer in found.layers] == [(16,), (16,), (16,), (3,)]
    assert found.check.good and found.checked == 131 and found.overfit.learned
    assert found.chance == pytest.approx(np.log(3), rel=0.02) and 0.5 < found.first_loss / found.chance < 2.5
    assert "Gradient check of all parameters: gradient good" in text and "Gradients neither vanish nor explode." in text
    assert "32 rows learned by heart" in text and "Units:" not in text


def test_zeros_are_dead_before_training() -> None:
    _, text = inspected(model={"hidden": [{"units": 8}], "initializer": "zero"})
    assert "Units: 8 of 8 of layer 2 (ReLU) are dead before training." in text
    assert "Activations vanish by layer 1 (Dense)" in text and "Gradients vanish by layer 1 (Dense)" in text
    assert "32 rows not learned by heart in 150 steps" in text


def test_gradients_of_a_deep_sigmoid_network_vanish_by_a_layer() -> None:
    hidden = [{"units": 8, "activation": "sigmoid"}] * 8
    found, text = inspected(model={"hidden": hidden, "initializer": "xavier_normal"})
    sizes = [layer.gradient for layer in found.layers if layer.gradient is not None]
    assert len(sizes) == 9 and sizes[0] < 1e-3 * sizes[-1]
    assert "Gradients vanish by layer" in text and "on the way back from the output" in text


def test_large_first_weights() -> None:
    _, text = inspected(model={"hidden": [{"units": 16}], "initializer": {"name": "normal", "sigma": 3.0}})
    assert "times that: the first outputs are too large" in text


def test_a_regression_and_the_point(tmp_path: Path) -> None:
    found, text = inspected(
        data={"source": "sklearn", "name": "diabetes"},
        model={"hidden": [{"units": "units"}]},
        parameters={"learning_rate": 0.01, "units": {"type": "int", "min": 4, "max": 64, "scale": "log"}},
    )
    assert found.point == {"units": 16, "learning_rate": 0.01} and found.chance == pytest.approx(0.5, rel=0.2)
    assert "First loss" in text


def test_the_command(call: Call, tmp_path: Path) -> None:  # noqa: F811
    said = call("inspect", cases.write(tmp_path), "--set", "parameters.hidden_units=4")
    assert said.code == 0, said.err
    assert "Network at the first weights: 4 inputs, 35 parameters" in said.out and "hidden_units 4" in said.out
    assert call("inspect", cases.write(tmp_path), "--set", "model.hidden=[{units: -1}]").code == 2


def test_parameters_are_those_of_the_network(tmp_path: Path) -> None:
    from hpsearch.data.dataset import prepare

    spec = cases.small()
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    found = inspect_network(spec)
    assert found.parameters == int(build_network(spec, dataset, found.point).learned.sum())


@pytest.mark.parametrize("command", ["inspect", "range-test"])
def test_a_study_of_other_code_has_no_network(call: Call, tmp_path: Path, command: str) -> None:  # noqa: F811
    (tmp_path / "code.py").write_text("def loss(point):\n    return 1.0\n")
    study = tmp_path / "other.yaml"
    study.write_text(
        "name: other\ntrain: {function: 'code.py:loss'}\nmetric: {name: value, goal: minimize}\n"
        "parameters: {x: {min: 0, max: 1}}\nstages: [{name: only, trials: 4}]\n"
    )
    said = call(command, study)
    assert said.code == 2 and "must be the settings of a network of the engine, got code.py:loss" in said.err, said
