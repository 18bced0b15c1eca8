"""Imported first by the fork server: it and its children end without a traceback when a resource has run out.

The coordinator, which notices their end, reports it in one line.
"""

import sys
from types import TracebackType

from hpsearch.core.resources import exhausted_resource

_default_hook = sys.excepthook


def report_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print the traceback of an error, unless a resource of the machine has run out.

    When too many files are open, messages from the coordinator arrive without the files that they bring: an EOFError.
    """
    if not isinstance(error, EOFError | OSError) and exhausted_resource(error) is None:
        _default_hook(kind, error, traceback)


sys.excepthook = report_error
