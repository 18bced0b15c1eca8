"""Loss curves as a PNG file, in Matplotlib's default style whatever the user's settings are."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import final

from hpsearch.storage.records import Trial, checked_every


@final
class LossPlot:
    """Losses by epoch with the best epoch marked. Trials share one figure, whose creation takes most of the time."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogFormatter

        with _default_style():
            self._figure = Figure(figsize=(6, 4))
            FigureCanvasAgg(self._figure)
            self._figure.subplots_adjust(left=0.17, right=0.97, top=0.92, bottom=0.12)
            self._axes = axes = self._figure.add_subplot()
            axes.set(xlabel="epoch", ylabel="loss", yscale="log")
            # The default formatter renders math text, which takes half of the time.
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
            axes.grid(alpha=0.3)

    def save(self, trial: Trial, file: Path) -> None:
        """Draw the curves of one trial into a file."""
        with _default_style():
            self._draw(trial, file)

    def _draw(self, trial: Trial, file: Path) -> None:
        axes, every = self._axes, checked_every(trial.epochs, trial.history)
        lines = []
        for name, color in (("train/loss", "tab:blue"), ("val/loss", "tab:orange")):
            if name in trial.history:
                epochs = range(every, trial.epochs + 1, every)
                lines += axes.plot(epochs, trial.history[name], color=color, label=name)
        label = f"best, epoch {trial.best_epoch}"
        lines.append(axes.axvline(trial.best_epoch, color="tab:green", linestyle=":", label=label))
        axes.set_title(trial.label)
        axes.legend(loc="upper right")
        self._figure.savefig(file)
        for line in lines:
            line.remove()
        axes.relim()


@contextlib.contextmanager
def _default_style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        yield
