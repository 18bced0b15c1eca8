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
    "cp1250": "město,y\nPlzeň,1\nDěčín,2\nŽďár,3\nŘíčany,4\nŁódź,5\n",
    "iso8859-2": "miasto,y\nŁódź,1\nKraków,2\nGdańsk,3\nŚwidnica,4\nPoznań,5\n",
    "cp1254": "şehir,y\nDiyarbakır,hayır\nMuğla,evet\nŞanlıurfa,1\n",
    "cp1257": "miestas,y\nŠiauliai,1\nKlaipėda,2\nPanevėžys,3\nTauragė,4\n",
    "latin-1": "town,y\nKöln,1\nGenève,2\nMálaga,3\n",
    "cp1252": "price,y\n“5 €”,1\n6 €,2\nKöln,3\n",
}


WESTERN = {  # as other Latin encodings read them, most of their letters are those of a language too
    "towns": "town,y\nGenève,1\nMálaga,2\nMérida,3\nForlì,4\n",
    "Italian": "voce,y\nperché,1\ncosì,2\npuò,3\npiù,4\ncittà,5\n",
    "Spanish": "año,y\nsí,1\nEspaña,2\nPerú,3\n",
    "Danish": "by,y\nKøbenhavn,1\nÅrhus,2\nNæstved,3\n",
}


@pytest.mark.parametrize("name", WESTERN)
def test_western_text_stays_western(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(WESTERN[name].encode("latin-1"))
    guess = guess_encoding(tmp_path / "t.csv")
    assert guess is not None and guess.encoding == "latin-1", guess


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
    for text, words in (("a,y\né,ü\nb,v\n", "é ü"), ("x,y\né,sí\nê,no\n", "é sí ê")):
        path.write_bytes(text.encode("latin-1"))
        guess = guess_encoding(path)
        assert guess is not None and guess.encoding is None and guess.readings["latin-1"] == words


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
