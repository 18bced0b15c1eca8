"""Encodings: byte order marks, and guesses from words of several languages."""

import codecs
from pathlib import Path

import pytest

from hpsearch.data.text_files.encodings import guess_encoding, resolve_encoding

TEXTS = {
    "gb18030": "编号,色泽,根蒂,好瓜\n1,青绿,蜷缩,是\n2,乌黑,稍蜷,否\n",
    "big5": "編號,顏色,好瓜\n1,青綠,是\n2,烏黑,否\n",
    "shift_jis": "番号,品種,結果\n1,りんご,合格\n2,みかん,不合格\n",
    "euc_jp": "番号,品種,結果\n1,りんご,合格\n2,みかん,不合格\n",
    "euc_kr": "번호,이름,결과\n1,사과,합격\n2,바나나,불합격\n",
    "cp1251": "город,цена,класс\nМосква,5,да\nКазань,3,нет\n",
    "koi8-r": "город,цена,класс\nМосква,5,да\nКазань,3,нет\n",
    "cp1253": "πόλη,τιμή\nΑθήνα,1\nΠάτρα,2\nΘεσσαλονίκη,3\n",
    "latin-1": "town,y\nKöln,1\nGenève,2\nMálaga,3\n",
    "cp1252": "price,y\n“5 €”,1\n6 €,2\nKöln,3\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_guesses(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXTS[encoding].encode(encoding))
    guess = guess_encoding(path)
    assert guess is not None and guess.encoding == encoding, guess
    assert guess.readings[encoding].split()[0] in TEXTS[encoding]


def test_no_guess_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content in ("é,ü\n".encode(), b"a,b\n", b"", "é\n".encode("utf-16"), "é,y\n1,2\n".encode("utf-16-le")):
        path.write_bytes(content)
        assert guess_encoding(path) is None


def test_an_unclear_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a,y\né,ü\nb,v\n".encode("latin-1"))
    guess = guess_encoding(path)
    assert guess is not None and guess.encoding is None and guess.readings["latin-1"] == "é ü"


@pytest.mark.parametrize(
    ("content", "given", "expected"),
    [
        (b"a,b\n", None, "utf-8-sig"),
        (codecs.BOM_UTF8 + b"a,b\n", "utf-8", "utf-8-sig"),
        ("a,b\n".encode("utf-16"), None, "utf-16"),
        ("a,b\n".encode("utf-32"), None, "utf-32"),
        ("a,b\n1,2\n".encode("utf-16-be"), None, "utf-16-be"),
        ("a,b\n1,2\n".encode("utf-16-le"), None, "utf-16-le"),
        ("a,b\n".encode("utf-16"), "utf-8", "utf-8-sig"),
        ("a,b\n".encode("utf-16"), "cp1252", "cp1252"),
    ],
)
def test_marks(content: bytes, given: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert resolve_encoding(path, given) == expected
