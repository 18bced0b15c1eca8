"""A browser, a study that was really run, and MLflow's page of it; all are real processes."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CLOSED, COMMAND, EXPECTED, STUDY, Made, Screenshot, processes, unavailable

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
    """An empty page; what goes wrong on it fails its test."""
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(20_000)
    page.add_init_script(CLOSED)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    yield page
    page.close()  # before the server of the page ends: fixtures of a test end in turn, the last one first
    assert [text for text in wrong if EXPECTED not in text] == []


@pytest.fixture
def screenshot(tmp_path: Path) -> Screenshot:
    """Saves what a page shows, under a name, for people."""
    folder = Path(os.environ.get("HPSEARCH_TEST_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def save(page: Any, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return save


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("study")
    (folder / "digits.yaml").write_text(json.dumps(STUDY), "utf-8")
    said = subprocess.run([COMMAND, "run", "digits.yaml", "--quiet"], cwd=folder, capture_output=True, text=True)
    assert said.returncode == 0 and said.stderr == "", said
    database = folder / "digits.db"
    return Made(database, summary(url_of(str(database))).ranking)


@pytest.fixture(scope="session")
def served(study: Made) -> Iterator[str]:
    """The link that `hpsearch ui` prints; at the end Ctrl-C ends it and every process that it started."""
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
    assert (ui.returncode, out, err) == (0, "Ctrl-C ends the server.\n", "")
    assert [p for p in processes() if between in (p.group, p.parent)] == []
