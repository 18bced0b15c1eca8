"""Proposed points: given, conditional, and repeated ones, which get a new seed or the earlier outcome."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
from optuna.trial import TrialState

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.samplers import SAMPLERS, SamplerContext, missing_extra
from hpsearch.samplers.base import optuna_sampler, sample_uniform
from hpsearch.search import suggest
from hpsearch.search.suggest import Suggester
from hpsearch.storage.records import Trial, repeats
from hpsearch.study.loop import Study
from hpsearch.training.executors import Inline
from hpsearch.training.task import Task
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture

# Eight points, thirty trials and six more: most points are repeated, and TPE is beyond its start-up.
GRID: dict[str, Any] = {
    "parameters": {
        "learning_rate": {"values": [0.03, 0.3], "ordered": True},
        "beta": 0.9,
        "hidden_units": {"values": [4, 8], "ordered": True},
        "batch_size": {"values": [16, 32]},
    },
    "train": {"optimizer": "momentum", "epochs": 2},
    "stages": [
        {"name": "coarse", "trials": 30, "sampler": "tpe"},
        {"name": "fine", "trials": 6, "sampler": "random"},
    ],
    "parallel": 8,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    small = cases.small()
    return prepare(small.data, small.seed, tmp_path_factory.mktemp("data"))[0]


class Counted:
    """Trains inline, and records what it trains."""

    workers = 1

    def __init__(self) -> None:
        self.trials: list[tuple[int, int]] = []  # number and seed, in the order of training

    def submit(self, task: Task) -> Any:
        self.trials += [(t.number, t.seed) for t in task.trials]
        return Inline().submit(task)

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return


def grid(**changes: Any) -> Spec:
    return cases.small(**{**GRID, **changes})


@pytest.fixture(scope="module")
def reuse(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Counted, str]]:
    database, executor = tmp_path_factory.mktemp("reuse") / "small.db", Counted()
    study = cases.run(grid(duplicates="reuse"), dataset, database, executor)
    yield study, executor, cases.table(database)


PARALLEL = 8


def flat(study: Study) -> list[Trial]:
    return [r for records in study.trials for r in records]


def key(record: Trial) -> str:
    return repr(sorted(record.point.items()))


def test_one_more_seed(dataset: Dataset, tmp_path: Path) -> None:
    """Each trial of a repeated point has its own seed and curve; none has the outcome of another."""
    executor = Counted()
    study = cases.run(grid(), dataset, tmp_path / "a.db", executor)
    records = flat(study)
    counts = Counter(map(key, records))
    assert len(counts) <= 8 and sum(counts.values()) == 36 and max(counts.values()) > 6
    assert len(executor.trials) == 36 == len({seed for _, seed in executor.trials})
    assert all(r.copied_from is None for r in records)
    losses = [repr(r.history["train/loss"]) for r in records]
    assert len(set(losses)) == len(losses)
    for point in counts:
        assert len({r.value for r in records if key(r) == point}) > 1


def test_show_has_the_first_trial_of_a_repeated_point(call: Any, tmp_path: Path) -> None:
    """The first trial of any stage with the same point, in the table and as JSON."""
    file = cases.write(tmp_path, **GRID)
    assert call("run", file, "--tracking-uri", "none", "--quiet").code == 0
    content = json.loads(call("show", tmp_path / "small.db", "--json").out)
    first: dict[str, str] = {}
    again = 0
    for t in content["trials"]:
        label, point = f"{t['stage']}/{t['number']}", json.dumps(t["params"], sort_keys=True)
        if point in first:
            again += 1
            assert t["repeats"] == first[point] and "copied_from" not in t
        else:
            assert "repeats" not in t
        first.setdefault(point, label)
    assert again >= 28
    lines = call("show", tmp_path / "small.db", "--all").out.split("All trials")[1].splitlines()
    for t in content["trials"]:
        label = f"{t['stage']}/{t['number']}"
        (line,) = [x for x in lines if x.split()[:1] == [label]]
        assert (line.split()[1] == t["repeats"]) if "repeats" in t else ("/" not in line.split()[1])


def test_reuse(reuse: tuple[Study, Counted, str]) -> None:
    """The outcome of the first finished trial that the sampler could see; otherwise the repeat is trained."""
    study, executor, _ = reuse
    trained: list[Trial] = []
    kinds = Counter()  # type: Counter[str]
    for stage, records in enumerate(study.trials):
        for r in records:
            visible = records[: max(0, r.number - PARALLEL + 1) if r.number >= PARALLEL else 0]
            like = [x for x in [*(x for each in study.trials[:stage] for x in each), *visible] if key(x) == key(r)]
            if not like:
                assert r.copied_from is None
                trained.append(r)
                kinds["beside" if any(key(x) == key(r) for x in records[: r.number]) else "new"] += 1
                continue
            kinds["reused"] += 1
            assert r.copied_from == like[0].label
            same = (like[0].state, like[0].value, like[0].epochs, like[0].best_epoch, like[0].history)
            assert (r.state, r.value, r.epochs, r.best_epoch, r.history) == same
            assert (
                r.seconds == 0.0 and {k: v for k, v in like[0].metrics.items() if k[:3] in ("val", "tra")} == r.metrics
            )
    assert min(kinds.values()) >= 3 and kinds["reused"] >= 16 and len(kinds) == 3
    assert sorted(number for number, _ in executor.trials) == [r.number for r in trained], "the others do not train"
    assert all(r.copied_from for r in study.trials[1])
    assert study.best is not None and study.best.copied_from is None
    assert study.best.value == min(r.value for r in flat(study) if r.value is not None)


def test_optuna_has_reused_outcomes(reuse: tuple[Study, Counted, str]) -> None:
    """All trials of a stage, with their values."""
    study, _, table = reuse
    values = [r.value for r in study.trials[0]]
    assert len(re.findall(rf"^\(\d+, {TrialState.COMPLETE!r}, \[", table, re.MULTILINE)) == 36
    assert all(f"[{value!r}]" in table for value in values)
    assert repeats(flat(study)).keys() >= {r.label for r in flat(study) if r.copied_from}


@pytest.mark.parametrize("order", ["last", "random"])
def test_reuse_in_any_order(dataset: Dataset, reuse: tuple[Study, Counted, str], tmp_path: Path, order: str) -> None:
    """The visible outcomes depend on the clock, not on the order of results."""
    picks: dict[str, Any] = {"last": lambda n: n - 1, "random": lambda n: (7 * n) // 11}
    executor = cases.HeldExecutor(picks[order], single=order == "last")
    with cases.opened(grid(duplicates="reuse"), dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert cases.table(tmp_path / "small.db") == reuse[2]


def test_reuse_of_pruned_and_diverged_outcomes(dataset: Dataset, tmp_path: Path) -> None:
    """Failed trials are not reused."""
    spec = grid(
        duplicates="reuse",
        train={"optimizer": "momentum", "epochs": 3},
        pruning={"kind": "median", "min_epochs": 2, "n_startup_trials": 3},
        stages=[{"name": "coarse", "trials": 48, "sampler": "random"}],
        **{"parameters": {**GRID["parameters"], "l2": 0.01, "learning_rate": {"values": [0.03, 0.3, 1e35]}}},
    )
    sound = Inline()

    def broken(task: Task) -> Any:
        results = sound.run_task(task)
        return tuple(
            r._replace(state="failed", value=None, checkpoint=None, weights=None, error="broken")
            if (t.point["hidden_units"], t.point["batch_size"], t.point["learning_rate"]) == (4, 16, 0.03)
            else r
            for t, r in zip(task.trials, results, strict=True)
        )

    study = cases.run(spec, dataset, tmp_path / "a.db", Inline(run_task=broken))
    by_origin = {r.label: r for r in flat(study)}
    states = Counter(r.state for r in flat(study) if r.copied_from)
    assert states["pruned"] and states["diverged"] and states["complete"] and not states["failed"]
    assert sum(r.state == "failed" for r in flat(study)) > 1
    for r in flat(study):
        if r.copied_from:
            first = by_origin[r.copied_from]
            assert (r.state, r.value, r.epochs, repr(r.history)) == (
                first.state,
                first.value,
                first.epochs,
                repr(first.history),
            )


def test_given_points_are_always_trained(dataset: Dataset, tmp_path: Path) -> None:
    """With every seed, also if the point was trained before."""
    point = {"learning_rate": 0.3, "hidden_units": 8, "batch_size": 16}
    stages = [{"name": "coarse", "trials": 14, "points": [point], "seeds": 12}]
    executor = Counted()
    study = cases.run(grid(duplicates="reuse", stages=stages, parallel=2), dataset, tmp_path / "a.db", executor)
    assert all(r.copied_from is None for r in study.trials[0][:12])
    assert len({r.value for r in study.trials[0][:12]}) > 6 and len({s for _, s in executor.trials}) >= 12


def test_parameters_of_absent_layers_are_not_sampled(
    conditional_reference: tuple[list[Trial], str], conditional_spec: Spec
) -> None:
    records, _ = conditional_reference
    assert {r.state for r in records} == {"complete"}
    depths = {depth: [r for r in records if r.point["depth"] == depth] for depth in (0, 1, 2)}
    assert all(depths.values()), "every depth was tried"
    for depth, some in depths.items():
        for r in some:
            assert ("hidden_units" in r.point) == (
                "hidden_units" in {k.removesuffix("_index") for k in r.internal_params}
            )
            assert ("hidden_units" in r.point) == ("dropout" in r.point) == (depth >= 1)
            assert ("more_units" in r.point) == (depth >= 2)
            assert ("beta" in r.point) == (r.point["optimizer"] == "momentum") != ("beta1" in r.point)
    assert all(len(r.history["val/loss"]) * 2 == r.epochs for r in records)


def test_given_points_come_first_with_different_seeds(conditional_reference: tuple[list[Trial], str]) -> None:
    first = conditional_reference[0][:4]
    assert [r.point["depth"] for r in first] == [2, 0, 2, 0]
    assert [r.point["learning_rate"] for r in first[::2]] == [0.1, 0.1]
    assert [r.point["optimizer"] for r in first[1::2]] == ["adam", "adam"]
    assert first[0].point["limit"] != first[2].point["limit"], "parameters that a point omits are sampled"
    assert first[0].value != first[2].value


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_accepts_conditional_parameters(
    conditional_spec: Spec, dataset: Dataset, tmp_path: Path, sampler: str
) -> None:
    if lack := missing_extra(sampler):
        pytest.skip(lack)
    stages = [{"name": "only", "trials": 16, "sampler": sampler}]
    study = cases.run(cases.small(**{**cases.RICH, "stages": stages}), dataset, tmp_path / "small.db")
    assert {r.point["depth"] for r in cases.rows(study)} == {0, 1, 2}


@pytest.mark.parametrize(
    ("sampler", "numbers"), [("tpe", [*range(12), *range(36, 48)]), ("cmaes", list(range(48)))], ids=["tpe", "cmaes"]
)
def test_a_sampler_sees_the_best_and_the_newest_trials(
    monkeypatch: pytest.MonkeyPatch, sampler: str, numbers: list[int]
) -> None:
    """Only a sampler that needs every trial sees the others."""
    monkeypatch.setattr(suggest, "BEST", 12)
    monkeypatch.setattr(suggest, "NEWEST", 12)
    seen: list[Any] = []

    def recording(context: SamplerContext) -> Any:
        def sample_joint(study: Any, trial: Any) -> dict[str, Any]:
            seen.extend(t.params for t in study.get_trials() if t.state == TrialState.COMPLETE)
            return {}

        return optuna_sampler(context.joint(), sample_joint, sample_uniform(context.seed))

    spec = cases.small(stages=[{"name": "all", "trials": 60, "sampler": sampler}])
    space = search_space(spec)
    suggester, random = (Suggester(s, space, 0, space.full_box(), [], []) for s in (spec, cases.small()))
    trials: list[Trial] = []
    for n in range(48):  # the oldest is the best
        new = random.suggest(trials, [])
        trials.append(new._replace(state="complete", value=float(n), history={"val/loss": [float(n)]}, finished=1.0))
    monkeypatch.setitem(SAMPLERS, sampler, recording)
    suggester.suggest(trials, trials)
    assert seen == [trials[n].internal_params for n in numbers]


def test_a_fixed_point_over_seeds(dataset: Dataset, tmp_path: Path) -> None:
    """A study without a searched parameter trains one network with different seeds."""
    fixed = {"learning_rate": 0.1, "hidden_units": 4, "batch_size": 16, "l2": 0.0, "beta": 0.9}
    spec = cases.small(parameters=fixed, stages=[{"name": "seeds", "seeds": 5}])
    study = cases.run(spec, dataset, tmp_path / "small.db")
    records = cases.rows(study)
    assert len(records) == 5 and len({r.value for r in records}) == 5
    assert all(r.internal_params == {} and r.point == fixed for r in records)
