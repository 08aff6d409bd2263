"""A server of a test's own: the real thing on a free port, in a thread, or in a process that can be killed."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn

from mcmc.service import Settings, create_app
from mcmc.service.app import UVICORN

BINARY = {"content-type": "application/octet-stream"}
COMMAND = "import typer; from mcmc.service.commands import serve; typer.run(serve)"


@contextmanager
def serving(**settings):
    """A server's address, and its application; its fork server starts with the first task, not before."""
    app = create_app(Settings(port=0, **settings))
    app.state.rooms.children.start = lambda: None
    server = uvicorn.Server(uvicorn.Config(app, port=0, **UVICORN | {"log_level": "critical"}))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < end, "the server did not start in time"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", app
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not end"


@contextmanager
def asking(**settings):
    """An HTTP client of a server."""
    with serving(**settings) as (url, _), httpx.Client(base_url=url, timeout=180, trust_env=False) as client:
        yield client


class Process:
    """`mcmc serve` in a process of its own."""

    def __init__(self, *options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MCMC_SERVE")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "--port", "0", *map(str, options)],
            stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.said = self.process.stderr.readline()
        self.url = self.said.partition("serving at ")[2].partition(",")[0]

    def wait(self):
        status = self.process.wait(60)
        self.process.stderr.close()
        return status

    def end(self, by=signal.SIGKILL):
        self.process.send_signal(by)
        return self.wait()


def drawn(chains=4, draws=400, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(chains, draws, dim))


def npz(packed=False, **arrays):
    """Arrays as an npz file's bytes."""
    opened = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(opened, **arrays)
    return opened.getvalue()


def post(client, body, path="/v1/diagnose", **query):
    """Send bytes as one file."""
    return client.post(path, content=body, params=query, headers=BINARY)


def until(condition, seconds=120):
    """What `condition()` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return found
