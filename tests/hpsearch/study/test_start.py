"""Resuming with a changed file, through the commands: after an allowed change the table is that of the new file."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.storage.records import StoredStudy
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.executors import Inline
from hpsearch.training.task import Task
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture

COARSE = {"name": "coarse", "trials": 6, "sampler": "random"}
FINE = {"name": "fine", "trials": 6, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}}
LAST = {"name": "last", "trials": 4, "sampler": "random"}
CONFIRM = {"name": "confirm", "top": 2, "seeds": 2}
BASE: dict[str, Any] = {"train.epochs": 2, "stages": [COARSE, FINE]}


class Place:
    """A folder with a study file, on which the commands run."""

    def __init__(self, call: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._call = call
        self.folder = folder
        self.trained: list[int] = []  # numbers of the trials trained since the last run
        submit = Inline.submit

        def counted(executor: Inline, task: Task) -> Any:
            self.trained += [t.number for t in task.trials]
            return submit(executor, task)

        monkeypatch.setattr(Inline, "submit", counted)

    def run(self, *options: str, storage: Any = "small.db", **changes: Any) -> Any:
        """Run the study file that is `BASE` with some changes."""
        file = cases.write(self.folder, **{**BASE, **changes})
        self.trained.clear()
        return self._call("run", file, "--tracking-uri", "none", "--storage", self.folder / storage, *options)

    def resume(self, storage: str = "small.db") -> Any:
        self.trained.clear()
        return self._call("resume", self.folder / storage, "--tracking-uri", "none")

    def show(self, storage: str = "small.db") -> Any:
        return json.loads(self._call("show", self.folder / storage, "--json").out)

    def table(self, storage: str = "small.db") -> str:
        return cases.table(self.folder / storage)

    def stored(self, storage: str = "small.db") -> StoredStudy:
        opened = StudyDatabase.open(url_of(str(self.folder / storage)), create=False)
        try:
            found = opened.study.find()
        finally:
            opened.close()
        assert found is not None
        return found


@pytest.fixture
def place(call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(call, tmp_path, monkeypatch)


def fine(**changes: Any) -> list[dict[str, Any]]:
    return [COARSE, {**FINE, **changes}]


# The old file, the new file, the text of the note, and the number of trials that train then.
GROWN: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {
    "more trials": (
        {"stages": fine(trials=3)},
        {"stages": fine(trials=9)},
        "stages.fine.trials: 3 → 9",
        6,
    ),
    "fewer trials added": (
        {"stages": fine(trials=4)},
        {"stages": fine(trials=8)},
        "stages.fine.trials: 4 → 8",
        4,
    ),
    "a stage appended": ({}, {"stages": [COARSE, FINE, LAST]}, "stages.last: not given → {trials: 4, ", 4),
    "a confirming stage appended": ({}, {"stages": [COARSE, FINE, CONFIRM]}, "stages.confirm: not given → {", 4),
    "more seeds": (
        {"stages": [COARSE, CONFIRM]},
        {"stages": [COARSE, {**CONFIRM, "seeds": 4}]},
        "stages.confirm.seeds: 2 → 4",
        4,
    ),
    "the second stage with more trials": (
        {"stages": [COARSE]},
        {"stages": fine(sampler="random", zoom={"keep_top": 1.0})},
        "stages.fine: not given → ",
        6,
    ),
    "workers": ({}, {"workers": 2}, "workers: 1 → 2", 0),
    "max_failed": ({}, {"max_failed": 3}, "max_failed: not given → 3", 0),
}


@pytest.mark.parametrize("case", GROWN)
def test_resumed_equals_a_new_study(place: Place, case: str) -> None:
    """The table is that of a study begun with the new file, and trained trials are unchanged."""
    before, after, note, count = GROWN[case]
    assert place.run(**before).code == 0
    old, first = place.stored(), place.show()["trials"]
    said = place.run(**after)
    assert said.code == 0 and f"note: changed since the study began: {note}" in said.err
    assert len(place.trained) == count
    now = place.stored()
    assert now.spec != old.spec and now.hash != old.hash and now.identity == old.identity
    kept = [{k: v for k, v in t.items() if k != "metrics"} for t in place.show()["trials"]]
    assert all({k: v for k, v in t.items() if k != "metrics"} in kept for t in first)
    assert place.run(storage="fresh.db", **after).code == 0
    assert place.table() == place.table("fresh.db")
    fresh = place.stored("fresh.db")
    assert (now.spec, now.hash) == (fresh.spec, fresh.hash)
    said = place.resume()
    assert said.code == 0 and said.err == "" and place.trained == []
    said = place.run(**after)
    assert said.code == 0 and said.err == "" and place.trained == [], "it is reported once"


def test_ranges_of_later_stages(place: Place) -> None:
    """Box and table of the begun stage are unchanged; the next one searches the new range."""
    narrow, wide = {"min": 1e-2, "max": 1e-1, "scale": "log"}, {"min": 1e-5, "max": 10.0, "scale": "log"}
    assert place.run(stages=[COARSE], **{"parameters.learning_rate": narrow}).code == 0
    before = place.show()
    after = {"stages": [COARSE, {**LAST, "trials": 9}], "parameters.learning_rate": wide}
    said = place.run(**after)
    assert said.code == 0
    for end, old, new in (("min", "0.01", "1e-05"), ("max", "0.1", "10.0")):
        line = f"parameters.learning_rate.{end}: {old} → {new} (for the stages that have not started: last)"
        assert f"note: changed since the study began: {line}\n" in said.err
    content = place.show()
    coarse, last = content["stages"]
    assert coarse["box"]["learning_rate"] == [1e-2, 1e-1] == before["stages"][0]["box"]["learning_rate"]
    assert last["box"]["learning_rate"] == [1e-5, 10.0]
    bare = [{k: v for k, v in t.items() if k != "metrics"} for t in before["trials"]]
    assert [{k: v for k, v in t.items() if k != "metrics"} for t in content["trials"]][:6] == bare
    rates = [t["params"]["learning_rate"] for t in content["trials"][6:]]
    assert any(r < 1e-2 for r in rates) and any(r > 1e-1 for r in rates)
    assert last["reused"] == 6, "the earlier trials lie in the new range"
    assert place.resume().err == "" and place.trained == []


def test_a_range_that_excludes_trials(place: Place) -> None:
    """The next stage's sampler and zoom use only the trials inside the range."""
    assert place.run(stages=[COARSE]).code == 0
    rates = [t["params"]["learning_rate"] for t in place.show()["trials"]]
    middle = sorted(rates)[3]
    after = {"stages": fine(zoom={"keep_top": 1.0, "margin": 0.0}), "parameters.learning_rate.max": middle}
    assert place.run(**after).code == 0
    stage = place.show()["stages"][1]
    assert stage["reused"] == 4
    assert stage["box"]["learning_rate"] == [min(rates), middle]
    assert max(t["params"]["learning_rate"] for t in place.show()["trials"][6:]) <= middle


