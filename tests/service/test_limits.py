"""Nobody gets more than the limits, and nobody gets in: each time a clear 4xx with nothing internal."""

import errno
import io
import pickle
import socket
import sqlite3
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import h5py
import httpx
import numpy as np
import pytest
from servers import BINARY, asking, drawn, npz, post, serving, until

from mcmc.service import Settings

TOKEN = "a-token-of-good-length"
X = drawn()


@pytest.fixture(scope="module")
def small():
    """A server that allows little."""
    limits = {"elements": 50_000, "variables": 20, "members": 30, "request_bytes": 300_000, "seconds": 20}
    with asking(**limits) as client:
        yield client


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    for inner in ("/tmp", "Traceback", "site-packages", "mcmc-service", "incoming"):
        assert inner not in answer.text
    return answer.json()


def test_too_many_bytes_are_refused_before_they_are_sent(small):
    assert refused(post(small, bytes(300_001)), 413, "too_many_bytes")["limit"] == 300_000


def test_too_many_bytes_are_refused_while_they_come(small):
    sent = 0

    def pieces():
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield bytes(10_000)

    try:
        answer = small.post("/v1/diagnose", content=pieces(), headers=BINARY)
        refused(answer, 413, "too_many_bytes")
    except httpx.TransportError:
        pass  # closed while we were still sending, as it should be
    assert sent < 10_000


def test_a_zip_bomb_is_not_unpacked(small):
    bomb = npz(packed=True, mu=np.zeros((4, 2_000_000), np.float32))
    assert len(bomb) < 300_000
    found = refused(post(small, bomb), 413, "limit_exceeded")
    assert "at most 50,000" in found["message"]
    assert (found["what"], found["limit"]) == ("elements", 50_000)


