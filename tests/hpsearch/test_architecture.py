"""The structure of the code, read from its source: imports, registries, sizes, names and docstrings."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from paths import REPOSITORY

FILES = sorted(p for package in ("hpsearch", "engine") for p in (REPOSITORY / package).rglob("*.py"))
OURS = [p for p in FILES if p.relative_to(REPOSITORY).parts[0] == "hpsearch"]
SLOW = {"pandas", "pyarrow", "onnx", "mlflow", "optuna", "sklearn", "plotly", "matplotlib", "scipy", "torch", "cmaes"}
FAMILIES = {
    "hpsearch/data/sources": "SOURCES",
    "hpsearch/training/executors": "EXECUTORS",
    "hpsearch/samplers": "SAMPLERS",
}
NOT_MEMBERS = {
    "__init__",
    "answers",
    "base",
    "columns",
    "faults",
    "limits",
    "raw_table",
    "tables",
}  # files of a family's folder that are not entries of its registry
# Modules that import a slow library when they are imported; only what needs the library imports them.
DOORS = {
    "hpsearch/models/estimators.py": {"sklearn"},
    "hpsearch/models/serving.py": {"mlflow", "pandas"},
    **{
        f"hpsearch/report/html/{name}.py": {"plotly"}
        for name in ("data_figures", "model_figures", "figures", "images", "page", "search_figures")
    },
}
CHAIN, FOLDER, FILE, CLASS, FUNCTION = 15, 12, 400, 200, 50  # modules, files, lines, code lines, code lines
# Public names that several modules define, with the reason.
SHARED_NAMES: dict[str, str] = {}
STATEMENT = re.compile(r"\b(SELECT\b.+\bFROM|INSERT INTO|UPDATE\b.+\bSET|DELETE FROM|ALTER TABLE|PRAGMA)\b", re.DOTALL)
SQL = ("hpsearch/storage/", "hpsearch/tracking/mlflow/database.py")
COLLOQUIAL = re.compile(r"\b(nobody|somebody|whoever|go on|goes on)\b", re.IGNORECASE)


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def module(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def later(node: ast.AST) -> bool:
    """Return True for code that does not run when the file is imported."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imports(root: ast.AST, *, everywhere: bool) -> Iterator[str]:
    """Yield the modules that a file imports; without `everywhere` only those imported when the file is."""
    for node in ast.iter_child_nodes(root):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif everywhere or not later(node):
            yield from imports(node, everywhere=everywhere)


def code_lines(path: Path, node: ast.AST) -> int:
    """Count the lines of a definition without blank lines, comments and docstrings."""
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    lines = set(range(node.lineno, (node.end_lineno or 0) + 1))
    for inner in ast.walk(node):
        if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) and isinstance(inner.value.value, str):
            lines -= set(range(inner.lineno, (inner.end_lineno or 0) + 1))
    text = path.read_text("utf-8").split("\n")
    return sum(bool(text[n - 1].strip()) and not text[n - 1].lstrip().startswith("#") for n in lines)


