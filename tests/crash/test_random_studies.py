"""Random valid studies: each runs to its end, resumes, changes, is forked, reported and exported, without a traceback.

The commands run in this process, where any exception that is not a message for the user fails the test.
"""

import json
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from random_studies import Content, random_change, random_study

from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary
from hpsearch.training.executors import Inline
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture
Call, Said = test_cli.Call, test_cli.Said

SHORT, CRASH, SOAK = 1, 16, 300
SEEDS = [
    *range(SHORT),
    *(pytest.param(seed, marks=pytest.mark.crash) for seed in range(SHORT, CRASH)),
    *(pytest.param(seed, marks=[pytest.mark.crash, pytest.mark.soak]) for seed in range(CRASH, SOAK)),
]
NO_MODEL = "error: no trial is complete, so there is no best model"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_study_ends(call: Call, tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    content = random_study(draw, tmp_path)
    print(json.dumps(content))
    run(call, content, executor=stopping(draw.randint(1, 6)))
    ends(call, content, "random.db")
    if seed % 3 == 0:
        reported(call, "random.db")
    changed = random_change(draw, content)
    print(json.dumps(changed))
    said = run(call, changed)
    if said.code != 2:
        ends(call, changed, "random.db", said)
        if seed % 3 == 1:
            reported(call, "random.db")
        return
    assert "cannot continue with these changes" in said.err, said  # they would have led to other trials
    ends(call, changed, "forked.db", run(call, changed, "--fork", "forked"))
    ends(call, content, "random.db")
    if seed % 3 == 2:
        reported(call, "forked.db")


def stopping(tasks: int) -> Any:
    """Return an executor that stops the study by Ctrl-C during one of its tasks."""
    left = [tasks]

    def run_task(task: Task) -> Outcome:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return advance(task)

    return lambda workers, scratch: Inline(workers, scratch, run_task)


def run(call: Call, content: Content, *others: str, executor: Any = "inline") -> Said:
    Path("random.yaml").write_text(json.dumps(content), "utf-8")
    said = call("run", "random.yaml", "--storage", "random.db", "--tracking-uri", "none", *others, executor=executor)
    assert said.code in (0, 2, 130) or (said.code == 1 and NO_MODEL in said.err), said
    return said


def ends(call: Call, content: Content, database: str, said: Said | None = None) -> None:
    """Check that the study runs to its end and no further, and that it can be shown and exported."""
    said = said or run(call, content)
    assert said.code in (0, 1), said
    found = summary(url_of(database))
    assert found.trained and {t.state for trials in found.trials for t in trials} <= {"complete", "pruned", "diverged"}
    assert call("resume", database, "--tracking-uri", "none").code == said.code
    assert summary(url_of(database)).rows == found.rows
    assert len(json.loads(call("show", database, "--json").out)["stages"]) == len(content["stages"])
    assert call("show", database, "--csv").out.count("\n") == 1 + sum(map(len, found.trials))
    exported = call("export", database, "--to", f"{database}-model")
    assert exported.code == (2 if said.code else 0), exported


def reported(call: Call, database: str) -> None:
    """Check that text and page can be made of the study; most of the time goes into the page's charts."""
    assert call("show", database, "--all").code == 0
    assert call("report", database, "--no-png").code == 0
