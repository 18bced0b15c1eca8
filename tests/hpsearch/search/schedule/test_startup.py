"""Notices on how many trials a sampler chooses: equal to a count of the points that differ from uninformed ones."""

from itertools import product
from pathlib import Path
from typing import Any

import cases
import pytest
from sampler_cases import members

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.search.schedule.startup import chosen_trials, startup_notice, startup_notices
from hpsearch.search.suggest import Suggester
from hpsearch.storage.records import Trial
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture


def spec_of(sampler: str, trials: int, parallel: int, points: int = 0) -> Spec:
    listed = [{"learning_rate": 0.01 * (n + 1)} for n in range(points)]
    stages = [
        {"name": "coarse", "trials": 40, "sampler": "random"},
        {"name": "fine", "trials": trials, "sampler": sampler, "points": listed},
    ]
    return cases.small(stages=stages, parallel=parallel)


def suggested(spec: Spec, known: int, state: Any = "complete") -> list[Trial]:
    """Return the trials of the second stage, which all end in one state."""
    space = search_space(spec)

    def run(number: int, earlier: list[Trial]) -> list[Trial]:
        suggester = Suggester(spec, space, number, space.full_box(), earlier, [])
        trials: list[Trial] = []
        for n in range(spec.stages[number].trials or 0):
            running = spec.parallel - 1 if n >= spec.parallel else n  # as on the clock, where all take equally long
            t = suggester.suggest(
                trials, [t if t.number < n - running else t._replace(state="running") for t in trials]
            )
            value = float(t.point["learning_rate"]) if state == "complete" or number == 0 else None
            ended = "complete" if number == 0 else state
            trials.append(t._replace(state=ended, value=value, epochs=1, history={"val/loss": [value or 0.0]}))
        return trials

    return run(1, run(0, [])[:known])


# Trials of the stage, virtual workers, known trials of the stage before, listed points.
SIZES = [(30, 16, 0, 0), (40, 16, 0, 0), (21, 4, 0, 18), (9, 3, 6, 0), (12, 4, 20, 3)]


@pytest.mark.parametrize(
    ("sampler", "size"),
    [
        *product(("tpe", "cmaes"), SIZES),
        ("forest", (12, 4, 20, 3)),
        pytest.param("gp", (9, 3, 6, 0), marks=members("gp")[0].marks),
    ],
)
def test_the_number_of_chosen_trials(sampler: str, size: tuple[int, int, int, int]) -> None:
    trials, parallel, known, points = size
    spec = spec_of(sampler, trials, parallel, points)
    space = search_space(spec)
    found = suggested(spec, known)
    if sampler == "cmaes":
        uninformed = suggested(spec, known, "failed")
    elif sampler == "forest":
        uninformed = suggested(spec, 0, "failed")
    else:
        uninformed = suggested(spec_of("random" if sampler == "tpe" else "sobol", trials, parallel, points), known)
    listed = max(0, points)
    differ = sum(a.internal_params != b.internal_params for a, b in list(zip(found, uninformed, strict=True))[listed:])
    chosen = chosen_trials(spec, space, 1, space.full_box(), known)
    assert differ == chosen
    notice = startup_notice(spec, space, 1, space.full_box(), known)
    assert (notice is None) == (2 * chosen >= trials - points)
    assert notice is None or f"{sampler} chooses {chosen or 'none'} of the {trials} trials" in notice


def test_notices_of_a_new_study() -> None:
    """Earlier stages count; samplers that do not learn have none."""
    assert list(startup_notices(spec_of("tpe", 30, 16))) == []
    assert list(startup_notices(spec_of("random", 30, 16))) == []
    alone = cases.small(stages=[{"name": "a", "trials": 30, "sampler": "tpe"}], parallel=16)
    assert list(startup_notices(alone)) == [
        "a: tpe chooses 5 of the 30 trials, the others are random: it needs 10 finished trials, and 16 trials train at"
        " the same time; use more trials or a lower parallel"
    ]


def test_check_and_run_say_it(call: Any, tmp_path: Path) -> None:
    changes = {"stages": [{"name": "a", "trials": 3, "sampler": "tpe"}], "train.epochs": 1}
    notice = next(startup_notices(cases.small(**changes)))
    assert call("check", cases.write(tmp_path, **changes)).err == f"note: {notice}\n"
    spec = cases.small(**changes)
    dataset = prepare(spec.data, spec.seed, tmp_path)[0]
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        assert next(study.run()).notes == (notice,)
