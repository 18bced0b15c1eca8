"""The study database is Optuna's too: who has only Optuna reads the same trials from it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.data import dataset
from hpsearch.report.export import as_json
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary

# What somebody without hpsearch writes: each study, and of each trial its number, state, value and parameters.
SCRIPT = """
import json, sys
import optuna

found = {}
for study in optuna.get_all_study_summaries(sys.argv[1]):
    trials = optuna.load_study(study_name=study.study_name, storage=sys.argv[1]).trials
    found[study.study_name] = [[t.number, t.state.name, t.value, t.params] for t in trials]
assert not [name for name in sys.modules if name.split(".")[0] in ("hpsearch", "engine")]
print(json.dumps(found))
"""


STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED"}
STAGES = [
    {"name": "coarse", "trials": 10, "sampler": "random"},
    {"name": "fine", "trials": 5, "sampler": "tpe", "zoom": {"keep_top": 0.9, "margin": 0.2}},
    {"name": "confirm", "top": 2, "seeds": 2},
]


def point(params: dict[str, Any]) -> dict[str, Any]:
    """What Optuna's parameters mean: ordered values are there by their place, β as 1−β."""
    values = {f"{name}_index": cases.CONTENT["parameters"][name]["values"] for name in ("hidden_units", "batch_size")}
    found = {"l2": 1e-4, "learning_rate": params["learning_rate"], "beta": 1 - params["one_minus_beta"]}
    return found | {key.removesuffix("_index"): listed[params[key]] for key, listed in values.items()}


def test_optuna_alone(tmp_path: Path) -> None:
    """Numbers, states, values and parameters, as `hpsearch show --json` has them."""
    spec = cases.small(**cases.FULL | {"stages": STAGES})
    data, _ = dataset.prepare(spec.data, spec.seed, tmp_path)
    cases.run(spec, data, tmp_path / "small.db")
    url = url_of(str(tmp_path / "small.db"))
    said = subprocess.run([sys.executable, "-P", "-c", SCRIPT, url], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    studies = json.loads(said.stdout)
    trials = as_json(summary(url))["trials"]
    assert {trial["state"] for trial in trials} == set(STATES)
    for stage in ("coarse", "fine", "confirm"):
        expected = [trial for trial in trials if trial["stage"] == stage]
        found = studies.pop(f"small/{stage}")
        assert [number for number, *_ in found] == [trial["number"] for trial in expected] == list(range(len(found)))
        for (_, state, value, params), trial in zip(found, expected, strict=True):
            assert state == STATES[trial["state"]]
            assert value == (trial["value"] if state == "COMPLETE" else None)
            assert point(params) == pytest.approx(trial["params"], rel=1e-12)
    assert studies == {}
