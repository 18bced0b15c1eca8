"""Plots of losses."""

from pathlib import Path

import matplotlib

from hpsearch.tracking.mlflow.loss_plot import LossPlot
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, trial


def test_shared_figure(tmp_path: Path) -> None:
    """A plot shows nothing of the plots before it."""
    long = trial(1, "complete", epochs=9, history={"val/loss": [10.0**-n for n in range(9)]})
    shared = LossPlot()
    for t in (STATES[0], long, STATES[0]):
        shared.save(t, tmp_path / "shared.png")
        LossPlot().save(t, tmp_path / "own.png")
        assert (tmp_path / "shared.png").read_bytes() == (tmp_path / "own.png").read_bytes()


def test_default_style(tmp_path: Path) -> None:
    """Whatever the user's settings are; they are not changed."""
    LossPlot().save(STATES[0], tmp_path / "default.png")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.usetex": True, "savefig.dpi": 30}):
        before = dict(matplotlib.rcParams)
        LossPlot().save(STATES[0], tmp_path / "other.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "default.png").read_bytes()
