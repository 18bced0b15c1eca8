"""Hostile names: text from any source is refused in one message, or it is data and never interpreted."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from tests.crash.test_files import LONGEST, harmless
from tests.hpsearch import test_cli

call = test_cli.call

HOSTILE = {
    "path": "../x",
    "far path": "../../../../../../tmp/x",
    "absolute path": "/x/y",
    "inner path": "a/../../b",
    "dot": ".",
    "dots": "..",
    "hidden": ".x",
    "sql": "'; drop table hpsearch_trial; --",
    "html": "<script>alert(1)</script>",
    "shell": "$(touch x)`touch y`; touch z",
    "format": "{0}%s%n{name!r}",
    "markup": "[red]a[/red]",
    "open markup": "[red]a",
    "closing markup": "[/]",
    "link": "[link=http://x]a[/link]",
    "colors": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "8-bit": "\x9b31m",
    "zero byte": "a\0b",
    "new line": "a\nerror: nothing",
    "return": "ok\rwrong",
    "backspace": "ab\b\b",
    "right to left": "\u202egnp.exe",
    "invisible": "a\u200bb",
    "separator": "a\u2028b",
    "half a character": "a\ud800",
    "other bytes": os.fsdecode(b"\xff\xfe"),
    "wide": "学習率 🙂",
    "raised digit": "²",
    "other digit": "١",
    "combined": "a" + "\u0301" * 50,
    "empty": "",
    "blank": " ",
    "long": "x" * 10_000,
    "long words": "ab " * 3_000,
}
TINY: dict[str, Any] = {
    "train.epochs": 1,
    "train.early_stopping": None,
    "stages": [{"name": "one", "trials": 2}],
    "workers": 1,
}


def parameter(text: str) -> dict[str, Any]:
    """Return settings of a study that searches the units under that name."""
    known = cases.CONTENT["parameters"]
    renamed = {text if name == "hidden_units" else name: p for name, p in known.items()}
    return {"model": {"hidden": [{"units": text, "activation": "tanh"}]}, "parameters": renamed}


LABELS = (
    *("path", "sql", "markup", "colors", "zero byte", "new line", "right to left", "half a character", "other bytes"),
    *("empty", "long"),
)

# Places of text in a study file.
PLACES: dict[str, Any] = {
    "study": lambda text: {"name": text},
    "stage": lambda text: {"stages": [{"name": text, "trials": 2}]},
    "parameter": parameter,
    "unused parameter": lambda text: {f"parameters.{text.replace('.', '_')}": {"min": 1, "max": 2}},
    "value": lambda text: {"train.optimizer": "kind", "parameters.kind": {"values": ["momentum", text]}},
    "fixed value": lambda text: {"parameters.l2": text},
    "setting": lambda text: {"train.optimizer": text},
    "key": lambda text: {"train.optimizer": {"name": "momentum", text: 1}},
    "point": lambda text: {"stages": [{"name": "one", "points": [{text: 1}]}]},
    "value of a point": lambda text: {"stages": [{"name": "one", "points": [{"learning_rate": text}]}]},
    "source": lambda text: {"data.source": text},
    "time": lambda text: {"stages": [{"name": "one", "trials": 2, "timeout": text}]},
    "file of data": lambda text: {"data": {"source": "npz", "path": text}},
    "array": lambda text: {"data": {"source": "npz", "path": "rows.npz", "x": text}},
}


def refused(said: test_cli.Said) -> None:
    """Check that there is one message, which is printable."""
    assert said.code == 2 and said.out == "", said
    assert said.err.startswith("error: ") and harmless(said.err) and len(said.err) < LONGEST
    assert "Traceback" not in said.err


def works(call: test_cli.Call, folder: Path, *run: str | Path) -> dict[str, Any] | None:
    """Return the output of `show --json` after a whole study; None if it was refused."""
    above = sorted(p.name for p in folder.parent.iterdir())
    before = set(folder.iterdir())
    said = call("run", *run, "--tracking-uri", "none")
    found: dict[str, Any] | None = None
    if said.code == 2:
        refused(said)
    else:
        assert said.code == 0, said
        made = {p for p in set(folder.iterdir()) - before if p.name.endswith(".db")}
        assert len(made) == 1
        (database,) = made
        shown = [call("show", database), call("show", database, "--all"), call("show", database, "--json")]
        shown.append(call("resume", database, "--tracking-uri", "none"))
        for one in (said, *shown):
            assert one.code == 0 and harmless(one.out + one.err), one
        found = test_cli.strict(shown[2].out)
        assert [t["state"] for t in found["trials"]] == ["complete", "complete"]
    assert sorted(p.name for p in folder.parent.iterdir()) == above
    left = {p.name.split(".db")[0] for p in set(folder.iterdir()) - before}
    assert len(left) <= 1
    return found


@pytest.mark.parametrize("place", PLACES)
def test_in_a_study_file(place: str, call: test_cli.Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in enumerate(HOSTILE.values()):
        folder = tmp_path / str(number) / "in"
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        np.savez("rows.npz", x=np.eye(4), y=np.arange(4))
        found = works(call, folder, cases.write(folder, **{**TINY, **PLACES[place](text)}))
        fine = ["²", "١"] if place == "parameter" else []
        assert found is None or place not in ("study", "stage", "parameter") or text in fine, text


@pytest.mark.parametrize("name", ["a", "a b", "A.b-c_d 0", "a" * 100])
def test_odd_names_that_are_allowed(name: str, call: test_cli.Call, tmp_path: Path) -> None:
    parameters = parameter("läge: a/b.c-d_e 1")
    found = works(call, tmp_path, cases.write(tmp_path, **TINY, **parameters, name=name))
    assert found is not None and found["study"] == name


@pytest.mark.parametrize("hostile", LABELS)
def test_labels(hostile: str, call: test_cli.Call, tmp_path: Path) -> None:
    """Names of classes in a data file."""
    rows, text = np.random.default_rng(0).normal(size=(60, 2)), HOSTILE[hostile]
    np.savez(tmp_path / "rows.npz", x=rows, y=np.array([text, "b", "c"] * 20))
    study = cases.write(tmp_path, **TINY, data={"source": "npz", "path": str(tmp_path / "rows.npz")})
    found = works(call, tmp_path, study)
    assert (found is None) == (hostile in ("half a character", "other bytes"))


def test_labels_beyond_unicode(call: test_cli.Call, tmp_path: Path) -> None:
    """Four-byte labels with any code points."""
    labels = np.array([0x7FFFFFFF, 98, 99] * 20, np.uint32).view("<U1")
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(60, 2)), y=labels)
    study = cases.write(tmp_path, **TINY, data={"source": "npz", "path": str(tmp_path / "rows.npz")})
    assert works(call, tmp_path, study) is None


def name_of_file(text: str) -> bool:
    return (
        bool(text.strip()) and "/" not in text and "\0" not in text and len(os.fsencode(text)) < 200 and text[0] != "."
    )


WHOLE = (
    "sql",
    "shell",
    "format",
    "open markup",
    "colors",
    "8-bit",
    "new line",
    "other bytes",
)  # and the study runs
FILES = [name for name, text in HOSTILE.items() if name != "half a character" and name_of_file(text)]


@pytest.mark.parametrize("hostile", WHOLE)
def test_existing_data_files(hostile: str, call: test_cli.Call, tmp_path: Path) -> None:
    path = tmp_path / f"{HOSTILE[hostile]}.npz"
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(60, 2)), y=np.arange(60) % 3)
    (tmp_path / "rows.npz").rename(path)
    found = works(call, tmp_path, cases.write(tmp_path, **TINY, data={"source": "npz", "path": str(path)}))
    assert found is None or found["spec"]["data"]["path"] == str(path)


@pytest.mark.parametrize("hostile", FILES)
def test_study_files(hostile: str, call: test_cli.Call, tmp_path: Path) -> None:
    path = cases.write(tmp_path, **TINY).rename(tmp_path / f"{HOSTILE[hostile]}.yaml")
    said = call("check", path)
    assert said.code == 0 and harmless(said.out + said.err), said
    path.write_text(path.read_text().replace('"trials": 2', '"n_trials": 2, "x": 3'))
    refused(call("check", path))


@pytest.mark.parametrize("hostile", WHOLE)
def test_databases(hostile: str, call: test_cli.Call, tmp_path: Path) -> None:
    """A database file of that name, or a refusal."""
    study = cases.write(tmp_path, **TINY)
    works(call, tmp_path, study, "--storage", tmp_path / f"{HOSTILE[hostile]}.db")


@pytest.mark.parametrize("form", ["{}", "sqlite:///none/{}", "{}://x/y", "postgresql://{}", "sqlite:///none/a?{}=1"])
def test_invalid_database_names(form: str, call: test_cli.Call) -> None:
    for text in HOSTILE.values():
        if text and "\0" not in text:  # impossible on a command line
            refused(call("show", form.replace("{}", text)))
            refused(call("resume", form.replace("{}", text), "--tracking-uri", "none"))


@pytest.mark.parametrize("form", ["{}", "{}=1", "train.{}=1", "parameters.{}=1", "stages.{}=1", "train.optimizer={}"])
def test_set(form: str, call: test_cli.Call, tmp_path: Path) -> None:
    study = cases.write(tmp_path, **TINY)
    for text in HOSTILE.values():
        said = call("check", study, "--set", form.replace("{}", text))
        if said.code:
            refused(said)
        assert harmless(said.out + said.err)


def test_a_tampered_database(call: test_cli.Call, tmp_path: Path) -> None:
    """Messages of failed trials are shown as text."""
    study = cases.write(tmp_path, **TINY)
    assert call("run", study, "--tracking-uri", "none").code == 0
    with closing(sqlite3.connect(tmp_path / "small.db")) as connection:
        connection.execute(
            "UPDATE hpsearch_trial SET state = 'failed', value = NULL, error = ? WHERE number = 1",
            ("[red]\x1b]0;owned\x07\x1b[2J[/] \u202e" + "x" * 100_000,),
        )
        connection.commit()
    for arguments in ((), ("--all",), ("--json",)):
        said = call("show", tmp_path / "small.db", *arguments)
        assert said.code == 0 and harmless(said.out + said.err)
        assert "[red]" in said.out and (arguments or len(said.out) < LONGEST)


@pytest.mark.crash
def test_names_in_mlflow(call: test_cli.Call, tmp_path: Path) -> None:
    """The oddest allowed names, and arbitrary labels."""
    labels = [HOSTILE["html"], HOSTILE["sql"], HOSTILE["colors"]]
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(60, 2)), y=np.array(labels * 20))
    odd = "läge: a/b.c-d_e " + "x" * 184
    names = parameter(odd) | {"name": "A.b-c_d 0", "data": {"source": "npz", "path": str(tmp_path / "rows.npz")}}
    study = cases.write(tmp_path, **TINY, **names)
    process = test_cli.subprocess.run(
        [test_cli.COMMAND, "run", study, "--quiet"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, ""), process
    with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM params WHERE key = ?", (odd,)).fetchone() == (2,)
    (model,) = (tmp_path / "mlruns").rglob("model.json")
    assert json.loads(model.read_text("utf-8"))["classes"] == sorted(labels)
    left = {p.name for p in tmp_path.iterdir()}
    assert left <= {
        "rows.npz",
        "small.yaml",
        "mlruns",
        *(f"A.b-c_d 0.db{end}" for end in ("", ".lock", "-wal", "-shm")),
    }
