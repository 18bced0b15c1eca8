"""The upgrade of MLflow's database, and that it changes nothing if it fails."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.tracking.mlflow.database import installed_revisions
from tests.hpsearch.admin.mlflow_stores import OLD, ask
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401


def test_earlier_backup_stays(call: Call, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A backup of the same second prevents the upgrade and is not removed with the remains of the attempt."""
    ask(store, f"UPDATE alembic_version SET version_num = '{OLD}'")
    monkeypatch.setattr("hpsearch.admin.mlflow_upgrade.time.strftime", lambda _: "now")
    earlier, before = store.with_name("mlflow-now.db"), store.read_bytes()
    earlier.write_bytes(b"an earlier copy")
    refused(call("db", "upgrade"), "mlflow-now.db", "exists", "was not changed")
    assert earlier.read_bytes() == b"an earlier copy" and store.read_bytes() == before
    assert {p.name for p in store.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock", earlier.name}


@pytest.mark.crash
def test_upgrade(call: Call, older: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The upgraded database has all rows and the expected schema, and a checked backup stays."""
    older.chmod(0o640)
    with closing(sqlite3.connect(older)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("hpsearch.admin.mlflow_upgrade.OPEN_TIMEOUT", 0.1)
        refused(call("db", "upgrade"), "has it open")
    said = call("db", "upgrade")
    assert said.code == 0 and said.err == ""
    assert f"{OLD} to {installed_revisions()[0]}" in said.out
    (backup,) = older.parent.glob("mlflow-*.db")
    assert str(backup) in said.out
    for path, version in ((older, installed_revisions()[0]), (backup, OLD)):
        assert ask(path, "SELECT version_num FROM alembic_version") == [(version,)]
        assert ask(path, "SELECT key, value FROM metrics") == [("objective", 0.5)]
        assert ask(path, "SELECT key, value FROM params") == [("beta", "0.9")]
        assert ask(path, "SELECT value FROM tags WHERE key = 'hpsearch.trial'") == [("coarse/0",)]
        assert ask(path, "PRAGMA integrity_check") == [("ok",)] and path.stat().st_mode & 0o777 == 0o640
    assert ask(older, "PRAGMA journal_mode") == [("wal",)]
    assert {p.name for p in older.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock", backup.name}
    assert "nothing to do" in call("db", "upgrade").out


@pytest.mark.crash
def test_upgrade_that_fails(call: Call, older: Path) -> None:  # noqa: F811
    """The database is not changed, and no other file is left."""
    ask(older, "DROP TABLE metrics")
    before = older.read_bytes()
    refused(call("db", "upgrade"), "could not upgrade a copy", "was not changed", "Error")
    assert older.read_bytes() == before
    assert {p.name for p in older.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
