"""Training ahead: a notice of idle workers is given where it is true, and only there."""

from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.search.schedule.ahead import idle_notice, worker_count
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.session import Options, Session
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture

RUNGS = {"kind": "promote", "rungs": [1, 2]}
WORKERS, PARALLEL = 20, 2
STAGES: dict[str, tuple[dict[str, Any], str | None]] = {  # a stage, and how the notice names it
    "random": ({"trials": 8}, None),
    "sobol": ({"trials": 8, "sampler": "sobol"}, None),
    "pruned": ({"trials": 8, "pruning": RUNGS}, "a (after the first rung)"),
    "tpe": ({"trials": 8, "sampler": "tpe"}, "a"),
    "budget": ({"trials": 8, "budget": 7}, "a"),
    "timeout": ({"timeout": 600, "trials": 8}, "a"),
    "few": ({"trials": 2, "sampler": "tpe"}, None),
}


def spec_of(stage: dict[str, Any], **others: Any) -> Spec:
    changes = {"train.epochs": 3, "train.early_stopping": None, "parallel": PARALLEL, **others}
    confirm = {"name": "confirm", "top": 2, "seeds": 3}
    return cases.small(**changes, stages=[{"name": "a", **stage}, confirm])


@pytest.mark.parametrize("name", STAGES)
def test_stages_with_idle_workers(name: str, tmp_path: Path) -> None:
    """The number of trials that train at the same time, in a study with more workers than virtual workers."""
    stage, named = STAGES[name]
    spec = spec_of(stage)
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    executor = cases.HeldExecutor(lambda _: 0, single=True)
    most: dict[tuple[str, bool], int] = {}  # by stage, and whether beyond the first rung
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        running = study.run()
        while (progress := next(running, None)) is not None:
            trials = [r for _, outcome in executor._held for r in outcome]
            for later in (False, True):
                count = sum((r.epochs > 1) == later for r in trials)
                most[progress.stage, later] = max(count, most.get((progress.stage, later), 0))
            executor.release()
    notice = idle_notice(spec, WORKERS)
    assert most["confirm", True] == 6, "all trials to confirm train at the same time"
    assert (notice is None) == (named is None)
    if named is None:
        assert most["a", True] == min(8, stage["trials"])
    else:
        assert f"at most {PARALLEL} of the {WORKERS} workers are busy at the same time in {named};" in notice
        assert most["a", True] == PARALLEL
        assert most["a", False] == (8 if named.endswith("rung)") else 0)


def test_enough_virtual_workers() -> None:
    assert idle_notice(spec_of(STAGES["tpe"][0]), PARALLEL) is None
    assert idle_notice(spec_of(STAGES["tpe"][0]), PARALLEL + 1) is not None
    assert "in a; a higher parallel" in str(idle_notice(spec_of({"timeout": 600}), WORKERS)), "nothing else limits it"
    reused = idle_notice(spec_of(STAGES["random"][0], duplicates="reuse"), WORKERS)
    assert reused is not None and " in a; " in reused, "the points to confirm train all at once"


def test_workers_of_the_study_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(7), raising=False)
    assert worker_count(cases.small(workers="auto")) == 7
    assert worker_count(cases.small(workers=3)) == 3


def test_check_and_run_say_it(call: Any, tmp_path: Path) -> None:
    changes = {
        "stages": [{"name": "a", "trials": 12, "sampler": "tpe"}],
        "train.epochs": 1,
        "parallel": 1,
        "workers": 2,
    }
    spec = cases.small(**changes)
    notice = idle_notice(spec, 2)
    assert f"note: {notice}\n" in call("check", cases.write(tmp_path, **changes)).err
    for workers in (None, 1, 3):  # the option counts, else the file
        options = Options(workers, "none", executor=lambda n, _: cases.HeldExecutor(lambda _: 0, workers=n))
        with Session(spec, url_of(str(tmp_path / f"{workers}.db")), options) as session:
            assert (idle_notice(spec, workers or 2) in session.notices) == (workers != 1)
