"""The report in a browser: charts, sorting, hovering, no network requests; and the PNG files that a browser renders."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from browsing import COMMAND, FinishedStudy, Screenshot, unavailable

from hpsearch.core.text import format_value
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.images import SCALE, TITLE_HEIGHT, WIDTH, missing_renderer
from hpsearch.report.html.model_figures import model_charts
from hpsearch.report.html.search_figures import search_charts
from hpsearch.storage.sqlite_file import url_of

pytestmark = pytest.mark.browser
EVIL = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", 'a $x^2$ & "b" {{ 7*7 }} %{x}']


@pytest.fixture(scope="module")
def report(study: FinishedStudy) -> Path:
    subprocess.run([COMMAND, "report", study.database, "--no-png"], check=True, capture_output=True)
    return study.database.with_name("digits-report.html")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a study whose data have names that contain HTML, scripts and templates."""
    folder = tmp_path_factory.mktemp("evil")
    columns = ",".join(f'"{name}"'.replace('"b"', '""b""') for name in (EVIL[0], EVIL[2]))
    quoted = [f'"{name}"'.replace('"b"', '""b""') for name in EVIL]
    rows = [f"{i % 7 - 3 + i % 3},{i % 5},{quoted[i % 3]}" for i in range(90)]
    (folder / "t.csv").write_text("\n".join([f"{columns},t", *rows]), "utf-8")
    study = {
        "name": "evil",
        "data": {"source": "csv", "path": "t.csv", "target": "t"},
        "model": {"hidden": [4]},
        "train": {"optimizer": "momentum", "epochs": 3, "batch_size": 16},
        "parameters": {"learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"}},
        "stages": [{"name": "only", "trials": 6}],
        "workers": 1,
    }
    (folder / "evil.yaml").write_text(json.dumps(study), "utf-8")
    for command in (["run", "evil.yaml", "--tracking-uri", "none"], ["report", "evil.db", "--no-png"]):
        said = subprocess.run([COMMAND, *command], cwd=folder, capture_output=True, text=True)
        assert said.returncode == 0, said
    return folder / "evil-report.html"


def opened(page: Any, file: Path) -> tuple[list[str], list[str]]:
    """Collect the page's requests and console messages."""
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(file.as_uri())
    return asked, said


def drawn(page: Any) -> list[str]:
    """Return the names of all charts after they are drawn."""
    names = page.eval_on_selector_all(".plot", "plots => plots.map(p => p.dataset.figure)")
    for name in names:
        plot = page.locator(f'.plot[data-figure="{name}"]')
        plot.scroll_into_view_if_needed()
        page.locator(f'.plot[data-figure="{name}"][data-drawn="done"]').wait_for()
    return list(names)


def column(page: Any, title: str) -> list[str]:
    """Return the cells of a column of the table of trials."""
    place = page.locator("#table th").all_inner_texts().index(title) + 1
    return list(page.locator(f"#table tbody tr:visible td:nth-child({place})").all_inner_texts())


def test_all_charts_are_drawn_without_requests(
    page: Any, report: Path, study: FinishedStudy, screenshot: Screenshot
) -> None:
    asked, said = opened(page, report)
    names = drawn(page)
    assert names == [
        *("stages", "history", "importance", "parallel", "slices", "curves", "epochs", "saved", "time"),
        *("learning", "confusion", "activations", "gradients", "weights"),
    ]
    assert page.locator('[data-figure="history"] .scatterlayer .point').count() == len(study.ranked) == 24
    assert page.locator('[data-figure="slices"] .scatterlayer .point').count() == 4 * 24
    assert page.locator('[data-figure="parallel"] .parcoords .y-axis').count() == 5
    assert "WebGL" not in page.locator('[data-figure="parallel"]').inner_text()
    assert page.locator('[data-figure="importance"] .barlayer .point').count() == 4
    assert page.locator('[data-figure="curves"] .scatterlayer .js-line').count() == 10
    page.locator("#stages").scroll_into_view_if_needed()
    screenshot(page, "report-stages")
    page.evaluate("window.scrollTo(0, 0)")
    screenshot(page, "report")
    assert asked == [report.as_uri()] and said == []


def test_the_result_is_on_the_first_screen(page: Any, report: Path, study: FinishedStudy) -> None:
    opened(page, report)
    best = study.ranked[0]
    text = page.locator("#result").inner_text()
    for name in ("val/loss", "test/accuracy"):
        assert name in text and format_value(best.metrics[name]) in text
    for name, value in best.point.items():
        assert name in text and format_value(value) in text
    last = page.locator("#result .score").last.bounding_box()
    assert last["y"] + last["height"] < 500


