"""Runs that report while they go on: what the server makes of it, and that the run never notices."""

import base64
import time
import warnings

import numpy as np
import pytest
from servers import asking, drawn, serving, until

import mcmc
from mcmc.engine.progress import Update
from mcmc.service import Client, ServiceError
from mcmc.service.live_client import RunReporter

X = drawn(4, 600, 3)
NAMES = ["mu", "tau", "theta[0]"]


def report(client, id, **what):
    return client.post(f"/v1/runs/{id}/blocks", json=what)


def update(done, **more):
    return {"phase": "sampling", "done": done, "total": 600, "chains": 4, "elapsed": 0.1 * done, **more}


def as_base64(x, dtype="<f8"):
    data = base64.b64encode(x.astype(dtype).tobytes()).decode()
    return {
        "names": NAMES,
        "shape": list(x.shape),
        "dtype": {"<f8": "float64", "<f4": "float32"}[dtype],
        "base64": data,
    }


def test_draws_give_the_moments_statistics(client):
    moments = mcmc.diagnostics.Moments()
    for i in range(0, 600, 100):
        chunk = X[:, i : i + 100]
        moments.update(chunk)
        draws = {"names": NAMES, "values": chunk.tolist()} if i % 200 else as_base64(chunk)
        answer = report(client, "moments", updates=[update(i + 100, divergences=i // 100)], draws=draws)
        assert answer.json() == {"id": "moments", "draws": 4 * (i + 100)}
    found = client.get("/v1/runs/moments").json()
    assert (found["status"], found["divergences"], found["draws"]) == ("finished", 5, 2400)
    assert found["rhat"] == pytest.approx(moments.rhat().max())
    assert found["ess"] == pytest.approx(moments.ess().min())
    rows = {row["parameter"]: row for row in found["parameters"]}
    np.testing.assert_allclose([rows[n]["mean"] for n in NAMES], X.mean((0, 1)), rtol=1e-9)
    np.testing.assert_allclose([rows[n]["r_hat"] for n in NAMES], moments.rhat())
    assert [point["draws"] for point in found["history"]] == list(range(400, 2401, 400))


def test_float32_blocks_are_read(client):
    assert report(client, "single", draws=as_base64(X, "<f4")).status_code == 200
    rows = client.get("/v1/runs/single").json()["parameters"]
    assert rows[0]["sd"] == pytest.approx(1, abs=0.1)


def test_updates_alone_say_what_the_run_said(client):
    report(client, "words", title="<i>words</i>", updates=[update(10, rhat=1.2, ess=33.0, acceptance=0.8)])
    report(client, "words", updates=[update(20)])
    found = client.get("/v1/runs/words").json()
    assert (found["rhat"], found["ess"], found["status"], found["title"]) == (1.2, 33.0, "running", "<i>words</i>")
    assert found["done"] == 20
    assert "words" in client.get("/v1/runs").json()["runs"]


def test_nan_draws_are_null_and_flagged(client):
    bad = X[:, :50].copy()
    bad[0, 3, 1] = np.nan
    values = [[[None if v != v else v for v in draw] for draw in chain] for chain in bad.tolist()]
    report(client, "nan", draws={"names": NAMES, "values": values})
    found = client.get("/v1/runs/nan").json()
    assert (found["rhat"], found["non_finite"]["rhat"]) == (None, "nan")
    assert found["parameters"][0]["parameter"] == "tau"
    assert found["parameters"][0]["non_finite"]["r_hat"] == "nan"


def test_another_session_begins_anew(client):
    report(client, "twice", session="a", updates=[update(600)], draws=as_base64(X))
    report(client, "twice", session="b", updates=[update(5)])
    found = client.get("/v1/runs/twice").json()
    assert (found["done"], found["status"], found["parameters"], len(found["history"])) == (5, "running", [], 1)


BAD = [
    ({"updates": [{"phase": "sampling"}]}, 422, "invalid_request"),
    ({"updates": [update(-1)]}, 422, "invalid_request"),
    ({"unknown": 1}, 422, "invalid_request"),
    ({"draws": {"names": ["mu"], "values": [[[0.0, 1.0]]]}}, 422, "wrong_shape"),
    ({"draws": {"names": ["mu"], "values": [[[0.0]], []]}}, 422, "wrong_shape"),
    ({"draws": {"names": ["mu"], "values": []}}, 422, "wrong_shape"),
    ({"draws": {"names": ["mu"]}}, 422, "wrong_form"),
    ({"draws": {"names": ["mu"], "base64": "!", "shape": [1, 1, 1]}}, 422, "wrong_shape"),
    ({"draws": {"names": ["mu"], "base64": "AAAA", "shape": [9**9, 9**9, 1]}}, 422, "wrong_shape"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD)
def test_bad_reports_change_nothing(client, body, status, code):
    answer = client.post("/v1/runs/bad/blocks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert client.get("/v1/runs/bad").status_code == 404


def test_other_bad_requests(client):
    for body in (b"", b"{", b"[" * 10_000, b"\xff"):
        answer = client.post("/v1/runs/bad/blocks", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert client.post("/v1/runs/bad/blocks", content=b"{}").status_code == 415
    assert client.post("/v1/runs/.bad/blocks", json={}).status_code == 422
    report(client, "fixed", draws=as_base64(X))
    other = report(client, "fixed", draws=as_base64(X[:2]))
    assert (other.status_code, other.json()["code"]) == (422, "another_run")


def test_runs_have_limits():
    with asking(runs=1, run_elements=11) as client:
        assert report(client, "wide", draws=as_base64(X)).status_code == 413
        assert report(client, "one", updates=[update(1)]).status_code == 200
        full = report(client, "two", updates=[update(1)])
        assert (full.status_code, full.json()["code"]) == (429, "busy")
        report(client, "one", updates=[update(600)])
        assert report(client, "two", updates=[update(1)]).status_code == 200
        assert client.get("/v1/runs").json() == {"runs": ["two"]}


def test_a_restart_keeps_the_runs(tmp_path):
    with asking(state=tmp_path) as client:
        report(client, "kept", updates=[update(300)], draws=as_base64(X[:, :300]))
    with asking(state=tmp_path) as client:
        report(client, "kept", updates=[update(600)], draws=as_base64(X[:, 300:]))
        rows = client.get("/v1/runs/kept").json()["parameters"]
        mean = {row["parameter"]: row["mean"] for row in rows}
        assert mean["mu"] == pytest.approx(X[:, :, 0].mean())


def test_a_long_run_has_a_bounded_history(client):
    for start in range(0, 2000, 500):
        many = [update(i + 1, total=None) for i in range(start, start + 500)]
        report(client, "long", updates=[{**u, "total": None} for u in many])
    history = client.get("/v1/runs/long").json()["history"]
    assert len(history) <= 400
    assert (history[0]["draws"], history[-1]["draws"]) == (4, 8000)


# --- the reporter in a run ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_a_real_run_is_reported():
    target = mcmc.Target(lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(2)})
    with serving() as (url, _):
        client = Client(url)
        reporter = client.run("a real run")
        quiet = mcmc.sample(target, chains=4, draws=100, warmup=50, seed=3, progress=False)
        with reporter:
            draws = mcmc.sample(target, chains=4, draws=100, warmup=50, seed=3, progress=reporter)
        found = client.run_state(reporter.id)
    assert (found["status"], found["draws"], found["chains"]) == ("finished", 400, 4)
    assert found["title"] == "a real run"
    assert found["rhat"] is not None
    np.testing.assert_array_equal(draws["posterior"]["x"], quiet["posterior"]["x"])


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_a_run_says_how_it_ended_and_what_it_knows():
    target = mcmc.Target(
        lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(2)}, dims={"x": ["k"]}, coords={"k": ["a", "<b>"]}
    )
    with serving() as (url, _):
        client = Client(url)
        reporter = client.run("until")
        draws = mcmc.sample(target, until=mcmc.Converged(ess=500), seed=1, progress=reporter)
        assert reporter.flush(30)
        found = client.run_state("until")
        assert (found["status"], found["why"]) == ("finished", "converged")
        rows = {row["parameter"]: row for row in found["parameters"]}
        assert set(rows) == {"x[a]", "x[<b>]"}
        x = draws["posterior"]["x"].values
        mean, sd = [rows["x[a]"][name] for name in ("mean", "sd")]
        assert (mean, sd) == pytest.approx((x[..., 0].mean(), x[..., 0].std()), rel=0.02, abs=0.02)
        with pytest.raises(ValueError, match="chains"):
            mcmc.sample(target, chains=-1, progress=reporter)
        assert reporter.flush(30)
        again = client.run_state("until")
        assert (again["status"], again["parameters"], again["done"]) == ("failed", [], 0)
        assert again["why"].startswith("ValueError: chains: got -1")
        reporter.close()


class Stopped(RunReporter):
    """Ctrl-C in the middle of sampling."""

    def __call__(self, update):
        super().__call__(update)
        if update.phase == "sampling":
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_a_run_that_was_stopped_by_hand_is_interrupted():
    target = mcmc.Target(lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(2)})
    with serving() as (url, _):
        client = Client(url)
        reporter = Stopped(client, "stopped")
        draws = mcmc.sample(target, chains=4, draws=5000, warmup=50, seed=3, progress=reporter)
        assert reporter.flush(30)
        found = client.run_state("stopped")
        reporter.close()
    assert draws.attrs["status"] == found["status"] == "interrupted"
    assert found["draws"] == 4 * draws["posterior"].sizes["draw"]


def test_what_a_run_says_of_its_parameters_is_kept_and_checked(client):
    row = {"parameter": "mu", "mean": 0.5, "sd": None, "r_hat": 1.2, "ess": 30.0, "non_finite": {"sd": "inf"}}
    told = {"parameters": [row], "parameters_in_all": 700, "status": "running"}
    assert report(client, "told", updates=[update(600)], **told).status_code == 200
    found = client.get("/v1/runs/told").json()
    assert (found["parameters"], found["parameters_in_all"], found["status"]) == ([row], 700, "running")
    report(client, "told", status="interrupted", why="<b>")
    found = client.get("/v1/runs/told").json()
    assert (found["status"], found["why"], found["parameters"]) == ("interrupted", "<b>", [row])
    for bad in ({"status": "well"}, {"parameters": [{"parameter": "mu"}]}, {"parameters": [{**row, "mean": "NaN"}]}):
        assert report(client, "told", **bad).status_code == 422


def an_update(done=1):
    return Update("sampling", done=done, total=10_000, chains=4, elapsed=0.1, rhat=float("nan"))


def reported(reporter, condition):
    """Report an update, and wait for what comes of it."""
    reporter(an_update())
    until(condition)


def test_a_server_that_is_away_costs_a_run_nothing_and_warns_once():
    reporter = Client("http://127.0.0.1:9").run("alone")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        for i in range(2000):
            reporter(an_update(i))
        took = time.perf_counter() - began
        until(lambda: caught)
        reporter(an_update())
        reporter.close(1.0)
    assert took / 2000 < 1e-3
    assert len(caught) == 1
    assert "no longer" not in str(caught[0].message)
    assert "could not be reported" in str(caught[0].message)


def test_warnings_as_errors_do_not_reach_the_run():
    reporter = Client("http://127.0.0.1:9").run("strict")
    reporter(an_update())
    assert reporter.flush(30)
    reporter(an_update())
    reporter.close(0.5)


def test_a_server_that_comes_back_is_reported_to_again(monkeypatch):
    monkeypatch.setattr("mcmc.service.live_client.PAUSE", 0.01)
    with serving() as (url, _):
        client = Client(url)
        reporter = client.run("patient")
        true = client.request
        monkeypatch.setattr(client, "request", lambda *a: (_ for _ in ()).throw(ServiceError(0, "no_answer", "away")))
        with pytest.warns(RuntimeWarning, match="tried again"):
            reported(reporter, lambda: reporter._warned)
        monkeypatch.setattr(client, "request", true)
        reporter(an_update(2))
        assert reporter.flush(30)
        assert client.run_state("patient")["done"] == 2
        reporter.close()


def test_a_server_that_refuses_is_asked_no_more():
    with serving(token="a-token-of-good-length") as (url, _):
        reporter = Client(url, "another-token-than-that").run("refused")
        with pytest.warns(RuntimeWarning, match="unauthorized"):
            reported(reporter, lambda: not reporter._thread.is_alive())
        reporter(an_update())
        assert reporter.flush(1)


def test_blocks_go_through_the_reporter():
    with serving() as (url, _):
        client = Client(url)
        with client.run("../with draws!") as reporter:
            for i in range(0, 600, 200):
                reporter.block(X[:, i : i + 200].astype(np.float32), NAMES)
        found = client.run_state(reporter.id)
    assert reporter.id == "with-draws"
    assert (found["draws"], found["status"]) == (2400, "finished")
    assert found["rhat"] < 1.05
