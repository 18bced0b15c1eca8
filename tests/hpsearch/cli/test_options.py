"""Output in encodings that lack characters."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import cases
import pytest

from hpsearch import cli
from hpsearch.cli.options import ended_by_signals, signals_recorded
from hpsearch.config import schema
from tests.hpsearch import test_cli

call = test_cli.call


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_in_other_encodings(
    encoding: str, call: test_cli.Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Characters that the encoding lacks are printed as question marks."""
    assert call("run", cases.write(tmp_path, **test_cli.SHORT), "--tracking-uri", "none").code == 0
    replaced = {"ascii": (True, True), "latin-1": (True, False), "utf-8": (False, False)}[encoding]
    for command, code, marked in ((("show", "small.db"), 0, replaced[0]), (("check", "größe.yaml"), 2, replaced[1])):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2)]
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            for name, stream in zip(("stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            patch.setattr(sys, "argv", ["hpsearch", *command])
            cli.main("inline")
        said = b""
        for stream in streams:
            stream.flush()
            said += stream.buffer.getvalue()  # type: ignore[attr-defined]
        assert (end.value.code or 0) == code and (b"?" in said) == marked, said.decode(encoding)


LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.crash
def test_commands_in_the_c_locale(tmp_path: Path) -> None:
    """A study, its report and its model in a folder whose name is not ASCII."""
    folder = tmp_path / "größe"
    folder.mkdir()
    (folder / "small.yaml").write_text(cases.write(tmp_path, **test_cli.SHORT).read_text("utf-8"), "utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("LC_")} | LOCALE
    for command in (
        ["run", folder / "small.yaml", "--tracking-uri", "none"],
        ["show", folder / "small.db", "--all"],
        ["report", folder / "small.db", "--no-png"],
        ["export", folder / "small.db", "--to", folder / "model"],
    ):
        done = subprocess.run(
            [test_cli.COMMAND, *command], cwd=tmp_path, capture_output=True, env=env, timeout=120, check=False
        )
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (command, done)


ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_any_command_as_ctrl_c_does(
    number: signal.Signals, call: test_cli.Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drafts are removed on the way; without a handler the process would end at once."""
    reached: list[str] = []

    def interrupted() -> str:
        try:
            signal.raise_signal(number)
        finally:
            reached.append("removed")
        return ""

    monkeypatch.setattr(schema, "schema_text", interrupted)
    assert call("schema").code == 130 and reached == ["removed"]
    assert signal.getsignal(number) is signal.SIG_DFL


def test_the_current_folder_was_deleted(call: test_cli.Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = call("doctor")
    assert said.code == 2 and said.err.startswith("error: the current folder was deleted")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As SIGHUP is under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals(), signals_recorded() as caught:
            signal.raise_signal(signal.SIGHUP)
            assert not caught
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_is_recorded() -> None:
    with ended_by_signals(), signals_recorded() as caught:
        signal.raise_signal(signal.SIGHUP)
    assert caught == [signal.SIGHUP]
