"""Files and folders that are replaced in one step, through drafts that follow no link."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpsearch.core import atomic
from hpsearch.core.atomic import atomic_file, read_folder, recover_folder, replaced_folder, write_atomic

OWNED = ("a", "b")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_complete_or_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    write_atomic(file, "old")
    with pytest.raises(RuntimeError), atomic_file(file) as draft:
        draft.write(b"half")
        raise RuntimeError
    assert file.read_text() == "old" and names(tmp_path) == ["out.csv"]
    write_atomic(file, "new")
    assert file.read_text() == "new" and names(tmp_path) == ["out.csv"]


WRITER = """
import sys, time
from pathlib import Path
from hpsearch.core.atomic import atomic_file

with atomic_file(Path(sys.argv[1])) as draft:
    draft.write(b"rows")
    draft.flush()
    print(flush=True)
    time.sleep(60)
"""


def test_drafts_of_killed_processes_are_cleared(tmp_path: Path) -> None:
    """Those of running processes, and other files, are kept."""
    (tmp_path / ".hpsearch-mine.part").touch()
    command = [sys.executable, "-c", WRITER, tmp_path / "out.csv"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline()
    write_atomic(tmp_path / "other", "text")
    assert len(names(tmp_path)) == 4
    for count, writer in zip((3, 2), writers, strict=True):
        writer.kill()
        writer.communicate()
        write_atomic(tmp_path / "other", "text")
        assert len(names(tmp_path)) == count
    assert names(tmp_path) == [".hpsearch-mine.part", "other"]


def test_a_draft_that_is_cleared_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, cleared = atomic._lock, list[str]()

    def slow(descriptor: int, *, wait: bool = False) -> bool:
        if wait and not cleared:
            cleared.extend(names(tmp_path))
            atomic._remove_drafts(tmp_path)
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(atomic, "_lock", slow)
    write_atomic(tmp_path / "out", "text")
    assert len(cleared) == 1 and names(tmp_path) == ["out"]


def test_drafts_follow_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is guessed before the draft is created is refused; usual names cannot be guessed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda _: "guess")
    (tmp_path / ".hpsearch-guess.part").symlink_to(victim)
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "out"):
        pass
    monkeypatch.undo()
    for link in ("out.csv", "out.csv.part"):
        (tmp_path / link).symlink_to(victim)
    write_atomic(tmp_path / "out.csv", "rows")
    assert victim.read_text() == "precious" and (tmp_path / "out.csv").read_text() == "rows"
    assert not (tmp_path / "out.csv").is_symlink()


def test_existing_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "study.yaml"
    write_atomic(file, "mine", replace=False)
    for target in (file, tmp_path / "dangling"):
        (tmp_path / "dangling").is_symlink() or (tmp_path / "dangling").symlink_to("nothing")
        with pytest.raises(FileExistsError):
            write_atomic(target, "other", replace=False)
    monkeypatch.setattr(os.path, "lexists", lambda _: False)  # the file is created after the check
    with pytest.raises(FileExistsError):
        write_atomic(file, "other", replace=False)
    assert file.read_text() == "mine" and names(tmp_path) == ["dangling", "study.yaml"]


@pytest.mark.parametrize("target", ["folder", "pipe", ".", "no/such/file", "x\0y"])
def test_targets_that_are_no_files(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(OSError):
        write_atomic(Path(target), "text")
    assert names(tmp_path) == ["folder", "pipe"]


def fill(folder: Path, text: str) -> None:
    with replaced_folder(folder, OWNED) as draft:
        for name in OWNED:
            (draft / name).write_text(text)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced(exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of other names, permissions, and a link to the folder remain."""
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    folder, link = tmp_path / ("model" * 40), tmp_path / "link"
    link.symlink_to(folder)
    fill(folder, "one")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {(folder / name).stat().st_mode & 0o777 for name in OWNED} == {0o600}
    folder.chmod(0o755)
    (folder / "a").chmod(0o644)
    (folder / "notes.txt").write_text("mine")
    (folder / "more").mkdir()
    fill(link, "two")
    assert [(folder / name).read_text() for name in OWNED] == ["two", "two"]
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "more").is_dir()
    assert [(folder / name).stat().st_mode & 0o777 for name in ("a", "b")] == [0o644, 0o600]
    assert folder.stat().st_mode & 0o777 == 0o755 and link.is_symlink() and len(names(tmp_path)) == 2
    with pytest.raises(RuntimeError), replaced_folder(folder, OWNED) as draft:
        (draft / "a").write_text("three")
        raise RuntimeError
    assert (folder / "a").read_text() == "two" and len(names(tmp_path)) == 2


