"""Parameters in the forms of other tools: read with a notice, or refused with one line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.config.load import spec_from_mapping
from hpsearch.core.space import Fixed, Range, Values
from hpsearch.errors import SpecError
from tests.hpsearch.config.test_load import BASE, load, refused, study

__all__ = ["study"]

RATE = "learning_rate: {min: 1e-4, max: 1.0, scale: log}"
UNITS = "hidden_units: {type: int, min: 16, max: 256, scale: log}"
LOG = Range(min=1e-4, max=0.1, scale="log")
STEPS = Values(values=(32, 64, 96, 128), ordered=True)

# Form of another tool → the parameter.
RATES = {
    # Ray Tune, Optuna and Hydra as text; NNI; a function as a key.
    "tune.loguniform(1e-4, 1e-1)": LOG,
    "loguniform(1e-4, 1e-1)": LOG,
    "trial.suggest_float('lr', 1e-4, 1e-1, log=True)": LOG,
    "suggest_loguniform('lr', 1e-4, 1e-1)": LOG,
    "tune.uniform(0.1, 0.5)": Range(min=0.1, max=0.5),
    "hp.uniform('lr', 0.1, 0.5)": Range(min=0.1, max=0.5),
    "interval(0.1, 0.5)": Range(min=0.1, max=0.5),
    "tune.quniform(0.1, 0.5, 0.2)": Values(values=(0.1, 0.3, 0.5), ordered=True),
    "tune.choice([0.1, 0.2])": Values(values=(0.1, 0.2)),
    "{_type: loguniform, _value: [1e-4, 0.1]}": LOG,
    "{_type: choice, _value: [0.1, 0.2]}": Values(values=(0.1, 0.2)),
    "{loguniform: [1e-4, 0.1]}": LOG,
    "{tune.choice: [0.1, 0.2]}": Values(values=(0.1, 0.2)),
    "{suggest_float: {low: 1e-4, high: 0.1, log: true}}": LOG,
    # Katib, Ax, Weights & Biases, SMAC.
    '{parameterType: double, feasibleSpace: {min: "1e-4", max: "0.1", distribution: logUniform}}': LOG,
    '{parameterType: discrete, feasibleSpace: {list: ["0.1", "0.2"]}}': Values(values=(0.1, 0.2)),
    "{type: range, bounds: [1e-4, 0.1], log_scale: true}": LOG,
    "{type: double, min: 1e-4, max: 0.1, log: true}": LOG,
    "{distribution: log_uniform_values, min: 1e-4, max: 0.1}": LOG,
    "{distribution: constant, value: 0.1}": Fixed(value=0.1),
    "{type: fixed, value: 0.1}": Fixed(value=0.1),
    "{type: loguniform, lower: 1e-4, upper: 0.1}": LOG,
    "{type: categorical, choices: [0.1, 0.2]}": Values(values=(0.1, 0.2)),
    "{type: ordinal, values: [0.1, 0.2]}": Values(values=(0.1, 0.2), ordered=True),
    "{type: float, values: [0.1, 0.2]}": Values(values=(0.1, 0.2)),
    "{min: 0.1, max: 0.5, step: 0.1}": Values(values=(0.1, 0.2, 0.3, 0.4, 0.5), ordered=True),
}
WHOLE = {
    "{min: 32, max: 128, step: 32}": STEPS,
    "{type: int, min: 32, max: 128, step: 32}": STEPS,
    "{type: int, low: 32, high: 128, q: 32}": STEPS,
    "{type: int, min: 3, max: 9, step: 1}": Range(type="int", min=3, max=9),
    "trial.suggest_int('n', 32, 128, step=32)": STEPS,
    "tune.randint(3, 9)": Range(type="int", min=3, max=8),
    "tune.qrandint(32, 128, 32)": STEPS,
    "tune.lograndint(3, 9)": Range(type="int", min=3, max=8, scale="log"),
    "{_type: randint, _value: [3, 9]}": Range(type="int", min=3, max=8),
    '{parameterType: int, feasibleSpace: {min: "3", max: "9"}}': Range(type="int", min=3, max=9),
    "{type: integer, min: 3, max: 9}": Range(type="int", min=3, max=9),
    "{type: categorical, choices: [16, 32]}": Values(values=(16, 32)),
    "{type: int, values: [16, 32]}": Values(values=(16, 32)),
}


@pytest.mark.parametrize(("line", "forms"), [(RATE, RATES), (UNITS, WHOLE)], ids=["rate", "units"])
def test_forms_that_are_read(study: Path, line: str, forms: dict[str, Any]) -> None:
    """Each has a notice with its line."""
    name = line.split(":")[0]
    number = next(n for n, text in enumerate(BASE.splitlines(), 1) if line in text)
    for form, expected in forms.items():
        spec, notices = load(study, BASE.replace(line, f"{name}: {form}"))
        assert spec.parameters[name] == expected, form
        assert notices and all(n.startswith(f"{study}:{number}: parameters.{name}") for n in notices), form


# Forms without an exact counterpart, and a part of the one line that refuses them.
REFUSED = {
    "hp.loguniform('lr', -5, 0)": "cannot be read as a range: hp.loguniform('lr', -5, 0); write {min: …, max: …",
    "{_type: normal, _value: [0, 1]}": "cannot be read as a range: {_type: normal, _value: [0, 1]}",
    "tune.randn(0, 1)": "each value must be a number",
    "tune.uniform(0.1)": "cannot be read as a range",
    "tune.uniform(0.1, x)": "cannot be read as a range",
    "tune.randint(0.5, 2)": "cannot be read as a range",
    "{min: 0.1, max: 0.5, step: 0.3}": "max must be min plus a multiple of step",
    "{min: 0.1, max: 0.5, step: 0}": "max must be min plus a multiple of step",
    "{min: 0.1, max: 0.5, step: -0.1}": "max must be min plus a multiple of step",
    "{min: 0.1, max: 0.5, step: 0.1, scale: log}": "only a linear scale has a step",
    "{min: 0.0, max: 1.0, step: 1e-4}": "at most 1,000 values",
    "{min: 0.05, max: 0.25, q: 0.1}": "min must be a multiple of q",
    "{type: categorical, min: 0.1, max: 0.2}": "unknown 'categorical'; list the values: {values: […]}",
    "{distribution: normal, min: 0.1, max: 1.0}": "unknown distribution 'normal'; give min, max and scale",
    "{min: 0.1, max: 1.0, mu: 0}": "unknown key 'mu'; normal distributions are not supported",
}


@pytest.mark.parametrize("form", REFUSED)
def test_forms_that_are_refused(study: Path, form: str) -> None:
    found = refused(study, BASE.replace(RATE, f"learning_rate: {form}"))
    assert len(found) == 1 and REFUSED[form] in found[0], found


def test_a_list_of_parameters_with_names(study: Path) -> None:
    """The form of Katib and SMAC; mistakes keep their lines."""
    start, end = BASE.index("parameters:"), BASE.index("stages:")
    line = BASE[:start].count("\n") + 2
    text = """parameters:
  - {name: learning_rate, parameterType: double, feasibleSpace: {min: "0.01", max: "0.03"}}
  - name: hidden_units
    parameterType: int
    feasibleSpace: {min: "10", max: "30"}
