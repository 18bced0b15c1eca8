"""Optuna's dashboard reads the study database."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from browsing import FinishedStudy, Screenshot, unavailable

from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary

pytestmark = pytest.mark.browser

COMMAND = Path(sys.executable).with_name("optuna-dashboard")


@pytest.fixture
def dashboard(study: FinishedStudy, tmp_path: Path) -> Iterator[str]:
    if not COMMAND.exists():
        unavailable("optuna-dashboard is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [COMMAND, url_of(str(study.database)), "--host", "127.0.0.1", "--port", str(port)]
    home = os.environ | {"HOME": str(tmp_path)}  # its server leaves a socket there
    with subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/dashboard"
        process.send_signal(signal.SIGTERM)


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/dashboard")
        return connection.getresponse().status == 200
    return False


def test_dashboard(dashboard: str, page: Any, study: FinishedStudy, screenshot: Screenshot) -> None:
    """It lists the stages as studies and shows the trials of one; the database does not change."""
    page.goto(dashboard)
    page.get_by_text("digits/coarse").wait_for()
    screenshot(page, "optuna-studies")
    page.get_by_text("digits/fine").click()
    page.locator("a[href$='/trials']").first.click()
    trials = [trial for trial in study.ranked if trial.stage == "fine"]
    for trial in trials:
        page.get_by_role("button", name=f"Trial {trial.number}").first.wait_for()
    page.get_by_role("button", name=f"Trial {trials[0].number}").first.click()
    page.get_by_text(str(trials[0].value)).first.wait_for()
    screenshot(page, "optuna-trials")
    assert summary(url_of(str(study.database))).ranking == study.ranked
