"""Notes on training: scales of ranges, batch sizes, learning rates of Adam and early stopping."""

from collections.abc import Iterator, Sequence

from hpsearch.config.practice.note import PracticeNote, SettingValues
from hpsearch.config.spec import Spec, Train

LOG_ROLES = ("learning_rate", "l2", "l1", "weight_decay")
DECAY_ROLES = ("beta", "beta1", "beta2", "rho")
WIDE_RATIO = 10.0  # ratio of the ends of a range from which its scale matters
ADAM = ("adam", "adamw")
ADAM_RATES = (1e-3, 1e-1)
MANY_EPOCHS = 100


def training_notes(spec: Spec, values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    """Yield the notes on training, each parameter once."""
    seen: set[tuple[object, ...]] = set()
    for note in (*_scales(values), *_batches(values), *_adam(values), *_early_stopping(spec)):
        if note.path not in seen:
            seen.add(note.path)
            yield note


def _scales(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    for v in values:
        if v.range is None or v.range.scale != "linear":
            continue
        low, high = float(v.range.min), float(v.range.max)
        if v.role in LOG_ROLES and high > 0 and low * WIDE_RATIO <= high:
            text = f"on a linear scale, 90% of the trials have {v.path[-1]} above {high / 10:g}; use scale: log"
            more = " with min above 0" if low <= 0 else ""
            yield PracticeNote(v.path, text + more, "Bengio 2012, Practical recommendations, 3.3")
        elif v.role in DECAY_ROLES and high < 1 and 1 - low >= WIDE_RATIO * (1 - high):
            text = f"what matters is 1 − {v.path[-1]}, which a linear scale hardly searches below {(1 - low) / 10:.2g}"
            yield PracticeNote(v.path, f"{text}; use scale: one_minus_log", "Ng 2017, Hyperparameter tuning, week 3")


def _batches(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    for v in values:
        if v.role == "batch_size" and v.numbers and min(v.numbers) <= 1:
            text = "a batch of 1 row has the noisiest gradient and uses no vector instructions; use 16 or more"
            yield PracticeNote(v.path, text, "Goodfellow et al. 2016, Deep Learning, 8.1.3")


def _adam(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    optimizers = {name for v in values if v.setting == ("train", "optimizer") for name in v.values}
    if not optimizers or not optimizers <= set(ADAM):
        return
    for v in values:
        if v.setting == ("train", "learning_rate") and v.numbers:
            low, high = min(v.numbers), max(v.numbers)
            if high < ADAM_RATES[0] or low > ADAM_RATES[1]:
                text = (
                    f"learning rates of Adam from {low:g} to {high:g} leave out 0.001 to 0.1, where the best usually is"
                )
                yield PracticeNote(v.path, text, "Kingma and Ba 2015, algorithm 1")


def _early_stopping(spec: Spec) -> Iterator[PracticeNote]:
    train = spec.train
    assert isinstance(train, Train)
    pruned = spec.pruning.kind != "none" or any(s.pruning and s.pruning.kind != "none" for s in spec.stages)
    free = train.early_stopping is None and train.stop is None and train.schedule.name == "constant"
    if train.epochs > MANY_EPOCHS and free and not pruned:
        text = (
            f"all trials train {train.epochs:,} epochs: nothing stops those that no longer improve; add early_stopping"
        )
        yield PracticeNote(("train", "epochs"), text, "Prechelt 1998, Early stopping – but when?")
