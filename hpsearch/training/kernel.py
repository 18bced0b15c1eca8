"""The kernel of a study: compiled code or NumPy, settled when the study begins."""

import importlib.util

from engine.kernels.choice import KernelUnavailable, is_compiled, is_covered, load_kernel
from engine.types import EngineError
from hpsearch.config.spec import Spec, Train
from hpsearch.core.space import build_space
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import KernelError
from hpsearch.training.network import build_network


def compilation_notice(spec: Spec | None) -> str:
    """Return a sentence for a command whose study may have to compile the kernel first; empty if it need not.

    Args:
        spec: None for a study that is resumed, whose spec is not yet read.
    """
    if (
        (spec is not None and not isinstance(spec.train, Train))
        or is_compiled()
        or importlib.util.find_spec("numba") is None
    ):
        return ""
    return "the first study on this machine compiles the engine, once (10 s)"


def with_kernel(spec: Spec, kernel: str) -> Spec:
    """Return a spec whose kernel is settled."""
    return spec.model_copy(update={"train": spec.engine.model_copy(update={"kernel": kernel})})


def keep_kernel(spec: Spec, old: Spec | None) -> Spec:
    """Return a spec with the kernel of the study that it resumes or forks, unless it names another."""
    if old is None or not isinstance(spec.train, Train) or not isinstance(old.train, Train):
        return spec
    return spec if spec.train.kernel != "auto" else with_kernel(spec, old.train.kernel)


def settle_kernel(spec: Spec, dataset: Dataset) -> tuple[Spec, list[str]]:
    """Return a spec whose kernel is not `auto` and can be loaded, and messages for the user.

    The compiled kernel is compiled now if it is not yet.

    Raises:
        KernelError: the spec has the kernel `compiled`, which cannot be loaded.
    """
    if spec.engine.kernel == "numpy":
        return spec, []
    if spec.engine.kernel == "auto" and not _some_covered(spec, dataset):
        return with_kernel(spec, "numpy"), []
    try:
        if not is_compiled():
            load_kernel(DTYPE)
    except KernelUnavailable as error:
        if spec.engine.kernel == "compiled":
            raise KernelError(
                f"train.kernel: compiled cannot be used: {error}; install it with: pip install 'hpsearch[fast]', "
                "or start a new study with: --fork NEWNAME --set train.kernel=numpy"
            ) from None
        return with_kernel(spec, "numpy"), [f"training by NumPy, which is slower for small networks: {error}"]
    return with_kernel(spec, "compiled"), []


def _some_covered(spec: Spec, dataset: Dataset) -> bool:
    """Return whether the compiled kernel has some of the networks of the study."""
    for point in build_space(spec.parameters).extreme_points():
        try:
            if is_covered(build_network(spec, dataset, point)):
                return True
        except EngineError:
            continue
    return False