def test_a_reader_sees_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is replaced between the reading of two files."""
    folder = tmp_path / "model"
    fill(folder, "one")
    read = atomic._read_at

    def slow(descriptor: int, name: str, most: int) -> bytes:
        if name == "b" and (folder / "a").read_text() == "one":
            fill(folder, "two")
        return read(descriptor, name, most)

    monkeypatch.setattr(atomic, "_read_at", slow)
    assert read_folder(folder, dict.fromkeys(OWNED, 10)) == {"a": b"two", "b": b"two"}


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("x" * 11)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="has 11 bytes, at most 10"):
        read_folder(tmp_path, {"large": 10})
    with pytest.raises(ValueError, match="not a regular file"):
        read_folder(tmp_path, {"pipe": 10})
    with pytest.raises(FileNotFoundError):
        read_folder(tmp_path, {"none": 10})


def test_reading_takes_memory_for_the_file_and_not_for_the_limit(tmp_path: Path) -> None:
    """Where the memory is limited (`ulimit -v`), a buffer of the limit's size could not be allocated."""
    (tmp_path / "small").write_text("text")
    assert read_folder(tmp_path, {"small": 1 << 60}) == {"small": b"text"}


def test_drafts_in_use_and_of_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    fill(folder, "one")
    with replaced_folder(folder, OWNED) as draft:
        for name in OWNED:
            (draft / name).write_text("two")
        recover_folder(folder, OWNED)
        assert draft.is_dir()
    leftover = folder.with_name(f"{atomic._prefix(folder)}x.new")
    leftover.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    recover_folder(folder, OWNED)
    assert leftover.is_dir()
    monkeypatch.undo()
    recover_folder(folder, OWNED)
    assert names(tmp_path) == ["model"]


DRIVER = """
import os, signal, sys
from pathlib import Path
from hpsearch.core import atomic
from tests.hpsearch.core.test_atomic import OWNED, fill, names

top, exchange, rounds = Path(sys.argv[1]), sys.argv[2] == "True", 0
folder = top / "model"
while True:
    rounds += 1
    if not folder.exists():
        fill(folder, "old")
        (folder / "notes.txt").write_text("mine")
    before = (folder / "a").read_text()
    child = os.fork()
    if not child:
        left = rounds
        def kill(event, arguments):
            global left
            if event.startswith(("open", "os.", "shutil.", "fcntl.", "ctypes.call")):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
        if not exchange:
            atomic._exchange = lambda *_: False
        sys.addaudithook(kill)
        fill(folder, "new" if before == "old" else "old")
        os._exit(7)
    _, status = os.waitpid(child, 0)
    atomic.recover_folder(folder, OWNED)
    assert names(top) == ["model"], (rounds, names(top))
    found = atomic.read_folder(folder, dict.fromkeys(OWNED, 10))
    assert found["a"] == found["b"] and found["a"] in (b"old", b"new"), (rounds, found)
    assert (folder / "notes.txt").read_text() == "mine", rounds
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 7
        break
print(rounds)
"""


@pytest.mark.crash
@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_every_step(exchange: bool, tmp_path: Path) -> None:
    """After SIGKILL at any call to the system, the next reader finds the old or the new version and no leftover."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, tmp_path, str(exchange)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
