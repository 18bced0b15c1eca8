"""MLflow's page as the link of `hpsearch ui` opens it: table, charts and files agree with the study database."""

import json
import subprocess
from math import log10
from typing import Any

import pytest
from browsing import COMMAND, FinishedStudy, Screenshot

pytestmark = pytest.mark.browser

LARGE, NORMAL = {"width": 3000, "height": 1300}, {"width": 1400, "height": 900}  # the page draws only what fits
# Each plot: the titles of its axes, and its points by curve.
PLOTS = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.data).map(plot => ({
    axes: [plot.layout.xaxis, plot.layout.yaxis].map(axis => axis && axis.title ? axis.title.text : null),
    curves: plot.data.map(curve => [curve.name || '', [...curve.x || []], [...curve.y || []]]),
}))"""
DRAWN = """canvas => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return new Uint32Array(pixels.buffer).some(pixel => pixel !== 0);
}"""
TO_THE_END = "link => link.closest('.ReactVirtualized__Grid').scrollTop = 1e6"


def open_table(page: Any, link: str, study: FinishedStudy) -> list[str]:
    """Open the table and return the trials' names in its order."""
    page.set_viewport_size(LARGE)
    page.goto(link)
    names = page.locator(".ag-row .ag-cell[col-id='attributes.`Run Name`'] a")
    names.nth(len(study.ranked) - 1).wait_for()
    return [text.strip() for text in names.all_inner_texts()]


def show_normally(page: Any) -> None:
    """Set a common window size and hide the banner that covers a part of the page."""
    page.set_viewport_size(NORMAL)
    page.get_by_role("button", name="Hide banner").click()


def column(page: Any, key: str) -> list[str]:
    """Return the texts of a column."""
    cells = page.locator(f".ag-row .ag-cell[col-id='{key}']")
    return [text.strip() for text in cells.all_inner_texts()]


def plots(page: Any, least: int, points: int) -> list[Any]:
    """Return the plots once at least `least` are drawn with `points` points each."""
    page.wait_for_function(
        f"([least, points]) => ({PLOTS})().filter(p => p.curves.some(c => c[2].length >= points)).length >= least",
        arg=[least, points],
    )
    found = page.evaluate(PLOTS)
    assert isinstance(found, list)
    return found


def test_table(page: Any, served: str, study: FinishedStudy, screenshot: Screenshot) -> None:
    """The columns are the key figures of a trial, the best trial first."""
    assert open_table(page, served, study) == [trial.label for trial in study.ranked]
    for key, expected in {
        "metrics.`objective`": [trial.value for trial in study.ranked],
        "metrics.`best/val/accuracy`": [trial.metrics["val/accuracy"] for trial in study.ranked],
        "metrics.`epochs`": [trial.epochs for trial in study.ranked],
        **{f"params.`{name}`": [trial.point[name] for trial in study.ranked] for name in study.ranked[0].point},
    }.items():
        assert [float(text) for text in column(page, key)] == expected, key
    assert column(page, "tags.`hpsearch.stage`") == [trial.stage for trial in study.ranked]
    assert column(page, "metrics.`test/accuracy`")[0] == str(study.ranked[0].metrics["test/accuracy"])
    show_normally(page)
    screenshot(page, "mlflow-table")


def test_charts(page: Any, served: str, study: FinishedStudy, screenshot: Screenshot) -> None:
    """Parallel coordinates of all trials; metric by trial and by parameter, and curves, of the best ten."""
    page.set_viewport_size({"width": 1600, "height": 2000})
    page.goto(f"{served}&compareRunsMode=CHART")
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    parallel = cards.filter(has_text="Parallel").filter(has_text="Showing all runs")
    parallel.locator(".dimension").nth(4).wait_for()
    assert parallel.locator(".dimension").count() == 5
    assert any(canvas.evaluate(DRAWN) for canvas in parallel.locator("canvas").element_handles())
    best = study.ranked[:10]
    found = plots(page, 7, 6)
    places: dict[str, Any] = {
        "trial": lambda trial: trial.number + 1 + 16 * (trial.stage == "fine"),
        "log10_learning_rate": lambda trial: log10(trial.point["learning_rate"]),
        "log10_hidden_units": lambda trial: log10(trial.point["hidden_units"]),
        "log10_one_minus_beta": lambda trial: log10(1 - trial.point["beta"]),
        "batch_size": lambda trial: trial.point["batch_size"],
    }
    scatters = {plot["axes"][0]: plot["curves"][0] for plot in found if plot["axes"][1] == "objective"}
    assert set(scatters) == set(places)
    for name, (_, xs, ys) in scatters.items():
        points = sorted(zip(map(float, xs), ys, strict=True))
        assert points == [
            (pytest.approx(x, rel=1e-5), y) for x, y in sorted((places[name](trial), trial.value) for trial in best)
        ]
    for metric in ("val/loss", "train/loss"):
        drawn = [{name: ys for name, _, ys in plot["curves"] if ys} for plot in found]
        expected = {trial.label: list(trial.history[metric]) for trial in best}
        assert expected in drawn, metric
    show_normally(page)
    plots(page, 2, 6)
    screenshot(page, "mlflow-charts")


def test_compare(page: Any, served: str, study: FinishedStudy, screenshot: Screenshot) -> None:
    """Two trials are selected; their curves are in one plot."""
    open_table(page, served, study)
    for row in (0, 1):
        page.locator(f".ag-row[row-index='{row}'] input[type=checkbox]").first.check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("link", name="best/train/accuracy", exact=True).evaluate(TO_THE_END)
    page.set_viewport_size(NORMAL)
    page.get_by_role("link", name="val/loss", exact=True).click()
    (plot,) = plots(page, 1, 6)
    drawn = {tuple(ys) for _, _, ys in plot["curves"]}  # MLflow draws each curve twice: original and smoothed
    assert drawn == {tuple(trial.history["val/loss"]) for trial in study.ranked[:2]}
    screenshot(page, "mlflow-compare")


def test_files(page: Any, served: str, study: FinishedStudy, screenshot: Screenshot) -> None:
    """The best trial's history and loss plot open in the page."""
    open_table(page, served, study)
    page.set_viewport_size(NORMAL)
    page.get_by_role("link", name=study.ranked[0].label, exact=True).click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("history.json", exact=True).click()
    shown = page.locator("pre").filter(has_text="val/loss").inner_text()
    assert json.loads(shown) == {name: list(values) for name, values in study.ranked[0].history.items()}
    page.get_by_text("loss.svg", exact=True).click()
    drawn = page.get_by_alt_text("loss.svg").element_handle()
    page.wait_for_function("image => image.complete && image.naturalWidth === 600", arg=drawn)
    screenshot(page, "mlflow-files")


def test_running_server(served: str, study: FinishedStudy) -> None:
    """For a remote server only the link is printed; it shows the given study, or the latest."""
    base = served.partition("/#")[0]
    for given in ([], [study.database]):
        command = [COMMAND, "ui", "--no-open", "--tracking-uri", base, *given]
        done = subprocess.run(command, cwd=study.database.parent, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"MLflow: {served}\n", "")
