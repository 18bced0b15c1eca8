"""The kernel of a study: settled when it begins, kept when it is resumed or forked, and refused where it is missing."""

from pathlib import Path

import cases
import pytest
from code_cases import own_spec

from engine.kernels.choice import KernelUnavailable
from hpsearch.config.spec import Spec
from hpsearch.errors import Halted, KernelError, StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.session import Options, Session
from hpsearch.training import kernel as module
from hpsearch.training.kernel import compilation_notice, with_kernel

SPEC = cases.small(**{"train.kernel": "auto", "train.epochs": 2, "stages.0.trials": 4, "stages.1.trials": 3})
INLINE = Options(None, "none", executor="inline")


def run(spec: Spec | None, database: Path, options: Options = INLINE) -> Session:
    with Session(spec, url_of(str(database)), options) as session:
        for _ in session.run():
            pass
    return session


def values(session: Session) -> list[float | None]:
    return [t.value for stage in session.summary().trials for t in stage]


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(dtype: object) -> None:
        raise KernelUnavailable("Numba cannot be imported: No module named 'numba'")

    monkeypatch.setattr(module, "is_compiled", lambda: False)
    monkeypatch.setattr(module, "load_kernel", fail)


def test_auto_is_the_compiled_kernel(tmp_path: Path) -> None:
    """Results differ from NumPy's in their last bits only, and a study keeps its kernel."""
    pytest.importorskip("numba", reason="needs the fast extra")
    compiled, by_numpy = run(SPEC, tmp_path / "a.db"), run(with_kernel(SPEC, "numpy"), tmp_path / "b.db")
    assert (compiled.spec.train.kernel, by_numpy.spec.train.kernel) == ("compiled", "numpy")
    assert values(compiled) != values(by_numpy)
    assert values(compiled) == pytest.approx(values(by_numpy), rel=1e-4)
    assert run(SPEC, tmp_path / "b.db").spec.train.kernel == run(None, tmp_path / "b.db").spec.train.kernel == "numpy"
    with pytest.raises(StorageError, match=r"train\.kernel: numpy → compiled \(results would differ\)"):
        run(with_kernel(SPEC, "compiled"), tmp_path / "b.db")


def test_a_fork_keeps_the_kernel(tmp_path: Path) -> None:
    """Its outcomes are then those that the fork would have."""
    run(with_kernel(SPEC, "numpy"), tmp_path / "a.db")
    parent = INLINE._replace(parent=url_of(str(tmp_path / "a.db")))
    forked = run(SPEC.model_copy(update={"name": "forked"}), tmp_path / "b.db", parent)
    assert forked.spec.train.kernel == "numpy" and "are reused" in "".join(forked.notices)


@pytest.mark.usefixtures("no_numba")
def test_without_numba(tmp_path: Path) -> None:
    session = run(SPEC, tmp_path / "a.db")
    assert session.spec.train.kernel == "numpy"
    assert [n for n in session.notices if "Numba" in n] == [
        "training by NumPy, which is slower for small networks: Numba cannot be imported: No module named 'numba'"
    ]
    assert not [n for n in run(SPEC, tmp_path / "a.db").notices if "Numba" in n]  # once
    with pytest.raises(KernelError, match=r"^train\.kernel: compiled cannot be used: Numba .* 'hpsearch\[fast\]'"):
        run(with_kernel(SPEC, "compiled"), tmp_path / "b.db")


def test_a_worker_without_the_kernel_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial fails because a machine lacks Numba."""
    from hpsearch.training.objectives import engine as engine_objective

    def fail(kernel: str) -> None:
        raise KernelUnavailable("Numba cannot be imported: No module named 'numba'")

    pytest.importorskip("numba", reason="needs the fast extra")
    with monkeypatch.context() as patched:
        patched.setattr(engine_objective, "_prepare_kernel", fail)
        with pytest.raises(Halted, match="No module named 'numba'"):
            run(SPEC, tmp_path / "a.db")
    assert values(run(SPEC, tmp_path / "a.db")) == values(run(SPEC, tmp_path / "b.db"))


def test_other_networks_need_no_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_covered", lambda network: False)
    monkeypatch.setattr(module, "is_compiled", lambda: pytest.fail("looked for the kernel"))
    assert run(SPEC, tmp_path / "a.db").spec.train.kernel == "numpy"


def test_notice_of_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_compiled", lambda: True)
    assert compilation_notice(None) == ""
    monkeypatch.setattr(module, "is_compiled", lambda: False)
    pytest.importorskip("numba", reason="needs the fast extra")
    assert compilation_notice(own_spec()) == ""
    assert compilation_notice(cases.small()) == compilation_notice(None)
    assert compilation_notice(None) == "the first study on this machine compiles the engine, once (10 s)"
