"""Which trials train together."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fold_cases import POINT, WAYS, one, prepared

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.training import network
from hpsearch.training.grouping import MAX_BATCHED_WORK, group_trials
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance
from tests.hpsearch.study import test_loop

spec, dataset = test_loop.spec, test_loop.dataset  # fixtures


def test_different_preprocessing_trains_apart(tmp_path: Path) -> None:
    """Trials with other preprocessing have other rows, and the rows are scaled accordingly."""
    spec = cases.small(**WAYS)
    dataset, made = prepared(spec, tmp_path)
    assert dataset.choices == ("scaling",) and len(dataset.variants) == len(made) == 3
    starts = [
        TrialTask(n, {**POINT, "scaling": way}, n) for n, way in enumerate(["standard", "none", "standard", "none"])
    ]
    cut = group_trials(spec, dataset, starts, 1)
    assert sorted(tuple(t.number for t in group) for group in cut) == [(0, 2), (1, 3)]
    train = {way: dataset.at({**POINT, "scaling": way}).part("train") for way in ("standard", "minmax", "none")}
    standard, minmax, plain = (rows.of(0).x for rows in train.values() if rows is not None)
    assert np.abs(standard.mean(axis=0)).max() < 1e-5 and (minmax.min(), minmax.max()) == (0, 1)
    np.testing.assert_allclose(minmax * np.ptp(plain, axis=0) + plain.min(axis=0), plain, rtol=1e-4)
    results = [one(spec, dataset, {**POINT, "scaling": way}) for way in ("standard", "minmax")]
    assert results[0].value != results[1].value


def points_of(spec: Spec, count: int, **values: Any) -> list[TrialTask]:
    return [TrialTask(n, {**POINT, **values, "learning_rate": 0.01 * (n + 1)}, n) for n in range(count)]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the sizes of all networks that are built."""
    sizes: list[int] = []
    original = network.Network

    def counted(*arguments: Any) -> Any:
        built = original(*arguments)
        sizes.append(built.size)
        return built

    monkeypatch.setattr(network, "Network", counted)
    return sizes


def test_each_network_is_built_once(builds: list[int], tmp_path: Path) -> None:
    """Once per trial in the coordinator's grouping, once per trial of a task in the worker, once for final scores."""
    spec = cases.small(**{"train.epochs": 2})
    dataset = prepared(spec, tmp_path)[0]
    trials = points_of(spec, 5)
    groups = group_trials(spec, dataset, trials, 1)
    assert len(builds) == 5
    builds.clear()
    results = [result for group in groups for result in advance(Task(spec, dataset, group, 2))]
    assert len(builds) == 5
    builds.clear()
    assert results[0].weights is not None
    final_scores(spec, dataset, trials[0].point, results[0].weights)
    assert len(builds) == 1


def test_groups_by_shape_and_epoch(tmp_path: Path) -> None:
    spec = cases.small()
    dataset = prepared(spec, tmp_path)[0]
    trials = [
        *points_of(spec, 2),
        *(t._replace(number=t.number + 2) for t in points_of(spec, 2, hidden_units=8)),
        *(t._replace(number=t.number + 4, epochs=2) for t in points_of(spec, 2)),
        *(t._replace(number=t.number + 6) for t in points_of(spec, 2, batch_size=32)),
    ]
    groups = group_trials(spec, dataset, trials, 1)
    assert sorted(tuple(t.number for t in g) for g in groups) == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_longest_groups_first(tmp_path: Path) -> None:
    """Larger networks take longer, and so do smaller batches."""
    spec = cases.small()
    dataset = prepared(spec, tmp_path)[0]
    small, large = points_of(spec, 1)[0], points_of(spec, 1, hidden_units=400)[0]._replace(number=1)
    slow = points_of(spec, 1, batch_size=1)[0]._replace(number=2)
    groups = group_trials(spec, dataset, [small, large, slow], 1)
    assert [t.number for (t,) in groups] == [2, 1, 0]


@pytest.mark.parametrize(("workers", "sizes"), [(1, [4, 4]), (2, [2] * 4), (3, [2] * 4), (4, [1] * 8), (9, [1] * 8)])
def test_groups_keep_all_workers_busy(workers: int, sizes: list[int], tmp_path: Path) -> None:
    """Two groups per worker, as far as the trials suffice."""
    spec = cases.small()
    dataset = prepared(spec, tmp_path)[0]
    assert [len(group) for group in group_trials(spec, dataset, points_of(spec, 8), workers)] == sizes


def test_large_networks_train_alone(tmp_path: Path) -> None:
    spec = cases.small()
    dataset = prepared(spec, tmp_path)[0]
    units = (MAX_BATCHED_WORK - dataset.outputs) // (dataset.inputs[0] + 1 + dataset.outputs)
    sizes = [
        [len(g) for g in group_trials(spec, dataset, points_of(spec, 4, hidden_units=u), 1)] for u in (units, units + 1)
    ]
    assert sizes == [[2, 2], [1] * 4]


def test_invalid_trials_train_alone(tmp_path: Path) -> None:
    """So that the error is the result of its trial."""
    spec = cases.small()
    dataset = prepared(spec, tmp_path)[0]
    invalid = [t._replace(number=t.number + 4) for t in points_of(spec, 2, hidden_units=0)]
    groups = group_trials(spec, dataset, [*points_of(spec, 4), *invalid], 1)
    assert [tuple(t.number for t in g) for g in groups][-2:] == [(4,), (5,)]
    assert {r.state for g in groups[-2:] for r in advance(Task(spec, dataset, g, 1))} == {"failed"}


def test_groups(spec: Spec, dataset: Dataset) -> None:
    """Equal shapes only, every trial once, and enough groups for the workers."""
    points = [
        {"learning_rate": 0.01, "beta": 0.9, "hidden_units": u, "batch_size": b, "l2": 1e-4}
        for u in (4, 8, 4000)
        for b in (16, 32)
        for _ in range(4)
    ]
    starts = [TrialTask(n, point, n) for n, point in enumerate(points)]
    for workers in (1, 2, 3, 100):
        cut = group_trials(spec, dataset, starts, workers)
        assert sorted(s.number for g in cut for s in g) == list(range(len(starts)))
        for g in cut:
            assert len({(s.point["hidden_units"], s.point["batch_size"]) for s in g}) == 1
            assert g[0].point["hidden_units"] != 4000 or len(g) == 1
        assert max(len(g) for g in cut) <= max(1, -(-len(starts) // (2 * workers)))
        assert cut[0][0].point["hidden_units"] == 4000  # the longest first


def test_trials_with_different_dropout_rates_train_together(conditional_spec: Spec, dataset: Dataset) -> None:
    """Dropout rates do not change the shape of a network; numbers of units do."""
    point = {"learning_rate": 0.1, "optimizer": "momentum", "beta": 0.9, "depth": 1, "hidden_units": 4}
    point |= {"activation": "tanh", "limit": 1.0, "batch_size": 16, "l2": 0.0}
    starts = [TrialTask(k, point | {"dropout": k / 10}, k) for k in range(4)]
    assert len(group_trials(conditional_spec, dataset, starts, 1)) == 2  # one worker gets two groups
    other = [s._replace(point=s.point | {"hidden_units": 4 + s.number}) for s in starts]
    assert len(group_trials(conditional_spec, dataset, other, 1)) == 4
