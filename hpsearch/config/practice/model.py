"""Notes on the network: activations, initializers and dropout of the inputs."""

from collections.abc import Iterator, Sequence

from engine.activations import HIDDEN_ACTIVATIONS
from hpsearch.config.instantiate import RECTIFIERS
from hpsearch.config.practice.note import PracticeNote, SettingValues

INPUT_DROPOUT = 0.2  # Srivastava et al. keep 80 % of the inputs
MAX_INPUT_DROPOUT = 0.5  # upper end of a range
XAVIER, HE = ("xavier_uniform", "xavier_normal"), ("he_uniform", "he_normal")
FIXED_SCALE = ("normal", "uniform")
FIRST_RATE = ("model", "layers", 0, "rate")  # of a dropout layer before all others
SATURATING = ("sigmoid", "tanh")


def model_notes(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    """Yield the notes on the network, each setting once."""
    seen: set[tuple[object, ...]] = set()
    for note in (*_activations(values), *_initializers(values), *_input_dropout(values)):
        if note.path not in seen:
            seen.add(note.path)
            yield note


def _hidden_activations(values: Sequence[SettingValues]) -> list[SettingValues]:
    short = [v for v in values if v.role == "activation" and v.setting[:2] == ("model", "hidden")]
    listed = [v for v in values if len(v.setting) == 3 and v.setting[:2] == ("model", "layers")]
    return short + [v for v in listed if v.values and set(v.values) <= set(HIDDEN_ACTIVATIONS)]


def _activations(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    """Yield notes on hidden activations; one that is searched among others is a question, and has none."""
    for v in _hidden_activations(values):
        if v.values and set(v.values) <= {"identity"}:
            text = "a hidden layer with the activation identity adds nothing: two linear layers are one; use relu"
            yield PracticeNote(v.path, text, "Goodfellow et al. 2016, Deep Learning, 6.1")
        elif v.values and set(v.values) <= {"sigmoid"}:
            text = "a hidden layer of sigmoids saturates and is not centered at 0, so that layers below it learn slowly"
            yield PracticeNote(v.path, f"{text}; use relu or tanh", "Glorot and Bengio 2010, section 3")


def _initializers(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    names = {name for v in _hidden_activations(values) for name in v.values}
    for v in values:
        if v.role != "initializer" or v.setting[:2] == ("model", "output") or len(v.values) != 1:
            continue
        (name,) = v.values
        if name == "zero":
            text = "weights that begin at 0 get equal gradients, so that all units of a layer stay the same"
            yield PracticeNote(v.path, f"{text}; leave it out", "Goodfellow et al. 2016, Deep Learning, 8.4")
        elif name in FIXED_SCALE:
            text = f"the scale of {name} does not follow the width of a layer, so that signals vanish or explode"
            yield PracticeNote(v.path, f"{text}; use he_normal or xavier_normal", "He et al. 2015, 2.2")
        elif name in HE and names and names <= {*SATURATING, "identity"}:
            text = f"{name} compensates for rectifiers, which the network does not have; use xavier_normal"
            yield PracticeNote(v.path, text, "Glorot and Bengio 2010, section 4")
        elif name in XAVIER and names and names <= RECTIFIERS:
            text = f"{name} halves the variance in each layer of rectifiers; use he_normal"
            yield PracticeNote(v.path, text, "He et al. 2015, 2.2")


def _input_dropout(values: Sequence[SettingValues]) -> Iterator[PracticeNote]:
    for v in values:
        if (v.role != "input_dropout" and v.setting != FIRST_RATE) or not v.numbers:
            continue
        limit = INPUT_DROPOUT if min(v.numbers) == max(v.numbers) else MAX_INPUT_DROPOUT
        if max(v.numbers) > limit:
            text = f"dropping up to {max(v.numbers):.0%} of the inputs removes what is to be learned"
            yield PracticeNote(v.path, f"{text}; at most 20% is usual", "Srivastava et al. 2014, appendix A.4")
