"""The encoding of a text file: its byte order mark, or a guess from the characters that each encoding gives."""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hpsearch.data.text_files.opening import open_bytes

JUDGED_CHARACTERS = 4000  # beyond ASCII, that are judged
BLOCK_BYTES = 1 << 22
MIN_SCORE = 0.6  # of a guess, from 0 to 1
MIN_LEAD = 0.15  # of a guess before the second best
MIN_LANGUAGE, LANGUAGE_LEAD = 0.8, 0.2  # share of the words of a language, and its lead before Western ones
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The ten most frequent letters, and the range of the letters.
_SCRIPTS = {
    "cp1251": ("оеаинтсрвл", "\u0400", "\u04ff"),
    "koi8-r": ("оеаинтсрвл", "\u0400", "\u04ff"),
    "cp1253": ("αοιετσνηυρ", "\u0370", "\u03ff"),
    "cp1255": ("יוהלארתבמש", "\u0590", "\u05ff"),
    "cp1256": ("اليمونرتبة", "\u0600", "\u06ff"),
}


# Letters beyond ASCII of groups of languages; other Latin encodings than the Western ones differ in these letters only.
_WESTERN_LANGUAGES = ("àáâãäçèéêëìíîïñòóôõöùúûüßœ", "åäöæøéü")
_CENTRAL_EUROPEAN = ("áäąćčďđéęěíĺľłňńóôöőřŕśšťúůüűýźżž", "ăâîşţ")  # from Czech to Croatian, and Romanian
_OTHER_LATIN = {
    "cp1250": _CENTRAL_EUROPEAN,
    "iso8859-2": _CENTRAL_EUROPEAN,
    "cp1254": ("çğıi̇öşüâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äöõüšž"),
}
_WORD = re.compile(r"[\w\x80-\x9f]+")  # with control characters, which no text has
_SIGNS = "°²³µ€£§–—‘’“”…½¼\xa0"
_WESTERN_LETTERS = {*map(chr, range(0xC0, 0x100)), *"ŠšŽžŒœŸ"} - {"×", "÷"}


class EncodingGuess(NamedTuple):
    """The most plausible encodings of a file.

    Attributes:
        encoding: the only plausible one; None if several are, or none.
        readings: encoding → the first words that are not ASCII, as it reads them; the best first.
    """

    encoding: str | None
    readings: dict[str, str]


def resolve_encoding(path: Path, given: str | None) -> str:
    """Return the encoding of a file: the given one, or that of its byte order mark, or UTF-8.

    Raises:
        LookupError: there is no such encoding.
        OSError, ValueError: the file cannot be read.
    """
    if given is not None and codecs.lookup(given).name != "utf-8":
        io.TextIOWrapper(io.BytesIO(), given)  # refuses codecs that are no encodings of text, as "rot13" and "zip"
        return given
    with open_bytes(path) as file:
        start = file.read(4096)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if marked is not None and (given is None or marked == "utf-8-sig"):
        return marked
    if given is None and len(start) >= 4:
        for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # ASCII's bytes alternate with zeros
            zeros, others = start[first::2].count(0), start[1 - first :: 2].count(0)
            if 2 * zeros > len(start[first::2]) and not others:
                return name
    return "utf-8-sig"


def guess_encoding(path: Path) -> EncodingGuess | None:
    """Return the most plausible encodings of a file; None if it is UTF-8 or has a byte order mark.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if resolve_encoding(path, None) != "utf-8-sig":
        return None
    strict = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", *_SCORES, *_OTHER_LATIN)}
    sample = b""
    with open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            sample += _beyond_ascii(block, JUDGED_CHARACTERS - len(sample))
            for name in list(strict):
                if not _accepts(strict[name], block):
                    del strict[name]
    if "utf-8" in strict and _accepts(strict.pop("utf-8"), b"", final=True):
        return None
    texts = {name: sample.decode(name, "replace") for name in strict}
    scores = {name: _SCORES[name](text) for name, text in texts.items() if name in _SCORES}
    scores |= _other_latin_scores(texts)
    ranking = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])
    readings = {name: _first_words(texts[name]) for name in ranking[:4]}
    clear = ranking and scores[ranking[0]] >= MIN_SCORE
    clear = clear and (len(ranking) < 2 or scores[ranking[0]] - scores[ranking[1]] >= MIN_LEAD)
    return EncodingGuess(ranking[0] if clear else None, readings)


def _accepts(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _beyond_ascii(block: bytes, length: int) -> bytes:
    """Return the lines that are not ASCII, up to a length."""
    if length <= 0 or block.isascii():
        return b""
    lines = (line for line in block.split(b"\n") if not line.isascii())
    return b"\n".join(_until(lines, length)) + b"\n"


def _until(lines: Iterator[bytes], length: int) -> Iterator[bytes]:
    for line in lines:
        yield line[:1000]
        length -= len(line)
        if length <= 0:
            return


def _first_words(text: str) -> str:
    """Return the first words that are not ASCII."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return " ".join([*dict.fromkeys(word for word in words if not word.isascii())][:3])[:40]


