"""A report's charts as PNG files, rendered by plotly.js in a headless Chrome or Chromium that kaleido starts."""

import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpsearch.core.loggers import quiet_logger
from hpsearch.errors import OutputError
from hpsearch.report.html.figures import TEXT_COLOR, Chart

WIDTH, SCALE = 1000, 1.5  # layout pixels; image pixels for each of them
TITLE_HEIGHT = 28  # layout pixels above a chart
INSTALL_KALEIDO = "PNG files need kaleido: pip install 'hpsearch[png]'"
INSTALL_BROWSER = (
    "PNG files need Chrome or Chromium: install one (for example apt-get install chromium, or run kaleido_get_chrome), "
    "or set BROWSER_PATH to its executable"
)


def missing_renderer() -> str | None:
    """Return what to install before PNG files can be written, or None if nothing is missing."""
    if importlib.util.find_spec("kaleido") is None:
        return INSTALL_KALEIDO
    from choreographer.browsers.chromium import Chromium

    browser = Chromium.find_browser(skip_local=False)
    if browser is None:
        return INSTALL_BROWSER
    if not Path(browser).is_file():
        return f"{INSTALL_BROWSER}; BROWSER_PATH={os.environ.get('BROWSER_PATH', browser)} is not a file"
    return None


def write_images(folder: Path, charts: Sequence[Chart]) -> list[Path]:
    """Write one PNG file for each chart, 1,500 pixels wide. Files of an earlier report are replaced.

    Raises:
        OutputError: the browser cannot render the charts.
        OSError: the folder cannot be written.
    """
    import kaleido

    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".hpsearch-", dir=folder) as drafts:  # files of their names may be links
        files = [Path(drafts) / f"{chart.name}.png" for chart in charts]
        try:
            # plotly.io.write_images makes this call too, but cannot turn off MathJax, which kaleido loads from a CDN
            # and which would typeset names that contain dollar signs.
            specs = [_kaleido_spec(chart, file) for chart, file in zip(charts, files, strict=True)]
            with quiet_logger("choreographer"):
                kaleido.write_fig_from_object_sync(specs, kopts={"mathjax": False})
        except OSError:
            raise
        except Exception as error:  # kaleido's and choreographer's errors have no common base class
            reason = " ".join(map(str, error.args)) or type(error).__name__
            raise OutputError(f"{folder}: PNG files cannot be rendered: {reason}") from None
        return [file.replace(folder / file.name) for file in files]


def _kaleido_spec(chart: Chart, file: Path) -> dict[str, Any]:
    """Return the chart as kaleido takes it, with its title, which the page shows as a heading."""
    figure = chart.figure.to_plotly_json()
    layout = figure["layout"]
    height = layout["height"] + TITLE_HEIGHT
    layout["height"] = height
    layout["margin"] = {**layout["margin"], "t": layout["margin"]["t"] + TITLE_HEIGHT}
    layout["title"] = {
        "text": f"<b>{chart.title}</b>",
        "font": {"size": 15, "color": TEXT_COLOR},
        "x": 0,
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 10, "l": 12},
    }
    options = {"format": "png", "width": WIDTH, "height": height, "scale": SCALE}
    return {"fig": figure, "path": file, "opts": options}
