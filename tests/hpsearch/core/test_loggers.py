"""Loggers of libraries."""

import logging

import pytest

from hpsearch.core.loggers import quiet_family, quiet_logger


def test_the_level_is_restored(caplog: pytest.LogCaptureFixture) -> None:
    """Also after an error; within the context, errors are logged and warnings are not."""
    logger = logging.getLogger("a library")
    logger.setLevel(logging.DEBUG)
    with pytest.raises(ZeroDivisionError), quiet_logger("a library"):
        logger.warning("dropped")
        logger.error("kept")
        raise ZeroDivisionError
    assert logger.level == logging.DEBUG and caplog.messages == ["kept"]


def test_quiet_family(caplog: pytest.LogCaptureFixture) -> None:
    """Loggers with levels of their own are silent too, and get them back."""
    outer, inner, other = (logging.getLogger(name) for name in ("a_family", "a_family.member", "a_family_too"))
    inner.setLevel(logging.INFO)
    with quiet_family("a_family"):
        outer.critical("one")
        inner.error("two")
        other.error("three")
    inner.info("four")
    assert [record.message for record in caplog.records] == ["three", "four"]
    assert (outer.level, inner.level) == (logging.NOTSET, logging.INFO)