VAL = {"kind": "median"}

# The old file, the new file, and the line with the difference.
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "seed": ({}, {"seed": 6}, "seed: 5 → 6"),
    "data": ({}, {"data.name": "wine"}, "data.name: iris → wine"),
    "split": ({}, {"data.split": {"train": 0.8, "val": 0.1, "test": 0.1}}, "data.split: not given → {train: 0.8"),
    "model": ({}, {"model.hidden.0.activation": "relu"}, "model.hidden.0.activation.name: tanh → relu"),
    "epochs": ({}, {"train.epochs": 3}, "train.epochs: 2 → 3"),
    "metric": ({}, {"metric": {"name": "val/accuracy"}}, "metric.name: val/loss → val/accuracy"),
    "parallel": ({}, {"parallel": 4}, "parallel: 3 → 4"),
    "pruning": ({}, {"pruning": "median"}, "pruning.kind: none → median"),
    "duplicates": ({}, {"duplicates": "reuse"}, "duplicates: new_seed → reuse"),
    "a range after all stages have begun": (
        {},
        {"parameters.learning_rate.max": 2.0},
        "parameters.learning_rate.max: 1.0 → 2",
    ),
    "a fixed value": ({}, {"parameters.l2": 0.5}, "parameters.l2.value: 0.0001 → 0.5"),
    "values": (
        {},
        {"parameters.batch_size.values": [16, 32, 64]},
        "parameters.batch_size.values: [16, 32] → [16, 32, ",
    ),
    "fewer trials than begun": (
        {},
        {"stages": fine(trials=5)},
        "stages.fine.trials: 6 → 5 (6 trials have been proposed already)",
    ),
    "more trials of an earlier stage": (
        {},
        {"stages": [{**COARSE, "trials": 9}, FINE]},
        "stages.coarse.trials: 6 → 9 (fine has started after it)",
    ),
    "sampler of a begun stage": ({}, {"stages": fine(sampler="random")}, "stages.fine.sampler: tpe → random"),
    "zoom of a begun stage": (
        {},
        {"stages": fine(zoom={"keep_top": 0.9, "margin": 0.2})},
        "stages.fine.zoom.keep_top: 0.5 → 0.9",
    ),
    "pruning of a begun stage": ({}, {"stages": fine(pruning=VAL)}, "stages.fine.pruning: not given → {kind: median"),
    "a begun stage removed": ({}, {"stages": [COARSE]}, "stages.fine: {trials: 6, "),
    "a stage before a begun one": ({}, {"stages": [COARSE, LAST, FINE]}, "stages.last: not given → "),
    "a stage after the confirming one": (
        {"stages": [COARSE, CONFIRM]},
        {"stages": [COARSE, LAST, CONFIRM]},
        "stages.last: not given → ",
    ),
    "fewer seeds": (
        {"stages": [COARSE, {**CONFIRM, "seeds": 3}]},
        {"stages": [COARSE, CONFIRM]},
        "stages.confirm.seeds: 3 → 2 (seeds can be added, not removed)",
    ),
    "another top": (
        {"stages": [COARSE, CONFIRM]},
        {"stages": [COARSE, {**CONFIRM, "top": 3}]},
        "stages.confirm.top: 2 → 3",
    ),
}
STUDIES = {repr(before): before for before, _, _ in REFUSED.values()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Return databases of the old files, and their tables."""
    from hpsearch.data.dataset import prepare

    found = {}
    for name, before in STUDIES.items():
        folder = tmp_path_factory.mktemp("finished")
        spec = cases.small(**{**BASE, **before})
        cases.run(spec, prepare(spec.data, spec.seed, folder)[0], folder / "small.db")
        found[name] = folder / "small.db", cases.table(folder / "small.db")
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_refused(place: Place, finished: dict[str, tuple[Path, str]], case: str) -> None:
    """Exit code 2, the line, the advice, and an unchanged database."""
    before, after, line = REFUSED[case]
    database, table = finished[repr(before)]
    (place.folder / "small.db").write_bytes(database.read_bytes())
    said = place.run(**copy.deepcopy(after))
    assert said.code == 2 and said.out == "" and place.trained == []
    assert said.err.startswith("error: ") and "Traceback" not in said.err
    assert f"\n  {line}" in said.err
    assert "hpsearch run STUDY.yaml --fork NEWNAME" in said.err
    assert place.table() == table


def test_all_at_once(place: Place, finished: dict[str, tuple[Path, str]]) -> None:
    """Every refused change is named, an allowed one is not; none of them is applied."""
    (place.folder / "small.db").write_bytes(finished[repr({})][0].read_bytes())
    stored = place.stored()
    said = place.run(seed=6, parallel=4, workers=2, **{"train.epochs": 3})
    assert said.code == 2
    assert [x.split(":")[0].strip() for x in said.err.splitlines() if " → " in x] == [
        "seed",
        "train.epochs",
        "parallel",
    ]
    assert place.stored() == stored


def test_another_name_is_another_study(place: Place, finished: dict[str, tuple[Path, str]]) -> None:
    """In a database of its own by default, and beside the other in a database that `--storage` names."""
    (place.folder / "small.db").write_bytes(finished[repr({})][0].read_bytes())
    before = place.table()
    assert place.run(name="large").code == 0
    assert cases.table(place.folder / "small.db", "small") == before
    assert "name one with --study: large, small" in place.resume().err
