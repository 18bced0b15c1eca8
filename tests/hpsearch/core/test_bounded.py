"""JSON and zlib streams within bounds."""

import json
import zlib
from typing import Any

import pytest

from hpsearch.core.bounded import (
    MAX_NESTING,
    decode_curves,
    decode_json,
    decode_mapping,
    decode_scores,
    unpack_stream,
)


@pytest.mark.parametrize("content", [{}, {"a": [1, 2.5, None, "ü", True]}, [[]] * 5, {"a": {"b": {"c": -(10**300)}}}])
def test_plain_content(content: Any) -> None:
    assert decode_json(json.dumps(content)) == content


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1), "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("[1e999]", "not finite"),
        ('{"a": NaN}', "not finite"),
        (f"[1{300 * '0'}1]", "out of bounds"),
        ("9" * 5000, "digits"),
        ('["\\ud800"]', "surrogates"),
        ('{"\\udfff": 1}', "surrogates"),
        ("{", "Expecting"),
        (b"\xff\xfe\x00", "decode"),
    ],
)
def test_content_out_of_bounds(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_json(text)


def test_lengths_and_kinds() -> None:
    with pytest.raises(ValueError, match="at most 3 are allowed"):
        decode_json("[1, 2]", most=3)
    with pytest.raises(ValueError, match="must be a mapping"):
        decode_mapping("[]")
    assert decode_json("[NaN, Infinity, 1.5]", finite=False)[2] == 1.5
    with pytest.raises(ValueError, match="surrogates"):
        decode_json('[[NaN, 1.5], "\\ud800"]', finite=False)


def test_streams() -> None:
    data = zlib.compress(b"x" * 1000)
    assert unpack_stream(data) == b"x" * 1000 and unpack_stream(data, 1000) == b"x" * 1000
    with pytest.raises(ValueError, match="unpacks to more than 999 bytes"):
        unpack_stream(data, 999)
    for broken in (data[:-1], data[:5], b"", b"no stream", data[:6] + b"?" + data[7:]):
        with pytest.raises(ValueError):
            unpack_stream(broken)


def test_curves_and_scores() -> None:
    def packed(content: Any) -> bytes:
        return zlib.compress(json.dumps(content).encode())

    assert decode_curves(packed({"val/loss": [1, float("inf")], "a": [0.5, float("nan")]}))["val/loss"][0] == 1
    assert decode_curves(packed({})) == {} and decode_scores('{"a": 1, "b": 0.5}') == {"a": 1, "b": 0.5}
    for content in ([], {"a": 1}, {"a": [None]}, {"a": [True]}, {"a": ["1"]}, {"a": [1], "b": []}, {"\x1b[2J": [1]}):
        with pytest.raises(ValueError):
            decode_curves(packed(content))
    for text in ("[]", '{"a": "1"}', '{"a": NaN}', '{"\\u001b": 1}', '{"a": true}'):
        with pytest.raises(ValueError):
            decode_scores(text)
