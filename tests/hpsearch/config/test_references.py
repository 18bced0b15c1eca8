"""Parameters that count at some points only, points that are given, and the contracts of the loop with all of it."""

import contextlib
import random
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from click.testing import CliRunner

from engine.training.trainer import evaluate
from hpsearch.cli import commands
from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.core.space import Clause
from hpsearch.data.dataset import DTYPE, Dataset, prepare
from hpsearch.errors import Interrupted
from hpsearch.samplers import SAMPLERS, missing_extra
from hpsearch.search.earlier import reusable_trials
from hpsearch.storage.records import Trial
from hpsearch.training.executors import EXECUTORS
from hpsearch.training.grouping import group_trials
from hpsearch.training.network import build_network
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance


@pytest.fixture(scope="module")
def spec() -> Spec:
    return cases.small(**cases.RICH)


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def reference(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], str]:
    database = tmp_path_factory.mktemp("reference") / "small.db"
    study = cases.run(spec, dataset, database)
    assert len(reusable_trials(study.space, study.boxes[1], study.trials[:1])) > 10, "TPE is in its start-up still"
    return cases.rows(study), cases.table(database)


def test_what_counts_follows_from_the_file(spec: Spec) -> None:
    when = {axis.name: axis.when for axis in search_space(spec).axes}
    one, two = Clause("depth", minimum=1), Clause("depth", minimum=2)
    assert when["hidden_units"] == when["activation"] == when["dropout"] == ((one,),)
    assert when["more_units"] == ((two,),)
    assert when["beta"] == ((Clause("optimizer", one_of=("momentum",)),),)
    assert when["beta1"] == ((Clause("optimizer", one_of=("adam",)),),)
    assert all(when[name] == () for name in ("learning_rate", "optimizer", "depth", "limit", "batch_size"))


def test_any_of_several_places_is_enough() -> None:
    """The width of both layers; with one of them always there it always counts."""
    model = {"depth": "depth", "hidden": [{"units": "hidden_units"}, {"units": "hidden_units"}]}
    parameters = {name: cases.RICH["parameters"][name] for name in ("learning_rate", "depth", "hidden_units")}
    either = cases.small(model=model, parameters=parameters)
    expected = ((Clause("depth", 1),), (Clause("depth", 2),))
    assert {a.name: a.when for a in search_space(either).axes}["hidden_units"] == expected
    always = cases.small(
        model={"hidden": [{"units": "hidden_units"}]}, parameters={k: parameters[k] for k in parameters if k != "depth"}
    )
    assert {a.name: a.when for a in search_space(always).axes}["hidden_units"] == ()


def test_units_of_a_layer_that_is_absent_are_not_sampled(reference: tuple[list[Trial], str], spec: Spec) -> None:
    records, _ = reference
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


def test_networks_have_the_layers(reference: tuple[list[Trial], str], spec: Spec, dataset: Dataset) -> None:
    for r in reference[0]:
        kinds = [type(layer).__name__ for layer in build_network(spec, dataset, r.point).layers]
        assert kinds.count("Dense") == int(r.point["depth"]) + 1
        assert kinds.count("BatchNorm") == (r.point["depth"] >= 1)
        assert kinds.count("Dropout") == r.point["depth"]


