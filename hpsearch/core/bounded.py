"""Content of unknown origin, decoded within bounds: JSON and zlib streams of databases and model folders.

Whatever exceeds a bound or has another form raises a ValueError. Text is checked to be valid Unicode.
"""

import json
import math
import zlib
from typing import Any

MAX_TEXT, MAX_STREAM = 1 << 26, 1 << 27  # bytes of JSON; bytes of an unpacked stream
MAX_NESTING = 60  # of nested lists and mappings
MAX_WHOLE = 10**300  # magnitude of integers, as in study files


def decode_json(text: str | bytes, *, finite: bool = True, most: int = MAX_TEXT) -> Any:
    """Return the content of JSON text.

    Args:
        finite: refuse NaN and infinite numbers.
        most: maximum length.

    Raises:
        ValueError: the text is not JSON, too long, nested too deeply, or holds numbers or text out of bounds.
    """
    if len(text) > most:
        raise ValueError(f"has {len(text):,} bytes, at most {most:,} are allowed")
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _check_nodes(content, finite)
    return content


def decode_mapping(text: str | bytes, *, finite: bool = True) -> dict[str, Any]:
    """Return the content of JSON text that must be a mapping; see `decode_json`."""
    content = decode_json(text, finite=finite)
    if not isinstance(content, dict):
        raise ValueError("must be a mapping")
    return content


def decode_scores(text: str | bytes) -> dict[str, float]:
    """Return name → number from JSON text.

    Raises:
        ValueError: the text has another form.
    """
    scores = decode_mapping(text)
    if not all(name.isprintable() and type(value) in (int, float) for name, value in scores.items()):
        raise ValueError("must map names to numbers")
    return scores


def decode_curves(data: bytes) -> dict[str, list[float]]:
    """Return name → curve from a zlib stream of JSON; all curves have the same length.

    Raises:
        ValueError: the content has another form.
    """
    curves = decode_mapping(unpack_stream(data), finite=False)
    for name, values in curves.items():
        if not (name.isprintable() and isinstance(values, list) and set(map(type, values)) <= {int, float}):
            raise ValueError("must map names to lists of numbers")
    if len(set(map(len, curves.values()))) > 1:
        raise ValueError("has curves of different lengths")
    return curves


def unpack_stream(data: bytes, most: int = MAX_STREAM) -> bytes:
    """Return the content of a zlib stream.

    Raises:
        ValueError: the stream is damaged, or its content is longer than `most`.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, most)
        if stream.unconsumed_tail:
            raise ValueError(f"unpacks to more than {most:,} bytes")
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof:
        raise ValueError("is incomplete")
    return content


def _check_nodes(content: Any, finite: bool) -> None:
    level = [content]
    for _ in range(MAX_NESTING):
        if not level:
            return
        inner: list[Any] = []
        if not finite and set(map(type, level)) == {float}:  # curves
            return
        for node in level:
            kind = type(node)
            if kind is list:
                inner += node
            elif kind is dict:
                inner += node
                inner += node.values()
            elif kind is str:
                node.encode()  # a UnicodeEncodeError is a ValueError
            elif kind is int and abs(node) > MAX_WHOLE:
                raise ValueError("holds an integer out of bounds")
            elif kind is float and finite and not math.isfinite(node):
                raise ValueError("holds a number that is not finite")
        level = inner
    raise ValueError("is nested too deeply")
