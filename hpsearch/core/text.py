"""Text for users: printable lines, formatted numbers, and text without passwords."""

import json
import math
import re
from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

LINE_LENGTH = 1000  # characters of a printed line

_PASSWORD = re.compile(  # in a URL, also after pathlib merged its slashes; `${NAME}` is none
    r"(:/{1,2}[^\s:/@]*:)(?!\$\{\w+\}@(?!\S*@))[^\n@]*@(?:\S*@)?"
)
_TOKEN = re.compile(r"(https?://)[^\s:/@'\"]+@")  # a token as the user name
_QUERY = re.compile(
    r"([?&](?:password|passwd|pwd|token|secret|sslpassword|api_?key)=)(?!\$\{\w+\}(?:[&\s;'\"]|$))[^&\s;'\"]+",
    re.IGNORECASE,
)
_KEYWORD = re.compile(r"(?i)((?:password|passwd|pwd)=)[^\s&;'\"]+")  # as in `host=… password=…`
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")  # first character of a cell that a spreadsheet may run
_SIGNED_NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-](?:inf|nan)", re.ASCII)


def redacted(text: str) -> str:
    """Return `text` with the passwords of its URLs replaced by `***`."""
    return _QUERY.sub(r"\1***", _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1***@", text)))


def masked(text: str, *uris: str) -> str:
    """Return `text` with passwords replaced by `***`.

    Args:
        uris: URIs whose passwords are replaced in every form. Passwords of other URIs are recognized by pattern.
    """
    for uri in uris:
        secret = _password(uri)
        text = without_secrets(text, (form for form in {secret, unquote(secret)} if len(form) > 3))  # not inside words
    return redacted(_KEYWORD.sub(r"\1***", text))


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with the secrets replaced by `***`, including URL-encoded and `repr`-escaped forms."""
    for secret in filter(None, secrets):
        encoded = {quote(secret, safe=safe) for safe in ("", "/", " +")}
        for form in {secret, *encoded, quote_plus(secret), repr(secret)[1:-1]}:
            text = text.replace(form, "***")
    return text


def _password(uri: str) -> str:
    """Return the password as spelled in the URI, even with characters that end the host for a URL parser."""
    try:
        parsed = urlsplit(uri).password
    except ValueError:
        parsed = None
    user, at, _ = uri.partition("://")[2].rpartition("@")
    return parsed or (user.partition(":")[2] if at else "")


def printable(text: str, longest: int = LINE_LENGTH) -> str:
    """Return one line that is safe to print: no passwords, control characters and direction marks escaped.

    Lines longer than `longest` characters keep their beginning and their end.
    """
    text = redacted(text)
    if len(text) > longest:
        text = f"{text[: longest * 2 // 3]} … {text[-longest // 3 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_controls(text: str) -> str:
    """Return text of several lines with control characters, direction marks and lone surrogates escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def without_formula(cell: str) -> str:
    """Return a cell of a CSV file that spreadsheets show as text: `'=1+1` for `=1+1`; numbers are unchanged."""
    return f"'{cell}" if _FORMULA.match(cell) and not _SIGNED_NUMBER.fullmatch(cell) else cell


def first_line(error: BaseException) -> str:
    """Return an exception's type and the first line of its message, which any database can store."""
    return without_controls(f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": "))


def format_value(value: bool | int | float | str) -> str:
    """Format a parameter's value: floats with four significant digits; near 1 with two digits of 1 − value."""
    if not isinstance(value, float):
        return str(value)
    digits = 4
    if 0.999 < value < 1:
        digits = 1 - math.floor(math.log10(complement(value)))
    return f"{value:.{digits}g}"


def complement(value: float) -> float:
    """Return 1 − value in decimal: 1 − 0.999 is 0.001, where binary subtraction gives 0.0010000000000000009."""
    context = Context(prec=28, traps=[])  # a program may have changed the precision of its own
    return float(context.subtract(Decimal(1), Decimal(repr(float(value)))))


def format_number(value: float) -> str:
    """Format a number of a data set: `1,484,705`, `0.4167`."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e12 else f"{value:.6g}"


def format_percent(share: float) -> str:
    """Format a share: `38 %`, `0.3 %`."""
    return f"{100 * share:.0f} %" if share >= 0.0095 else f"{100 * share:.2g} %"


def format_count(count: int, noun: str) -> str:
    """Format a count: `1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts text with its numbers by their size: `a.yaml:9` before `a.yaml:10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def format_duration(seconds: float) -> str:
    """Format a duration: `0.31 s`, `42 s`, `12 min`."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def format_bytes(size: int) -> str:
    """Format a number of bytes: `512 MB`, `2.1 GB`."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def format_yaml(value: Any) -> str:
    """Return a value as YAML writes it in a line: `{min: 0.0001, max: 0.1, scale: log}`; long lists are shortened."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {format_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        items = value if len(value) <= 6 else [*value[:3], "…", value[-1]]
        return f"[{', '.join(map(format_yaml, items))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)
