"""A database under a second name, moved or deleted while a study runs, the files of a killed group, a moved folder."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cases
import pytest

from tests.crash import test_crash, test_faults
from tests.crash.test_faults import LONG, SHORT, Call, command, ended, refused
from tests.hpsearch import test_cli

pytestmark = [
    pytest.mark.crash,  # real processes, seconds each
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc"),
]

call, memory = test_cli.call, test_crash.memory
study, file, long = test_faults.study, test_faults.file, test_faults.long


def test_second_names(call: Call, tmp_path: Path, file: Path, long: str) -> None:
    """A hard link, a mounted file and a mounted folder are refused while the study runs, which is not affected."""
    first = command(tmp_path, LONG, file)
    assert test_crash.await_trials(first, file, 1)
    os.kill(first.pid, signal.SIGSTOP)
    link = file.with_name("link.db")
    os.link(file, link)
    for name in (file, link):
        refused(call("resume", name, "--tracking-uri", "none"), str(name), "has 2 names (hard links)")
    link.unlink()
    (mounted := file.with_name("mounted.db")).touch()
    (folder := tmp_path / "folder").mkdir()
    resume = f'"{sys.executable}" -m hpsearch resume --tracking-uri none'
    script = f'mount --bind "{file}" "{mounted}" && mount --bind "{file.parent}" "{folder}" || exit 9; '
    script += f'{resume} "{mounted}"; echo $?; {resume} "{folder}/{file.name}"; echo $?'
    second = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    if second.returncode == 9 or "unshare" in second.stderr:
        first.kill()
        first.communicate()
        pytest.skip(f"may not mount: {second.stderr}")
    assert second.stdout.split() == ["2", "2"], second
    said = second.stderr.splitlines()
    assert said[0].startswith(f"error: {mounted}: is a file mounted under a second name") and len(said) == 2
    assert f"this study is run by process {first.pid} on" in said[1]
    os.kill(first.pid, signal.SIGCONT)
    assert ended(first).code == 0 and cases.table(file) == long


def test_moved(call: Call, tmp_path: Path, file: Path, long: str) -> None:
    """One message, no stray file, and the moved database resumes."""
    first = command(tmp_path, LONG, file)
    assert test_crash.await_trials(first, file, 1)
    moved = file.rename(file.with_name("moved.db"))
    said = ended(first)
    refused(said, f"{file}: was moved to {moved} while the study ran", f"hpsearch resume {moved}")
    assert sorted(p.name for p in file.parent.iterdir() if p.suffix.startswith(".db")) == ["moved.db"]
    assert call("resume", moved, "--tracking-uri", "none", "--quiet").code == 0
    assert cases.table(moved) == long


def test_deleted(tmp_path: Path, file: Path) -> None:
    """One message and no stray file; the next run starts anew."""
    first = command(tmp_path, LONG, file)
    assert test_crash.await_trials(first, file, 1)
    file.unlink()
    said = ended(first)
    refused(said, f"{file}: was deleted, or moved to another disk, while the study ran")
    assert [p.name for p in file.parent.iterdir() if p.suffix.startswith(".db")] == []
    assert ended(command(tmp_path, SHORT, file)).code == 0


def test_a_killed_group_leaves_nothing_for_long(tmp_path: Path, file: Path) -> None:
    """Its temporary folders are removed by the next command, and it has no semaphores to leave."""
    (scratch := file.parent / "t").mkdir()  # short enough for the address of a socket
    environment = {**os.environ, "TMPDIR": str(scratch)}
    arguments = [*test_crash.COMMAND, "run", cases.write(tmp_path, **LONG), "--storage", file, "--quiet"]
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, start_new_session=True) as first:
        assert test_crash.await_trials(first, file, 1)  # type: ignore[arg-type]
        os.killpg(first.pid, signal.SIGSTOP)  # what it maps when it is killed is what it would leave
        below = test_crash.descendants(first.pid)
        mapped = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in {first.pid, *below})
        os.killpg(first.pid, signal.SIGKILL)
    assert test_crash.gone(below)
    assert not any(p.exists() for p in map(Path, re.findall(r"/dev/shm/sem\.\S+", mapped)))
    left = list(scratch.iterdir())
    assert left and all(p.name.startswith("hpsearch-") and p.stat().st_mode & 0o777 == 0o700 for p in left)
    doctor = [*test_crash.COMMAND, "doctor", file, "--tracking-uri", "none"]
    said = subprocess.run(doctor, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"of killed processes removed in {scratch}" in said.stdout
    assert list(scratch.iterdir()) == []


@pytest.mark.soak  # tests/hpsearch/tracking/mlflow/test_experiment.py has a short version
def test_a_moved_folder(tmp_path: Path) -> None:
    """`doctor` finds it, and `sync` and `run` upload runs and model beside the database."""
    changes = {"train.epochs": 2, "stages": [{"name": "a", "trials": 4, "sampler": "random"}]}
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()

    def hpsearch(folder: Path, *arguments: str) -> str:
        process = subprocess.run([*test_crash.COMMAND, *arguments], cwd=folder, capture_output=True, text=True)
        assert process.returncode == 0, process
        return process.stdout + process.stderr

    cases.write(here, **changes)
    hpsearch(here, "run", "small.yaml", "--quiet")
    assert "warn" not in hpsearch(here, "doctor")
    here.rename(there)
    here.write_text("in the way")
    assert "warn  MLflow: the artifacts of small.db are expected in file:///" in hpsearch(there, "doctor")
    assert (
        "4 runs uploaded" in (said := hpsearch(there, "sync", "small.db"))
        and "note: MLflow: the database was moved" in said
    )
    assert "warn" not in hpsearch(there, "doctor")
    code = "import mlflow; mlflow.set_tracking_uri('sqlite:///mlruns/mlflow.db'); "
    code += "mlflow.pyfunc.load_model('models:/small@champion')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=there, check=True)
    again = there.rename(tmp_path / "again")
    changes["stages"][0]["trials"] = 6  # type: ignore[index]
    cases.write(again, **changes)
    said = hpsearch(again, "run", "small.yaml", "--quiet")
    assert "warning" not in said and "note: MLflow: the database was moved" in said
    assert len(list((again / "mlruns" / "artifacts").rglob("history.json"))) == 4 + 4 + 6
    assert here.read_text() == "in the way" and not there.exists()
