"""The studies of a database by name: which one a command means."""

import shlex

from engine.registry import nearest
from hpsearch.errors import StorageError
from hpsearch.storage.database import display_name

LISTED = 10  # names of a message


def chosen_study(url: str, names: list[str], study: str | None, *, create: bool = False) -> str:
    """Return the name of the study that is meant; an empty text for the study of a database that has none.

    Args:
        names: names of the studies of the database.
        study: the name that was asked for; None for the only study, an empty text for none.
        create: the name may be that of a new study.

    Raises:
        StorageError: there is no such study, or there are several.
    """
    if study is not None:
        if create or not study or study in names:
            return study
        hint = nearest(study, names) if names else "; it is empty"
        if hint.startswith("; there is"):
            hint = f"; it holds {_listed(names)}"
        raise StorageError(f"{display_name(url)}: holds no study '{study}'{hint}")
    if len(names) > 1:
        raise StorageError(
            f"{display_name(url)}: holds {len(names):,} studies; name one with --study: {_listed(names)}"
        )
    return names[0] if names else ""


def command_arguments(database: str, study: str | None) -> str:
    """Return the arguments of a command, quoted for a shell.

    Args:
        database: the database, as messages name it.
        study: the study of the database; None if a command need not name it.
    """
    return shlex.quote(database) + ("" if study is None else f" --study {shlex.quote(study)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")
