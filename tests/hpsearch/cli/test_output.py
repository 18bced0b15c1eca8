"""Standard output that is closed or full: a study continues; other commands end with one line."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch import cli
from hpsearch.cli.options import say
from hpsearch.cli.output import guarded_output, make_output_optional, output_warning
from hpsearch.errors import OutputError

SHORT: dict[str, Any] = {
    "data": {"source": "formula", "name": "moons", "rows": 60},
    "train.epochs": 2,
    "stages": [{"name": "coarse", "trials": 4, "sampler": "random"}],
}


class Broken(io.BytesIO):
    """A stream that fails after a number of bytes."""

    def __init__(self, number: int, space: int = 0) -> None:
        super().__init__()
        self.number = number
        self.space = space

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.space:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(data)


def broken(monkeypatch: pytest.MonkeyPatch, name: str, number: int, space: int = 0) -> Broken:
    stream = Broken(number, space)
    monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, "utf-8", write_through=True))
    return stream


def test_a_reader_that_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = broken(monkeypatch, "stdout", errno.EPIPE, 6)
    before = sys.stdout
    with guarded_output():
        for line in ("first", "second", "third"):
            say(line)
        assert output_warning() is None
    assert stream.getvalue() == b"first\n" and sys.stdout is before


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, unless the output is optional; what follows is dropped."""
    broken(monkeypatch, "stdout", errno.ENOSPC)
    with pytest.raises(OutputError, match="standard output: cannot be written: No space left"), guarded_output():
        say("result")
    with guarded_output():
        make_output_optional()
        say("result")
        say("more")
        assert output_warning() == "standard output could not be written: No space left on device"
    assert output_warning() is None


def test_no_error_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is finalized at any time after its end; Python 3.13 prints what a finalizer raises."""
    stream = broken(monkeypatch, "stdout", errno.ENOSPC)
    with pytest.raises(OutputError), guarded_output():
        guard, buffer = sys.stdout, sys.stdout.buffer
        say("result")
    with pytest.raises(ValueError, match="detached"):
        guard.flush()
    stream.close()
    buffer.close()


def test_standard_error_is_always_optional(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken(monkeypatch, "stderr", errno.ENOSPC)
    with guarded_output():
        say("note", err=True)
        say("result")
    assert capsys.readouterr().out == "result\n"


def test_a_pipe_that_is_not_ready_may_become_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = broken(monkeypatch, "stdout", errno.EAGAIN)
    with guarded_output():
        say("lost")
        stream.space = 100
        say("written")
    assert stream.getvalue() == b"written\n"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_study_ends_without_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From the first line, and with the result."""
    broken(monkeypatch, "stdout", number)
    errors = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(errors, "utf-8", write_through=True))
    study = cases.write(tmp_path, **SHORT)
    monkeypatch.setattr(sys, "argv", ["hpsearch", "run", str(study), "--tracking-uri", "none"])
    with pytest.raises(SystemExit) as end:
        cli.main("inline")
    warning = b"" if number == errno.EPIPE else b"warning: standard output could not be written: "
    assert end.value.code in (0, None) and errors.getvalue().startswith(warning)
    assert cases.table(tmp_path / "small.db").count("complete") >= 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_installed_command(tmp_path: Path) -> None:
    """One line and no traceback, also from Python itself when it ends."""
    command = f'"{sys.executable}" -m hpsearch'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = f"{command} schema > /dev/full; echo $?; {command} schema | head -c 9 > out; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stdout.split() == ["2", "0"]
    assert ended.stderr == "error: standard output: cannot be written: No space left on device\n"


@pytest.mark.crash
def test_a_study_in_a_pipe(tmp_path: Path) -> None:
    """With its own processes; standard error in the pipe too."""
    study = cases.write(tmp_path, **SHORT)
    command = f'"{sys.executable}" -m hpsearch run {study} --tracking-uri none'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = f"{command} --storage a.db 2>&1 | head -n 1; {command} --storage b.db > /dev/full; echo $?"
    ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stdout.endswith("\n0\n"), ended
    assert ended.stderr == "warning: standard output could not be written: No space left on device\n"
    assert cases.table(tmp_path / "a.db") == cases.table(tmp_path / "b.db")
