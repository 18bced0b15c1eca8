"""Confirmation: the points, their seeds, the comparison of their means, and the weights of the model."""

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import Interrupted
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.report.tables import winner_line
from hpsearch.search.champion import find_champion
from hpsearch.search.confirm import Finalist, best_points, compare_points, find_winner, train_seed
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.loop import Study
from hpsearch.training.executors import Inline
from hpsearch.training.objectives import engine as engine_objective
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture

Prepared = tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]


def made(top: int, seeds: int, metric: str = "val/loss", **others: Any) -> Spec:
    stages = [{"name": "coarse", "trials": 8}, {"name": "fine", "trials": 4}]
    stages.append({"name": "confirm", "top": top, "seeds": seeds})
    return cases.small(stages=stages, metric={"name": metric}, **others)


def record(
    stage: str, number: int, point: int, value: float | None, state: Any = None, copied_from: str | None = None
) -> Trial:
    """Return a trial of one of several points."""
    state = state or ("diverged" if value is None else "complete")
    return Trial(stage, number, {"x": point}, {"x": point}, state, value, copied_from=copied_from)


def points(found: Sequence[Any]) -> list[Any]:
    return [internal_params["x"] for internal_params in found]


# Points to confirm.


def test_finalists_by_their_means() -> None:
    """Over all seeds of each; a lucky trial is not the best of points trained twice."""
    coarse = [
        record("coarse", 0, 1, 0.1),
        record("coarse", 1, 2, 0.3),
        record("coarse", 2, 3, 0.25),
        record("coarse", 3, 1, 0.7),
        record("coarse", 4, 4, 0.0, "pruned"),
        record("coarse", 5, 5, None),
    ]
    fine = [record("fine", 0, 2, 0.1), record("fine", 1, 6, 0.9)]
    study = made(3, 2)
    assert points(best_points(study, [coarse, fine], 3)) == [2, 3, 1]  # .2, .25, .4
    assert points(best_points(study, [coarse, fine], 1)) == [2]
    assert points(best_points(study, [coarse, fine], 9)) == [2, 3, 1, 6], "fewer points than `top`"
    assert points(best_points(made(3, 2, "val/accuracy"), [coarse, fine], 9)) == [6, 1, 3, 2]
    assert best_points(study, [[], coarse[4:]], 3) == []


def test_ties_of_finalists() -> None:
    """The older point is first."""
    coarse = [record("coarse", n, point, 0.5) for n, point in enumerate([7, 3, 9, 1])]
    assert points(best_points(made(2, 2), [coarse], 2)) == [7, 3]
    assert points(best_points(made(2, 2), [[], coarse], 3)) == [7, 3, 9]


def test_an_outcome_counts_once() -> None:
    """Also if a fork copied it and its original is present, or if it was reused for a repeated point."""
    prior = [
        record("@prior", 0, 1, 0.2, copied_from="old:coarse/0"),
        record("@prior", 1, 2, 0.35, copied_from="old:coarse/1"),
    ]
    coarse = [
        record("coarse", 0, 1, 0.2, copied_from="old:coarse/0"),
        record("coarse", 1, 3, 0.3),
        record("coarse", 2, 1, 0.5),
        record("coarse", 3, 1, 0.2, copied_from="old:coarse/0"),
    ]
    assert points(best_points(made(3, 2), [prior, coarse], 3)) == [3, 1, 2]  # .3, (.2 + .5) / 2 = .35, .35
    assert points(best_points(made(3, 2), [prior[:1], coarse[:1]], 3)) == [1]


# Comparison of points.

TABLES = st.integers(2, 6).flatmap(
    lambda seeds: st.lists(
        st.lists(st.floats(-3, 3).map(lambda v: round(v, 3)), min_size=seeds, max_size=seeds), min_size=2, max_size=5
    )
)


