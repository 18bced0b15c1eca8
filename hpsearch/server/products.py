"""The products of a study: its report, model, predictions and log. Slow steps run in processes of their own."""

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.admin.supervisor import error_line
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.resources import limit_memory, physical_memory
from hpsearch.errors import DataError, ServerError
from hpsearch.models.export import champion_model
from hpsearch.models.model import Model
from hpsearch.server.places import Places, TooLarge, checked_name
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import summary

if TYPE_CHECKING:
    from hpsearch.server.live.views import View

SHOWN_LOG_BYTES = 100_000
COMMAND_SECONDS, COMMAND_MEMORY = 300.0, 4 << 30  # for a command; bytes that it may allocate
MAX_JSON = 1 << 22  # bytes of rows, whose text is parsed without a break
MAX_PREDICTED = 100_000  # to predict at once
KEPT_MODELS = 8
_MAKING = threading.Lock()  # one report or model is made at a time
_MODELS: OrderedDict[tuple[str, str], Model] = OrderedDict()
_MODELS_LOCK = threading.Lock()
_COMMANDS: set[subprocess.Popen[str]] = set()  # that run


def log(places: Places, id: str) -> str:
    """Return the end of the log of a study; empty before it has begun."""
    file = places.study(id) / "log"
    if not file.exists():
        return ""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - SHOWN_LOG_BYTES))
        return content.read().decode("utf-8", "replace")


def checked_view(view: "View") -> "View":
    """Return a view of a study whose folder is there.

    Raises:
        ServerError: the study is archived.
    """
    if view.submission.archived is not None:
        raise ServerError(f"study {view.submission.id} is archived; restore it first")
    return view


def trials_csv(places: Places, view: "View") -> str:
    """Return all trials of a study as CSV; empty before it has begun."""
    from hpsearch.report.export import as_csv

    return "" if view.study is None else as_csv(summary(places.database(view.submission.id)))


def study_file(places: Places, name: str, digest: str, target: str | None) -> str:
    """Return a study file for an upload, as `hpsearch init` writes it.

    Raises:
        DataError: no study can be made of the table.
        ServerError: the upload does not exist, or its name is not valid.
    """
    upload = places.upload(digest)
    if not upload.is_file():
        raise ServerError(f"upload {digest}: not found")
    with private_folder(places.root) as folder:
        os.link(upload, folder / checked_name(name))
        options = [f"--target={target}"] if target is not None else []
        out = f"{name.partition('.')[0]}.yaml"
        _run(folder, "init", name, "--out", out, *options)
        return (folder / out).read_text("utf-8")


def report(places: Places, id: str) -> Path:
    """Return the report of a study, which is made again after its database has changed.

    Raises:
        DataError: the study has not begun.
    """
    folder = _begun(places, id)
    with _MAKING:
        if _is_older(folder / "report.html", folder):
            _run(folder, "report", "study.db", "--no-png", "--out", "report.html")
    return folder / "report.html"


def model_archive(places: Places, id: str) -> Path:
    """Return the best model of a study as a ZIP archive.

    Raises:
        DataError: the study has no model yet.
    """
    folder = _begun(places, id)
    with _MAKING:
        if _is_older(folder / "model.zip", folder):
            _run(folder, "export", "study.db", "--to", "model")
            draft = folder / "model.zip.part"
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted((folder / "model").iterdir()):
                    archive.write(file, f"model/{file.name}")
            draft.replace(folder / "model.zip")
    return folder / "model.zip"


def onnx_file(places: Places, id: str) -> Path:
    """Return the best model of a study in the format ONNX.

    Raises:
        DataError: the study has no model yet, or the package onnx is not installed on the server.
    """
    folder = _begun(places, id)
    with _MAKING:
        if _is_older(folder / "model" / "model.onnx", folder):
            _run(folder, "export", "study.db", "--to", "model", "--onnx")
    return folder / "model" / "model.onnx"


def columns(view: "View", places: Places) -> dict[str, Any]:
    """Return what the model reads and predicts, for a form.

    Raises:
        DataError: the study has no model yet.
    """
    model = _model(view, places)
    preprocessing = model.preprocessing[0]
    known = preprocessing.categorical
    return {
        "columns": [
            {"name": name, "categories": list(known[name].columns) if name in known else None}
            for name in model.features
        ],
        "classes": list(model.classes),
        "example": preprocessing.input_format.get("example"),
    }


