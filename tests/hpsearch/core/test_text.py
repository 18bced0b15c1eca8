"""Text for users: printable lines, formatted numbers, no passwords."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.core.text import (
    complement,
    first_line,
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_value,
    format_yaml,
    masked,
    natural_order,
    printable,
    redacted,
    without_formula,
    without_secrets,
)

SECRET = "hunter-22"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter-22@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:hun@ter-22/3@host/db", "postgresql://me:***@host/db"),
        ("no path sqlite:/me:hunter-22@host/db", "no path sqlite:/me:***@host/db"),
        ("https://hunter-22@host/x", "https://***@host/x"),
        ("mysql://host/db?user=me&password=hunter-22&x=1", "mysql://host/db?user=me&password=***&x=1"),
        ("http://h/?API_KEY=hunter-22&token=hunter-22", "http://h/?API_KEY=***&token=***"),
        ("two http://a:hunter-22@h and http://b:hunter-22@h", "two http://a:***@h and http://b:***@h"),
    ],
)
def test_redacted(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text", ["sqlite:///a@b.db", "http://127.0.0.1:5000/x", "a: b@c", "studies/a.yaml:3: x: got 'password=3'"]
)
def test_redacted_keeps_other_text(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "uri", "expected"),
    [
        ("token hunter-22 refused", "http://me:hunter-22@host", "token *** refused"),
        ("p%40hunter and p@hunter", "postgresql://me:p%40hunter@host/db", "*** and ***"),
        ("connect host=h password=hunter-22 port=5", "", "connect host=h password=*** port=5"),
        ("he said hi", "http://me:hi@host", "he said hi"),  # too short to be replaced anywhere
        ("bad [hunter-22", "http://me:[hunter-22@host", "bad ***"),  # urlsplit rejects this URI
        ("http://x:hunter-22@y", "", "http://x:***@y"),
    ],
)
def test_masked(text: str, uri: str, expected: str) -> None:
    assert masked(text, uri) == expected


def test_printable() -> None:
    """Control characters, direction marks and surrogates are escaped; long lines keep beginning and end."""
    assert printable("naïve β 学習率 🙂 [red]") == "naïve β 学習率 🙂 [red]"
    assert printable("\x1b[31m\n\t\u202e\ud800\x9b") == "\\x1b[31m\\n\\t\\u202e\\ud800\\x9b"
    long = printable("a" * 5_000 + "b" * 5_000)
    assert len(long) < 1_100 and long.startswith("aaa") and long.endswith("bbb")
    assert len(printable("a" * 100, 30)) < 40
    assert printable(f"http://me:{SECRET}@h\x1b") == "http://me:***@h\\x1b"


@given(st.text(max_size=50))
def test_printable_is_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


def test_first_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(MemoryError()) == "MemoryError"
    assert first_line(OSError(2, "no such file", "a")) == "FileNotFoundError: [Errno 2] no such file: 'a'"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.9387123, "0.9387"), (0.9777, "0.9777"), (0.9943, "0.9943"), (0.9951234, "0.9951"), (0.999, "0.999")),
        *((0.9995, "0.9995"), (0.99923456, "0.99923"), (0.99999, "0.99999"), (0.99995678, "0.999957")),
        *((1 - 2**-53, "0.99999999999999989"), (1.0, "1"), (1.00001, "1"), (-0.99999, "-1"), (0.0, "0")),
        *((1e-7, "1e-07"), (123456.0, "1.235e+05"), (math.nan, "nan"), (math.inf, "inf")),
        *((12345678, "12345678"), (True, "True"), ("adam", "adam")),
    ],
)
def test_format_value(value: float | str, text: str) -> None:
    """Four digits; near 1, two digits of 1 − value."""
    assert format_value(value) == text


@given(st.floats(0.9, 1, exclude_max=True), st.floats(0.9, 1, exclude_max=True))
def test_format_value_keeps_the_order(a: float, b: float) -> None:
    """Formatted values keep their order and stay below 1, and 1 − value is right to two digits."""
    assert (float(format_value(a)) <= float(format_value(b))) >= (a <= b) and float(format_value(a)) < 1
    assert complement(float(format_value(a))) == pytest.approx(complement(a), rel=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1484705, "1,484,705"), (0.41666, "0.41666"), (3.0, "3"), (-0.5, "-0.5"), (1e12, "1e+12"), (math.nan, "nan")],
)
def test_format_number(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.38, "38 %"), (1, "100 %"), (0.0095, "1 %"), (0.0094, "0.94 %"), (0.003, "0.3 %"), (0, "0 %")],
)
def test_format_percent(share: float, text: str) -> None:
    assert format_percent(share) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (2000, "2,000 trials")])
def test_format_count(count: int, text: str) -> None:
    assert format_count(count, "trial") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.312, "0.31 s"), (9.99, "10 s"), (42.4, "42 s"), (599, "599 s"), (600, "10 min"), (90000, "1,500 min")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_secrets_are_removed_in_every_spelling() -> None:
    secret = "a b/ü'+"
    spellings = (secret, "a%20b/%C3%BC%27%2B", "a%20b%2F%C3%BC%27%2B", "a+b%2F%C3%BC%27%2B", repr(secret)[1:-1])
    for spelling in spellings:
        assert without_secrets(f"no access: {spelling}!", ["", secret]) == "no access: ***!", spelling


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"min": 1e-4, "scale": "log"}, "{min: 0.0001, scale: log}"),
        ([True, None, 3], "[true, null, 3]"),
        (list(range(9)), "[0, 1, 2, …, 8]"),
        ("a b", "a b"),
    ],
)
def test_yaml_in_a_line(value: Any, text: str) -> None:
    assert format_yaml(value) == text


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", "＝1+1", "-", "+", "-1,5", "--1", "-1_0"],
)
def test_formulas_become_text(cell: str) -> None:
    assert without_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1.5", "+7", "-.5e-3", "-inf", "-nan", "-3.", "", "yes", "a=b", " =1", "1-2", "'=1"])
def test_numbers_and_plain_text_are_unchanged(cell: str) -> None:
    assert without_formula(cell) == cell


def test_the_first_line_of_an_error_can_be_stored() -> None:
    """PostgreSQL refuses zero characters, and no database has a code for a lone surrogate."""
    assert first_line(ValueError("a\0b\ud800\nand more")) == "ValueError: a\\x00b\\ud800"


def test_natural_order() -> None:
    assert sorted(["a:10", "a:9", "a", "b:1"], key=natural_order) == ["a", "a:9", "a:10", "b:1"]
