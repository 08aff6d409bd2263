"""`mcmc serve`: what it says, what it refuses, and that it ends when it is told to."""

import contextlib
import os
import signal
import time

import httpx
import psutil
import pytest
import typer
from servers import Process, drawn, npz, post, until
from typer.testing import CliRunner

from mcmc.service.commands import serve

app = typer.Typer()
app.command()(serve)


@pytest.fixture
def inherited():
    """What a process that starts does about Ctrl-C: a shell has those in the background ignore it."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def test_it_serves_until_it_is_told_to_end(handler, inherited, tmp_path):
    inherited(handler)
    process = Process("--state", tmp_path / "new")
    assert process.said.startswith("mcmc: serving at http://127.0.0.1:")
    with httpx.Client(base_url=process.url, trust_env=False, timeout=120) as client:
        assert post(client, npz(mu=drawn())).json()["ok"]
        children = psutil.Process(process.process.pid).children(recursive=True)
        assert children
    assert process.end(signal.SIGINT) == 130
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []
    assert oct((tmp_path / "new").stat().st_mode)[-3:] == "700"


def test_children_of_a_killed_server_end(tmp_path):
    process = Process("--state", tmp_path)
    with httpx.Client(base_url=process.url, trust_env=False, timeout=120) as client:
        post(client, npz(mu=drawn()))
        post(client, npz(mu=drawn(4, 50_000, 20)), "/v1/jobs")
        children = psutil.Process(process.process.pid).children(recursive=True)
    process.end(signal.SIGKILL)
    began = time.monotonic()
    assert children
    until(lambda: not any(map(runs, children)), 10)
    assert time.monotonic() - began < 1


def runs(process):
    """Whether a process has not ended; the system may take a while to clear it away."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "token: got None"),
        (["--host", "0.0.0.0", "--token", "short"], "token: got 5 characters"),
        (["--port", "70000"], "port"),
        (["--workers", "0"], "workers"),
        (["--state", "/dev/null/x"], "/dev/null"),
    ],
)
def test_bad_options_are_refused_with_status_2(options, says, tmp_path):
    given = options if "--state" in options else [*options, "--state", str(tmp_path)]
    result = CliRunner().invoke(app, given, env={"MCMC_SERVE_TOKEN": ""})
    assert result.exit_code == 2
    assert says in result.output


def test_a_port_that_is_taken_is_named(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        result = CliRunner().invoke(app, ["--port", port, "--state", str(tmp_path)], env=dict(os.environ))
    assert result.exit_code == 2
    assert "Address already in use" in result.output
