"""Numbers in other notations: found, read, and told from codes."""

import pytest

from hpsearch.data.text_files.numbers import (
    NumberFormat,
    common_format,
    is_formatted_number,
    written_numbers,
)

NOTATIONS: dict[str, tuple[list[str], NumberFormat, list[float]]] = {
    "dollars": (["$90.00", "-$1,240.5", "$7"], NumberFormat(thousands=",", strip=("$",)), [90, -1240.5, 7]),
    "euros": (["1.222,50 €", "5,1 €"], NumberFormat(",", ".", ("€",)), [1222.5, 5.1]),
    "grouped": (["1,222", "214", "-62"], NumberFormat(thousands=","), [1222, 214, -62]),
    "lakhs": (["1,00,000", "5"], NumberFormat(thousands=","), [100_000, 5]),
    "spaces": (["1 222", "33\u00a0000", "7"], NumberFormat(thousands=" "), [1222, 33000, 7]),
    "swiss": (["1'222.5", "10’000"], NumberFormat(thousands="'"), [1222.5, 10_000]),
    "comma": (["0,125", "3,5e-4", "7"], NumberFormat(","), [0.125, 3.5e-4, 7]),
    "ungrouped": (["1,222", "12345"], NumberFormat(","), [1.222, 12345]),
    "percent": (["12 %", "3.5%", "4"], NumberFormat(strip=("%",)), [12, 3.5, 4]),
    "negative": (["(1.5)", "2.0"], NumberFormat(strip=("()",)), [-1.5, 2]),
    "accounting": (["($1,200)", "$3", "−4"], NumberFormat(thousands=",", strip=("$", "()")), [-1200, 3, -4]),
    "units": (["18.6 kmpl", "19 kmpl", "20.1 kmpl"], NumberFormat(strip=("kmpl",)), [18.6, 19, 20.1]),
    "minus sign": (["−1.5", "2", "3.25"], NumberFormat(strip=("−",)), [-1.5, 2, 3.25]),
    "dash": (["–1.5", "2"], NumberFormat(strip=("–",)), [-1.5, 2]),
    "minus behind": (["1.50-", "2.25", "-3.5"], NumberFormat(strip=("-",)), [-1.5, 2.25, -3.5]),
    "minus behind, grouped": (["1.234,50-", "2,5"], NumberFormat(",", ".", ("-",)), [-1234.5, 2.5]),
    "minus behind, currency": (["1.50- €", "2 €"], NumberFormat(strip=("€", "-")), [-1.5, 2]),
    "code": (["USD 5", "USD 6.5"], NumberFormat(strip=("USD",)), [5, 6.5]),
}


@pytest.mark.parametrize("name", NOTATIONS)
def test_notations(name: str) -> None:
    cells, expected, values = NOTATIONS[name]
    found = written_numbers(cells)
    assert found is not None and found.format == expected
    convert = expected.converter()
    assert [float(convert(cell)) for cell in cells] == values
    assert convert("") == "" and convert("word") == "word" and convert("02139") == "02139"


@pytest.mark.parametrize(
    "cells",
    [["1.5", "2"], ["1", "1-", "2", "3"], ["10-20-"], ["A12", "B13"],
     ["12A", "13C", "14F"], ["2020-01-31"], ["192.168.1.1"], ["12:30"],
     ["1st", "2nd", "3rd"], ["36 months", "60 months"], ["1 5", "2 3"], ["10-20"], ["555-1234"], ["1.2.3", "1.2.4"],
     ["x", "y", "$5"], []],
    ids=str,
)  # fmt: skip
def test_text_that_is_no_notation(cells: list[str]) -> None:
    assert written_numbers(cells) is None


@pytest.mark.parametrize(
    "cells", [["$5", "€6"], ["5 kg", "6 lb", "7 kg"], ["20K", "300", "1.5K"], ["1.5M", "20K", "3K"]], ids=str
)
def test_several_units(cells: list[str]) -> None:
    found = written_numbers(cells)
    assert found is not None and found.format is None and common_format([found]).is_plain


def test_one_notation_for_all_columns() -> None:
    """A column that fits two notations follows one that fits only one of them."""
    ambiguous, clear, plain = (
        written_numbers(cells, plain=True) for cells in (["1,222", "7"], ["1,5"], ["1.222", "3"])
    )
    assert ambiguous and clear and plain and not plain.example
    assert common_format([ambiguous]) == NumberFormat(thousands=",")
    assert common_format([ambiguous, clear]) == NumberFormat(",")
    assert common_format([clear, plain]) == NumberFormat(",", ".")
    dollars, euros = written_numbers(["$5", "$6"]), written_numbers(["7 %"])
    assert dollars and euros and common_format([dollars, euros]).strip == ("$", "%")
    assert common_format([]).is_plain


def test_marks_are_removed_only_from_numbers() -> None:
    convert = NumberFormat(",", ".", ("$", "kg", "()")).converter()
    cells = ["$ 1.234,5 kg", "(5)", "kg", "$", "1.23", "1,2,3", "5 lb", "(x)", "1" * 60, "-5", "(-5)", "0.189"]
    assert [convert(cell) for cell in cells] == [
        *("1234.5", "-5", "kg", "$", "1.23", "1,2,3", "5 lb", "(x)", "1" * 60, "-5", "5", "0.189"),
    ]  # fmt: skip
    assert NumberFormat().converter()("(5)") == "(5)"


def test_settings_in_words() -> None:
    assert NumberFormat(",", ".", ("€",)).as_settings() == "decimal: ',', thousands: '.', strip: ['€']"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("3,14", True), ("1,234.5", True), ("12 %", True), ("$5", True), ("-7", True), ("x7", False), ("", False),
     ("2020-01-31", False), ("1" * 51, False), ("5 2", False)],
)  # fmt: skip
def test_formatted_numbers(cell: str, expected: bool) -> None:
    assert is_formatted_number(cell) == expected