"""
    spec, notices = load(study, BASE[:start] + text + BASE[end:])
    assert spec.parameters["hidden_units"] == Range(type="int", min=10, max=30)
    assert f"{study}:{line - 1}: parameters: a list with names is read as a mapping of names" in notices
    found = refused(study, BASE[:start] + text.replace('"30"', "many") + BASE[end:])
    assert found == [
        f"study.yaml:{line + 3}: parameters.hidden_units.max: must be a valid integer or number, got 'many'"
    ]


@given(st.text(max_size=30) | st.from_regex(r"(tune|hp|trial)\.[a-z]+\([-0-9e.,' ]*\)", fullmatch=True))
def test_any_text(text: str) -> None:
    """Text never ends in another exception, and never becomes a range without a notice."""
    content = {
        "name": "a",
        "data": {"source": "sklearn", "name": "iris"},
        "parameters": {"learning_rate": text},
        "stages": [{"name": "a", "trials": 3}],
    }
    try:
        _, notices = spec_from_mapping(content, "here")
    except SpecError:
        return
    assert notices


@pytest.mark.parametrize("values", [[], [3], [None, 1], [{"name": 3}], [{"name": "a"}, {"name": "a"}], 3, "x"])
def test_other_lists_are_left_for_validation(values: Any) -> None:
    with pytest.raises(SpecError, match="parameters: must be a mapping of names"):
        spec_from_mapping({"parameters": values}, "here")
