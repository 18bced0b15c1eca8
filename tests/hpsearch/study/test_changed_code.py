"""Training code that has changed since a study began, through the commands."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from code_cases import LEARNS, content, write_code

from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture

CHANGED = LEARNS + "# changed\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_code(tmp_path, LEARNS)
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(content(train={"function": "train.py:train", "epochs": 2})), "utf-8")
    return path


def run(call: test_cli.Call, study: Path, *others: str) -> test_cli.Said:
    return call("run", study, "--tracking-uri", "none", *others)


def stored(database: Path) -> dict[str, bytes | None]:
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    try:
        return {file.name: file.content for file in storage.study.code()}
    finally:
        storage.close()


def test_refused_when_trials_depend_on_it(call: test_cli.Call, study: Path, tmp_path: Path) -> None:
    assert run(call, study).code == 0
    assert stored(tmp_path / "own.db")["train.py"] == (tmp_path / "train.py").read_bytes()
    write_code(tmp_path, CHANGED)
    for said in (run(call, study), call("resume", tmp_path / "own.db", "--tracking-uri", "none")):
        assert said.code == 2 and "the training code has changed since the study began (train.py)" in said.err
        assert "--fork NEWNAME" in said.err and "Traceback" not in said.err
    write_code(tmp_path, LEARNS)
    assert run(call, study).code == 0


def test_a_fork_with_other_code_reuses_nothing(call: test_cli.Call, study: Path, tmp_path: Path) -> None:
    assert run(call, study).code == 0
    write_code(tmp_path, CHANGED)
    said = run(call, study, "--fork", "second")
    assert said.code == 0 and "training code" in said.out + said.err
    assert stored(tmp_path / "second.db")["train.py"] == (tmp_path / "train.py").read_bytes()
    write_code(tmp_path, LEARNS)
    said = run(call, study, "--fork", "third")
    assert said.code == 0
    with closing(sqlite3.connect(tmp_path / "third.db")) as connection, connection:
        connection.execute("DELETE FROM hpsearch_trial WHERE stage != '@prior'")
        assert connection.execute("SELECT count(*) FROM hpsearch_trial").fetchone() == (4,)
    write_code(tmp_path, CHANGED)
    said = call("resume", tmp_path / "third.db", "--tracking-uri", "none")
    assert said.code == 2 and "the training code has changed" in said.err


def test_accepted_before_the_first_trial(call: test_cli.Call, study: Path, tmp_path: Path) -> None:
    assert run(call, study).code == 0
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection, connection:
        for table in ("trial", "champion", "stage"):  # as before the first trial
            connection.execute(f"DELETE FROM hpsearch_{table}")
    write_code(tmp_path, CHANGED)
    said = run(call, study)
    assert said.code == 0, said.err
    assert stored(tmp_path / "own.db")["train.py"] == (tmp_path / "train.py").read_bytes()


def test_an_import_error_is_one_line_and_can_be_mended(call: test_cli.Call, study: Path, tmp_path: Path) -> None:
    write_code(tmp_path, "import absent_module\n" + LEARNS.lstrip())
    said = run(call, study)
    assert said.code != 0 and "Traceback" not in said.err
    assert "train.py:1: ModuleNotFoundError: No module named 'absent_module'" in said.err
    write_code(tmp_path, LEARNS)
    assert run(call, study).code == 0
