"""The limits of a submitted study: uploads and data that the packages bring, and no files or secrets of the server."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.config.spec import Spec
from hpsearch.config.spec.objective import KINDS
from hpsearch.errors import Mistake, SpecError

LOCAL_SOURCES = ("csv", "parquet", "npz", "sklearn", "formula")  # that read uploads, or no files at all
_PATHS = ("path", "test_path", "file")


class Policy(NamedTuple):
    """The permissions that the operator of a server gives.

    Attributes:
        any_source: all sources of data, which may reach databases and other hosts.
        data_root: a folder whose files studies may read; None for uploads only.
    """

    any_source: bool = False
    data_root: Path | None = None

    def check(self, spec: Spec, files: Mapping[str, str]) -> None:
        """Check a submitted study.

        Args:
            files: name → digest of the uploads that come with it.

        Raises:
            SpecError: it uses something that is not allowed; the error lists all of it.
        """
        content = spec.model_dump(mode="json")
        mistakes = [Mistake("study.yaml", ".".join(path), message) for path, message in self._found(content, files)]
        if mistakes:
            raise SpecError(mistakes)

    def _found(self, content: dict[str, Any], files: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str]]:
        for key in KINDS:
            if content["train"].get(key) is not None and not self.any_source:
                yield ("train", key), "training code is not allowed on this server"
        source = (content["data"] or {}).get("source")
        if source is not None and source not in LOCAL_SOURCES and not self.any_source:
            yield (
                ("data", "source"),
                f"source {source} is not allowed on this server; allowed: {', '.join(LOCAL_SOURCES)}",
            )
        if content.get("cluster") is not None:
            yield ("cluster",), "is set by the server"
        for path, text in _texts(content, ()):
            if "${" in text and not self.any_source:
                yield path, "variables of the environment are not allowed on this server"
            elif path[0] == "data" and path[-1] in _PATHS and not self._is_allowed(text, files):
                yield path, f"'{text}' was not uploaded with the study; uploaded: {', '.join(files) or 'nothing'}"

    def _is_allowed(self, text: str, files: Mapping[str, str]) -> bool:
        if text in files:
            return True
        if self.data_root is None or "\0" in text or not os.path.isabs(text):
            return False
        return Path(os.path.realpath(text)).is_relative_to(os.path.realpath(self.data_root))


def _texts(content: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the text of each text in a study."""
    if isinstance(content, str):
        yield path, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(value, (*path, str(key)))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _texts(value, (*path, str(number)))
