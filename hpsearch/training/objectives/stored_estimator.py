"""Estimators stored without pickle, in the format of skops: only types on a list are loaded.

What skops writes has addresses of memory and the time in it; they are replaced, so that equal estimators have equal
bytes.
"""

import importlib
import io
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from engine.types import Floats
from hpsearch.core.text import first_line, printable
from hpsearch.errors import DataError

TRUSTED_PACKAGES = ("sklearn", "xgboost", "lightgbm")  # whose classes are loaded
_COMPILED_MODULES = {"_loss": "sklearn._loss._loss"}  # the name of a module before scikit-learn 1.7 → its path
TRUST_VARIABLE = "HPSEARCH_TRUST"  # further packages or types, separated by commas
MAX_ENTRIES = 1_000_000  # arrays of an estimator
MAX_RATIO, MAX_UNPACKED = 200, 1 << 30  # beyond so many bytes, content may unpack to `MAX_RATIO` times its packed size
_SCHEMA = "schema.json"
_TIME = (1980, 1, 1, 0, 0, 0)


def dump_estimator(estimator: Any) -> bytes:
    """Return an estimator as bytes, which are the same for equal estimators.

    Raises:
        DataError: it holds an object that cannot be stored without pickle.
    """
    import skops.io

    try:
        return zlib.compress(_canonical(skops.io.dumps(estimator)), 1)
    except Exception as error:
        raise DataError(f"{_type_name(type(estimator))} cannot be stored without pickle: {first_line(error)}") from None


def load_estimator(content: bytes, trusted: Collection[str] = ()) -> Any:
    """Return an estimator from the output of `dump_estimator`.

    Args:
        trusted: packages or types that are loaded besides those of `TRUSTED_PACKAGES` and of skops.

    Raises:
        DataError: the bytes are damaged, or hold a type that is not on the list.
    """
    import skops.io

    plain = _unpacked(content)
    names = _checked_names(plain, trusted)
    try:
        return skops.io.loads(plain, trusted=names)
    except Exception as error:
        raise DataError(f"the estimator cannot be loaded: {printable(first_line(error))}") from None


def check_estimator_types(content: bytes, trusted: Collection[str] = ()) -> None:
    """Check that all types of a stored estimator are on the list, without loading it; raises like `load_estimator`."""
    _checked_names(_unpacked(content), trusted)


def trusted_by_name(reference: str) -> tuple[str, ...]:
    """Return the package of an estimator that a study names, whose types are loaded while the study runs."""
    module = reference.rpartition(":" if ":" in reference else ".")[0]
    return (Path(module).stem,) if module.endswith(".py") else (module.partition(".")[0],)


def estimator_outputs(estimator: Any, x: Floats, classes: int) -> Floats:
    """Return the predictions of rows `(rows, features)` in the form of a network's outputs, `(rows, outputs)`.

    They are the probability of the second of two classes, a probability for each class, or values. An estimator
    without `predict_proba` gives its class the probability 1.

    Raises:
        ValueError: it predicts another number of values for a row.
    """
    if not classes:
        values = np.asarray(estimator.predict(x), np.float64)
        if values.size != len(x):
            raise ValueError(f"predicts an array of shape {values.shape} for {len(x)} rows; must be a value for each")
        return values.reshape(len(x), 1)
    probabilities = np.zeros((len(x), classes))  # 0 for a class that is not among the rows it was fitted to
    if hasattr(estimator, "predict_proba"):
        probabilities[:, np.asarray(estimator.classes_, np.intp)] = estimator.predict_proba(x)
    else:
        probabilities[np.arange(len(x)), np.asarray(estimator.predict(x), np.intp)] = 1
    return probabilities if classes > 2 else probabilities[:, 1:]


