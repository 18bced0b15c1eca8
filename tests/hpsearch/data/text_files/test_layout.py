"""Layouts: separators, lines before the table, row names, and names that occur twice."""

import pytest

from hpsearch.data.text_files.layout import Layout, detect_separator, find_layout, uneven_lines, unique_names

ROWS = [f"{k}.5,{k},{'uv'[k % 2]}\n" for k in range(10)]


def layout(text: str, **settings: object) -> Layout:
    options = {"separator": None, "header": None, "skip_lines": None, **settings}
    found = find_layout(text.splitlines(keepends=True), **options)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("start", "separator"),
    [
        ("1,5;2,5;3\n2,5;1,0;4\n", ";"),
        ("a;b\n1,5;2,5\n", ";"),
        ("1,2,a;b\n3,4,c;d\n", ","),
        ('1,"a;b"\n2,"c;d"\n', ","),
        ("a\n1\n2\n", ","),
        (f"a;b\n1;{'.' * 100_000}x\n", ";"),
        ("", ","),
        ("1\t2 3\tx\n4\t5 6\ty\n", "\t"),
        ("  1.5   2 x\n 2.5 3   y \n", "whitespace"),
        ("1,5 2,5 3\n2,5 1,0 4\n", "whitespace"),
        ("a b,c d\ne f,g h\n", ","),
        ("new york,1\nlos angeles,2\n", ","),
        ("one two\nthree four five\n", ","),
        ("a|b\n1|2\n", "|"),
    ],
)
def test_separators(start: str, separator: str) -> None:
    assert detect_separator(start.splitlines(keepends=True)) == separator


def test_another_separator_is_reported() -> None:
    found = layout("a;b\n" + "1,5;2\n" * 9)
    assert found.separator == ";" and found.notices == (
        "the separator is ';', because no comma parts the lines evenly",
    )
    assert layout("a,b\n" + "1;5,2\n" * 9).notices == ()


def test_comments_and_separator_lines() -> None:
    found = layout("# by me, today\n\n#\na,b,y\n" + "".join(ROWS))
    assert found.skip_lines == 3 and found.names == ("a", "b", "y") and "first 3 lines are comments" in found.notices[0]
    found = layout("sep=;\na;b\n1;2\n")
    assert (found.separator, found.skip_lines) == (";", 1) and "as the first line says" in found.notices[0]
    found = layout("#id,b,y\n" + "".join(ROWS))
    assert found.skip_lines == 0 and found.names[0] == "#id"
    found = layout("# made\n#id,b,y\n" + "".join(ROWS))
    assert found.skip_lines == 1 and found.names[0] == "#id"
    assert layout("title\na,b,y\n" + "".join(ROWS), skip_lines=1).names == ("a", "b", "y")
    assert find_layout(["\n", "  \n"], None, None, None) is None


def test_lines_of_another_width_before_the_table() -> None:
    rows = ["a,b,y\n", *ROWS * 3]
    assert uneven_lines(["Trees of 2020\n", "\n", *rows], ",") == 2
    assert uneven_lines(rows, ",") == 0
    assert uneven_lines(["b,y\n", *rows[1:]], ",") == 0  # row names
    assert uneven_lines(["title\n", *rows, "1,2\n"], ",") == 1  # and one after it
    assert uneven_lines(["title\n", *rows, "1,2\n", *rows], ",") == 0


def test_row_names_without_a_name() -> None:
    found = layout("a b y\n" + "".join(f"r{k} {k} {k}.5 {'uv'[k % 2]}\n" for k in range(10)))
    assert found.names == ("column 0", "a", "b", "y") and found.row_names
    assert "no name for the first column" in found.notices[-1]


def test_names_that_occur_twice() -> None:
    assert unique_names(["a", "b", "a", "a", "a.1"]) == ("a", "b", "a.2", "a.3", "a.1")
    found = layout("a,a,y\n" + "".join(ROWS))
    assert found.names == ("a", "a.1", "y") and found.notices == ("two columns are named 'a', so column 1 is 'a.1'",)
    assert layout("a,,y\n" + "".join(ROWS)).names == ("a", "column 1", "y")


def test_the_guess_of_a_header_is_reported() -> None:
    assert layout("a,b,y\n" + "".join(ROWS)).notices == ()
    (notice,) = layout("".join(ROWS)).notices
    assert notice.startswith("the first line (0.5, 0, u) is a row, because") and notice.endswith("header: true")
    assert layout("".join(ROWS), header=False).notices == () and layout("".join(ROWS), header=True).header
