"""PNG files of charts: what is passed to kaleido, and messages when kaleido or a browser is missing."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpsearch.report.html import images
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.handmade import all_charts

call = test_cli.call


@pytest.fixture
def no_kaleido(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kaleido" else find(name))


def test_each_chart_has_its_title_and_its_height() -> None:
    for chart in all_charts():
        before = chart.figure.to_json()
        spec = images._kaleido_spec(chart, Path("a.png"))
        layout, own = spec["fig"]["layout"], chart.figure.layout
        assert chart.title in layout["title"]["text"]
        assert spec["opts"]["height"] == layout["height"] == own.height + images.TITLE_HEIGHT
        assert layout["margin"]["t"] - own.margin.t == images.TITLE_HEIGHT and layout["margin"]["b"] == own.margin.b
        assert chart.figure.to_json() == before, "the page's figure is not changed"


def test_a_missing_kaleido(no_kaleido: None) -> None:
    assert images.missing_renderer() == "PNG files need kaleido: pip install 'hpsearch[png]'"


def test_a_missing_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    chromium = pytest.importorskip("choreographer.browsers.chromium")
    monkeypatch.setattr(chromium.Chromium, "find_browser", lambda **_: None)
    missing = images.missing_renderer()
    assert missing is not None and all(word in missing for word in ("Chrome", "Chromium", "apt-get", "BROWSER_PATH"))


def test_a_wrong_browser_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chromium = pytest.importorskip("choreographer.browsers.chromium")
    monkeypatch.setattr(chromium, "get_chrome_download_path", lambda **_: None)
    monkeypatch.setattr(chromium, "get_old_chrome_download_path", lambda: None)
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    missing = images.missing_renderer()
    assert missing is not None and missing.endswith(f"BROWSER_PATH={tmp_path / 'none'} is not a file")


def test_the_report_without_kaleido(call: test_cli.Call, no_kaleido: None, ran: Any, tmp_path: Path) -> None:
    """By default the page is written and a note is printed; with --png nothing is written and it is an error."""
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), tmp_path / "x.db")
    said = call("report", "x.db", "--png")
    assert (said.code, said.out, said.err) == (2, "", f"error: {images.INSTALL_KALEIDO}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["x.db"]
    said = call("report", "x.db")
    assert said.code == 0 and said.err == f"note: {images.INSTALL_KALEIDO}\n" and "PNG" not in said.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x-report.html", "x.db"]
    assert call("report", "x.db", "--no-png").err == ""


def test_a_browser_that_fails(call: test_cli.Call, ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a note is printed; with --png it is an error."""
    kaleido = pytest.importorskip("kaleido")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("The browser closed", "at once.")

    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", fail)
    monkeypatch.setattr(images, "missing_renderer", lambda: None)
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), tmp_path / "x.db")
    said = call("report", "x.db")
    assert said.code == 0 and said.err.startswith("note: ")
    assert "cannot be rendered: The browser closed at once." in said.err
    said = call("report", "x.db", "--png")
    assert said.code == 2 and said.err.startswith("error: ") and "The browser closed at once." in said.err


def test_images_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MathJax, which kaleido loads from a CDN, is off; the folder has one file for each chart."""
    kaleido = pytest.importorskip("kaleido")
    given: list[Any] = []

    def write(specs: list[dict[str, Any]], kopts: dict[str, Any]) -> None:
        given.append((specs, kopts))
        for spec in specs:
            Path(spec["path"]).touch()

    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", write)
    files = images.write_images(tmp_path / "r", all_charts())
    ((specs, options),) = given
    assert options == {"mathjax": False} and [Path(spec["path"]).name for spec in specs] == [f.name for f in files]
    assert files == [tmp_path / "r" / f"{chart.name}.png" for chart in all_charts()]
