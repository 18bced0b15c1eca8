"""Curves of events are short, and end where the curve ends."""

import json

import pytest

from hpsearch.server.live.content import encoded, event, shortened


@pytest.mark.parametrize("length", [0, 1, 5, 6, 7, 12, 13, 1500])
def test_thinned_curves(length: int) -> None:
    curve = [n / 7 for n in range(length)]
    kept, step = shortened(curve, 6)
    assert len(kept) <= 6 and step * len(kept) >= length
    assert kept == [pytest.approx(curve[min((n + 1) * step, length) - 1], rel=1e-5) for n in range(len(kept))]


def test_values_that_json_does_not_have() -> None:
    assert shortened([float("nan"), float("inf"), 1.23456789], 5) == ([None, None, 1.23457], 1)
    assert (
        event("best", {"value": None, "name": "a\nb"}, 3)
        == b'id: 3\nevent: best\ndata: {"value":null,"name":"a\\nb"}\n\n'
    )
    assert json.loads(encoded({"α": [1]})) == {"α": [1]}