def test_given_points_come_first_and_each_seed_is_another_net(reference: tuple[list[Trial], str]) -> None:
    first = reference[0][:4]
    assert [r.point["depth"] for r in first] == [2, 0, 2, 0]
    assert [r.point["learning_rate"] for r in first[::2]] == [0.1, 0.1]
    assert [r.point["optimizer"] for r in first[1::2]] == ["adam", "adam"]
    assert first[0].point["limit"] != first[2].point["limit"], "what a point leaves open is sampled"
    assert first[0].value != first[2].value


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_gives_the_same_table(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, name: str, workers: int
) -> None:
    executor = EXECUTORS[name](workers, str(tmp_path / "scratch"))
    try:
        study = cases.run(spec, dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference


@pytest.mark.parametrize("single", [False, True], ids=["company", "alone"])
def test_order_and_company_change_nothing(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, single: bool
) -> None:
    executor = cases.Held(random.Random(3).randrange, single=single)
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference


def test_time_slices_change_nothing(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check a checkpoint: statistics of batch norm, the switch and what stopping counts are in it."""
    monkeypatch.setattr("hpsearch.study.stage_run.TIME_SLICE", 0.0)
    study = cases.run(spec, dataset, tmp_path / "small.db")
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference


def test_stopped_again_and_again(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    database = tmp_path / "small.db"
    for limit in range(0, 30, 5):
        tracker, executor = cases.Limit(limit), cases.Held(lambda waiting: 0)
        with (
            contextlib.suppress(Interrupted),
            cases.opened(spec, dataset, database, executor, tracker=tracker, stop=tracker.stop) as study,
        ):
            cases.drive(study, executor)
    again = cases.run(spec, dataset, database)
    assert (cases.rows(again), cases.table(database)) == reference


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_takes_conditional_parameters(spec: Spec, dataset: Dataset, tmp_path: Path, sampler: str) -> None:
    if lack := missing_extra(sampler):
        pytest.skip(lack)
    stages = [{"name": "only", "trials": 16, "sampler": sampler}]
    study = cases.run(cases.small(**{**cases.RICH, "stages": stages}), dataset, tmp_path / "small.db")
    assert {r.point["depth"] for r in cases.rows(study)} == {0, 1, 2}


def test_rates_of_dropout_train_in_company(spec: Spec, dataset: Dataset) -> None:
    """Equal but for numbers: one group, whatever the dropout."""
    point = {"learning_rate": 0.1, "optimizer": "momentum", "beta": 0.9, "depth": 1, "hidden_units": 4}
    point |= {"activation": "tanh", "limit": 1.0, "batch_size": 16, "l2": 0.0}
    starts = [TrialTask(k, point | {"dropout": k / 10}, k) for k in range(4)]
    assert len(group_trials(spec, dataset, starts, 1)) == 2  # of two: one worker gets its work in two pieces
    other = [s._replace(point=s.point | {"hidden_units": 4 + s.number}) for s in starts]
    assert len(group_trials(spec, dataset, other, 1)) == 4


def test_points_that_leave_something_open_are_not_repeated_ones(
    reference: tuple[list[Trial], str], dataset: Dataset, tmp_path: Path
) -> None:
    cases.run(cases.small(**cases.RICH), dataset, tmp_path / "small.db")
    assert not any("over 2 seeds" in line for line in printed(tmp_path / "small.db"))


def test_a_fixed_point_over_seeds(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing to search: a study all the same, of one net with different beginnings."""
    fixed = {"learning_rate": 0.1, "hidden_units": 4, "batch_size": 16, "l2": 0.0, "beta": 0.9}
    spec = cases.small(parameters=fixed, stages=[{"name": "seeds", "seeds": 5}])
    study = cases.run(spec, dataset, tmp_path / "small.db")
    records = cases.rows(study)
    assert len(records) == 5 and len({r.value for r in records}) == 5
    assert all(r.internal_params == {} and r.point == fixed for r in records)


def test_epochs_to_a_value_are_a_metric(dataset: Dataset, tmp_path: Path) -> None:
    train = {"optimizer": "momentum", "epochs": 40, "check_every": 4, "stop": {"value": 0.3}, "keep": "last"}
    changes = {"train": train, "metric": {"name": "epochs"}, "stages": [{"name": "only", "trials": 12}]}
    study = cases.run(cases.small(**changes), dataset, tmp_path / "small.db")
    reached = 0
    for r in cases.rows(study):
        losses = r.history["val/loss"]
        assert len(losses) == r.epochs // 4 and r.best_epoch == r.epochs
        assert all(loss > 0.3 for loss in losses[:-1])
        if losses[-1] <= 0.3:
            reached += 1
            assert r.value == r.epochs
        else:
            assert r.epochs == 40 and r.value == 44
    assert 0 < reached < 12
    best = study.best
    assert best is not None and best.value == min(r.value for r in cases.rows(study) if r.value is not None)


def test_keep_last(dataset: Dataset, tmp_path: Path) -> None:
    for keep in ("best", "last"):
        spec = cases.small(**{"train.keep": keep, "train.epochs": 12, "parameters.learning_rate.min": 0.5})
        records = cases.rows(cases.run(spec, dataset, tmp_path / f"{keep}.db"))
        if keep == "last":
            assert all(r.best_epoch == r.epochs and r.value == r.history["val/loss"][-1] for r in records)
        else:
            assert any(r.best_epoch < r.epochs for r in records)


def test_restored_from_json(spec: Spec) -> None:
    assert restore_spec(spec.model_dump(mode="json"), "json") == spec


def printed(database: Path) -> list[str]:
    """What `hpsearch show` prints."""
    result = CliRunner().invoke(commands, ["show", str(database)], catch_exceptions=False)
    assert result.exit_code == 0
    return [line.strip() for line in result.output.splitlines()]


def weights_score(spec: Spec, dataset: Dataset, record: Trial) -> float:
    """The val loss of the weights that a trial comes back with."""
    (result,) = advance(Task(spec, dataset, (TrialTask(record.number, record.point, seed(spec, record)),), 12))
    assert result.weights is not None and result.value == record.value
    val = dataset.part("val")
    assert val is not None
    theta = np.frombuffer(result.weights, DTYPE)[None]
    return float(evaluate(build_network(spec, dataset, record.point), theta, val).loss[0])


def seed(spec: Spec, record: Trial) -> int:
    return derive(spec.seed, record.stage, record.number, "train")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_weights_are_those_of_the_epoch_that_is_kept(dataset: Dataset, tmp_path: Path, keep: str) -> None:
    changes = {"train.keep": keep, "train.epochs": 12, "parameters.learning_rate.min": 0.5}
    spec = cases.small(**changes, stages=[{"name": "only", "trials": 4}])
    records = cases.rows(cases.run(spec, dataset, tmp_path / "small.db"))
    assert any(r.best_epoch < r.epochs for r in records) == (keep == "best")
    for r in records:
        assert weights_score(spec, dataset, r) == r.history["val/loss"][r.best_epoch - 1] == r.value


def stopped(dataset: Dataset, folder: Path, **changes: Any) -> list[Trial]:
    """Trials of 40 epochs with a check every 4."""
    train = {"optimizer": "momentum", "epochs": 40, "check_every": 4} | changes.pop("train")
    given = {"train": train, "stages": [{"name": "only", "trials": 12}], **changes}
    return cases.rows(cases.run(cases.small(**given), dataset, folder / "small.db"))


def test_patience_counts_checks(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"early_stopping": {"patience": 2, "min_delta": 0.02}})
    early = [r for r in records if r.epochs < 40]
    assert early and all(r.epochs - r.best_epoch == 8 for r in early)


def test_a_loss_that_has_settled_ends_a_trial(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"stop": {"change": 100.0, "checks": 2}})
    assert {r.epochs for r in records} == {12}, "of three checks two have one before them"


def test_an_accuracy_is_reached_from_below(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"stop": {"value": 0.9}}, metric={"name": "val/accuracy"})
    early = [r for r in records if r.epochs < 40]
    assert early and all(r.history["val/accuracy"][-1] >= 0.9 for r in early)
    assert all(max(r.history["val/accuracy"][:-1], default=0.0) < 0.9 for r in records)
