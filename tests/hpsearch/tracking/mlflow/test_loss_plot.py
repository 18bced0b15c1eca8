"""Plots of losses."""

from pathlib import Path

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