def test_import_contracts() -> None:
    """Each package imports only from packages below it, without cycles; the contracts are in pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_import_chains_are_short() -> None:
    known = {module(path): path for path in FILES}
    below = {m: {i for i in imports(tree(p), everywhere=False) if i in known} - {m} for m, p in known.items()}

    @cache
    def chain(start: str) -> tuple[str, ...]:
        return (start, *max((chain(m) for m in sorted(below[start])), key=len, default=()))

    longest = max(map(chain, known), key=len)
    assert len(longest) <= CHAIN, " → ".join(longest)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_slow_libraries_are_imported_late(path: Path) -> None:
    """They are imported inside what uses them, so that help and checks stay fast."""
    found = SLOW & {imported.split(".")[0] for imported in imports(tree(path), everywhere=False)}
    assert not found - DOORS.get(name(path), set())


@pytest.mark.parametrize("path", [p for p in FILES if name(p) not in DOORS], ids=name)
def test_modules_that_import_slow_libraries_are_imported_late(path: Path) -> None:
    doors = {door.removesuffix(".py").replace("/", ".") for door in DOORS}
    assert not doors & set(imports(tree(path), everywhere=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_is_in_its_registry(family: str) -> None:
    folder = REPOSITORY / family
    files = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    package = importlib.import_module(family.replace("/", "."))
    registry = getattr(package, FAMILIES[family])
    assert files - NOT_MEMBERS == set(registry)
    for key, entry in registry.items():
        assert entry.__module__ == f"{package.__name__}.{key}"


# It seeds the global generators, and saves them, for training code that uses them.
GLOBAL_GENERATORS = "hpsearch/training/objectives/stepping/generators.py"


@pytest.mark.parametrize("path", [p for p in FILES if name(p) != GLOBAL_GENERATORS], ids=name)
def test_nothing_dangerous(path: Path) -> None:
    """No pickle, no global randomness, no code from data."""
    assert not {"pickle", "marshal", "shelve", "dill", "random", "yaml"} & set(imports(tree(path), everywhere=True))
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in allowed, f"line {node.lineno}: np.random.{node.attr}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "__import__", "os.system"}, f"line {node.lineno}: {called}"
            if called in {"np.load", "numpy.load"}:
                assert any(k.arg == "allow_pickle" and not k.value.value for k in node.keywords), f"line {node.lineno}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [p for p in OURS if not name(p).startswith(SQL)], ids=name)
def test_sql_is_written_in_storage_only(path: Path) -> None:
    """Elsewhere the tables of the study database and of MLflow are reached by functions."""
    shown = {text for _, text in docstrings(path)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and inspect.cleandoc(node.value) not in shown:
            assert not STATEMENT.search(node.value), f"line {node.lineno}: {node.value}"


def test_folders_are_small() -> None:
    folders = defaultdict(list)
    for path in FILES:
        folders[path.parent].append(path.name)
    assert {name(folder): len(files) for folder, files in folders.items() if len(files) > FOLDER} == {}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_classes_and_functions_are_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            most = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
            assert code_lines(path, node) <= most, node.name


def public_names(path: Path) -> Iterator[str]:
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def test_no_public_name_has_two_meanings() -> None:
    defined = defaultdict(list)
    for path in OURS:
        for found in public_names(path):
            if not found.startswith("_"):
                defined[found].append(name(path))
    several = {found: files for found, files in defined.items() if len(files) > 1}
    assert {found: files for found, files in several.items() if found not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(several), "names that are no longer shared"


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", OURS, ids=name)
def test_docstrings_state_what_a_thing_is_or_does(path: Path) -> None:
    found = [(line, text.split("\n")[0]) for line, text in docstrings(path)]
    assert [f for f in found if re.match(r"(What|Whether|Who|Of)\b", f[1])] == []


@pytest.mark.parametrize("path", OURS, ids=name)
def test_no_colloquial_words(path: Path) -> None:
    """Neither in messages nor in docstrings."""
    texts = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert [(n.lineno, n.value) for n in texts if COLLOQUIAL.search(n.value)] == []


def test_tests_mirror_modules() -> None:
    """At least 80 % of the modules have their tests in the file of their name."""
    modules = [p for p in OURS if p.name != "__init__.py"]
    expected = {p: REPOSITORY / "tests" / Path(name(p.parent)) / f"test_{p.name.removeprefix('_')}" for p in modules}
    missing = [name(p) for p, test in expected.items() if not test.exists()]
    assert len(missing) <= 0.2 * len(modules), missing


def test_imports_are_found() -> None:
    """The walk over imports finds each kind, and tells which of them run when the file is imported."""
    source = (
        "import x.y\nfrom z import w\nif TYPE_CHECKING:\n    import t\n"
        "class C:\n    import u\ndef f():\n    import late\n"
    )
    early = set(imports(ast.parse(source), everywhere=False))
    assert early == {"x.y", "z", "z.w", "u"}
    assert set(imports(ast.parse(source), everywhere=True)) == early | {"t", "late"}
