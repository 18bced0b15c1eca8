"""Evidence for advice: facts about the champion and its rows, besides scores, as part of its diagnostics."""

from typing import NamedTuple, Self

from hpsearch.core.bounded import decode_mapping, unpack_stream
from hpsearch.data.checks.drift import Drift
from hpsearch.data.checks.leaks import Leak
from hpsearch.data.checks.repeats import RepeatedRows


class PartError(NamedTuple):
    """How an error was measured on the rows of a part.

    Attributes:
        rows: number of rows, each counted once.
        deviation: of a regression, standard deviation of a row's share in 1 − R²; None for a share of wrong rows.
    """

    rows: int
    deviation: float | None


class LayerEvidence(NamedTuple):
    """One layer of the champion, for a batch of training rows.

    Attributes:
        layer: number, type and output shape: `2 ReLU → 16`.
        units, dead, saturated, identical: as in `engine.analysis.units.UnitCounts`; no units for other layers.
        gradient: root mean square of dL/dparameters; None for a layer without parameters.
    """

    layer: str
    units: int = 0
    dead: int = 0
    saturated: int = 0
    identical: int = 0
    gradient: float | None = None


class Evidence(NamedTuple):
    """Facts about the champion and its rows.

    Attributes:
        errors: part → how its error was measured.
        parameters: number of learned parameters of the network.
        zero: share of the weights with |w| ≤ 1e-4.
        layers: the layers of the first fold.
        base_error: error that no model can avoid, if the source knows its noise, else None.
        noise: lower bound of that error, from equal inputs with different targets.
        drift, leaks, repeats: as in `hpsearch.data.checks.facts.RowFacts`.
        constant: error of a constant prediction on the validation rows, else on the test rows.
        smallest, largest: smallest and largest standard deviation of the inputs.
        regression: errors are 1 − R², not shares of wrong rows.
    """

    errors: dict[str, PartError]
    parameters: int = 0
    zero: float = 0.0
    layers: list[LayerEvidence] = []  # noqa: RUF012 (defaults are never changed)
    base_error: float | None = None
    noise: float = 0.0
    drift: list[Drift] = []  # noqa: RUF012
    leaks: list[Leak] = []  # noqa: RUF012
    repeats: list[RepeatedRows] = []  # noqa: RUF012
    constant: float = 1.0
    smallest: float = 1.0
    largest: float = 1.0
    regression: bool = False

    @classmethod
    def from_diagnostics(cls, data: bytes | None) -> Self | None:
        """Return the evidence in stored diagnostics; None if there is none or it cannot be read."""
        if data is None:
            return None
        from pydantic import TypeAdapter

        try:
            content = decode_mapping(unpack_stream(data)).get("evidence")
            read: Self | None = None if content is None else TypeAdapter(cls).validate_python(content)
        except ValueError:
            return None
        return read if read is not None and read._is_consistent() else None

    def _is_consistent(self) -> bool:
        """Return whether counts and shares lie in their ranges."""
        counts = [n for e in self.layers for n in (e.units, e.dead, e.saturated, e.identical)]
        rows = [e.rows for e in self.errors.values()] + [r.rows for r in self.repeats]
        errors = [v for v in (self.base_error, self.noise, self.zero, self.constant) if v is not None]
        deviations = [e.deviation for e in self.errors.values() if e.deviation is not None]
        return (
            all(0 <= n < 1 << 40 for n in (*counts, self.parameters))
            and all(0 < n < 1 << 40 for n in rows)
            and all(0 <= v <= 1 for v in errors)
            and all(v >= 0 for v in deviations)
            and all(0 <= r.repeated <= r.rows for r in self.repeats)
            and all(0 < e.gradient < 1e300 or e.gradient == 0 for e in self.layers if e.gradient is not None)
        )
