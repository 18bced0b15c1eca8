"""Fixtures for the browser tests: a browser, a study run by the command, and its MLflow page."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CLOSED, COMMAND, EXPECTED, STUDY, FinishedStudy, Screenshot, processes, unavailable

from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed")
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        unavailable("there is no chromium, chromium-browser or google-chrome")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=found[0], args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Yield an empty page. Errors on it and failed requests fail the test."""
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(20_000)
    page.add_init_script(CLOSED)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    yield page
    page.close()  # before the page's server: fixtures end in reverse order
    assert [text for text in wrong if EXPECTED not in text] == []


@pytest.fixture
def screenshot(tmp_path: Path) -> Screenshot:
    """Return a function that saves a screenshot of a page under a name."""
    folder = Path(os.environ.get("HPSEARCH_TEST_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def save(page: Any, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return save


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    folder = tmp_path_factory.mktemp("study")
    (folder / "digits.yaml").write_text(json.dumps(STUDY), "utf-8")
    said = subprocess.run([COMMAND, "run", "digits.yaml", "--quiet"], cwd=folder, capture_output=True, text=True)
    assert said.returncode == 0 and said.stderr == "", said
    database = folder / "digits.db"
    return FinishedStudy(database, summary(url_of(str(database))).ranking)


@pytest.fixture(scope="session")
def served(study: FinishedStudy) -> Iterator[str]:
    """Yield the link that `hpsearch ui` prints. At the end Ctrl-C must end it and all processes that it started."""
    command = [COMMAND, "ui", "--no-open", "--port", "0"]
    with subprocess.Popen(
        command, cwd=study.database.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ui:
        assert ui.stdout is not None and ui.stderr is not None
        try:
            line = ui.stdout.readline()
            assert line.startswith("MLflow: http://127.0.0.1:"), line + ui.stderr.read()
            (between,) = (p.number for p in processes() if p.parent == ui.pid)
            assert len([p for p in processes() if p.group == between]) >= 3  # itself, MLflow, and its server
            yield line.removeprefix("MLflow: ").strip()
        finally:
            ui.send_signal(signal.SIGINT)
            out, err = ui.stdout.read(), ui.stderr.read()  # not communicate: a line may be in the buffer already
            ui.wait(30)
    assert (ui.returncode, out, err) == (0, "Press Ctrl-C to stop the server.\n", "")
    assert [p for p in processes() if between in (p.group, p.parent)] == []
