"""The arrows of the house, its doors and its menus, read from the source."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import paths
import pytest

REPOSITORY = paths.REPOSITORY
FILES = sorted(p for package in ("hpsearch", "engine") for p in (REPOSITORY / package).rglob("*.py"))
LATE = {"pandas", "pyarrow", "onnx", "mlflow", "optuna", "sklearn", "plotly", "matplotlib", "scipy", "torch", "cmaes"}
FAMILIES = {
    "hpsearch/data/sources": "SOURCES",
    "hpsearch/training/executors": "EXECUTORS",
    "hpsearch/samplers": "SAMPLERS",
}
# Files of a family folder that are no member: the protocol, a wrapper that takes any member, parts of members.
NO_MEMBERS = {"__init__", "base", "tables"}
# What nothing else in the packages imports at once, but for one another; who asks for it has the library.
DOORS = {
    "hpsearch/models/estimators.py": {"sklearn"},
    "hpsearch/models/serving.py": {"mlflow", "pandas"},
    **{
        f"hpsearch/report/html/{name}.py": {"plotly"}
        for name in ("model_figures", "figures", "images", "page", "search_figures")
    },
}


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def later(node: ast.AST) -> bool:
    """Whether what stands below is not run by an import of the file."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imports(path: Path, *, everywhere: bool) -> Iterator[str]:
    """Modules that a file imports; without `everywhere` only those that importing the file itself imports."""

    def walk(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(REPOSITORY).parts[: -node.level]
                base = ".".join((*package, *([base] if base else [])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif not everywhere and later(node):
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", [p for p in FILES if "engine" in p.parts], ids=name)
def test_engine_knows_nothing_of_studies(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports(path, everywhere=True)}
    assert roots <= {"engine", "numpy"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", [p for p in FILES if name(p.parent) in FAMILIES], ids=name)
def test_families_know_no_loop_and_no_other_family(path: Path) -> None:
    others = {f.replace("/", ".") for f in FAMILIES if f != name(path.parent)} | {
        "hpsearch.study",
        "hpsearch.study.session",
    }
    for module in imports(path, everywhere=True):
        assert not any(module == other or module.startswith(f"{other}.") for other in others), module


@pytest.mark.parametrize("path", FILES, ids=name)
def test_heavy_libraries_are_imported_late(path: Path) -> None:
    """Inside what uses them, so that help and checks stay fast."""
    assert not LATE & {module.split(".")[0] for module in imports(path, everywhere=False)} - DOORS.get(
        name(path), set()
    )


@pytest.mark.parametrize("path", [p for p in FILES if name(p) not in DOORS], ids=name)
def test_doors_are_opened_from_outside(path: Path) -> None:
    doors = {door.removesuffix(".py").replace("/", ".") for door in DOORS}
    assert not doors & set(imports(path, everywhere=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_is_on_its_menu(family: str) -> None:
    folder = REPOSITORY / family
    files = {p.stem for p in folder.glob("*.py")} - NO_MEMBERS
    package = importlib.import_module(family.replace("/", "."))
    menu = getattr(package, FAMILIES[family])
    assert files == set(menu)
    for key, entry in menu.items():
        assert entry.__module__ == f"{package.__name__}.{key}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_dangerous(path: Path) -> None:
    """No pickle, no global randomness, no code from data."""
    assert not {"pickle", "marshal", "shelve", "dill", "random", "yaml"} & set(imports(path, everywhere=True))
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in allowed, f"line {node.lineno}: np.random.{node.attr}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "__import__", "os.system"}, f"line {node.lineno}: {called}"
            if called in {"np.load", "numpy.load"}:
                assert any(k.arg == "allow_pickle" and not k.value.value for k in node.keywords), f"line {node.lineno}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("command", ["run", "resume", "show", "check"])
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"hpsearch {command}" in (REPOSITORY / "README.md").read_text("utf-8")


def test_no_command_is_forgotten() -> None:
    from hpsearch.cli import commands

    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert [c for c in commands.commands if f"hpsearch {c}" not in readme] == []


def test_the_walk_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Itself: each kind of import, and what is late."""
    monkeypatch.setattr(sys.modules[__name__], "REPOSITORY", tmp_path)
    file = tmp_path / "a" / "b" / "c.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import x.y\nfrom z import w\nfrom . import n\nfrom ..m import k\n"
        "if TYPE_CHECKING:\n    import t\nclass C:\n    import u\ndef f():\n    import late\n"
    )
    early = set(imports(file, everywhere=False))
    assert early == {"x.y", "z", "z.w", "a.b", "a.b.n", "a.m", "a.m.k", "u"}
    assert set(imports(file, everywhere=True)) == early | {"t", "late"}
