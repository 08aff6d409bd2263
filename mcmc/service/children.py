"""Tasks on uploaded files, each in a child process of its own that can be killed."""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

from mcmc.service.failures import Failure
from mcmc.service.fork_server import PID

logger = logging.getLogger("mcmc.service")
LONGEST_ANSWER = 256_000_000
LONGEST_START = 120.0
SINGLE_THREADED = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Children:
    """Runs tasks in children that a fork server makes; safe to use from several threads.

    The fork server starts with the first task (it imports JAX and xarray: seconds), and again if it was killed.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def run(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return what a child makes of a task, which says `seconds`, `memory` and `folder`.

        Raises:
            Failure: the child refused it, took too long or too much, or broke down.
        """
        reading, writing = os.pipe()
        try:
            try:
                self._send(json.dumps(task).encode(), writing)
            finally:
                os.close(writing)
            received = _collect(reading, task["seconds"])
        finally:
            os.close(reading)
        return _result(received)

    def start(self) -> None:
        """Start the fork server now, so that the first task need not wait."""
        with self._lock:
            self._alive()

    def close(self) -> None:
        """End the fork server and with it every child."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                self._socket.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _send(self, message: bytes, pipe: int) -> None:
        with self._lock:
            try:
                socket.send_fds(self._alive(), [message], [pipe])
            except OSError:
                if self._process is not None:
                    self._process.kill()
                socket.send_fds(self._alive(), [message], [pipe])

    def _alive(self) -> socket.socket:
        if self._closed:
            raise Failure(503, "closing", "The server is closing.", retry_after=10)
        if self._process is not None and self._socket is not None:
            if self._process.poll() is None:
                return self._socket
            logger.warning("the fork server ended (status %s): it is started again", self._process.returncode)
            self._socket.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mcmc.service.fork_server", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **SINGLE_THREADED, "MALLOC_ARENA_MAX": "2"},
            )
        self._socket = ours
        return ours


def _collect(pipe: int, seconds: float) -> bytes:
    """All that a child writes, its pid first; a child that is late or writes too much is killed.

    Its time begins when it does: the fork server may still have to start.
    """
    waiting, received = select.poll(), bytearray()
    waiting.register(pipe, select.POLLIN)
    deadline = time.monotonic() + LONGEST_START
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not waiting.poll(1000 * left):
            _kill(received)
            if not received:
                raise Failure(503, "not_started", "The server could not start to judge these draws.", retry_after=30)
            message = f"Judging these draws took longer than {seconds:g} s. Keep fewer draws, or send a job."
            raise Failure(422, "time_limit", message, what="seconds", limit=seconds)
        part = os.read(pipe, 1 << 20)
        if not part:
            return bytes(received)
        if not received:
            deadline = time.monotonic() + seconds
        received += part
        if len(received) > LONGEST_ANSWER:
            _kill(received)
            raise Failure(413, "answer_too_long", "The table is too long to send. Ask with table=false.")


def _kill(received: bytes | bytearray) -> None:
    """Kill the child that wrote this; it has not closed its pipe, so its pid is its own."""
    if len(received) >= PID.size:
        with contextlib.suppress(ProcessLookupError):
            os.kill(PID.unpack(received[: PID.size])[0], signal.SIGKILL)


def _result(received: bytes) -> dict[str, Any]:
    """What a child answered, or the Failure that it stands for."""
    if len(received) <= PID.size:
        message = "The file made its reader break down: it is damaged, or needs more memory than a request may take."
        raise Failure(422, "reader_died", message)
    try:
        answer: dict[str, Any] = json.loads(received[PID.size :])
    except ValueError as error:
        raise internal("a child's answer that breaks off") from error
    if "error" in answer:
        raise Failure(**answer["error"])
    if "internal" in answer:
        raise internal(answer["internal"])
    return answer["result"]


def internal(details: str) -> Failure:
    """A fault of ours: the details go to the log, an id to the client."""
    fault = uuid.uuid4().hex
    logger.error("fault %s: %s", fault, details)
    return Failure(500, "internal", "A fault in the server; its log has the details under this id.", id=fault)
