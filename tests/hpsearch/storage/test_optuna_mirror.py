"""The mirror: Optuna without hpsearch reads the same trials from a study database."""

import datetime
import json
import logging
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import optuna
import pytest

from hpsearch.data import dataset
from hpsearch.errors import StorageError
from hpsearch.report.export import as_json
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.summary import summary

# A program without hpsearch: prints each study, and number, state, value and parameters of each trial.
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
    """Return the point of Optuna's parameters: ordered values by index, β as 1−β."""
    values = {f"{name}_index": cases.CONTENT["parameters"][name]["values"] for name in ("hidden_units", "batch_size")}
    found = {"l2": 1e-4, "learning_rate": params["learning_rate"], "beta": 1 - params["one_minus_beta"]}
    return found | {key.removesuffix("_index"): listed[params[key]] for key, listed in values.items()}


def test_optuna_alone(tmp_path: Path) -> None:
    """Numbers, states, values and parameters are those of `hpsearch show --json`."""
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


def test_optuna_opens_the_same_file(tmp_path: Path) -> None:
    """Optuna formats its URL, so braces are doubled."""
    file = tmp_path / "a%20b{0}" / "small.db"
    file.parent.mkdir()
    database = StudyDatabase.open(url_of(str(file)), create=True)
    database.mirror.storage()
    database.close()
    with closing(sqlite3.connect(file)) as connection:
        tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"hpsearch_study", "studies"} <= tables and list(tmp_path.iterdir()) == [file.parent]


def test_counts(database: StudyDatabase) -> None:
    """Counted without Optuna, by stage; None before the first stage is mirrored."""
    assert database.mirror.counts() is None
    assert database.mirror.count("coarse", 1) == database.mirror.count("fine", -1) == 0
    trials = [optuna.create_trial(value=0.5, params={}, distributions={}) for _ in range(3)]
    database.mirror.add("coarse", trials)
    assert database.mirror.counts() == {"coarse": 3, "fine": 0} and database.mirror.count("coarse", 1) == 3
    database.mirror.delete("coarse")
    database.mirror.delete("confirm")
    assert database.mirror.counts() == {"fine": 0} and database.mirror.count("coarse", 1) == 0


def test_existing_studies_are_opened_silently(file: Path, database: StudyDatabase) -> None:
    """Optuna reports by default that it uses an existing study, once for each stage of a resumed study."""
    database.mirror.count("coarse", 1)
    database.close()
    messages: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = messages.append  # type: ignore[method-assign]
    logger = logging.getLogger("optuna")
    logger.addHandler(handler)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        with closing(StudyDatabase.open(url_of(str(file)), create=False)) as again, again.lease.hold():
            again.mirror.count("coarse", 1)
            again.mirror.delete("coarse")
        assert optuna.logging.get_verbosity() == optuna.logging.INFO, "the user's setting is restored"
    finally:
        logger.removeHandler(handler)
    assert messages == []


def finished_trials() -> list[optuna.trial.FrozenTrial]:
    """Return trials with every kind of parameter, value, report and attribute that a mirrored trial may have."""
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        "rate": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "units": optuna.distributions.IntDistribution(16, 256, log=True),
        "act": optuna.distributions.CategoricalDistribution(["tanh", "relu", None]),
    }
    params = {"rate": 0.1, "units": 32, "act": "relu"}
    start, end = datetime.datetime(2026, 3, 1, 12), datetime.datetime(2026, 3, 1, 12, 0, 9, 5)
    kinds: list[dict[str, Any]] = [
        {"value": 0.25, "intermediate_values": {3: 0.5, 9: 0.25}},
        {"value": math.inf, "params": {"rate": 0.2}},
        {"state": optuna.trial.TrialState.PRUNED, "intermediate_values": {3: math.inf, 9: math.nan, 27: -math.inf}},
        {"state": optuna.trial.TrialState.PRUNED, "user_attrs": {"state": "diverged"}},
        {"state": optuna.trial.TrialState.FAIL},
    ]
    trials = []
    for kind in kinds:
        given = kind.pop("params", params)
        trial = optuna.create_trial(params=given, distributions={key: distributions[key] for key in given}, **kind)
        trial.datetime_start, trial.datetime_complete = start, end
        trials.append(trial)
    return trials


def optuna_rows(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of Optuna's tables of trials."""
    tables = ("trials", "trial_params", "trial_values", "trial_intermediate_values")
    tables += ("trial_user_attributes", "trial_system_attributes")
    with closing(sqlite3.connect(file)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


@pytest.mark.parametrize("known", [True, False])
def test_rows_are_those_of_optuna(
    database: StudyDatabase, file: Path, tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows added in one transaction equal those of `Study.add_trial`, which adds them for an unknown Optuna."""
    if not known:
        monkeypatch.setattr("hpsearch.storage.optuna_mirror.trial_row", other_classes)
    trials = finished_trials()
    database.mirror.count("coarse", 1)
    database.mirror.add("coarse", trials[:2])
    database.mirror.add("coarse", trials[2:])
    with cases.optuna_storage(tmp_path / "optuna.db") as storage:
        optuna.create_study(storage=storage).add_trials(trials)
    assert optuna_rows(file) == optuna_rows(tmp_path / "optuna.db")
    assert len(optuna_rows(file)["trials"]) == len(trials)


def other_classes(*_: object) -> None:
    raise AttributeError("a version of Optuna without this class")


def test_mirrored_in_one_transaction(database: StudyDatabase, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill leaves all trials of a call or none, and only the holder of the lease adds any."""
    database.mirror.count("coarse", 1)
    with database.lease.hold():
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE hpsearch_lease SET token = 'of another process'")
            connection.commit()
        with pytest.raises(StorageError, match="taken over"):
            database.mirror.add("coarse", finished_trials())
    assert database.mirror.counts() == {"coarse": 0}
