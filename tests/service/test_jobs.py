"""Jobs: done in their order, with a report, and none is lost when the server ends, however it ends."""

import errno
import json
import signal
import sqlite3
import time

import httpx
import pytest
from servers import Process, asking, drawn, npz, post, serving, until

from mcmc.service.database import MOST_ATTEMPTS, Database
from mcmc.service.failures import disk_full
from mcmc.service.work import answer

X = drawn()


def finished(client, id):
    return until(lambda: (a := client.get(f"/v1/jobs/{id}").json())["status"] in ("done", "failed") and a)


def test_a_job_has_the_verdict_and_a_report(client):
    made = post(client, npz(**{"<b>mu": X}), "/v1/jobs", ess=300)
    assert made.status_code == 202
    assert made.headers["location"] == f"/v1/jobs/{made.json()['id']}"
    found = finished(client, made.json()["id"])
    at_once = post(client, npz(**{"<b>mu": X}), ess=300).json()
    assert found["result"] == at_once
    assert found["error"] is None
    assert found["created"] <= found["started"] <= found["finished"]
    page = client.get(f"/v1/jobs/{found['id']}/report.html")
    assert page.text.startswith("<!DOCTYPE html>")
    assert "<b>mu" not in page.text
    assert page.headers["content-security-policy"].startswith("sandbox")


def test_a_job_of_a_bad_file_fails_with_the_reason(client):
    made = post(client, b"no draws at all", "/v1/jobs")
    found = finished(client, made.json()["id"])
    assert (found["status"], found["error"]["code"], found["result"]) == ("failed", "unreadable", None)
    assert client.get(f"/v1/jobs/{found['id']}/report.html").status_code == 404


def test_unknown_jobs_and_names_that_are_none(client):
    assert client.get(f"/v1/jobs/{'0' * 32}").status_code == 404
    assert client.delete(f"/v1/jobs/{'0' * 32}").status_code == 404
    assert client.get("/v1/jobs/..%2f..%2fetc").status_code in (404, 422)
    assert client.get(f"/v1/jobs/{'0' * 31}Z/report.html").status_code == 422


def test_a_job_can_be_forgotten(client):
    id = post(client, npz(mu=X), "/v1/jobs").json()["id"]
    finished(client, id)
    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert client.get(f"/v1/jobs/{id}").status_code == 404
    assert client.get(f"/v1/jobs/{id}/report.html").status_code == 404


def test_a_full_line_is_429(tmp_path):
    with asking(queued=1, state=tmp_path) as client:
        body = npz(mu=drawn(4, 2000, 4))
        answers = [post(client, body, "/v1/jobs") for _ in range(6)]
        assert {a.status_code for a in answers} == {202, 429}
        assert all(int(a.headers["retry-after"]) > 0 for a in answers if a.status_code == 429)
        for answer in answers:
            if answer.status_code == 202:
                assert finished(client, answer.json()["id"])["status"] == "done"


def test_a_restart_loses_no_job(tmp_path):
    """Killed in the middle of the first job, then told to end in the middle of a later one."""
    jobs = [drawn(seed=i) for i in range(5)]
    ids, seen = [], []
    for by, at in ((signal.SIGKILL, 0), (signal.SIGTERM, 1)):
        server = Process("--state", tmp_path)
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
            ids = ids or [post(client, npz(mu=x), "/v1/jobs").json()["id"] for x in jobs]
            until(lambda: client.get(f"/v1/jobs/{ids[at]}").json()["status"] != "queued")
            seen.append(client.get(f"/v1/jobs/{ids[-1]}").json()["status"])
        server.end(by)
    assert seen == ["queued", "queued"]
    last = Process("--state", tmp_path)
    try:
        with httpx.Client(base_url=last.url, trust_env=False, timeout=60) as client:
            for x, id in zip(jobs, ids, strict=True):
                found = finished(client, id)
                assert found["status"] == "done"
                assert [row["mean"] for row in found["result"]["table"]] == pytest.approx(x.mean((0, 1)).tolist())
                assert client.get(f"/v1/jobs/{id}/report.html").status_code == 200
    finally:
        last.end(signal.SIGTERM)


