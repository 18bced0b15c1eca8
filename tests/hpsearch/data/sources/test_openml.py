"""OpenML source: responses of openml.org, the cache, and errors of the network."""

import gzip
import io
import socket
import time
import warnings
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest
from table_cases import answers, cached, cells, refusal, table, targets

from hpsearch.data.dataset import fingerprint
from hpsearch.data.sources.openml import OpenmlSource


class Answer(io.BytesIO):
    """A response of `urlopen`, compressed."""

    def info(self) -> dict[str, str]:
        return {"Content-Encoding": "gzip"}


Serve = Callable[[dict[str, bytes] | Exception], list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that sets the responses by path, or an error, and returns the list of requests."""

    def install(known: dict[str, bytes] | Exception) -> list[str]:
        asked: list[str] = []

        def urlopen(request: Request, *_: Any, **__: Any) -> Answer:
            path = request.full_url.split("/", 3)[3]
            asked.append(path)
            if isinstance(known, Exception):
                raise known
            if path not in known:
                raise HTTPError(request.full_url, 412, "no such data set", HTTPMessage(), io.BytesIO())
            return Answer(gzip.compress(known[path]))

        monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
        return asked

    return install


def test_downloaded_once(serve: Serve, tmp_path: Path) -> None:
    """The data set's own target is the last column; the second read needs no network."""
    asked = serve(answers())
    read = table("openml", id=77, cache=str(tmp_path))
    assert len(asked) == 4 and len(set(asked)) == 4
    assert read.features == ("who", "code", "size") and read.classes == ("7", "8")  # number is an identifier: left out
    assert targets(read) == ["7", "8"] * 6
    assert cells(read, "who") == ["a", "b", "c"] * 4 and cells(read, "code") == ["1", "2", "3"] * 4  # nominal
    assert cells(read, "size") == [None if k == 4 else k / 2 for k in range(12)]
    cut = serve(URLError("cut"))
    again = table("openml", id=77, cache=str(tmp_path))
    assert fingerprint(again) == fingerprint(read) and cut == []


def test_another_target(serve: Serve, tmp_path: Path) -> None:
    serve(answers())
    message = refusal("openml", id=77, cache=str(tmp_path), target=2)
    assert message.startswith("data: openml: target 'size' is missing in 1 of 12 rows, first in row 5")
    read = table("openml", id=77, cache=str(tmp_path), target="who")
    assert read.features == ("code", "size", "class") and targets(read) == ["a", "b", "c"] * 4
    message = refusal("openml", id=77, cache=str(tmp_path), target="whom")
    assert message == "data: openml: target: there is no column 'whom'; did you mean 'who'?"


@pytest.mark.parametrize(("own", "names"), [((), "none"), (("who", "class"), "who, class")], ids=["none", "two"])
def test_data_sets_without_a_single_target(own: tuple[str, ...], names: str, serve: Serve, tmp_path: Path) -> None:
    serve(answers(targets=own))
    message = refusal("openml", id=77, cache=str(tmp_path))
    assert message == f"data: openml: id 77: set target; the data set must have one default target, got {names}"
    assert table("openml", id=77, cache=str(tmp_path), target="class").features == ("who", "code", "size")


def test_warnings_become_notices(serve: Serve, tmp_path: Path) -> None:
    serve(answers(status="deactivated"))
    read = table("openml", id=77, cache=str(tmp_path))
    assert [n for n in read.notices if "small is inactive" in n] and len(read.notices) == 2


def test_unknown_data_sets(serve: Serve, tmp_path: Path) -> None:
    serve({})
    assert refusal("openml", id=5, cache=str(tmp_path)) == "data: openml: id 5: Dataset with data_id 5 not found."


@pytest.mark.parametrize(
    "error",
    [URLError("Name or service not known"), TimeoutError("timed out"), ConnectionResetError("reset by peer")],
    ids=["name", "time", "reset"],
)
def test_no_network(error: Exception, serve: Serve, tmp_path: Path) -> None:
    """The error is one line and comes at once; the cache holds no partial data set."""
    asked, before = serve(error), (socket.getdefaulttimeout(), warnings.showwarning, list(warnings.filters))
    start = time.monotonic()
    message = refusal("openml", id=77, cache=str(tmp_path))
    assert message.startswith("data: openml: id 77: openml.org cannot be reached (") and "connect and run" in message
    assert len(asked) <= 2 and time.monotonic() - start < 3
    assert (socket.getdefaulttimeout(), warnings.showwarning, list(warnings.filters)) == before
    serve(answers())
    assert len(table("openml", id=77, cache=str(tmp_path)).y) == 12


def test_server_errors(serve: Serve, tmp_path: Path) -> None:
    asked = serve(HTTPError("https://api.openml.org", 503, "busy", HTTPMessage(), io.BytesIO()))
    message = refusal("openml", id=77, cache=str(tmp_path))
    assert message == "data: openml: id 77: openml.org answers 503 busy; try again later" and len(asked) == 1


def test_server_timeout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A connection without a response ends after the timeout."""
    monkeypatch.setattr("hpsearch.data.sources.openml.RESPONSE_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("sklearn.datasets._openml._DATA_INFO", f"http://127.0.0.1:{port}/{{}}")
        monkeypatch.setattr("sklearn.datasets._openml._OPENML_PREFIX", "", raising=False)  # before scikit-learn 1.7
        start = time.monotonic()
        assert "openml.org cannot be reached (timed out)" in refusal("openml", id=77, cache=str(tmp_path))
        assert time.monotonic() - start < 3


def test_invalid_responses(serve: Serve, tmp_path: Path) -> None:
    """A damaged cache is downloaded again; rows that differ from their description are rejected."""
    cached(tmp_path)
    whole = table("openml", id=77, cache=str(tmp_path))
    place = tmp_path / "openml" / "openml.org" / "data" / "v1" / "download" / "77" / "small.arff.gz"
    place.write_bytes(b"no gzip")
    serve(answers())
    again = table("openml", id=77, cache=str(tmp_path))
    assert fingerprint(again) == fingerprint(whole)
    known = answers()
    known["data/v1/download/77/small.arff"] += b"x,y"
    serve(known)
    assert "md5 checksum" in refusal("openml", id=77, cache=str(tmp_path / "other"))
    known["api/v1/json/data/77"] = b"<html>"
    serve(known)
    assert refusal("openml", id=77, cache=str(tmp_path / "third")).startswith("data: openml: id 77: Expecting value")


def test_default_cache(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    asked = serve({})
    cached(tmp_path)
    assert len(OpenmlSource.model_validate({"id": 77}).load().y) == 12 and asked == []