def stage(values: Sequence[Sequence[float | None]]) -> list[Trial]:
    """Return trials of a confirming stage from one row of values per point, one column per seed; seed by seed."""
    count, seeds = len(values), len(values[0])
    return [record("confirm", n, n % count, values[n % count][n // count]) for n in range(count * seeds)]


def exact_mean(values: Sequence[float]) -> float:
    """Return the mean of the float64 values by rational arithmetic, which does not depend on the order."""
    return float(sum(map(Fraction, values))) / len(values)


@settings(max_examples=60, deadline=None)
@given(TABLES, st.booleans())
@example([[0.0, 1.0, 2.188, 2.438], [0.0, 2.0, 1.188, 2.438]], False)  # means that differ in the last bit
def test_intervals_equal_those_of_scipy(table: list[list[float]], goes_up: bool) -> None:
    """Means and intervals are those of Student's tests of one sample and of pairs; the best mean is first."""
    rows = np.array(table)
    assume(all(np.ptp(r) > 0.01 for r in rows))
    study = made(len(table), len(table[0]), "val/accuracy" if goes_up else "val/loss")
    found = compare_points(study, stage(table))
    sign = -1 if goes_up else 1
    means = [sign * exact_mean(table[int(f.point["x"])]) for f in found]
    assert means == sorted(means) and sorted(f.point["x"] for f in found) == list(range(len(table)))
    first = found[0]
    assert first.behind is None and not first.tied
    for f in found:
        values = rows[int(f.point["x"])]
        assert [r.value for r in f.trials] == values.tolist()
        interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert (f.mean - f.half_width, f.mean + f.half_width) == pytest.approx(
            (interval.low, interval.high), rel=1e-9, abs=1e-9
        )
        if f is first:
            continue
        differences = sign * (values - rows[int(first.point["x"])])
        assert f.behind is not None and f.behind >= -1e-12
        if np.ptp(differences) < 1e-9:
            continue
        test = stats.ttest_rel(sign * values, sign * rows[int(first.point["x"])])
        interval = test.confidence_interval(0.95)
        ends = (f.behind - f.behind_half_width, f.behind + f.behind_half_width)
        assert ends == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
        if abs(test.pvalue - 0.05) > 1e-6:
            assert f.tied == (test.pvalue > 0.05)


def test_tied_or_not() -> None:
    """Pairing finds a difference that separate intervals do not, when a seed is hard for all points."""
    hard = [0.1, 0.5, 0.9]
    table = [hard, [v + d for v, d in zip(hard, (0.01, 0.011, 0.012), strict=True)], [0.2, 0.9, 0.5]]
    a, b, c = compare_points(made(3, 3), stage(table))
    assert (a.point["x"], b.point["x"], c.point["x"]) == (0, 1, 2)
    assert abs(a.mean - b.mean) < a.half_width, "their own intervals overlap"
    assert not b.tied and c.tied
    assert winner_line([a, b]) == "A is the winner."
    assert winner_line([a, b, c]) == "A has the best mean but does not differ significantly from C (95%)."
    assert winner_line([a, c, c]) == "A has the best mean but does not differ significantly from B and C (95%)."
    twins = compare_points(made(2, 2), stage([[0.1, 0.2], [0.1, 0.2]]))
    assert twins[1].tied and twins[0].point["x"] == 0, "the older one of equal trials"
    shifted = compare_points(made(2, 2), stage([[0.125, 0.25], [0.25, 0.375]]))
    assert not shifted[1].tied, "worse by the same difference for each seed"


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy"])
def test_a_seed_that_diverges_loses(metric: str) -> None:
    """Whatever the other seeds give; the point is behind, not tied."""
    best = 0.01 if metric == "val/loss" else 0.99
    study = made(3, 3, metric)
    records = stage([[best, best, None], [0.5, 0.6, 0.7], [best, None, None]])
    found = compare_points(study, records)
    assert [f.point["x"] for f in found] == [1, 0, 2]
    assert math.isfinite(found[0].mean) and not any(math.isfinite(f.mean) for f in found[1:])
    assert not any(f.tied for f in found)
    assert winner_line(found) == "A is the winner."
    best_of_it = {"val/loss": 0.5, "val/accuracy": 0.7}[metric]
    won = find_winner(study, records)
    assert won is not None and (won.point["x"], won.value) == (1, best_of_it)


def test_without_a_winner() -> None:
    """The search's best trial is the champion if every point has a diverged seed, and during training."""
    study = made(2, 2)
    coarse = [record("coarse", 0, 0, 0.3), record("coarse", 1, 1, 0.2)]
    lost = stage([[0.1, None], [None, 0.1]])
    assert find_winner(study, lost) is None
    assert find_champion(study, [coarse, [], lost]) == coarse[1]
    half = stage([[0.1, 0.1], [0.4, 0.5]])
    assert find_champion(study, [coarse, [], half]) == half[0]
    assert find_champion(study, [coarse, [], [*half[:3], half[3]._replace(state="running", value=None)]]) == coarse[1]
    assert find_champion(study, [coarse, [], []]) == coarse[1]
    assert find_champion(study, [coarse]) == coarse[1]
    assert find_winner(study, []) is None and compare_points(study, []) == []


# Whole studies.

STAGES = [{"name": "coarse", "trials": 9}, {"name": "confirm", "top": 3, "seeds": 3}]
CHANGES: dict[str, Any] = {"stages": STAGES, "parallel": 4, "seed": 1}  # the best trial is not the winner's


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    small = cases.small(**CHANGES)
    return prepare(small.data, small.seed, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def confirmed(rows: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    database = tmp_path_factory.mktemp("study") / "small.db"
    return cases.run(cases.small(**CHANGES), rows[0], database), database


def test_paired_seeds(confirmed: tuple[Study, Path], rows: Prepared) -> None:
    """Trial n is point n mod 3 trained with seed n div 3; each seed is new and shared by all points."""
    study, _ = confirmed
    records, stage = study.trials[1], study.spec.stages[1]
    assert len(records) == 9 and {r.state for r in records} == {"complete"}
    best = sorted(study.trials[0], key=lambda r: r.value or 0.0)[:3]
    assert [r.internal_params for r in records] == [r.internal_params for r in best] * 3
    seeds = [train_seed(study.spec, stage, n, 9) for n in range(9)]
    assert [len({*seeds[i : i + 3]}) for i in (0, 3, 6)] == [1, 1, 1] and len({*seeds}) == 3
    assert not {*seeds} & {train_seed(study.spec, study.spec.stages[0], n, 9) for n in range(9)}
    for r, seed in zip(records, seeds, strict=True):
        (again,) = advance(Task(study.spec, rows[0], (TrialTask(r.number, r.point, seed),), study.spec.train.epochs))
        assert (again.value, again.history) == (r.value, r.history)


def test_more_seeds_keep_the_first(confirmed: tuple[Study, Path], rows: Prepared, tmp_path: Path) -> None:
    """More seeds may be added to a study, because fewer seeds are the first of more."""
    fewer = cases.small(**{**CHANGES, "stages": [STAGES[0], {**STAGES[1], "seeds": 2}]})
    again = cases.run(fewer, rows[0], tmp_path / "a.db")
    assert [r.history for r in again.trials[1]] == [r.history for r in confirmed[0].trials[1][:6]]


def test_the_winner_is_the_champion(confirmed: tuple[Study, Path], rows: Prepared, tmp_path: Path) -> None:
    """By its mean, not by a lucky trial; and the model has its weights."""
    study, database = confirmed
    records = study.trials[1]
    means = [np.mean([r.value for r in records[p::3] if r.value is not None]) for p in range(3)]
    place = int(np.argmin(means))
    want = min(records[place::3], key=lambda r: r.value or 0.0)
    best = study.best
    assert best is not None and best.label == want.label
    assert any((r.value or 9) < (best.value or 0) for each in study.trials for r in each), "also the luckiest trial"
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    kept = storage.weights.load()
    storage.close()
    stored = kept["confirm", best.number]
    assert [label for label, c in kept.items() if c.test is not None] == [("confirm", best.number)]
    bests = [min(records[p::3], key=lambda r: r.value or 0.0).number for p in range(3)]
    assert kept.keys() == {("confirm", n) for n in bests}, "with more seeds another point may win"
    scores = final_scores(study.spec, rows[0], best.point, stored.weights)
    assert scores == stored.test == {k: v for k, v in best.metrics.items() if k[:4] in ("test", "fit/")}
    seed = train_seed(study.spec, study.spec.stages[1], best.number, 9)
    (again,) = advance(Task(study.spec, rows[0], (TrialTask(0, best.point, seed),), study.spec.train.epochs))
    assert again.weights == stored.weights
    model = build_model(study.spec, rows[0], rows[1][0], best, stored.weights)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    x = study.spec.data.load().x
    assert loaded.scores(x).tobytes() == model.scores(x).tobytes()
    assert loaded.about["trial"] == best.label
    assert [r for each in study.trials for r in each if "test/loss" in r.metrics] == [best]


@contextlib.contextmanager
def readings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Record the calls that read the test rows."""
    found: list[Any] = []

    def counted(*arguments: Any) -> dict[str, float]:
        found.append(arguments[2])
        return final_scores(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(engine_objective, "final_scores", counted)
        yield found


@pytest.mark.parametrize("limit", [10, 16])
def test_test_rows_are_read_once(
    confirmed: tuple[Study, Path],
    rows: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    """When stopped, resumed, and resumed after the end; the table equals that of the uninterrupted study."""
    spec, database = cases.small(**CHANGES), tmp_path / "small.db"
    tracker, executor = cases.LimitTracker(limit), cases.HeldExecutor(lambda waiting: waiting - 1, single=True)
    with readings(monkeypatch) as read:
        with (
            pytest.raises(Interrupted),
            cases.opened(spec, rows[0], database, executor, tracker=tracker, stop=tracker.stop) as study,
        ):
            cases.drive(study, executor)
        assert read == []
        cases.run(spec, rows[0], database)
        cases.run(spec, rows[0], database)
        assert len(read) == 1
    assert cases.table(database) == cases.table(confirmed[1])


def test_fewer_points_than_the_top(rows: Prepared, tmp_path: Path) -> None:
    """In a space of four points, some trained with several seeds, all four are confirmed; the total is that."""
    grid = {"learning_rate": {"values": [0.05, 0.2]}, "hidden_units": {"values": [4, 8]}, "beta": 0.9, "batch_size": 16}
    stages = [{"name": "coarse", "trials": 12}, {"name": "confirm", "top": 6, "seeds": 2}]
    spec = cases.small(parameters=grid, stages=stages)
    with cases.opened(spec, rows[0], tmp_path / "a.db") as study:
        for progress in study.run():
            last = progress
    assert last.total == 12 + 8 and last.finished == 20
    by_mean: dict[str, list[float]] = {}
    for r in study.trials[0]:
        by_mean.setdefault(repr(r.point), []).append(r.value or 0.0)
    assert len(by_mean) == 4 and max(map(len, by_mean.values())) > 2
    order = sorted(by_mean, key=lambda p: np.mean(by_mean[p]))
    assert [repr(r.point) for r in study.trials[1]] == order * 2
    again = cases.run(spec, rows[0], tmp_path / "a.db")
    assert again.totals == [12, 8] and cases.rows(again) == cases.rows(study)


def test_nothing_to_confirm(rows: Prepared, tmp_path: Path) -> None:
    """Every trial diverges, and the study ends without a champion."""
    spec = cases.small(**CHANGES, **{"parameters.learning_rate": {"min": 1e30, "max": 1e36, "scale": "log"}})
    study = cases.run(spec, rows[0], tmp_path / "a.db")
    assert study.best is None and study.trials[1] == [] and study.totals == [9, 0]


# Points outside the box of the search.

RATES = {"learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"}, "beta": 0.9, "hidden_units": 4, "batch_size": 16}
FAR = [{"learning_rate": 0.5}, {"learning_rate": 0.002}, {"learning_rate": 0.01}]
ZOOMED: dict[str, Any] = {
    "train.epochs": 2,
    "parameters": RATES,
    "stages": [
        {"name": "coarse", "points": FAR},
        {"name": "fine", "trials": 1, "zoom": {"keep_top": 0.3, "margin": 0.01}},
        {"name": "confirm", "top": 4, "seeds": 2},
    ],
}


def ranges_of(database: Path, stage: str) -> set[tuple[float, float]]:
    """Return the ranges of the learning rate in Optuna's copy of a stage."""
    _, trials = cases.optuna_study(database, f"small/{stage}")
    distributions: list[Any] = [t.distributions["learning_rate"] for t in trials]
    return {(d.low, d.high) for d in distributions}


def test_points_outside_a_zoomed_box(rows: Prepared, tmp_path: Path) -> None:
    """They are confirmed: a confirming stage has the whole range of the stages its points come from."""
    spec, database = cases.small(**ZOOMED), tmp_path / "a.db"
    study = cases.run(spec, rows[0], database)
    low, high = study.boxes[1]["learning_rate"]
    confirmed = {r.point["learning_rate"] for r in study.trials[2]}
    assert {p["learning_rate"] for p in FAR} < confirmed and min(confirmed) < low < high
    assert {r.state for r in cases.rows(study)} == {"complete"} and len(study.trials[2]) == 8
    assert ranges_of(database, "confirm") == {(1e-3, 1.0)} != ranges_of(database, "fine")
    again = cases.run(spec, rows[0], database)
    assert cases.rows(again) == cases.rows(study)


@pytest.mark.parametrize("change", [{"max": 0.1}, {"max": 2.0}], ids=str)
def test_points_outside_a_range_that_was_changed(rows: Prepared, tmp_path: Path, change: dict[str, float]) -> None:
    """The range is changed after the search, and a confirming stage is added."""
    database, search = tmp_path / "a.db", {**ZOOMED, "stages": [{"name": "coarse", "trials": 5}]}
    cases.run(cases.small(**search), rows[0], database)
    stages = [*search["stages"], {"name": "confirm", "top": 5, "seeds": 2}]
    parameters = {**RATES, "learning_rate": {**RATES["learning_rate"], **change}}  # type: ignore[dict-item]
    study = cases.run(cases.small(**{**search, "stages": stages, "parameters": parameters}), rows[0], database)
    assert {r.point["learning_rate"] for r in study.trials[1]} == {r.point["learning_rate"] for r in study.trials[0]}
    assert ranges_of(database, "confirm") == {(1e-3, 1.0)}


def test_a_study_that_could_not_end_can_be_resumed(rows: Prepared, tmp_path: Path) -> None:
    """Version 0.5 stored the zoomed box for its confirming stage, and could not end."""
    spec, database, tracker = cases.small(**ZOOMED), tmp_path / "a.db", cases.LimitTracker(5)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, rows[0], database, tracker=tracker, stop=tracker.stop) as study,
    ):
        for _ in study.run():
            pass
    fine = json.dumps(study.boxes[1])
    with contextlib.closing(sqlite3.connect(database)) as connection:
        changed = connection.execute("UPDATE hpsearch_stage SET box = ? WHERE stage = 'confirm'", (fine,)).rowcount
        connection.commit()
    assert changed == 1
    study = cases.run(spec, rows[0], database)
    assert {r.state for r in cases.rows(study)} == {"complete"}
    assert ranges_of(database, "confirm") == {(1e-3, 1.0)}


# Output.


def test_report(call: Any, tmp_path: Path) -> None:
    """Letters in the order of the means, intervals, and ties; and the same as JSON."""
    file = cases.write(tmp_path, **CHANGES, **{"train.epochs": 2})
    said = call("run", file, "--tracking-uri", "none")
    assert said.code == 0 and said.err == ""
    content = json.loads(call("show", tmp_path / "small.db", "--json").out)
    found = content["confirmed"]
    assert len(found) == 3 and {len(f["trials"]) for f in found} == {3}
    assert sorted(label for f in found for label in f["trials"]) == [f"confirm/{n}" for n in range(9)]
    trials = {f"{t['stage']}/{t['number']}": t for t in content["trials"]}
    values = [[trials[label]["value"] for label in f["trials"]] for f in found]
    assert [f["mean"] for f in found] == pytest.approx([np.mean(v) for v in values])
    assert all(trials[label]["params"] == f["params"] for f in found for label in f["trials"])
    assert found[0]["behind"] is None and found[0]["behind_half_width"] is None and not found[0]["tied"]
    assert f"{content['best']['stage']}/{content['best']['number']}" in found[0]["trials"]
    assert "test/accuracy" in content["best"]["metrics"]
    tied = []
    for letter, f, v in zip("BC", found[1:], values[1:], strict=True):
        test = stats.ttest_rel(v, values[0])
        assert f["tied"] == (test.pvalue > 0.05) and f["behind"] == pytest.approx(np.mean(np.subtract(v, values[0])))
        tied += [letter] * f["tied"]
    shown = call("show", tmp_path / "small.db").out
    assert "confirm: means over 3 seeds, 95% intervals" in shown and "top 3 × 3 seeds" in shown
    for letter, f in zip("ABC", found, strict=True):
        (line,) = [x for x in shown.splitlines() if x.strip().startswith(f"{letter} ") and "±" in x]
        assert f"{f['mean']:.4g} ± {f['half_width']:.2g}" in line
        assert f["behind"] is None or f"{f['behind']:.4g} ± {f['behind_half_width']:.2g}" in line
    names = {(): None, ("B",): "B", ("C",): "C", ("B", "C"): "B and C"}[tuple(tied)]
    assert (f"but does not differ significantly from {names} (95%)." if names else "A is the winner.") in shown
    ended = said.out[said.out.index("Study small") : said.out.index("Database:")]  # the same without slow parts
    assert set(ended.splitlines()) <= set(shown.splitlines())


def test_report_of_a_seed_that_diverged() -> None:
    """The report says so in place of a mean."""
    found = compare_points(made(2, 2), stage([[0.1, None], [0.2, 0.3]]))
    assert [type(f) for f in found] == [Finalist, Finalist]
    assert winner_line(found) == "A is the winner."


def test_weights_of_the_search_champion_are_kept(rows: Prepared, tmp_path: Path, monkeypatch: Any) -> None:
    """No point has a mean: the best trial of the search is the champion, and its weights were kept."""
    spec, sound = cases.small(**CHANGES), advance

    def broken(task: Task) -> Any:
        confirms = {train_seed(spec, spec.stages[1], n, 9) for n in range(3)}
        return tuple(
            r._replace(state="diverged", value=None, weights=None, best_epoch=0) if t.seed in confirms else r
            for t, r in zip(task.trials, sound(task), strict=True)
        )

    study = cases.run(spec, rows[0], tmp_path / "a.db", Inline(run_task=broken))
    states = [r.state for r in study.trials[1]]
    assert states == ["diverged"] * 3 + ["complete"] * 6
    best = study.best
    assert best is not None and best.stage == "coarse" and "test/loss" in best.metrics
    storage = StudyDatabase.open(url_of(str(tmp_path / "a.db")), create=False)
    assert [label for label, c in storage.weights.load().items() if c.test] == [("coarse", best.number)]
    storage.close()


SEEDED = [{"name": "coarse", "trials": 4}, {"name": "confirm", "top": 2, "seeds": 3}]


def test_seeds_of_a_searching_stage_differ() -> None:
    spec = cases.small(stages=SEEDED)
    seeds = [train_seed(spec, spec.stages[0], number, 4) for number in range(4)]
    assert len(set(seeds)) == 4
    assert seeds == [train_seed(spec, spec.stages[0], number, 2) for number in range(4)]


def test_points_of_a_confirming_stage_share_seeds() -> None:
    """Trials 2k and 2k + 1 train the two points with seed k; other stages have other seeds."""
    spec = cases.small(stages=SEEDED)
    seeds = [train_seed(spec, spec.stages[1], number, 6) for number in range(6)]
    assert seeds[0::2] == seeds[1::2] and len(set(seeds)) == 3
    assert not set(seeds) & {train_seed(spec, spec.stages[0], number, 4) for number in range(6)}


def test_seeds_depend_on_the_seed_of_the_study() -> None:
    spec, other = cases.small(stages=SEEDED), cases.small(stages=SEEDED, seed=6)
    assert train_seed(spec, spec.stages[0], 0, 4) != train_seed(other, other.stages[0], 0, 4)
