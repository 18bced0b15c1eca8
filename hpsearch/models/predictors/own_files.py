"""Models of studies that the user's own code trains: a folder with what it saved, its parameters and its source files.

model.json      the function or the command, the trial, its parameters and scores
state-0.bin     what the code saved after the best step, for each fold
sources.zip     the source files, as they were when the study began
prepared.npz    the preprocessing, of a study with data

Loading such a folder runs no code. `hpsearch predict` runs `predict(params, state, rows)` of the function's module.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from hpsearch.config.spec import FunctionTraining, Spec, Train
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.records import StoredFile

OWN_FORMAT = 1  # of a folder of own code
MAX_CODE_FOLDS = 100
STATE_FILES = tuple(f"state-{fold}.bin" for fold in range(MAX_CODE_FOLDS))
OWN_FILES = ("model.json", "sources.zip", "prepared.npz", *STATE_FILES)


def own_code_files(
    spec: Spec,
    about: Mapping[str, Any],
    saved: Sequence[bytes | None],
    sources: Sequence[StoredFile],
    prepared: PreparedData | None,
) -> dict[str, bytes]:
    """Return name → content of the files of a trial that the user's own code has trained."""
    train = spec.train
    assert not isinstance(train, Train)
    function = train.function if isinstance(train, FunctionTraining) else None
    content = {"own_code": OWN_FORMAT, "trained_by": train.described, "function": function}
    content |= {"folds": len(saved), "about": dict(about)}
    files = {"model.json": f"{json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()}
    files |= {STATE_FILES[fold]: state for fold, state in enumerate(saved) if state is not None}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sources:
            if file.content is not None:
                parts = [part for part in PurePosixPath(file.name).parts if part not in ("/", "..")]
                target.writestr(zipfile.ZipInfo("/".join(parts), (1980, 1, 1, 0, 0, 0)), file.content)
    files["sources.zip"] = archive.getvalue()
    if prepared is not None:
        files["prepared.npz"] = prepared.to_bytes()
    return files