def predict_json(view: "View", places: Places, body: bytes) -> list[dict[str, Any]]:
    """Return the predictions for rows in JSON: a list of objects with the model's columns.

    Raises:
        DataError: the rows are not valid, or there is no model yet.
    """
    import pandas as pd

    if len(body) > MAX_JSON:
        raise TooLarge(f"rows in JSON must have at most {MAX_JSON:,} bytes; send them as CSV")
    try:
        rows = json.loads(body)
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("must be a list of objects, one for each row")
        if len(rows) > MAX_PREDICTED:
            raise ValueError(f"must have at most {MAX_PREDICTED:,} rows")
        frame = pd.DataFrame(rows)
    except (ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"rows: {error}") from None
    found: list[dict[str, Any]] = _model(view, places).predictions(frame).to_dict("records")
    return json.loads(json.dumps(found, default=float))  # type: ignore[no-any-return]


def predict_csv(view: "View", places: Places, body: bytes) -> str:
    """Return the predictions for rows in CSV with a header, as CSV.

    Raises:
        DataError: the rows are not valid, or there is no model yet.
    """
    from hpsearch.models.prediction import predict_file

    if body.count(b"\n") > MAX_PREDICTED + 1:
        raise DataError(f"rows: must have at most {MAX_PREDICTED:,} rows")
    model = _model(view, places)
    with private_folder() as folder:
        (folder / "rows.csv").write_bytes(body)
        try:
            predict_file(model, folder / "rows.csv", folder / "out.csv")
        except DataError as error:
            raise DataError(str(error).replace(f"{folder}/", "")) from None
        return (folder / "out.csv").read_text("utf-8")


def _model(view: "View", places: Places) -> Model:
    """Return the best model so far, which is kept in memory."""
    study = view.study
    if study is None or study.champion is None:
        raise DataError("the study has no model yet")
    champion, spec = study.champion, study.spec
    key = view.submission.id, f"{champion.label} {champion.finished}"
    with _MODELS_LOCK:
        if key not in _MODELS:

            def load(database: StudyDatabase) -> Model:
                stored = database.weights.find(champion)
                if stored is None:
                    raise DataError("the model of the study is being replaced; try again")
                return champion_model(spec, database, champion, stored)

            _MODELS[key] = read(places.database(view.submission.id), load, check=False)
            if len(_MODELS) > KEPT_MODELS:
                _MODELS.popitem(last=False)
        _MODELS.move_to_end(key)
        return _MODELS[key]


def _begun(places: Places, id: str) -> Path:
    folder = places.study(id)
    if not (folder / "study.db").exists():
        raise DataError("the study has not begun")
    return folder


def _is_older(file: Path, folder: Path) -> bool:
    """Return whether a file is older than the database in a folder, or does not exist."""
    if not file.exists():
        return True
    parts = (folder / name for name in ("study.db", "study.db-wal"))
    return any(part.exists() and part.stat().st_mtime_ns > file.stat().st_mtime_ns for part in parts)


def end_commands() -> None:
    """End the commands that run, because the server ends."""
    for process in list(_COMMANDS):
        process.kill()


def _run(folder: Path, *arguments: str) -> None:
    """Run a command of hpsearch in a folder.

    Raises:
        DataError: it fails; the message is that of the command.
        ServerError: it takes too long.
    """
    command = [sys.executable, "-m", "hpsearch", *arguments]
    environment = os.environ | {"PYTHONSAFEPATH": "1"}  # modules are not imported from the folder
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes) as process:
        limit_memory(process.pid, min(COMMAND_MEMORY, physical_memory() // 2))  # a small file may expand to a large one
        _COMMANDS.add(process)
        try:
            said = process.communicate(timeout=COMMAND_SECONDS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise ServerError(f"{arguments[0]} has taken more than {COMMAND_SECONDS:.0f} seconds") from None
        finally:
            _COMMANDS.discard(process)
    if process.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        raise DataError(error_line(lines).removeprefix("error: "))
