"""Forks, through the commands: equal outcomes are copied, and the rest is as in a new study of the file."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from cases import RICH, small
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.config.references import search_space
from hpsearch.core.space import Axis, Fixed, InternalValue, Parameter, Range, Space, Values, build_space
from hpsearch.data.dataset import prepare
from hpsearch.models.export import build_model
from hpsearch.storage.records import StoredWeights, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.fork import converted
from hpsearch.study.session import Options, Session
from tests.hpsearch import test_cli
from tests.hpsearch.study import test_start

call = test_cli.call  # fixtures
place = test_start.place
Place = test_start.Place

COARSE = {"name": "coarse", "trials": 6, "sampler": "random"}
FINE = {"name": "fine", "trials": 6, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}}
RANDOM = {"name": "fine", "trials": 6, "sampler": "random"}
CONFIRM = {"name": "confirm", "top": 3, "seeds": 2}


def same(found: Any, fresh: Any) -> None:
    """Compare `show --json` of two studies except for names, times, origins and numbers of known outcomes."""
    one, other = copy.deepcopy(found), copy.deepcopy(fresh)
    for content in (one, other):
        del content["spec"]["name"], content["study"]
        for stage in content["stages"]:
            del stage["epochs"], stage["reused"]
        for trial in [*content["trials"], *([content["best"]] if content["best"] else [])]:
            trial["seconds"] = None
            trial.pop("copied_from", None)
    assert one == other


def labels(content: Any) -> list[str]:
    return [f"{t['stage']}/{t['number']}" for t in content["trials"]]


def origins(content: Any) -> dict[str, str]:
    """Return trial → the trial that its outcome is copied from."""
    return {f"{t['stage']}/{t['number']}": t["copied_from"] for t in content["trials"] if "copied_from" in t}


def champions(path: Path) -> list[StoredWeights]:
    storage = StudyDatabase.open(url_of(str(path)), create=False)
    try:
        return list(storage.weights.load().values())
    finally:
        storage.close()


# The file of the study, that of its fork, and the trials of the fork that are not trained.
FORKS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "another last stage": (
        {"stages": [COARSE, RANDOM]},
        {"stages": [COARSE, {**RANDOM, "sampler": "sobol"}]},
        [f"coarse/{n}" for n in range(6)],
    ),
    "a stage after it": ({"stages": [COARSE]}, {"stages": [COARSE, FINE]}, [f"coarse/{n}" for n in range(6)]),
    "a stage that confirms": ({"stages": [COARSE]}, {"stages": [COARSE, CONFIRM]}, [f"coarse/{n}" for n in range(6)]),
    "more of the first stage": (
        {"stages": [COARSE]},
        {"stages": [{**COARSE, "trials": 10}, FINE]},
        [f"coarse/{n}" for n in range(6)],
    ),
    "fewer of all": (
        {"stages": [COARSE, RANDOM], "parallel": 2},
        {"stages": [{**COARSE, "trials": 4}, {**RANDOM, "trials": 2}], "parallel": 3},
        [*(f"coarse/{n}" for n in range(4)), "fine/0", "fine/1"],
    ),
    "diverged ones too": (
        {"stages": [COARSE], "parameters.learning_rate": {"min": 1e-3, "max": 1e30, "scale": "log"}},
        {"stages": [COARSE, FINE], "parameters.learning_rate": {"min": 1e-3, "max": 1e30, "scale": "log"}},
        [f"coarse/{n}" for n in range(6)],
    ),
    "a repeat of the study it is from": (
        {"stages": [{**COARSE, "trials": 12}], "duplicates": "reuse", "parallel": 2},
        {"stages": [{**COARSE, "trials": 12}], "duplicates": "new_seed", "parallel": 2},
        [],
    ),
}
GRID: dict[str, Any] = {
    "parameters": {
        "learning_rate": {"values": [0.03, 0.3], "ordered": True},
        "beta": 0.9,
        "hidden_units": 4,
        "batch_size": {"values": [16, 32]},
    }
}


@pytest.mark.parametrize("case", FORKS)
def test_fork_equals_a_new_study(place: Any, case: str) -> None:
    """The table is that of a new study of the new file; equal trials do not train, except for the champion."""
    before, after, taken = copy.deepcopy(FORKS[case])
    if "repeat" in case:
        before, after = {**GRID, **before}, {**GRID, **after}
    assert place.run(**before).code == 0
    old, table = place.show(), place.table()
    if "repeat" in case:
        taken = [label for label in labels(old) if label not in origins(old)]
        assert 0 < len(taken) < 12, "no point was repeated"
    said = place.run("--fork", "large", **after)
    found, trained = place.show("large.db"), list(place.trained)
    assert said.code == 0
    total = len(labels(old)) - len(origins(old))
    assert f"note: forked from 'small': {total} of its {total} finished trials are reused\n" in said.err
    assert origins(found) == {label: f"small:{label}" for label in taken}
    best = f"{found['best']['stage']}/{found['best']['number']}"
    assert len(trained) == len(labels(found)) - len(taken) + (best in taken)
    assert place.table() == table, "the parent study is not changed"
    assert found["study"] == "large" and place.stored("large.db").forked == "small"
    assert place.run("--set", "name=large", storage="fresh.db", **after).code == 0
    fresh = place.show("fresh.db")
    same(found, fresh)
    assert found["stages"][0]["epochs"] < fresh["stages"][0]["epochs"]
    known = [[s["reused"] for s in content["stages"]] for content in (found, fresh)]
    assert known[0][0] == sum(t["state"] == "complete" and "copied_from" not in t for t in old["trials"])
    assert known[0][1:] == known[1][1:] or len(before["stages"]) > 1, "each trial is known once"
    again = place.resume("large.db")
    assert again.code == 0 and "forked" not in again.err and place.trained == []
    if not origins(old):
        both = [champions(place.folder / name)[0] for name in ("large.db", "fresh.db")]
        assert both[0] == both[1], "with the same weights and test scores"


def test_a_copied_champion(place: Any, tmp_path: Path) -> None:
    """Its weights are no longer in the parent's database: it is trained again, and has a model."""
    stages = [COARSE, {"name": "fine", "points": [{"learning_rate": 0.3, "beta": 0.9, "hidden_units": 8}]}]
    assert place.run(stages=stages, **{"train.epochs": 4}).code == 0
    old = place.show()
    assert old["best"]["stage"] == "fine"
    ((weights, label),) = [(c.weights, c.stage) for c in champions(tmp_path / "small.db")]
    assert label == "fine"
    said = place.run("--fork", "large", stages=[COARSE], **{"train.epochs": 4})
    assert said.code == 0
    best = place.show("large.db")["best"]
    assert best["copied_from"] == f"small:coarse/{best['number']}" and place.trained == [best["number"]]
    (stored,) = champions(tmp_path / "large.db")
    assert (stored.stage, stored.number) == ("coarse", best["number"]) and stored.weights != weights
    assert stored.test == {k: v for k, v in best["metrics"].items() if k[:4] in ("test", "fit/")}
    spec = cases.small(**{"train.epochs": 4, "stages": [COARSE]})
    dataset, [[scaling]] = prepare(spec.data, spec.seed, tmp_path)
    study = cases.run(spec, dataset, tmp_path / "fresh.db")
    assert study.best is not None and stored.weights == champions(tmp_path / "fresh.db")[0].weights
    model = build_model(spec, dataset, [scaling], study.best, stored.weights)
    assert stored.test is not None
    rows = spec.data.load()
    right = np.mean(model.predict(rows.x) == np.array(dataset.classes)[rows.y.ravel().astype(int)])
    assert 0 < right <= 1


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "train": ({"train.epochs": 3}, "train differs, which changes"),
    "seed": ({"seed": 6}, "seed differs, which changes"),
    "data": ({"data.name": "wine"}, "data, data fingerprint differ, which changes"),
    "both": ({"train.epochs": 3, "model.hidden.0.activation": "relu"}, "model, train differ, which changes"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_no_trial_is_copied_if_results_would_differ(place: Any, case: str) -> None:
    changes, words = DIFFERENT[case]
    assert place.run(stages=[COARSE]).code == 0
    said = place.run("--fork", "large", stages=[COARSE], **changes)
    assert said.code == 0 and len(place.trained) == 6
    assert f"note: forked from 'small'; {words}" in said.err and ": none is reused\n" in said.err
    assert origins(place.show("large.db")) == {}
    if case == "both":
        assert place.run("--set", "name=large", storage="fresh.db", stages=[COARSE], **changes).code == 0
        same(place.show("large.db"), place.show("fresh.db"))


def test_changed_range(place: Any) -> None:
    """No trial is equal, but samplers and zoom know those inside the range, from the first stage on."""
    assert place.run(stages=[COARSE]).code == 0
    rates = sorted(t["params"]["learning_rate"] for t in place.show()["trials"])
    stages = [{**COARSE, "trials": 1}, {**FINE, "zoom": {"keep_top": 1.0, "margin": 0.0}}]
    said = place.run("--fork", "large", stages=stages, **{"parameters.learning_rate.max": rates[3]})
    assert said.code == 0 and "4 of its 6 finished trials are reused" in said.err
    found = place.show("large.db")
    assert origins(found) == {} and [s["reused"] for s in found["stages"]] == [4, 5]
    assert all(t["params"]["learning_rate"] <= rates[3] for t in found["trials"])
    here = found["trials"][0]["params"]["learning_rate"]
    assert found["stages"][1]["box"]["learning_rate"] == [min(here, rates[0]), max(here, rates[3])]


def test_pruned_trials_are_trained_again(place: Any) -> None:
    """They ended by rules and in comparison with trials that differ; complete ones are copied."""
    changes = {"train": {"optimizer": "momentum", "epochs": 4}, "stages": [{**COARSE, "trials": 12}]}
    pruning = {"kind": "promote", "min_epochs": 1, "reduction": 2}
    assert place.run(pruning=pruning, **changes).code == 0
    states = {f"coarse/{t['number']}": t["state"] for t in place.show()["trials"]}
    assert set(states.values()) == {"complete", "pruned"}
    assert place.run("--fork", "large", **changes).code == 0
    found = place.show("large.db")
    assert origins(found) == {k: f"small:{k}" for k, state in states.items() if state == "complete"}
    assert place.run("--set", "name=large", storage="fresh.db", **changes).code == 0
    same(found, place.show("fresh.db"))


def test_compared_trials_count_once(place: Any) -> None:
    """A second stage that prunes compares with the first one's trials, whether copied or trained."""
    train = {"train": {"optimizer": "momentum", "epochs": 4}}
    coarse = {**COARSE, "pruning": "none"}
    assert place.run(stages=[coarse], **train).code == 0
    pruning = {"kind": "promote", "min_epochs": 1, "reduction": 2}
    after = {"stages": [coarse, {**RANDOM, "trials": 9, "pruning": pruning}], **train}
    assert place.run("--fork", "large", **after).code == 0
    assert place.run("--set", "name=large", storage="fresh.db", **after).code == 0
    assert 0 < place.show("fresh.db")["stages"][1]["pruned"] < 9
    same(place.show("large.db"), place.show("fresh.db"))


def test_fork_of_a_fork(place: Any) -> None:
    """A trial that is copied twice names the study that trained it."""
    assert place.run(stages=[COARSE]).code == 0
    assert place.run("--fork", "large", stages=[COARSE, RANDOM]).code == 0
    stages = [COARSE, RANDOM, {"name": "last", "trials": 3, "sampler": "tpe", "zoom": {}}]
    said = place.run("--fork", "huge", "--set", "name=large", storage="large.db", stages=stages)
    assert said.code == 0 and "forked from 'large': 12 of its 12 finished trials" in said.err
    found = place.show("huge.db")
    assert origins(found) == {
        **{f"coarse/{n}": f"small:coarse/{n}" for n in range(6)},
        **{f"fine/{n}": f"large:fine/{n}" for n in range(6)},
    }
    best = f"{found['best']['stage']}/{found['best']['number']}"
    assert len(place.trained) == 3 + (not best.startswith("last"))
    assert place.run("--set", "name=huge", storage="fresh.db", stages=stages).code == 0
    same(found, place.show("fresh.db"))


def test_by_default_beside_the_study_file(call: Callable[..., Any], tmp_path: Path) -> None:
    """Without `--storage` the database with the file's name is forked."""
    file = cases.write(tmp_path, stages=[COARSE], **{"train.epochs": 1})
    assert call("run", file, "--tracking-uri", "none").code == 0
    assert call("run", file, "--tracking-uri", "none", "--fork", "other").code == 0
    assert {p.name for p in tmp_path.glob("*.db")} == {"small.db", "other.db"}


def test_a_stopped_fork_resumes(place: Any, tmp_path: Path) -> None:
    """Only its own database is needed; the parent's may be gone."""
    assert place.run(stages=[COARSE]).code == 0
    assert place.run("--fork", "whole", "--set", "name=small", stages=[COARSE, FINE]).code == 0
    stages = [COARSE, {**FINE, "trials": 3}]
    assert place.run("--fork", "large", stages=stages).code == 0
    (tmp_path / "small.db").unlink()
    said = place.run("--set", "name=large", storage="large.db", stages=[COARSE, FINE])
    assert said.code == 0 and len(place.trained) <= 4
    same(place.show("large.db"), place.show("whole.db"))


def test_parameters_changed_before_a_fork_begins(place: Any, tmp_path: Path) -> None:
    """Ends of ranges may change; the trials that it starts with have no value on axes of another kind."""
    assert place.run(stages=[COARSE]).code == 0
    url, parent = url_of(str(tmp_path / "large.db")), url_of(str(tmp_path / "small.db"))
    with Session(
        cases.small(**{**test_start.BASE, "stages": [COARSE]}, name="large"),
        url,
        Options(None, "none", parent=parent, executor="inline"),
    ):
        pass  # stopped before its first stage
    again: dict[str, Any] = {"storage": "large.db", "stages": [COARSE, {**CONFIRM, "top": 9}]}
    for other in ({"type": "int", "min": 1, "max": 2}, {"values": [0.01, 0.1]}, 0.1):
        said = place.run("--set", "name=large", **again, **{"parameters.learning_rate": other})
        assert said.code == 2 and "was forked with parameters of other kinds" in said.err, said
    said = place.run("--set", "name=large", **again, **{"parameters.learning_rate.max": 0.01})
    assert said.code == 0
    assert max(t["params"]["learning_rate"] for t in place.show("large.db")["trials"][6:]) > 0.01


def test_refused(place: Any, tmp_path: Path) -> None:
    """An existing database, also the study's own; no study to fork; an invalid name. Nothing is changed."""
    said = place.run("--fork", "large", stages=[COARSE])
    assert said.code == 2 and "small.db" in said.err and place.trained == []
    (tmp_path / "large.db").unlink(missing_ok=True)
    assert place.run(stages=[COARSE]).code == 0
    assert place.run("--fork", "large", stages=[COARSE]).code == 0
    before = place.table("large.db"), place.table()
    for name in ("large", "small"):
        said = place.run("--fork", name, stages=[COARSE])
        assert said.code == 2 and said.out == "" and place.trained == []
        assert (
            said.err.startswith("error: ") and f"{name}.db" in said.err and "already exists; resume it with" in said.err
        )
        assert "hpsearch resume" in said.err
    for name in ("../else", "", "a/b"):
        said = place.run("--fork", name, stages=[COARSE])
        assert said.code == 2 and said.out == "" and "name" in said.err
    assert (place.table("large.db"), place.table()) == before
    assert {p.name for p in tmp_path.glob("**/*.db")} == {"small.db", "large.db"}


def record(space: Space, internal_params: dict[str, InternalValue]) -> Trial:
    return Trial("coarse", 0, internal_params, space.point(internal_params), "complete", 0.1)


LOG = Range(min=1e-3, max=1.0, scale="log")


BETA = Range(min=0.5, max=0.99, scale="one_minus_log")


SIZES = Values(values=(16, 32, 64), ordered=True)


NAMES = Values(values=("sgd", "momentum", "adam"))


OLD: dict[str, Parameter] = {"rate": LOG, "beta": BETA, "size": SIZES, "opt": NAMES, "l2": Fixed(value=0.1)}


INTERNAL: dict[str, InternalValue] = {"rate": 0.1, "one_minus_beta": 0.02, "size_index": 1, "opt": "adam"}


# Another definition of one parameter → changed internal values; None: the point does not lie in the new space.
SPACES: dict[str, tuple[dict[str, Parameter | None], dict[str, InternalValue] | None]] = {
    "same": ({}, {}),
    "wider": ({"rate": Range(min=1e-4, max=2.0, scale="log")}, {}),
    "to the point": ({"rate": Range(min=0.1, max=1.0)}, {}),
    "from the point": ({"rate": Range(min=0.01, max=0.1)}, {}),
    "above": ({"rate": Range(min=0.11, max=1.0)}, None),
    "below": ({"rate": Range(min=0.01, max=0.09)}, None),
    "complement wider": ({"beta": Range(min=0.1, max=0.999, scale="one_minus_log")}, {}),
    "complement above": ({"beta": Range(min=0.985, max=0.999, scale="one_minus_log")}, None),
    "complement below": ({"beta": Range(min=0.5, max=0.97, scale="one_minus_log")}, None),
    "linear": ({"beta": Range(min=0.5, max=0.99)}, {"beta": 0.98, "one_minus_beta": ...}),  # type: ignore[dict-item]
    "whole": ({"size": Range(type="int", min=1, max=64)}, {"size": 32, "size_index": ...}),  # type: ignore[dict-item]
    "more values": ({"size": Values(values=(8, 16, 32), ordered=True)}, {"size_index": 2}),
    "unordered": ({"size": Values(values=(8, 16, 32))}, {"size": 32, "size_index": ...}),  # type: ignore[dict-item]
    "value gone": ({"size": Values(values=(16, 64), ordered=True)}, None),
    "name gone": ({"opt": Values(values=("sgd", "momentum"))}, None),
    "made fixed": ({"size": Fixed(value=32)}, {"size_index": ...}),  # type: ignore[dict-item]
    "fixed elsewhere": ({"size": Fixed(value=16)}, None),
    "another fixed value": ({"l2": Fixed(value=0.2)}, None),
    "fixed made searched": ({"l2": Range(min=0.0, max=1.0)}, {"l2": 0.1}),
    "fixed out of range": ({"l2": Range(min=0.2, max=1.0)}, None),
    "true for 1": ({"l2": Values(values=(0.1, True))}, {"l2": 0.1}),
    "axis added": ({"l1": Range(min=0.0, max=1.0)}, None),
    "fixed added": ({"l1": Fixed(value=0.0)}, None),
    "axis removed": ({"size": None}, None),
    "fixed removed": ({"l2": None}, None),
}


@pytest.mark.parametrize("case", SPACES)
def test_converted_to_another_space(case: str) -> None:
    edits, differs = SPACES[case]
    old, new = build_space(OLD), build_space({k: p for k, p in {**OLD, **edits}.items() if p is not None})
    found = converted(old, new, record(old, INTERNAL))
    if differs is None:
        assert found is None
    else:
        assert found == {k: v for k, v in {**INTERNAL, **differs}.items() if v is not ...}
        point = record(old, INTERNAL).point
        assert new.point(found) == {k: v for k, v in point.items() if k in new.point(found)}


def test_true_is_not_1() -> None:
    old = build_space({"a": Fixed(value=1)})
    one = record(old, {})
    assert converted(old, build_space({"a": Fixed(value=True)}), one) is None
    assert converted(old, build_space({"a": Values(values=(False, True))}), one) is None
    assert converted(old, build_space({"a": Fixed(value=1.0)}), one) == {}


def momentum(**parameters: Any) -> Space:
    """Return the space of a study that searches the optimizer; `beta` is active for momentum only."""
    train = {"optimizer": "opt", "epochs": 4}
    menu = {"opt": {"values": ["sgd", "momentum"]}, "hidden_units": 4, "learning_rate": 0.1}
    return search_space(small(train=train, parameters={**menu, **parameters}))


def test_inactive_parameters_are_not_converted() -> None:
    """An axis that is inactive at the point needs no value; one that becomes active has no value to convert."""
    beta = {"min": 0.5, "max": 0.99}
    old, narrow = momentum(beta=beta), momentum(beta={"min": 0.6, "max": 0.7})
    sgd, other = record(old, {"opt": "sgd"}), record(old, {"opt": "momentum", "beta": 0.9})
    assert converted(old, narrow, sgd) == {"opt": "sgd"}
    assert converted(old, narrow, other) is None
    fixed = momentum(beta=0.9)
    assert converted(old, fixed, sgd) == {"opt": "sgd"}
    assert converted(old, fixed, other) == {"opt": "momentum"}
    assert converted(fixed, old, record(fixed, {"opt": "sgd"})) == {"opt": "sgd"}
    assert converted(fixed, old, record(fixed, {"opt": "momentum"})) == {"opt": "momentum", "beta": 0.9}
    always = Space(
        tuple(Axis(a.name, a.key, a.low, a.high, choices=a.choices, zoomable=a.zoomable) for a in old.axes), {}
    )
    free = Space(always.axes, old.fixed)
    assert converted(old, free, sgd) is None
    assert converted(free, old, record(free, {"opt": "sgd", "beta": 0.9})) is None


RICH_SPACE = search_space(small(**RICH))


@settings(deadline=None)
@given(st.data())
def test_same_space_keeps_internal_values(data: st.DataObject) -> None:
    """Equal to the bit, also at both ends of every range."""
    internal_params: dict[str, InternalValue] = {}
    waiting = list(RICH_SPACE.axes)
    while there := [a for a in waiting if a.is_active(RICH_SPACE.point(internal_params))]:
        axis = there[0]
        waiting.remove(axis)
        if not axis.zoomable:
            internal_params[axis.key] = data.draw(st.sampled_from(axis.choices))
        elif axis.integer:
            internal_params[axis.key] = data.draw(st.integers(int(axis.low), int(axis.high)))
        else:
            ends = st.sampled_from([axis.low, axis.high])
            internal_params[axis.key] = data.draw(st.one_of(ends, st.floats(axis.low, axis.high)))
    assert converted(RICH_SPACE, RICH_SPACE, record(RICH_SPACE, internal_params)) == internal_params
