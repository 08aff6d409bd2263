"""A process with one thread that has everything imported and forks a child for each task: `python -m` runs it.

A child reads what strangers sent, so it may take only so much memory and time, and it may crash: it holds nothing but
its task. Its answer goes back as JSON through a pipe, and nobody unpickles anything.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import warnings
from typing import Any

PRELOADED = (
    "h5netcdf", "jinja2", "matplotlib.backends.backend_svg", "pandas", "xarray", "zarr", "mcmc.diagnostics",
    "mcmc.readers", "mcmc.reporting.facts", "mcmc.reporting.figures", "mcmc.reporting.worst", "mcmc.service.work",
)  # fmt: skip
PID = struct.Struct("=i")
LONGEST_TASK = 1 << 16
DIES_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


def main(descriptor: int, parent: int) -> None:
    """Fork a child for every task that comes through this socket, until it closes or the parent ends."""
    _die_with(parent)
    asked = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # children share what is there: collecting garbage would copy it
    own = os.getpid()
    while True:
        message, pipes, _, _ = socket.recv_fds(asked, LONGEST_TASK, 1)
        if not message:
            os._exit(0)  # at once, and the children with it
        if os.fork() == 0:
            status = 1
            try:
                asked.close()
                _child(json.loads(message), pipes[0], own)
                status = 0
            finally:
                os._exit(status)
        os.close(pipes[0])


def _child(task: dict[str, Any], pipe: int, server: int) -> None:
    from mcmc.service.work import answer

    os.write(pipe, PID.pack(os.getpid()))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with(server)
    _limit(task["seconds"], task["memory"])
    os.umask(0o077)
    os.chdir(task["folder"])
    with os.fdopen(pipe, "wb") as opened:
        opened.write(answer(task))


def _die_with(parent: int) -> None:
    """Have this process killed as soon as its parent ends, where the system can do that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def _limit(seconds: float, memory: int) -> None:
    """Let this process take so much memory beyond what it has, and so much time of each core."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    most = int(seconds * (os.cpu_count() or 1)) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
