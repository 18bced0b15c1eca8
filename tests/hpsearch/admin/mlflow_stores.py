"""Small MLflow databases."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401

OLD = "f5a4f2784254"  # of MLflow 2.18


MAKE = """
import sys
import sqlalchemy as sa
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

engine = sa.create_engine(sys.argv[1])
sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
Base.metadata.create_all(engine)
config = _get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
"""


ROWS = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
    VALUES (1, 'small', 'file:///none', 'active', 1000, 1000), (2, 'later', 'file:///none', 'active', 2000, 2000);
INSERT INTO experiment_tags VALUES ('hpsearch.study', 'first', 1), ('hpsearch.study', 'second', 2);
INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time, end_time, source_type,
    entry_point_name, source_name, user_id, source_version, artifact_uri)
    VALUES ('r', 'coarse/0', 1, 'FINISHED', 'active', 5, 1500, 'LOCAL', '', '', 'me', '', 'file:///none/r');
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('objective', 0.5, 7, 'r', 0, 0);
INSERT INTO params VALUES ('beta', '0.9', 'r');
INSERT INTO tags VALUES ('hpsearch.trial', 'coarse/0', 'r');
"""


TABLES = """
CREATE TABLE alembic_version (version_num TEXT);
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT,
    creation_time INTEGER, last_update_time INTEGER);
CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, status TEXT, lifecycle_stage TEXT,
    start_time INTEGER, end_time INTEGER, source_type TEXT, entry_point_name TEXT, source_name TEXT, user_id TEXT,
    source_version TEXT, artifact_uri TEXT);
CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
"""


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(query).fetchall()
        connection.commit()
        return found