def test_sorting_and_filtering(page: Any, report: Path, study: FinishedStudy) -> None:
    _, said = opened(page, report)
    labels = [r.label for r in study.ranked]
    before = column(page, "trial")
    assert before == sorted(labels, key=lambda label: (label.split("/")[0], int(label.split("/")[1])))
    page.get_by_role("button", name="val/loss", exact=True).click()
    assert column(page, "trial") == labels and column(page, "val/loss")[0] == format_value(study.ranked[0].value or 0.0)
    page.get_by_role("button", name="val/loss", exact=True).click()
    assert column(page, "trial") == labels[::-1]
    page.get_by_role("button", name="hidden_units", exact=True).click()
    units = list(map(int, column(page, "hidden_units")))
    assert units == sorted(units) and len(units) == 24
    page.get_by_role("button", name="trial", exact=True).click()
    assert column(page, "trial") == before  # 9 before 10
    page.locator("#filter").fill("FINE")
    assert column(page, "trial") == [f"fine/{n}" for n in range(8)]
    assert page.locator("#count").inner_text() == "8 of 24 trials"
    assert said == []


def test_hovering(page: Any, report: Path, study: FinishedStudy, screenshot: Screenshot) -> None:
    _, said = opened(page, report)
    plot = page.locator('[data-figure="history"]')
    plot.scroll_into_view_if_needed()
    page.locator('[data-figure="history"][data-drawn="done"]').wait_for()
    assert page.locator(".hovertext").count() == 0
    box = plot.locator(".scatterlayer .point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    text = plot.locator(".hovertext")
    text.first.wait_for()
    first = next(r for r in study.ranked if r.label == "coarse/0")
    assert "coarse/0, complete" in text.first.text_content()
    assert format_value(first.value or 0.0) in text.first.text_content()
    buttons = plot.locator(".modebar-btn").evaluate_all("buttons => buttons.map(b => b.dataset.title)")
    assert "Zoom" in buttons and not any("Share" in title or "Cloud" in title for title in buttons)
    screenshot(page, "report-hover")
    assert said == []


def test_names_are_text(page: Any, evil: Path, screenshot: Screenshot) -> None:
    asked, said = opened(page, evil)
    names = drawn(page)
    assert {"confusion", "regions", "learning"} <= set(names)
    assert page.locator("img").count() == 0 and asked == [evil.as_uri()] and said == []
    shown = page.locator('[data-figure="confusion"]').inner_html()
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    title = page.locator('[data-figure="regions"] .xtitle').text_content()
    assert title == EVIL[0]
    page.locator("#confusion").scroll_into_view_if_needed()
    screenshot(page, "report-names")


def test_png_files(study: FinishedStudy, tmp_path: Path) -> None:
    """Each chart has a PNG file of its size that is not blank, rendered without a network."""
    if missing := missing_renderer():
        unavailable(missing)
    command = [COMMAND, "report", study.database, "--out", tmp_path / "r.html", "--png"]
    offline = os.environ | {"CHOREO_PROXY_SERVER": "127.0.0.1:9"}  # the browser's proxy: there is none at that port
    said = subprocess.run(command, env=offline, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, ""), said
    content = ReportContent.read(url_of(str(study.database)))
    charts = [*search_charts(content), *model_charts(content)]
    assert said.stdout.splitlines()[1] == f"{tmp_path / 'r'}: {len(charts)} PNG files"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r", "r.html"]
    assert {p.name for p in (tmp_path / "r").iterdir()} == {f"{chart.name}.png" for chart in charts}
    for chart in charts:
        image = matplotlib.image.imread(tmp_path / "r" / f"{chart.name}.png")[:, :, :3]
        height = SCALE * (chart.figure.layout.height + TITLE_HEIGHT)
        assert image.shape == (pytest.approx(height, abs=1), SCALE * WIDTH, 3), chart.name
        title, plot = image[: int(SCALE * TITLE_HEIGHT)], image[int(SCALE * (TITLE_HEIGHT + 44)) :]
        assert title.min() < 0.4 and (image[0] == 1).all(), f"{chart.name}: the title above the chart, dark on white"
        assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 10 and plot.std() > 0.02, f"{chart.name}: not blank"
