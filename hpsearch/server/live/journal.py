"""The events of a study, as they are sent to browsers: encoded once for all readers, in a file without a name."""

import os
import tempfile
import weakref
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import final

PAGE_BYTES = 1 << 17  # sent at once


@final
class Journal:
    """The events of the finished trials of a study, in the order in which they were read.

    The file has no name, so that it ends with the server. Memory holds eight bytes for each trial.

    Args:
        folder: on a disk, which the file is to be on.
    """

    def __init__(self, folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)  # after its last reader
        self._ends = array("Q", [0])  # of the events of each trial

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self._ends) - 1

    def append(self, events: bytes) -> None:
        """Add the events of one more trial."""
        start = self._ends[-1]
        written = 0
        while written < len(events):
            written += os.pwrite(self._number, events[written:], start + written)
        self._ends.append(start + len(events))  # readers see it when it is complete

    def page(self, after: int) -> tuple[bytes, int]:
        """Return the events that follow those of the first `after` trials, and the number of trials up to their end.

        There are some if there are any, but no more than `PAGE_BYTES` of several trials.
        """
        if after >= len(self):
            return b"", after
        start = self._ends[after]
        last = bisect_right(self._ends, start + PAGE_BYTES, after + 1) - 1
        last = max(last, after + 1)
        return os.pread(self._number, self._ends[last] - start, start), last
