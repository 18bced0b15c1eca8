"""The code that trains a study: its files, which are part of the study, and the function or class that it names."""

import ast
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpsearch.config.hints import hint
from hpsearch.config.spec import CommandTraining, EstimatorTraining, FunctionTraining, Spec
from hpsearch.core.text import first_line
from hpsearch.errors import TrainingCodeError
from hpsearch.training.task import TrainingCode

MAX_FILES, MAX_FILE_BYTES = 10_000, 1 << 30  # of the files that a study may name, and of their contents
MAX_KEPT = 1 << 20  # bytes of a source file that is kept in the database
_PACKAGE = Path(__file__).parents[2]
_LOADED: list[tuple[TrainingCode, frozenset[str]]] = []  # the code loaded last, and the modules loaded before it
_OWN_PACKAGES, _INSTALLED = ("hpsearch", "engine"), {"site-packages", "dist-packages"}


def changed_files(code: TrainingCode) -> list[str]:
    """Return the files that have changed or cannot be read any more."""
    return [name for name, digest in code.files if _digest_or_none(code.path(name)) != digest]


def find_code(spec: Spec, folder: Path) -> TrainingCode:
    """Return the code of a study.

    Raises:
        TrainingCodeError: a file does not exist or cannot be read.
    """
    train, folder = spec.train, folder.absolute()
    if not isinstance(train, FunctionTraining | CommandTraining | EstimatorTraining):
        return TrainingCode(str(folder))
    names: set[str] = set()
    for key, files in (("uses", _used(folder, train.uses)), (_key(train), _own(folder, train))):
        for file in files:
            if not file.is_file():
                raise TrainingCodeError(f"train.{key}: {file}: no such file")
            names.add(str(file.relative_to(folder) if file.is_relative_to(folder) else file))
            if len(names) > MAX_FILES:
                raise TrainingCodeError(f"train.{key}: names more than {MAX_FILES:,} files")
    return TrainingCode(str(folder), tuple((name, _digest(Path(folder, name))) for name in sorted(names)))


def kept_sources(code: TrainingCode) -> dict[str, bytes]:
    """Return name → content of the files that are small enough to be kept in the database."""
    contents = {
        name: code.path(name).read_bytes() for name, _ in code.files if code.path(name).stat().st_size < MAX_KEPT
    }
    return {name: content for name, content in contents.items() if b"\0" not in content}


@functools.lru_cache(maxsize=4)
def load_object(reference: str, code: TrainingCode) -> Any:
    """Return the function or class that a study names, from files that have not changed since the study began.

    Raises:
        TrainingCodeError: a file has changed, cannot be imported, or has no such name.
    """
    if changed := changed_files(code):
        raise TrainingCodeError(f"{code.path(changed[0])}: has changed since the study began")
    module_name, name = split_reference(reference)
    _forget_other_code(code)
    try:
        module = _import(module_name, code)
    except BaseException as error:
        raise TrainingCodeError(located(error, code, module_name)) from None
    if not hasattr(module, name):
        names = [known for known in dir(module) if not known.startswith("_")]
        raise TrainingCodeError(f"{module_name}: has no '{name}'{hint(name, names)}")
    return getattr(module, name)


def _forget_other_code(code: TrainingCode) -> None:
    """Forget modules of other code that this process has loaded, such as an earlier version of the same files.

    Modules that were loaded before that code, installed ones and our own stay, also below the folder of the study file.
    """
    for other, before in [loaded for loaded in _LOADED if loaded[0] != code]:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name in before or not file or not other.folder or name.partition(".")[0] in _OWN_PACKAGES:
                continue
            if Path(file).is_relative_to(other.folder) and not _INSTALLED & set(Path(file).parts):
                del sys.modules[name]
    if not _LOADED or _LOADED[0][0] != code:
        _LOADED[:] = [(code, frozenset(sys.modules))]


def split_reference(reference: str) -> tuple[str, str]:
    """Return module and name of `FILE.py:NAME`, `PACKAGE.MODULE:NAME` or `PACKAGE.MODULE.NAME`."""
    module, _, name = reference.rpartition(":" if ":" in reference else ".")
    return module, name


