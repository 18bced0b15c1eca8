"""Checks of the installation, the machine, study databases and MLflow, each with a remedy.

They read only, and remove temporary folders of processes that have ended.
A check imports what it needs itself, because a package may be missing or broken.
"""

from collections.abc import Sequence

from hpsearch.admin.doctor import machine, mlflow, studies
from hpsearch.admin.doctor.base import CheckResult, CheckResults, check_file_twice, run_check

__all__ = ["CheckResult", "examine", "machine", "mlflow", "studies"]


def examine(databases: Sequence[str], tracking_uri: str, study: str | None = None) -> CheckResults:
    """Run every check in turn; a check that fails does not end the others.

    Args:
        databases: files or URLs; if empty, the study databases in this folder and in `studies`.
        tracking_uri: MLflow's tracking URI, or "none".
        study: check only the study of this name in each database.
    """
    yield from run_check("Python", machine.check_python)
    yield from run_check("packages", machine.check_packages)
    yield from run_check("BLAS", machine.check_blas)
    yield from run_check("kernel", machine.check_kernel)
    yield from run_check("CPUs", machine.check_cpus)
    names = list(databases) or studies.find_databases()
    yield from run_check("disk", machine.check_disks, names, tracking_uri)
    yield from run_check("disk", machine.check_network, names, tracking_uri)
    yield from run_check("temporary files", machine.check_temporary_files)
    if not names:
        yield CheckResult("ok", "studies: no study database in this folder or in studies/")
    for name in names:
        yield from run_check(name, check_file_twice, name, studies.check_database, name, study)
    yield from run_check("MLflow", mlflow.check_file_store)
    yield from run_check("MLflow", check_file_twice, tracking_uri, mlflow.check_store, tracking_uri, names)
