"""JSON and zlib streams within bounds."""

import json
import zlib
from typing import Any

import pytest

from hpsearch.core.bounded import MAX_NESTING, decode_json, decode_mapping, unpack_stream


@pytest.mark.parametrize("content", [{}, {"a": [1, 2.5, None, "ü", True]}, [[]] * 5, {"a": {"b": {"c": -(2**62)}}}])
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
        ("[9223372036854775808]", "out of bounds"),
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
