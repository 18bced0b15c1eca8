"""Advice on layers: dead, saturated and identical units, gradients and unscaled inputs, from stored evidence."""

from hpsearch.models.evidence import LayerEvidence
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.layers import layer_advice
from tests.hpsearch.report.advice.advice_cases import ROWS, study, summary_of


def advice(*layers: LayerEvidence, zero: float = 0.0, **changes: object) -> dict[str, str]:
    of = summary_of(study(**changes), lambda p: 0.9, ROWS._replace(layers=list(layers), zero=zero))
    return {a.topic: str(a) for a in layer_advice(of)}


def test_dead_units_ask_for_a_smaller_learning_rate() -> None:
    found = advice(LayerEvidence("2 ReLU → 16", 16, dead=15))["dead"]
    assert found.startswith("15 of 16 units of layer 2 ReLU → 16 are dead: the same output for all rows. Change")
    assert "parameters.learning_rate: {min: 0.001, max: 1.0, scale: log} → {min: 0.0001, max: 0.1, scale: log}" in found
    assert "leaky_relu" in found
    assert advice(LayerEvidence("2 ReLU → 16", 16, dead=5)) == {}


def test_zeros_are_blamed_on_the_initializer() -> None:
    assert "initializer of zeros" in advice(LayerEvidence("2 Tanh → 8", 8, dead=8), zero=1.0)["identical"]
    assert "All 8 units" in advice(LayerEvidence("2 Tanh → 8", 8, identical=8))["identical"]


def test_saturated_units() -> None:
    assert "12 of 16 units" in advice(LayerEvidence("2 Sigmoid → 16", 16, saturated=12))["saturated"]


def test_vanishing_and_exploding_gradients_name_their_layers() -> None:
    def layers(*sizes: float) -> list[LayerEvidence]:
        return [LayerEvidence(f"{n} Dense", gradient=size) for n, size in enumerate(sizes, 1)]

    assert advice(*layers(1e-7, 1e-4, 1e-2))["vanishing"].startswith(
        "Gradients vanish: 1.0e-07 in layer 1 Dense, 1.0e-02 in layer 3 Dense"
    )
    assert "Gradients explode" in advice(*layers(10.0, 0.1, 1e-3))["exploding"]
    assert advice(*layers(1e-3, 1e-3, 1e-2)) == {} and advice(*layers(1e-7, 1e-2)) == {}


def test_unscaled_inputs() -> None:
    spec = study(data={"source": "sklearn", "name": "iris", "scale": "none"})
    of = summary_of(spec, lambda p: 0.9, ROWS._replace(smallest=0.001, largest=2e4))
    assert "Change data.scale: none → standard" in {a.topic: str(a) for a in layer_advice(of)}["scale"]


def test_no_larger_network_for_a_dead_one() -> None:
    """A network that is as bad as a constant says nothing about ranges: only its layers do."""
    evidence = ROWS._replace(layers=[LayerEvidence("2 ReLU → 16", 16, dead=16)], constant=0.5, base_error=0.0)
    scores = {"fit/accuracy": 0.5, "val/accuracy": 0.51}
    found = advise(summary_of(study(), lambda p: 0.51, evidence, scores, first={"hidden_units": 64}))
    assert [a.topic for a in found] == ["nothing learned", "dead"]