def _other_latin_scores(texts: dict[str, str]) -> dict[str, float]:
    """Return scores of other Latin encodings if most words are those of one of their languages, and not Western."""
    names = [name for name in ("latin-1", "cp1252") if name in texts]
    western = max((_language_share(texts[name], _WESTERN_LANGUAGES) for name in names), default=0.0)
    scores: dict[str, float] = {}
    for name in [name for name in _OTHER_LATIN if name in texts]:
        share = _language_share(texts[name], _OTHER_LATIN[name])
        same = any(texts[name] == texts[other] for other in scores)
        if share >= MIN_LANGUAGE and share - western >= LANGUAGE_LEAD and not same:
            scores[name] = 1 + share  # before the Western reading, which accepts any letter
    return scores


def _language_share(text: str, languages: tuple[str, ...]) -> float:
    """Return the share of the words with accented letters that one of the languages can write."""
    words = {word for word in _WORD.findall(text) if not word.isascii()}
    spelled = [w.lower() for w in words if not any(b.islower() and c.isupper() for b, c in pairwise(w))]
    written = (
        sum(any("a" <= c <= "z" for c in w) and all(c.isascii() or c in letters for c in w) for w in spelled)
        for letters in languages
    )
    return max(written) / max(len(words), 1)


# --- scores from 0 to 1: how plausible the characters of a text are, other than ASCII


def _foreign(text: str) -> list[str]:
    return [c for c in text if not c.isascii()]


def _western(text: str) -> float:
    """Return the share of accented letters that stand alone among ASCII letters, and of usual signs."""
    good, characters = 0.0, 0
    for before, c, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if not c.isascii():
            characters += 1
            alone = before.isascii() or after.isascii()
            if c in _SIGNS:
                good += not after.isalpha()
            elif c in _WESTERN_LETTERS and alone:
                good += 1.0 if before.isalpha() or after.isalpha() else 0.4
    return good / max(characters, 1)


def _alphabet(name: str) -> Callable[[str], float]:
    frequent, first, last = _SCRIPTS[name]

    def score(text: str) -> float:
        """Return a score from the shares of frequent letters, of capitals inside words, and of ASCII inside words."""
        letters = [c for c in _foreign(text) if c.isalpha()]
        ours = [c for c in letters if first <= c <= last]
        if not ours:
            return 0.0
        inside = sum(b.islower() and c.isupper() for b, c in pairwise(text) if not c.isascii())
        inside += sum(b.isalpha() and c.isalpha() and b.isascii() != c.isascii() for b, c in pairwise(text))
        frequency = sum(c.lower() in frequent for c in ours) / len(ours)
        return max(0.0, len(ours) / len(_foreign(text)) * min(1.0, frequency / 0.6) - inside / len(ours))

    return score


def _by_lead(charset: str, ranges: tuple[tuple[int, int, float], ...]) -> Callable[[str], float]:
    """Return a score by the first byte of each character in a charset that is ordered by frequency."""

    def score(text: str) -> float:
        characters = _foreign(text)
        total = 0.0
        for c in characters:
            try:
                lead = c.encode(charset)[0]
            except UnicodeEncodeError:
                continue
            total += next((value for low, high, value in ranges if low <= lead <= high), 0.0)
        return total / max(len(characters), 1)

    return score


_chinese = _by_lead("gb2312", ((0xA1, 0xA3, 0.8), (0xB0, 0xD7, 1.0), (0xD8, 0xF7, 0.3)))
_japanese = _by_lead("euc_jp", ((0xA1, 0xA3, 0.8), (0xA4, 0xA5, 1.0), (0xB0, 0xCF, 0.9), (0xD0, 0xF4, 0.2)))
_korean = _by_lead("euc_kr", ((0xA1, 0xA3, 0.8), (0xB0, 0xC8, 1.0)))
_hangul = _by_lead("gb2312", ((0xA1, 0xC8, 1.0),))  # these bytes of Chinese characters are the syllables of Korean
_SCORES: dict[str, Callable[[str], float]] = {
    "gb18030": lambda text: _chinese(text) * (0.5 if len(_foreign(text)) >= 8 and _hangul(text) >= 0.97 else 1.0),
    "big5": _by_lead("big5", ((0xA1, 0xA3, 0.8), (0xA4, 0xC6, 1.0), (0xC9, 0xF9, 0.2))),
    "shift_jis": _by_lead("shift_jis", ((0x81, 0x81, 0.8), (0x82, 0x83, 1.0), (0x88, 0x97, 1.0), (0x98, 0xEA, 0.3))),
    "euc_jp": lambda text: _japanese(text) * (1.0 if any("\u3041" <= c <= "\u30ff" for c in text) else 0.6),
    "euc_kr": _korean,
    **{name: _alphabet(name) for name in _SCRIPTS},
    "latin-1": lambda text: 0.0 if any("\x80" <= c <= "\x9f" for c in text) else _western(text),
    "cp1252": lambda text: _western(text) if any(ord(c) > 0xFF for c in text) else 0.0,
}
