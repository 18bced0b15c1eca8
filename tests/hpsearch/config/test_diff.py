"""Changes of a study file: allowed and refused ones, how they are shown, and which prevent a fork from using trials."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cases import CONTENT, content
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.config.diff import MAX_SHOWN_LENGTH, Change, changed_sections, compare_specs
from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec

COARSE = {"name": "coarse", "trials": 15, "pruning": "median"}
FINE = {"name": "fine", "trials": 9, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}, "timeout": "20m"}
LAST = {"name": "last", "trials": 6, "zoom": {}}
MORE = {"name": "more", "trials": 3}
CONFIRM = {"name": "confirm", "top": 2, "seeds": 3}
SEARCH = [COARSE, FINE, LAST]
CONFIRMED = [COARSE, FINE, CONFIRM]
NPZ = {"source": "npz", "path": "rows.npz"}

NOTHING: dict[str, int] = {}
FIRST = {"coarse": 12}
SECOND = {"coarse": 15, "fine": 6}
ALL = {"coarse": 15, "fine": 9, "last": 6}
CONFIRMING = {"coarse": 15, "fine": 9, "confirm": 4}

RATE = CONTENT["parameters"]["learning_rate"]
OTHERS = {name: p for name, p in CONTENT["parameters"].items() if name != "learning_rate"}
DIFFER = "results would differ"
ALLOWED = None


def spec(base: list[dict[str, Any]] = SEARCH, /, **edits: Any) -> Spec:
    """Return the small study with other stages and edits; `...` removes a key."""
    result = content(stages=copy.deepcopy(base))
    for path, value in edits.items():
        *outer, last = path.split(".")
        inner: Any = result
        for key in outer:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return restore_spec(result, "test_diff.py")


# Stages of the study, begun stages, one edit of the file → the line, and the reason if it is refused.
EDITS: dict[str, tuple[list[dict[str, Any]], Mapping[str, int], dict[str, Any], str, str | None]] = {
    "workers": (SEARCH, SECOND, {"workers": 4}, "workers: 1 → 4", ALLOWED),
    "workers auto": (SEARCH, ALL, {"workers": "auto"}, "workers: 1 → auto", ALLOWED),
    "max_failed": (SEARCH, ALL, {"max_failed": 3}, "max_failed: not given → 3", ALLOWED),
    "ensemble": (SEARCH, ALL, {"ensemble": {"size": 3}}, "ensemble: not given → {size: 3}", ALLOWED),
    # Number of trials.
    "more trials": (SEARCH, SECOND, {"stages.1.trials": 64}, "stages.fine.trials: 9 → 64", ALLOWED),
    "fewer trials": (SEARCH, SECOND, {"stages.1.trials": 7}, "stages.fine.trials: 9 → 7", ALLOWED),
    "as many as begun": (SEARCH, SECOND, {"stages.1.trials": 6}, "stages.fine.trials: 9 → 6", ALLOWED),
    "fewer than begun": (
        SEARCH,
        SECOND,
        {"stages.1.trials": 5},
        "stages.fine.trials: 9 → 5",
        "6 trials have been proposed already",
    ),
    "trials of the last stage": (SEARCH, ALL, {"stages.2.trials": 7}, "stages.last.trials: 6 → 7", ALLOWED),
    "trials of a later stage": (SEARCH, FIRST, {"stages.1.trials": 1}, "stages.fine.trials: 9 → 1", ALLOWED),
    "trials of a finished stage": (
        SEARCH,
        SECOND,
        {"stages.0.trials": 16},
        "stages.coarse.trials: 15 → 16",
        "fine has started after it",
    ),
    "timeout": (SEARCH, SECOND, {"stages.1.timeout": "1h"}, "stages.fine.timeout: 1200.0 → 3600.0", ALLOWED),
    "no timeout": (SEARCH, SECOND, {"stages.1.timeout": ...}, "stages.fine.timeout: 1200.0 → not given", ALLOWED),
    "timeout of a finished stage": (
        SEARCH,
        SECOND,
        {"stages.0.timeout": "9s"},
        "stages.coarse.timeout: not given → 9.0",
        DIFFER,
    ),
    # Other settings of a stage that has begun, and of one that has not.
    "sampler": (SEARCH, SECOND, {"stages.1.sampler": "random"}, "stages.fine.sampler: tpe → random", DIFFER),
    "sampler of a later stage": (
        SEARCH,
        FIRST,
        {"stages.1.sampler": "random"},
        "stages.fine.sampler: tpe → random",
        ALLOWED,
    ),
    "zoom": (SEARCH, SECOND, {"stages.1.zoom.margin": 0.3}, "stages.fine.zoom.margin: 0.2 → 0.3", DIFFER),
    "no zoom": (
        SEARCH,
        SECOND,
        {"stages.1.zoom": ...},
        "stages.fine.zoom: {keep_top: 0.5, margin: 0.2} → not given",
        DIFFER,
    ),
    "zoom of a later stage": (
        SEARCH,
        FIRST,
        {"stages.1.zoom.margin": 0.3},
        "stages.fine.zoom.margin: 0.2 → 0.3",
        ALLOWED,
    ),
    "points": (
        SEARCH,
        FIRST,
        {"stages.0.points": [{"beta": 0.9}]},
        "stages.coarse.points.0: not given → {beta: 0.9}",
        DIFFER,
    ),
    "seeds of points": (
        [{**COARSE, "points": [{"beta": 0.9}], "seeds": 2}, FINE],
        FIRST,
        {"stages.0.seeds": 3},
        "stages.coarse.seeds: 2 → 3",
        DIFFER,
    ),
    "pruning of a stage": (
        SEARCH,
        FIRST,
        {"stages.0.pruning": "hyperband"},
        "stages.coarse.pruning.kind: median → hyperband",
        DIFFER,
    ),
    "pruning of a later stage": (
        SEARCH,
        FIRST,
        {"stages.1.pruning": "median"},
        "stages.fine.pruning: not given → {kind: median}",
        ALLOWED,
    ),
    # Stages.
    "stage added": (
        SEARCH,
        ALL,
        {"stages": [*SEARCH, MORE]},
        "stages.more: not given → {trials: 3, ",
        ALLOWED,
    ),
    "stage removed": (
        SEARCH,
        SECOND,
        {"stages": [COARSE, FINE]},
        "stages.last: {trials: 6, ",
        ALLOWED,
    ),
    "stage inserted": (SEARCH, SECOND, {"stages": [COARSE, FINE, MORE, LAST]}, "stages.more: not given → ", ALLOWED),
    "stages reordered": (
        SEARCH,
        FIRST,
        {"stages": [COARSE, LAST, FINE]},
        "order of stages: [coarse, fine, last] → [coarse, last, fine]",
        ALLOWED,
    ),
    "inserted before the begun": (
        SEARCH,
        SECOND,
        {"stages": [COARSE, MORE, FINE, LAST]},
        "stages.more: not given → ",
        "fine has started, and a new stage must come after it",
    ),
    "begun removed": (SEARCH, SECOND, {"stages": [COARSE, LAST]}, "stages.fine: {trials: 9, ", "it has started"),
    "begun stages reordered": (
        SEARCH,
        SECOND,
        {"stages": [COARSE, LAST, FINE]},
        "order of stages: [coarse, fine, last] → [coarse, last, fine]",
        "stages that have started must stay first, in their order",
    ),
    # Confirmation.
    "more seeds": (CONFIRMED, CONFIRMING, {"stages.2.seeds": 4}, "stages.confirm.seeds: 3 → 4", ALLOWED),
    "fewer seeds": (
        CONFIRMED,
        CONFIRMING,
        {"stages.2.seeds": 2},
        "stages.confirm.seeds: 3 → 2",
        "seeds can be added, not removed",
    ),
    "fewer seeds of a later stage": (CONFIRMED, SECOND, {"stages.2.seeds": 2}, "stages.confirm.seeds: 3 → 2", ALLOWED),
    "top": (CONFIRMED, CONFIRMING, {"stages.2.top": 3}, "stages.confirm.top: 2 → 3", DIFFER),
    "top of a later stage": (CONFIRMED, SECOND, {"stages.2.top": 3}, "stages.confirm.top: 2 → 3", ALLOWED),
    "sampler of a confirming one": (
        CONFIRMED,
        CONFIRMING,
        {"stages.2.sampler": "tpe"},
        "stages.confirm.sampler: random → tpe",
        DIFFER,
    ),
    "trials before confirming": (
        CONFIRMED,
        CONFIRMING,
        {"stages.1.trials": 12},
        "stages.fine.trials: 9 → 12",
        "confirm has started after it",
    ),
    "search before confirming": (
        CONFIRMED,
        CONFIRMING,
        {"stages": [COARSE, FINE, MORE, CONFIRM]},
        "stages.more: not given → ",
        "fork the study",
    ),
    "confirming added": (SEARCH, ALL, {"stages": [*SEARCH, CONFIRM]}, "stages.confirm: not given → ", ALLOWED),
    # Ranges.
    "min": (
        SEARCH,
        FIRST,
        {"parameters.learning_rate.min": 0.01},
        "parameters.learning_rate.min: 0.001 → 0.01 (for the stages that have not started: fine, last)",
        ALLOWED,
    ),
    "max": (
        SEARCH,
        SECOND,
        {"parameters.learning_rate.max": 2.0},
        "parameters.learning_rate.max: 1.0 → 2.0 (for the stages that have not started: last)",
        ALLOWED,
    ),
    "range after the last stage began": (
        SEARCH,
        ALL,
        {"parameters.learning_rate.max": 2.0},
        "parameters.learning_rate.max: 1.0 → 2.0",
        "every stage has started",
    ),
    "scale": (
        SEARCH,
        FIRST,
        {"parameters.learning_rate.scale": "linear"},
        "parameters.learning_rate.scale: log → linear",
        DIFFER,
    ),
    "values": (
        SEARCH,
        FIRST,
        {"parameters.batch_size.values": [16, 64]},
        "parameters.batch_size.values: [16, 32] → [16, 64]",
        DIFFER,
    ),
    "ordered": (
        SEARCH,
        FIRST,
        {"parameters.batch_size.ordered": False},
        "parameters.batch_size.ordered: true → false",
        DIFFER,
    ),
    "fixed value": (SEARCH, FIRST, {"parameters.l2": 0.01}, "parameters.l2.value: 0.0001 → 0.01", DIFFER),
    "range made fixed": (
        SEARCH,
        FIRST,
        {"parameters.learning_rate": 0.1},
        "parameters.learning_rate: {type: float, min: 0.001, max: 1.0, scale: log} → {value: 0.1}",
        DIFFER,
    ),
    "parameter added": (SEARCH, FIRST, {"parameters.l1": 0.1}, "parameters.l1: not given → {value: 0.1}", DIFFER),
    "parameter removed": (SEARCH, FIRST, {"parameters.l2": ...}, "parameters.l2: {value: 0.0001} → not given", DIFFER),
    "parameters reordered": (
        SEARCH,
        FIRST,
        {"parameters": {**OTHERS, "learning_rate": RATE}},
        "order of parameters: [learning_rate, beta, hidden_units, batch_size] → [beta, hidden_units, batch_size,",
        DIFFER,
    ),
    # Settings that affect every trial.
    "data": (SEARCH, FIRST, {"data.scale": "minmax"}, "data.scale: standard → minmax", DIFFER),
    "source": (
        SEARCH,
        FIRST,
        {"data": NPZ},
        "data: {source: sklearn, ",
        DIFFER,
    ),
    "layers": (
        SEARCH,
        FIRST,
        {"model.hidden": [*CONTENT["model"]["hidden"], {"units": 3}]},
        "model.hidden.1: not given → {units: 3, activation: {name: relu, settings: {}}}",
        DIFFER,
    ),
    "activation": (
        SEARCH,
        FIRST,
        {"model.hidden.0.activation": "elu"},
        "model.hidden.0.activation.name: tanh → elu",
        DIFFER,
    ),
    "setting": (
        SEARCH,
        FIRST,
        {"train.optimizer": {"name": "momentum", "classical": True}},
        "train.optimizer.settings.classical: not given → true",
        DIFFER,
    ),
    "train": (SEARCH, FIRST, {"train.epochs": 5}, "train.epochs: 4 → 5", DIFFER),
    "metric": (SEARCH, FIRST, {"metric": {"name": "train/loss"}}, "metric.name: val/loss → train/loss", DIFFER),
    "seed": (SEARCH, FIRST, {"seed": 6}, "seed: 5 → 6", DIFFER),
    "parallel": (SEARCH, FIRST, {"parallel": 4}, "parallel: 3 → 4", DIFFER),
    "pruning": (SEARCH, FIRST, {"pruning": "median"}, "pruning.kind: none → median", DIFFER),
    "duplicates": (SEARCH, FIRST, {"duplicates": "reuse"}, "duplicates: new_seed → reuse", DIFFER),
    "baselines": (SEARCH, FIRST, {"baselines": True}, "baselines: false → true", None),
}


@pytest.mark.parametrize("case", EDITS)
def test_one_edit(case: str) -> None:
    """One change in one line, refused or not; and the reverse edit changes the same paths."""
    stages, asked, edits, line, refusal = EDITS[case]
    old, new = spec(stages), spec(stages, **edits)
    found = compare_specs(old, new, asked)
    change = next(c for c in found.changes if str(c).startswith(line))
    if refusal is None:
        assert found.refused == () and (str(change) == line or line.endswith((" ", ",")))
    else:
        assert change in found.refused and change.refusal and refusal in change.refusal
        assert str(change) == f"{change.path}: {change.old} → {change.new} ({change.refusal})"
    follows = {c.path for c in found.changes if c.path.endswith("confirm.trials")}  # from top and seeds
    assert {c.path for c in found.changes} - follows == {change.path}
    assert {c.path for c in compare_specs(new, old, asked).changes} == {c.path for c in found.changes}


@pytest.mark.parametrize("case", EDITS)
def test_everything_may_change_before_the_first_trial(case: str) -> None:
    stages, _, edits, _, _ = EDITS[case]
    found = compare_specs(spec(stages), spec(stages, **edits), NOTHING)
    assert found.changes and not found.refused
    assert not any(c.note for c in found.changes)


def test_renamed_stages() -> None:
    """A stage that has begun must keep its name; other stages need not."""
    old = spec()
    first = compare_specs(old, spec(**{"stages.0.name": "rough"}), FIRST)
    assert {c.path for c in first.refused} == {"stages.coarse"}
    later = compare_specs(old, spec(**{"stages.2.name": "end"}), SECOND)
    assert {c.path for c in later.changes} == {"stages.last", "stages.end"} and not later.refused


def test_a_range_of_another_scale_is_refused() -> None:
    other = {"min": 0.01, "max": 0.9, "scale": "linear"}
    found = compare_specs(spec(), spec(**{"parameters.learning_rate": other}), FIRST)
    assert len(found.refused) == 3 == len(found.changes)


def test_true_is_not_1() -> None:
    train = {**CONTENT["train"], "optimizer": {"name": "momentum", "classical": "switch"}}
    edits: dict[str, Any] = {"train": train, "parameters.switch": {"values": [False, True]}}
    old = spec(**edits)
    switch = old.parameters["switch"].model_copy(update={"values": (0, 1)})
    new = old.model_copy(update={"parameters": {**old.parameters, "switch": switch}})
    assert [str(c) for c in compare_specs(old, new, NOTHING).changes] == [
        "parameters.switch.values: [false, true] → [0, 1]"
    ]
    assert not compare_specs(old, spec(**edits, **{"parameters.learning_rate.max": 1}), FIRST).changes


def test_shortened_values_show_the_difference() -> None:
    start, end = "/home/user1234/" + "a" * 40, "b" * 40 + "/rows.npz"
    old, new = (spec(data={**NPZ, "path": f"{start}/{year}/{end}"}) for year in (2024, 2025))
    [change] = compare_specs(old, new, FIRST).changes
    assert "2024" in change.old and "2025" in change.new
    assert max(len(change.old), len(change.new)) <= MAX_SHOWN_LENGTH
    longer = compare_specs(old, spec(data={**NPZ, "path": f"{start}/2024/{end}/{end}"}), FIRST).changes[0]
    assert longer.old != longer.new


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("s3://me:hunter2@host/rows.npz", "s3://me:***@host/rows.npz"),
        ("s3://:hunter2@host", "s3://:***@host"),
        ("s3://me@corp:hunter2@host", "s3://me@corp:***@host"),
        ("s3://me:hunt@er2/hunter2@host", "s3://me:***@host"),
        ("s3://me:hunter2\nhunter2@host", "s3://me:***@host"),
        ("s3://host:80/rows.npz", "s3://host:80/rows.npz"),
        ("C:/me@host", "C:/me@host"),
        ("a\x1b[31m\r\n\u202eb\u2028é", "a\\x1b[31m\\r\\n\\u202eb\\u2028é"),
    ],
)
def test_values_are_masked_and_escaped(path: str, shown: str) -> None:
    [change] = compare_specs(spec(data=NPZ), spec(data={**NPZ, "path": path}), FIRST).changes
    assert (change.old, change.new) == ("rows.npz", shown)


@pytest.mark.parametrize("path", ["s3://me:hunter2@host/" + "a" * 99, "a" * 99 + "s3://me:hunter2@host"])
def test_long_values_are_masked_before_shortening(path: str) -> None:
    [change] = compare_specs(spec(data=NPZ), spec(data={**NPZ, "path": path}), FIRST).changes
    assert "s3://me:***@host" in change.new and len(change.new) == MAX_SHOWN_LENGTH


def test_the_name_is_no_change() -> None:
    assert compare_specs(spec(), spec(name="other"), FIRST).changes == ()


# Random edits, all valid alone and in combination.
MENU: dict[str, list[Any]] = {
    "seed": [6, 2**70],
    "model.hidden": [[], [3], [{"units": 4, "activation": {"name": "elu", "alpha": 0.5}}, 3]],
    "model.output": ["softplus"],
    "train.optimizer": ["adam", {"name": "momentum", "classical": True}],
    "train.schedule": [{"name": "cosine", "end": 0.1}],
    "train.early_stopping": [None, {"patience": 3}],
    "train.augment": [[{"name": "noise", "sigma": 0.1}]],
    "train.clip": [{"name": "norm", "limit": 1.0}],
    "metric": [{"name": "val/accuracy"}],
    "parameters.learning_rate": [0.1, {"min": 0.1, "max": 0.5}, {"values": [0.1, 0.2]}],
    "parameters.batch_size": [{"values": [16, 32, 64]}, 8],
    "parameters.l1": [0.1, {"min": 0.0, "max": 1.0}],
    "stages": [[COARSE], [FINE | {"zoom": None}, COARSE], CONFIRMED, [COARSE, MORE, LAST]],
    "pruning": ["median", {"kind": "hyperband", "reduction": 4}],
    "workers": ["auto"],
    "max_failed": [0, 7],
}
EDITED = st.fixed_dictionaries({}, optional={path: st.sampled_from(values) for path, values in MENU.items()})
SECRET = st.builds(
    lambda before, user, a, b, after: f"{before}s3://{user}:{a}hunter2{b}@{after}",
    st.one_of(st.text(max_size=9), st.just("a" * 60)),
    *(st.text(max_size=9) for _ in range(3)),
    st.one_of(st.text(max_size=9), st.just("a" * 60)),
)
SOURCES = st.one_of(
    st.just(CONTENT["data"]),
    st.fixed_dictionaries({"source": st.just("npz"), "path": SECRET, "x": SECRET, "y": st.one_of(st.text(), SECRET)}),
)
ASKED = st.sampled_from([NOTHING, FIRST, SECOND, ALL, CONFIRMING])


def restored(edits: Mapping[str, Any], data: Any) -> Spec:
    """Return the spec without the parameters that the other settings do not use."""
    result = content(**edits, data=data)
    names = set(result["parameters"])
    if "adam" in str(result["train"]):
        names.discard("beta")
    if "hidden_units" not in str(result["model"]):
        names.discard("hidden_units")
    result["parameters"] = {k: v for k, v in result["parameters"].items() if k in names}
    return restore_spec(result, "test_diff.py")


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path; stages are named by their names."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            step = value.pop("name") if path == ".stages" else number
            yield from leaves(value, f"{path}.{step}")
    else:
        yield path, tree


def within(leaf: str, change: Change) -> bool:
    return f"{leaf}.".startswith(f".{change.path}.")


@settings(max_examples=40, deadline=None)
@given(EDITED, EDITED, SOURCES, SOURCES, ASKED)
def test_every_leaf_is_in_one_change_and_passwords_are_masked(
    before: dict[str, Any], after: dict[str, Any], data: Any, other: Any, asked: Mapping[str, int]
) -> None:
    old, new = restored(before, data), restored(after, other)
    found = compare_specs(old, new, asked)
    a, b = (dict(leaves(s.model_dump(mode="json"))) for s in (old, new))
    differing = {leaf for leaf in a | b if a.get(leaf) != b.get(leaf)}
    for leaf in differing:
        assert sum(within(leaf, c) for c in found.changes) == 1, leaf
    for change in found.changes:
        assert change.path.startswith("order of ") or any(within(leaf, change) for leaf in differing)
        assert str(change).isprintable() and "hunter2" not in str(change)
        assert max(len(change.old), len(change.new)) <= MAX_SHOWN_LENGTH
    assert compare_specs(old, old, asked).changes == compare_specs(new, new, asked).changes == ()
    assert asked or not found.refused


# Changed keys → sections that prevent a fork from using trials.
FORKS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "data": ({"data.scale": "none"}, ("data",)),
    "split": ({"data.split": {"train": 0.8, "val": 0.1, "test": 0.1}}, ("data",)),
    "model": ({"model.output": "softplus"}, ("model",)),
    "train": ({"train.epochs": 8}, ("train",)),
    "metric": ({"metric": {"name": "val/accuracy"}}, ("metric",)),
    "seed": ({"seed": 6}, ("seed",)),
    "two": ({"train.epochs": 8, "model.output": "softplus"}, ("model", "train")),
    "all else": (
        {
            "name": "other",
            "stages": [MORE],
            "parallel": 4,
            "workers": 2,
            "pruning": "median",
            "duplicates": "reuse",
            "parameters.l2": 0.1,
            "max_failed": 3,
        },
        (),
    ),
}


@pytest.mark.parametrize("case", FORKS)
def test_sections_that_prevent_reuse(case: str) -> None:
    edits, sections = FORKS[case]
    assert changed_sections(spec(), spec(**edits)) == sections