def located(error: BaseException, code: TrainingCode, named: str) -> str:
    """Return an exception in one line, with file and line of the user's code.

    Args:
        named: what stands before an exception that no line of the user's code has raised.
    """
    if isinstance(error, SyntaxError):
        line = "" if error.lineno is None else f":{error.lineno}"
        return f"{shown_path(error.filename, code) if error.filename else named}{line}: SyntaxError: {error.msg}"
    chain = [error, *filter(None, [error.__cause__])]  # an error inside a generator may have its place in its cause
    frames = [frame for each in reversed(chain) for frame in traceback.extract_tb(each.__traceback__)]
    own = [f for f in frames if Path(f.filename).is_relative_to(code.folder)]
    foreign = [f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE) and not f.filename.startswith("<")]
    text = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else first_line(error)
    text = without_addresses(text)
    frame = next(iter((own or foreign)[-1:]), None)
    return f"{named}: {text}" if frame is None else f"{shown_path(frame.filename, code)}:{frame.lineno}: {text}"


def without_addresses(text: str) -> str:
    """Return the text of an object or an exception without addresses in memory, which differ in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def definition(reference: str, code: TrainingCode) -> tuple[str, ast.stmt | None]:
    """Return the file of a function or class, and its definition; None if it is not defined there in plain sight.

    Raises:
        TrainingCodeError: the file has a syntax error, or the name does not occur in it.
    """
    module, name = split_reference(reference)
    path = code.path(module) if module.endswith(".py") else _origin(module)
    if path is None or path.suffix != ".py":
        return module, None
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        error.__traceback__ = None  # it is our own
        raise TrainingCodeError(located(error, code, shown_path(str(path), code))) from None
    found = next((n for n in tree.body if getattr(n, "name", None) == name), None)
    shown = shown_path(str(path), code)
    bound = {_bound(n) for n in ast.walk(tree) if isinstance(n, ast.Name | ast.alias)}
    if found is None and not bound & {name, "*"}:
        names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        raise TrainingCodeError(f"{shown}: has no '{name}'{hint(name, names) if names else ''}")
    return shown, found


def _bound(node: ast.Name | ast.alias) -> str:
    return node.id if isinstance(node, ast.Name) else (node.asname or node.name)


def _key(train: FunctionTraining | CommandTraining | EstimatorTraining) -> str:
    return train.__class__.__name__.removesuffix("Training").lower()


def _own(folder: Path, train: FunctionTraining | CommandTraining | EstimatorTraining) -> Iterator[Path]:
    """Yield the files that a study names as its code: the module, or the arguments of a command that are files."""
    if isinstance(train, CommandTraining):
        yield from (file for argument in train.command if (file := Path(folder, argument)).is_file())
        return
    module, _ = split_reference(train.function if isinstance(train, FunctionTraining) else train.estimator)
    if module.endswith(".py"):
        yield Path(folder, module)
        return
    origin = _origin(module, folder)
    if isinstance(train, FunctionTraining) and origin is None:
        raise TrainingCodeError(f"train.function: there is no module '{module}'")
    if origin is not None and isinstance(train, FunctionTraining):
        yield origin


def _origin(module: str, folder: Path | None = None) -> Path | None:
    """Return the file of a module, without importing it; its parent packages are imported."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(found.origin) if found and found.origin and found.has_location else None


def _used(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        if Path(folder, pattern).is_file() or not set(pattern) & set("*?["):
            yield Path(folder, pattern)
            continue
        deep = re.sub(r"\*\*(?=[^/*])", "**/*", pattern)  # `src/**.py` means all such files below
        found = [file for file in folder.glob(deep) if file.is_file()]
        if not found:
            raise TrainingCodeError(f"train.uses: no file matches '{pattern}' in {folder}")
        yield from found


def _import(module_name: str, code: TrainingCode) -> Any:
    folder = code.folder
    if not module_name.endswith(".py"):
        if folder not in sys.path:
            sys.path.append(folder)
        return importlib.import_module(module_name)
    path = code.path(module_name)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as for `python FILE.py`
    name = path.stem if path.stem.isidentifier() else "training_code"
    existing = sys.modules.get(name)
    if existing is not None and getattr(existing, "__file__", None) == str(path):
        return existing
    if existing is not None or name in sys.stdlib_module_names:
        name = f"_study_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def shown_path(path: str, code: TrainingCode) -> str:
    """Return the path of a file of a study, relative to the folder of the study file if it lies inside."""
    file = Path(path)
    return str(file.relative_to(code.folder)) if file.is_relative_to(code.folder) else path


def _digest(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TrainingCodeError(f"{path}: must have at most {MAX_FILE_BYTES:,} bytes")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingCodeError(f"{path}: cannot be read: {error.strerror or error}") from None


def _digest_or_none(path: Path) -> str | None:
    try:
        return _digest(path)
    except TrainingCodeError:
        return None