def test_with_a_full_disk_jobs_wait_and_go_on(tmp_path, monkeypatch, caplog):
    """Full for what a child writes, then for the database: nothing fails, nothing spins, two lines in the log."""
    tried = []

    def full_once(what, action):
        def tries(*args, **options):
            tried.append(what)
            if tried.count(what) <= 3:
                if what == "child":
                    raise disk_full()
                raise sqlite3.OperationalError("database or disk is full")
            return action(*args, **options)

        return tries

    monkeypatch.setattr("mcmc.service.jobs.FIRST_PAUSE", 0.05)
    with serving(state=tmp_path) as (url, app), httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        rooms = app.state.rooms
        monkeypatch.setattr(rooms.children, "run", full_once("child", rooms.children.run))
        monkeypatch.setattr(rooms.database, "finish_job", full_once("result", rooms.database.finish_job))
        monkeypatch.setattr(rooms.database, "next_job", full_once("next", rooms.database.next_job))
        id = post(client, npz(mu=X), "/v1/jobs").json()["id"]
        assert finished(client, id)["status"] == "done"
        assert client.get(f"/v1/jobs/{id}/report.html").status_code == 200
    assert {what: tried.count(what) for what in ("child", "result")} == {"child": 4, "result": 4}
    assert tried.count("next") <= 6
    said = [record.getMessage() for record in caplog.records if "disk" in record.getMessage()]
    assert len(said) == 6
    assert not any("Traceback" in (record.exc_text or "") for record in caplog.records)


def test_a_report_that_finds_no_space_is_no_fault_of_the_job(tmp_path, monkeypatch):
    (tmp_path / "draws.npz").write_bytes(npz(mu=X))
    monkeypatch.chdir(tmp_path)

    def no_space(*_, **__):
        (tmp_path / "report.part").write_text("half a page")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mcmc.reporting.pages.page", no_space)
    thresholds = {"rhat": 1.01, "ess": 400, "ebfmi": 0.3, "quick": False}
    task = {"kind": "files", "files": ["draws.npz"], "limits": {}, "thresholds": thresholds, "table": True}
    found = json.loads(answer(task | {"folder": str(tmp_path), "report": str(tmp_path / "report.html")}))
    assert found["error"]["code"] == "disk_full"
    assert not (tmp_path / "report.part").exists()


def test_a_state_that_can_not_be_used_is_one_line(tmp_path):
    (tmp_path / "state.sqlite").mkdir()
    broken = Process("--state", tmp_path)
    assert broken.said.startswith("mcmc serve: ")
    assert broken.wait() == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.sqlite").write_text("no database " * 100)
    with pytest.raises(RuntimeError, match="choose another --state"):
        Database(tmp_path / "other")


def test_two_servers_do_not_share_a_folder(tmp_path):
    database = Database(tmp_path)
    another = Process("--state", tmp_path)
    assert "another server uses" in another.said
    assert another.wait() == 2
    database.close()


def test_a_job_that_ends_the_server_is_given_up(tmp_path):
    for _ in range(MOST_ATTEMPTS):
        database = Database(tmp_path)
        if database.job("a") is None:
            database.add_job("a", {})
        assert database.next_job() == ("a", {})
        database.close()
    database = Database(tmp_path)
    assert database.next_job() is None
    assert database.job("a")["error"]["code"] == "gave_up"
    database.close()


def test_jobs_are_done_in_their_order_and_forgotten_in_time(tmp_path):
    database = Database(tmp_path)
    for id in "cab":
        database.add_job(id, {"kind": id})
    assert [database.next_job()[0] for _ in range(3)] == ["c", "a", "b"]
    database.finish_job("c", result={"ok": True})
    database.finish_job("a", error={"code": "x"})
    database.forget_jobs(time.time() + 1)
    assert database.job("c") is None
    assert database.job("b")["status"] == "running"
    database.close()


def test_what_no_job_owns_is_cleared(tmp_path):
    Database(tmp_path).close()
    (tmp_path / "jobs" / "orphan").mkdir()
    (tmp_path / "incoming" / "half").mkdir()
    Database(tmp_path).close()
    assert list((tmp_path / "jobs").iterdir()) == list((tmp_path / "incoming").iterdir()) == []
