"""Loggers of libraries."""

import logging

import pytest

from hpsearch.core.loggers import quiet_logger


def test_the_level_is_restored(caplog: pytest.LogCaptureFixture) -> None:
    """Also after an error; within the context, errors are logged and warnings are not."""
    logger = logging.getLogger("a library")
    logger.setLevel(logging.DEBUG)
    with pytest.raises(ZeroDivisionError), quiet_logger("a library"):
        logger.warning("dropped")
        logger.error("kept")
        raise ZeroDivisionError
    assert logger.level == logging.DEBUG and caplog.messages == ["kept"]
