"""A fork server of our own.

`multiprocessing` has one for the whole process. Ours would take its place: with our modules preloaded, with SIGINT
blocked, and without what the program that uses us wants to preload.
"""

import io
import os
from multiprocessing import context, forkserver, popen_forkserver, reduction, spawn, util
from multiprocessing.process import BaseProcess
from typing import Any, final

from hpsearch.core.processes import signals_blocked

SERVER = forkserver.ForkServer()


@final
class _Popen(popen_forkserver.Popen):
    """A child process of `SERVER`; like CPython's class in everything else."""

    def _launch(self, process_obj: BaseProcess) -> None:
        file = io.BytesIO()
        preparation = spawn.get_preparation_data(process_obj.name)
        context.set_spawning_popen(self)
        try:
            reduction.dump(preparation, file)
            reduction.dump(process_obj, file)
        finally:
            context.set_spawning_popen(None)
        with signals_blocked():  # this may start the server, whose later children inherit the mask
            self.sentinel, writer = SERVER.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
        parent = os.dup(writer)  # the child's sentinel of this process
        self.finalizer = util.Finalize(self, util.close_fds, (parent, self.sentinel))  # type: ignore[attr-defined]
        with open(writer, "wb") as pipe:
            pipe.write(file.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


@final
class _Process(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        return _Popen(process_obj)


@final
class OwnForkServerContext(context.ForkServerContext):
    """The start method "forkserver" with `SERVER`."""

    Process = _Process
