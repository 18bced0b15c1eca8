"""Loggers of libraries, which belong to the program that uses us: quieted for a moment, and restored."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_logger(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Provide a context in which a library's logger drops messages below a level; its own level is restored.

    Import the library first: Optuna sets the level of its logger when it is imported.
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def quiet_family(name: str) -> Iterator[None]:
    """Provide a context in which a library's logger and those below it are silent; their own levels are restored.

    Import the library first.
    """
    with contextlib.ExitStack() as stack:
        for found in [name, *(n for n in logging.root.manager.loggerDict if n.startswith(f"{name}."))]:
            stack.enter_context(quiet_logger(found, logging.CRITICAL + 1))
        yield


@contextlib.contextmanager
def quiet_logging() -> Iterator[None]:
    """Provide a context in which no logger prints, also those whose level a library sets meanwhile, as Alembic does."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
