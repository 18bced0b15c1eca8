"""Good practice: notes of `hpsearch check` on settings that the literature advises against, with reason and source."""

from collections.abc import Iterator

from hpsearch.config.practice.model import model_notes
from hpsearch.config.practice.note import PracticeNote, SettingValues, setting_values
from hpsearch.config.practice.training import training_notes
from hpsearch.config.spec import Spec, Train

__all__ = ["PracticeNote", "practice_notes"]


def practice_notes(spec: Spec) -> Iterator[PracticeNote]:
    """Yield the notes on a study file.

    An experiment has none: a study that only repeats listed points over seeds asks what their settings do.
    """
    if not isinstance(spec.train, Train) or _is_experiment(spec):
        return
    values: list[SettingValues] = list(setting_values(spec))
    yield from _data_notes(spec)
    yield from model_notes(values)
    yield from training_notes(spec, values)


def _is_experiment(spec: Spec) -> bool:
    return all(
        stage.seeds > 1 and not stage.confirms and stage.trials == max(1, len(stage.points)) * stage.seeds
        for stage in spec.stages
    )


def _data_notes(spec: Spec) -> Iterator[PracticeNote]:
    scale = getattr(spec.data, "scale", "standard")
    if scale == "none" and getattr(spec.data, "source", "") != "formula":
        yield PracticeNote(
            ("data", "scale"),
            "the inputs are not scaled: a column of large numbers then decides the gradient; scale them",
            "LeCun et al. 1998, Efficient BackProp, 4.3",
        )
