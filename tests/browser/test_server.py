"""The page of a server, as a new user sees it: from the link to a prediction."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Screenshot

from hpsearch.server.client import Client

pytestmark = pytest.mark.browser
ROWS = "x,y,label\n" + "".join(f"{n % 17},{n % 7},{'ab'[(n % 17 > 8) ^ (n % 7 > 3)]}\n" for n in range(300))


@pytest.fixture
def link(tmp_path: Path) -> Iterator[str]:
    """Start a server, and yield the link that it prints."""
    command = [sys.executable, "-m", "hpsearch", "serve", "--root", str(tmp_path / "root"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    command += ["--tracking-uri", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def closed_page(browser: Any) -> Iterator[Any]:
    """Yield a page; errors on it, and requests to other hosts, fail the test."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url) if "://127.0.0.1:" not in request.url else None)
    yield page
    page.close()
    assert [
        text for text in wrong if not re.search("422|401|404", text) and not text.startswith(("data:", "blob:"))
    ] == []


def test_a_new_user(closed_page: Any, link: str, tmp_path: Path, screenshot: Screenshot) -> None:
    """Opens the link, drops a table, corrects a mistake, watches, reads the report, predicts, and takes the model."""
    page = closed_page
    (tmp_path / "rows.csv").write_text(ROWS)
    page.goto(link)
    page.get_by_text("There is no study yet.").wait_for()
    assert "token" not in page.url
    page.get_by_role("link", name="Submit a study").click()
    page.fill("#target", "label")
    page.set_input_files("#file", str(tmp_path / "rows.csv"))
    page.get_by_text("ready to start").wait_for()
    text = page.input_value("#study")
    assert "name: rows" in text
    page.fill("#study", text.replace("seed: 0", "seed: none"))
    page.get_by_role("button", name="Start").click()
    page.get_by_text(re.compile(r"Line \d+: seed: must be")).wait_for()
    screenshot(page, "server-mistake")
    page.fill("#study", re.sub(r"budget: \d+", "budget: 1", text))
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("circle")
    check_accessible(page, "running", screenshot)
    page.wait_for_selector("span.state.done")
    assert page.locator("polyline.line").count() == 2
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Report").click()
    report = opened.value
    report.locator('.plot[data-figure="history"]').scroll_into_view_if_needed()
    report.locator('.plot[data-figure="history"][data-drawn="done"]').wait_for()
    screenshot(report, "server-report")
    report.close()
    with page.expect_download() as download:
        page.get_by_role("link", name="Model (ZIP)").click()
    assert Path(download.value.path()).stat().st_size > 1000
    page.get_by_role("link", name="Predict").click()
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("heading", name="Prediction").wait_for()
    page.set_input_files("#rows", str(tmp_path / "rows.csv"))
    page.get_by_text("300 predictions").wait_for()
    screenshot(page, "server-predict")
    unnamed = "els => els.filter(e => !e.labels.length && !e.getAttribute('aria-label')).map(e => e.id)"
    assert page.eval_on_selector_all("input, textarea, select", unnamed) == []


def test_the_token_is_asked_for(closed_page: Any, link: str) -> None:
    """Without a link; a wrong one is refused. Dark, and on a phone."""
    page, (address, token) = closed_page, link.split("/#token=")
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    page.get_by_label("Enter the token").fill(token)
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("There is no study yet.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def check_accessible(page: Any, name: str, screenshot: Screenshot) -> None:
    """Check labels, names, structure and contrast with axe-core, in light and in dark, by WCAG 2.1 AA."""
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "iframes": False}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=rules).response
        wrong = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found["violations"]]
        assert wrong == [], (name, scheme)
        assert "color-contrast" in {passed["id"] for passed in found["passes"]}, (name, scheme)
        screenshot(page, f"server-{name}-{scheme}")


def test_accessible(closed_page: Any, link: str, tmp_path: Path, screenshot: Screenshot) -> None:
    """Every page has names and contrast; parallel coordinates of a study and of two show each complete trial."""
    page, client = closed_page, Client(link)
    page.goto(link.partition("#")[0])
    page.get_by_label("Enter the token").wait_for()
    check_accessible(page, "token", screenshot)
    page.goto(link)
    page.reload()
    page.get_by_text("There is no study yet.").wait_for()
    check_accessible(page, "empty", screenshot)
    ids = []
    for name in ("first", "second"):
        study = {"name": name, "stages": [{"name": "coarse", "trials": 12}], "pruning": "none"}
        (tmp_path / name).mkdir()
        ids.append(client.submit(cases.write(tmp_path / name, **study))["id"])
    long = {"name": "long", "train.epochs": 3000, "train.early_stopping": None, "pruning": "none"}
    (tmp_path / "long").mkdir()
    running = client.submit(cases.write(tmp_path / "long", **long, stages=[{"name": "coarse", "trials": 50}]))["id"]
    for id in ids:
        assert [kind for kind, _ in client.events(id)][-1] == "done"
    page.reload()
    page.get_by_label("Progress of long").wait_for()
    page.get_by_text(re.compile(r"\d+ of 50")).wait_for()
    check_accessible(page, "list-running", screenshot)
    client.cancel(running)
    page.get_by_role("link", name="first").wait_for()
    check_accessible(page, "list", screenshot)
    for name in ("first", "second"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Compare studies").wait_for()
    assert page.locator("svg.parallel path").count() == 24 == 2 * page.locator("svg.parallel path.study-1").count()
    check_accessible(page, "compare", screenshot)
    page.goto(f"{client.url}/#/study/{ids[0]}")
    page.locator("svg.parallel path.best").wait_for()
    assert page.locator("svg.parallel path").count() == 12
    axes = [axis["name"] for axis in client.study(ids[0])["axes"]]
    names = page.eval_on_selector_all("svg.parallel text.name", "els => els.map(e => e.firstChild.textContent)")
    assert names == [*axes, "val/loss"]
    check_accessible(page, "done", screenshot)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "server-phone")
    page.set_viewport_size({"width": 1100, "height": 900})
    page.goto(f"{client.url}/#/submit")
    page.fill("#study", "name: a\nseed: x\n")
    page.get_by_role("button", name="Start").click()
    page.get_by_text(re.compile(r"Line \d+: seed: must be")).wait_for()
    check_accessible(page, "submit", screenshot)
    page.goto(f"{client.url}/#/predict/{ids[0]}")
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("heading", name="Prediction").wait_for()
    check_accessible(page, "predict", screenshot)
    page.goto(f"{client.url}/#/study/{ids[1]}")
    page.get_by_role("button", name="Archive").click()
    page.get_by_role("button", name="Restore").wait_for()
    check_accessible(page, "study-archived", screenshot)
    page.goto(f"{client.url}/#/archived")
    page.get_by_role("link", name="second").wait_for()
    check_accessible(page, "archived", screenshot)
    page.goto(f"{client.url}/#/study/{'0' * 16}")
    page.get_by_text("not found").wait_for()
    check_accessible(page, "error", screenshot)