def test_a_forged_size_does_not_help_a_bomb(small):
    data = bytearray(npz(packed=True, mu=np.zeros((4, 1_000_000), np.float32)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        true = archive.infolist()[0].file_size.to_bytes(4, "little")
    data = data.replace(true, (4 * 100 * 4 + 128).to_bytes(4, "little"))
    assert post(small, bytes(data)).status_code in (413, 422)


def test_variables_and_members_have_limits(small):
    many = npz(**{f"v{i}": np.zeros((2, 4)) for i in range(25)})
    assert refused(post(small, many), 413, "limit_exceeded")["what"] == "variables"
    answer = small.post("/v1/diagnose", json={"draws": {f"v{i}": [[0.0, 1.0]] for i in range(25)}})
    refused(answer, 413, "limit_exceeded")
    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w") as archive:
        for i in range(40):
            archive.writestr(f"zarr.json{i or ''}", "{}")
    assert refused(post(small, opened.getvalue()), 413, "limit_exceeded")["what"] == "members"
    files = [("files", (f"c{i}.csv", b"a")) for i in range(300)]
    found = refused(small.post("/v1/diagnose", files=files), 413, "limit_exceeded")
    assert (found["what"], found["limit"]) == ("files", 256)


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["in an npz", "alone"])
def test_nothing_is_unpickled(client, form, tmp_path):
    trap = tmp_path / "sprung"
    if form == "alone":
        body = pickle.dumps(Trap(trap))
    else:
        objects = np.empty((2, 3), object)
        objects[:] = Trap(trap)
        body = npz(mu=objects, nu=np.zeros((2, 3)))
    assert "ickle" in refused(post(client, body), 422, "unreadable")["message"]
    assert not trap.exists()


def test_a_store_with_pickled_values_is_refused(client):
    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w") as archive:
        archive.writestr("a.zarr/zarr.json", '{"node_type": "group", "codecs": [{"name": "pickle"}]}')
    assert "ickle" in refused(post(client, opened.getvalue()), 422, "unreadable")["message"]


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "a/../../out", "a\\..\\out"])
def test_a_zip_can_not_write_outside(client, name):
    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w") as archive:
        archive.writestr("zarr.json", "{}")
        archive.writestr(name, "out")
    answer = post(client, opened.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable")
    assert "outside the store" in answer.json()["message"]


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual"])
def test_hdf5_can_not_read_other_files(client, kind, tmp_path):
    other = tmp_path / "secret.h5"
    with h5py.File(other, "w") as file:
        file["mu"] = X
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("posterior")
        if kind == "external link":
            group["mu"] = h5py.ExternalLink(str(other), "/mu")
        elif kind == "external storage":
            group.create_dataset("mu", shape=(4, 9), dtype="u1", external=[(str(other), 0, 36)])
        else:
            layout = h5py.VirtualLayout(shape=X.shape, dtype=float)
            layout[:] = h5py.VirtualSource(str(other), "mu", shape=X.shape)
            group.create_virtual_dataset("mu", layout)
    answer = post(client, (tmp_path / "a.h5").read_bytes())
    refused(answer, 422, "unreadable")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../../etc/passwd", "http://example.org/x.nc", "..", "a\0b", ""])
def test_a_name_is_never_a_path(client, name):
    answer = post(client, npz(mu=X), filename=name)
    assert answer.status_code == 200, answer.text
    files = [("files", (name or "x", npz(mu=X)))]
    assert client.post("/v1/diagnose", files=files).status_code == 200


def test_a_child_that_takes_too_long_is_killed(tmp_path):
    with asking(seconds=0.05, state=tmp_path) as client:
        body = npz(mu=drawn(4, 50_000, 20))
        began = time.monotonic()
        found = refused(post(client, body), 422, "time_limit")
        assert (found["what"], found["limit"]) == ("seconds", 0.05)
        assert time.monotonic() - began < 60
        assert list((tmp_path / "incoming").iterdir()) == []


def test_a_child_that_takes_too_much_memory_is_stopped():
    with asking(memory=100_000_000, elements=10**9) as client:
        body = npz(packed=True, mu=np.zeros((4, 5_000_000)))
        assert refused(post(client, body), 413, "out_of_memory")["limit"] == 100_000_000
        assert post(client, npz(mu=X)).json()["ok"]


HEAD = "POST /v1/diagnose HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"


def test_no_room_is_429_with_retry_after(monkeypatch):
    going_on = threading.Event()
    with (
        serving(concurrency=1, waiting=0) as (url, app),
        httpx.Client(base_url=url, timeout=180, trust_env=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        rooms = app.state.rooms
        judged = rooms.children.run
        monkeypatch.setattr(rooms.children, "run", lambda task: going_on.wait(60) and judged(task))
        first = pool.submit(post, client, npz(mu=X))
        until(lambda: rooms.in_flight == 1)
        answer = post(client, npz(mu=X))
        going_on.set()
        assert refused(answer, 429, "busy")["what"] == "requests"
        assert int(answer.headers["retry-after"]) > 0
        assert first.result().status_code == 200
        assert rooms.in_flight == rooms.bodies == 0


def test_bodies_that_come_slowly_hold_nobody_off():
    with (
        serving(concurrency=1, waiting=0) as (url, app),
        httpx.Client(base_url=url, timeout=180, trust_env=False) as client,
        ExitStack() as held,
    ):
        for _ in range(40):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", client.base_url.port)))
            slow.sendall(f"{HEAD}Content-Length: 100\r\n\r\n".encode())
        until(lambda: app.state.rooms.bodies == 40)
        assert post(client, npz(mu=X)).status_code == 200
        held.close()
        until(lambda: app.state.rooms.bodies == 0)


def test_a_full_disk_is_503_and_nothing_is_kept(tmp_path, monkeypatch):
    with serving(state=tmp_path) as (url, app), httpx.Client(base_url=url, timeout=180, trust_env=False) as client:
        sent = post(client, npz(mu=X)).status_code
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        monkeypatch.setattr(app.state.rooms.database, "add_job", raising(full))
        refused(post(client, npz(mu=X), "/v1/jobs"), 503, "disk_full")
        monkeypatch.setattr("mcmc.service.routes.receive", raising(OSError(errno.ENOSPC, "No space left on device")))
        answer = post(client, npz(mu=X))
        refused(answer, 503, "disk_full")
        assert (sent, int(answer.headers["retry-after"]) > 0) == (200, True)
        assert [list((tmp_path / name).iterdir()) for name in ("incoming", "jobs")] == [[], []]


def raising(error):
    def action(*_, **__):
        raise error

    return action


def test_a_request_that_trickles_in_is_ended():
    with asking(upload_seconds=0.3) as client:

        def pieces():
            yield b"PK"
            time.sleep(1.5)
            yield b"PK"

        answer = client.post("/v1/diagnose", content=pieces(), headers=BINARY)
        refused(answer, 408, "too_slow")


# --- who may ask --------------------------------------------------------------------------------------------


def test_only_loopback_needs_no_token():
    with pytest.raises(ValueError, match="token: got None"):
        Settings(host="0.0.0.0")
    with pytest.raises(ValueError, match="token: got 5 characters"):
        Settings(host="0.0.0.0", token="short")
    assert Settings(host="::1").loopback
    assert not Settings(host="example.org", token=TOKEN).loopback
    with pytest.raises(ValueError, match="elements"):
        Settings(elements=0)


def test_a_token_is_required_where_there_is_one():
    with asking(token=TOKEN) as client:
        for wrong in (
            {},
            {"authorization": TOKEN},
            {"authorization": "Basic x"},
            {"authorization": f"Bearer {TOKEN}x"},
        ):
            for path in ("/v1/thresholds", "/metrics", "/openapi.json", "/v1/runs/a", "/v1/nothing"):
                answer = client.get(path, headers=wrong)
                refused(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/thresholds", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/runs/a/page").status_code == 200
        assert client.get("/v1/runs/a/b/page").status_code == 401


def test_other_hosts_and_sites_are_refused(client):
    refused(client.get("/v1/thresholds", headers={"host": "evil.example"}), 403, "wrong_host")
    refused(client.get("/v1/thresholds", headers={"origin": "http://evil.example"}), 403, "wrong_origin")
    refused(client.post("/v1/diagnose", content=b"x", headers={"origin": "null"}), 403, "wrong_origin")
    refused(client.get("/v1/thresholds", headers={"origin": "http://["}), 403, "wrong_origin")
    refused(client.get("/v1/thresholds", headers={"host": "127.0.0.1.evil.example"}), 403, "wrong_host")
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.get("/v1/thresholds", headers=own).status_code == 200


def test_a_fault_of_ours_shows_an_id_only(monkeypatch, caplog):
    with serving() as (url, app):
        secret = "a secret of the machine"
        monkeypatch.setattr(app.state.rooms.children, "run", lambda task: 1 / 0 if secret else None)
        answer = httpx.post(f"{url}/v1/diagnose", content=npz(mu=X), headers=BINARY, trust_env=False)
        found = refused(answer, 500, "internal")
        assert "division" not in answer.text
        assert set(found) == {"code", "message", "id"}
        assert found["id"] in caplog.text
        assert "ZeroDivisionError" in caplog.text


def test_a_fork_server_that_was_killed_starts_again_and_a_closing_server_leaves_no_process():
    with serving() as (url, app), httpx.Client(base_url=url, timeout=180, trust_env=False) as client:
        assert post(client, npz(mu=X)).status_code == 200
        killed = app.state.rooms.children._process
        killed.kill()
        killed.wait()
        assert post(client, npz(mu=X)).status_code == 200
        process, threads = app.state.rooms.children._process, app.state.rooms.jobs._threads
        assert process.pid != killed.pid
    assert process.poll() is not None
    assert not any(thread.is_alive() for thread in threads)
    assert "mcmc-judge" not in {thread.name for thread in threading.enumerate()}
