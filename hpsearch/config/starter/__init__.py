"""A first study file for a table (`hpsearch init`): an expert's first choices, with the reason for each."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.config.load import load_spec
from hpsearch.config.schema import SCHEMA_FILE, TITLE, write_schema
from hpsearch.config.starter.defaults import choose_split
from hpsearch.config.starter.text import study_text, summary_lines
from hpsearch.core.atomic import write_atomic
from hpsearch.core.files.temporary import private_folder
from hpsearch.data.dataset import prepare
from hpsearch.data.profile import TaskType, profile_table
from hpsearch.data.sources import SOURCES
from hpsearch.errors import OutputError, SpecError


class StarterFiles(NamedTuple):
    """The files that were written.

    Attributes:
        study: the study file.
        schema: its JSON Schema, in the same folder.
        summary: the choices, one line each.
    """

    study: Path
    schema: Path
    summary: tuple[str, ...]


def write_study_file(
    data: Path,
    target: str | None,
    out: Path | None,
    test: Path | None,
    task: TaskType | None,
    *,
    header: bool | None = None,
    encoding: str | None = None,
    force: bool,
) -> StarterFiles:
    """Write a study file for a table, and its JSON Schema to the same folder.

    The data are prepared once before, so that the study is known to run.

    Args:
        data: the table, a CSV or Parquet file.
        target: the column to predict: its name or its position.
        out: the study file; by default `<data>.yaml` in the current folder.
        test: a file of test rows.
        task: derived from the target by default.
        header: the first line holds the names of the columns; guessed by default.
        encoding: of a text file; guessed by default.
        force: overwrite files that exist.

    Raises:
        DataError: the table cannot be read, or no model can be trained on it.
        OutputError: a file exists already, or cannot be written.
    """
    stem = re.sub(r"\.(gz|zip)$", "", data.name).rpartition(".")[0] or data.name
    out = out or Path(f"{stem}.yaml")
    schema = out.with_name(SCHEMA_FILE)
    _check_out(out, (data, test), force)
    _check_schema(schema, force)
    profile = profile_table(data, target, test, task, header, encoding)
    with private_folder() as folder:
        split = choose_split(profile)
        settings = {**profile.settings, "split": split}
        dataset, _ = prepare(SOURCES[settings["source"]].model_validate(settings), 0, folder)
        text = study_text(profile, dataset, split, out, study_name(out))
        _check_text(text, folder, settings)
    try:
        write_atomic(out, text, replace=force)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    write_schema(schema)
    return StarterFiles(out, schema, tuple(summary_lines(profile, dataset, split)))


def study_name(out: Path) -> str:
    """Return the name of the study, and so of its database, from the name of its file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.stem).strip("-_")[:100] or "study"


def _check_out(out: Path, inputs: Sequence[Path | None], force: bool) -> None:
    try:
        same = any(other is not None and os.path.realpath(out) == os.path.realpath(other) for other in inputs)
        exists = out.exists()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise OutputError(f"{out}: cannot be written: {error}") from None
    if same:
        raise OutputError(f"{out}: is the table itself; choose another file: --out")
    if exists and not force:
        raise OutputError(f"{out}: exists already; choose another file: --out, or overwrite it: --force")


def _check_schema(schema: Path, force: bool) -> None:
    """Raise an error if another file has the name of the schema; a schema of hpsearch is replaced."""
    if force or not schema.exists():
        return
    try:
        content = json.loads(schema.read_text("utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or content.get("title") != TITLE:
        raise OutputError(f"{schema}: exists already and is not a schema of hpsearch; overwrite it: --force")


def _check_text(text: str, folder: Path, data: Mapping[str, Any]) -> None:
    """Check that a study file loads and has these data settings.

    Raises:
        RuntimeError: the check fails, which is a bug of hpsearch.
    """
    draft = folder / "study.yaml"
    draft.write_text(text, "utf-8")
    try:
        spec, _ = load_spec(draft)
    except SpecError as error:
        raise RuntimeError(f"hpsearch init wrote a study file that does not load: {error}") from error
    expected = SOURCES[data["source"]].model_validate(data)
    loaded = {key: getattr(spec.data, key) for key in data}
    if loaded != {key: getattr(expected, key) for key in data}:
        raise RuntimeError(f"hpsearch init wrote a study file with other data settings: {loaded}")