def _canonical(content: bytes) -> bytes:
    """Return a file of skops with numbers in place of addresses, in the order in which they occur."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    schema, ids, files = json.loads(source.read(_SCHEMA)), dict[int, int](), dict[str, str]()
    _renumber(schema, ids, files)
    with zipfile.ZipFile(target, "w") as archive:
        for old, new in files.items():
            archive.writestr(zipfile.ZipInfo(new, _TIME), _without_padding(source.read(old)))
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _TIME), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _without_padding(content: bytes) -> bytes:
    """Return an array file of records, such as the nodes of a tree, with zeros between their fields."""
    if b"'descr': [" not in content[:64]:
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    clean, target = np.zeros(array.shape, array.dtype), io.BytesIO()
    for name in array.dtype.names:
        clean[name] = array[name]
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], files: dict[str, str]) -> None:
    """Renumber the objects and files of a node; plain values are numbered one by one, because Python shares them."""
    if isinstance(node, list):
        for part in node:
            _renumber(part, ids, files)
    elif isinstance(node, dict):
        if "__id__" in node:
            plain = node.get("__loader__") == "JsonNode"
            node["__id__"] = _number(ids, None if plain else node["__id__"])
        if isinstance(file := node.get("file"), str):
            node["file"] = files.setdefault(file, f"{len(files)}{os.path.splitext(file)[1]}")
        for part in node.values():
            if isinstance(part, list | dict):
                _renumber(part, ids, files)


def _number(ids: dict[int, int], old: int | None) -> int:
    """Return the number of an object; None is a new object."""
    new = len(ids) + 1
    return ids.setdefault(-new if old is None else old, new)


def _unpacked(content: bytes) -> bytes:
    """Return the file of skops.

    Raises:
        DataError: it is no such file, or would unpack to too many bytes.
    """
    most = max(MAX_UNPACKED, MAX_RATIO * len(content))
    try:
        stream = zlib.decompressobj()
        plain = stream.decompress(content, most)
        if not stream.eof:
            raise ValueError("is incomplete or unpacks to too many bytes")
        with zipfile.ZipFile(io.BytesIO(plain)) as archive:
            members = archive.infolist()
            if len(members) > MAX_ENTRIES or any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise ValueError("has another form than a stored estimator")
            if sum(m.file_size for m in members) > len(plain) or archive.testzip() is not None:
                raise ValueError("is damaged")
    except Exception as error:
        raise DataError(f"the estimator cannot be read: {printable(first_line(error))}") from None
    return plain


def _checked_names(plain: bytes, trusted: Collection[str]) -> list[str]:
    """Return the types that skops does not know, all of which are trusted here."""
    import skops.io

    allowed = (*TRUSTED_PACKAGES, *trusted, *filter(None, os.environ.get(TRUST_VARIABLE, "").split(",")))
    try:
        names: list[str] = skops.io.get_untrusted_types(data=plain)
    except Exception as error:
        raise DataError(f"the estimator cannot be read: {printable(first_line(error))}") from None
    unknown = [name for name in names if not _is_trusted(name, allowed)]
    if unknown:
        packages = ",".join(dict.fromkeys(name.partition(".")[0] for name in unknown))
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise DataError(
            f"holds objects of types that are not on the list of trusted types: {printable(shown)}; if you trust where"
            f" the model comes from, load it with {TRUST_VARIABLE}={printable(packages)} in the environment"
        )
    return names


def _is_trusted(name: str, allowed: Collection[str]) -> bool:
    """Return whether a name is that of a class of an allowed package, or is allowed itself.

    A function is not enough, because a package also has functions that read files.
    """
    package, (module, _, attribute) = name.partition(".")[0], name.rpartition(".")
    if name in allowed:
        return True
    if module in _COMPILED_MODULES:
        return isinstance(getattr(importlib.import_module(_COMPILED_MODULES[module]), attribute, None), type)
    if package not in allowed:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(importlib.import_module(module), attribute)
    except Exception:
        return False
    return isinstance(found, type) and found.__module__.partition(".")[0] == package


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
