"""The cost of resuming: checkpoints and leases, as a share of a study's time."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import paths
import pytest
import sqlalchemy as sa

from engine.training.state import State
from hpsearch.config.load import load_spec
from hpsearch.data.dataset import prepare
from hpsearch.training.executors import Inline

STUDY = paths.STUDIES / "digits.yaml"
OURS = ("hpsearch_checkpoint", "hpsearch_lease", "hpsearch_stage")


class Clock:
    """Measures the seconds spent on checkpoints and leases: packing, unpacking, their statements, and their commits."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._others = False

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **others: Any) -> Any:
            begun = time.perf_counter()
            try:
                return call(*arguments, **others)
            finally:
                self.seconds[name] += time.perf_counter() - begun

        return wrapped

    def before(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        connection.info["begun"] = time.perf_counter()
        self._others |= not any(table in statement for table in OURS)

    def after(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if any(table in statement for table in OURS):
            self.seconds["statements"] += time.perf_counter() - connection.info["begun"]

    def commit(self, commit: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            begun, others, self._others = time.perf_counter(), self._others, False
            commit(*arguments)
            if not others:
                self.seconds["commits"] += time.perf_counter() - begun

        return wrapped


@pytest.mark.experiments
def test_checkpoints_and_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits study with pruning and confirmation, trained in this process."""
    clock = Clock()
    spec, _ = load_spec(STUDY)
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    monkeypatch.setattr(State, "to_bytes", clock.timed("packing", State.to_bytes))
    monkeypatch.setattr(State, "from_bytes", clock.timed("unpacking", State.from_bytes))
    dialect = type(sa.create_engine("sqlite://").dialect)
    monkeypatch.setattr(dialect, "do_commit", clock.commit(dialect.do_commit))
    sa.event.listen(sa.Engine, "before_cursor_execute", clock.before)
    sa.event.listen(sa.Engine, "after_cursor_execute", clock.after)
    try:
        begun = time.perf_counter()
        study = cases.run(spec, dataset, tmp_path / "digits.db", Inline())
        whole = time.perf_counter() - begun
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", clock.before)
        sa.event.remove(sa.Engine, "after_cursor_execute", clock.after)
    assert all(clock.seconds[name] > 0 for name in ("packing", "unpacking", "statements", "commits"))
    assert any(r.state == "pruned" for records in study.trials for r in records)
    share = sum(clock.seconds.values()) / whole
    print(f"checkpoints and leases: {share:.1%} of {whole:.1f} s", dict(clock.seconds))
    assert share < 0.05
