"""A process that runs one study again and again, each time in a child that exits hard at another database commit.

Run: python killed.py FOLDER FIRST STEP [rich]: the kills FIRST, FIRST + STEP, … until a run gets through, of the small
study or, with conditional parameters, given points, dropout and batch norm, of the rich one. The children are
forked after everything is imported, so that a kill costs little more than the trials it loses. Each kill is followed
by a run that goes on; a line `n same|other` says whether the table is then that of an unbroken study.
"""

import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "hpsearch"))

import cases

from hpsearch.dataset import Dataset, prepare
from hpsearch.spec import Spec
from hpsearch.stages import reused

KILLED = 9
# Some trials diverge; still TPE is beyond its ten start-up trials, and a wave of its stage is not full.
CHANGES: dict[str, Any] = {
    "train.epochs": 2,
    "parameters.learning_rate.max": 1e16,
    "stages.0.trials": 13,
    "stages.1.trials": 7,
    "stages.1.zoom": {"keep_top": 0.9, "margin": 0.2},
}


def child(spec: Spec, dataset: Dataset, database: Path, limit: int) -> int:
    """Runs the study in a fork, which exits at its `limit`-th commit, before it is written; never for limits below 0.

    Trials end in an order that depends on the limit.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = 0

    def commit(_connection: sa.Connection) -> None:
        nonlocal count
        count += 1
        if count == limit:
            os._exit(KILLED)

    code = 1
    try:
        sa.event.listen(sa.Engine, "commit", commit)
        executor = cases.Held(random.Random(str(limit)).randrange)
        with cases.opened(spec, dataset, database, executor) as study:
            cases.drive(study, executor)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(folder: Path, first: int, step: int, changes: dict[str, Any]) -> None:
    spec = cases.small(**changes)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    study = cases.run(spec, dataset, folder / "unbroken.db")  # here: the children need not import what it imports
    assert cases.rows(study)[-1].stage == "fine" and len(reused(study.space, study.boxes[1], study.records[:1])) > 10
    assert {r.state for r in cases.rows(study)} >= ({"complete", "diverged"} if changes is CHANGES else {"complete"})
    unbroken = cases.table(folder / "unbroken.db")
    limit = first
    while True:
        database = folder / f"{limit}.db"
        code = child(spec, dataset, database, limit)
        if code == 0:
            break
        again = child(spec, dataset, database, -limit) if code == KILLED else code
        verdict = f"exit code {again}" if again else "same" if cases.table(database) == unbroken else "other"
        print(limit, verdict, flush=True)
        database.unlink()
        limit += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), cases.RICH if sys.argv[4:] == ["rich"] else CHANGES)
