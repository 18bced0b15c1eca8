"""Looks at the installation, the machine, study databases and MLflow; says what to do, and changes nothing.

What may be missing or broken is imported inside the check that needs it.
"""

from collections.abc import Sequence

from hpsearch.admin.doctor import machine, mlflow, studies
from hpsearch.admin.doctor.base import Finding, Findings, settled, unbroken

__all__ = ["Finding", "examine", "machine", "mlflow", "studies"]


def examine(databases: Sequence[str], tracking: str) -> Findings:
    """Every check in turn; none ends the next.

    Args:
        databases: files or URLs; when there are none, those of studies in this folder and in `studies`.
        tracking: MLflow's URI, or "none".
    """
    yield from unbroken("Python", machine.python)
    yield from unbroken("packages", machine.packages)
    yield from unbroken("BLAS", machine.blas)
    yield from unbroken("CPUs", machine.processors)
    names = list(databases) or studies.nearby()
    yield from unbroken("disk", machine.disk, names, tracking)
    if not names:
        yield Finding("ok", "studies: no database of one in this folder or in studies/")
    for name in names:
        yield from unbroken(name, settled, name, studies.database, name)
    yield from unbroken("MLflow", mlflow.strays)
    yield from unbroken("MLflow", settled, tracking, mlflow.store, tracking, names)
