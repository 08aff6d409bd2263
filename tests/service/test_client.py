"""The client: the same verdict as here, readable errors, a token that stays with its server, and fifty in parallel."""

import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import files
import numpy as np
import pytest
import xarray
from servers import drawn, npz, serving

import mcmc
from mcmc.readers import ReadError
from mcmc.service import Client, ServiceError, Verdict

X = drawn()
CLIENTS = 50


@pytest.fixture(scope="module")
def service():
    with serving() as (url, _):
        yield Client(url)


def tree():
    stats = xarray.Dataset({"diverging": (("chain", "draw"), X[:, :, 0] > 9)})
    posterior = xarray.Dataset({"mu": (("chain", "draw", "k"), X)})
    return xarray.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})


@pytest.mark.parametrize("given", ["tree", "dict", "groups", "path", "zarr", "files"])
def test_whatever_is_given_the_verdict_is_ours(service, given, tmp_path):
    draws, kind = tree(), given
    if given == "dict":
        draws = {"mu": X}
    elif given == "groups":
        draws = {"posterior": {"mu": X}, "sample_stats": {"diverging": X[:, :, 0] > 9}}
    elif given == "path":
        tree().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        draws = tmp_path / "a.nc"
    elif given == "zarr":
        tree().to_zarr(tmp_path / "a.zarr", consolidated=False)
        draws = str(tmp_path / "a.zarr")
    elif given == "files":
        kind, draws = "dict", []
        for i, chain in enumerate(X):
            draws.append(tmp_path / f"chain_{i}.csv")
            rows = [",".join(map(repr, [-1.0, *draw])) for draw in chain.tolist()]
            draws[-1].write_text("\n".join(["lp__,mu.1,mu.2", *rows, ""]))
    found = service.diagnose(draws, rhat=1.02, quick=False)
    verdict = mcmc.diagnose({"posterior": {"mu": X}} if kind == "dict" else tree(), rhat=1.02)
    assert isinstance(found, Verdict)
    made = {check["code"]: check["passed"] for check in found.checks}
    if given != "files":  # a CmdStan file brings sample_stats of its own
        assert (found.ok, found.verdict) == (verdict.ok, verdict.verdict)
        assert made == {check.code: check.passed for check in verdict.checks}
    np.testing.assert_allclose([row["r_hat"] for row in found.table], verdict.columns["r_hat"], rtol=1e-12)
    assert found.verdict in str(found)


def test_what_names_the_parameters_is_sent_with_the_chains(service, tmp_path):
    root = files.getdist(tmp_path / "root", X[:, :, :2], np.ones(X.shape[:2]))
    for given, chains in ((root, 4), (tmp_path / "root_1.txt", 1)):
        found = service.diagnose(given, quick=True)
        assert ([row["parameter"] for row in found.table], found.chains) == (["mu", "sigma"], chains)
    pairs = files.ptmcmc(tmp_path, X[:2, :, :2])
    assert [row["parameter"] for row in service.diagnose(pairs, quick=True).table] == ["p0", "p1"]
    (pairs[1].parent / "pars.txt").write_text("p1\np0\n")
    with pytest.raises(ReadError, match="other parameters; expected those of"):
        service.diagnose(pairs)
    index = files.coda(tmp_path, X[:, :, :2])
    assert service.diagnose(index, quick=True).chains == 4
    assert service.diagnose(tmp_path / "CODAchain2.txt", quick=True).chains == 1


def test_a_job_from_end_to_end(service, tmp_path):
    job = service.submit({"mu": X}, ess=300)
    done = service.wait(job, 120)
    assert (done.status, done.verdict.chains, done.finished) == ("done", 4, True)
    assert service.report(done, tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_what_is_too_long_says_so_though_it_is_sent_whole(service, tmp_path):
    for size in (70_000_000, 200_000_000):  # the second is cut off while it is sent
        with (tmp_path / "big").open("wb") as file:
            file.truncate(size)
        with pytest.raises(ServiceError, match="longer than 64,000,000 bytes") as caught:
            service.diagnose(tmp_path / "big")
        assert (caught.value.status, caught.value.code) == (413, "too_many_bytes")


def test_errors_have_a_status_a_code_and_words(service):
    with pytest.raises(ServiceError, match="unreadable") as caught:
        service.diagnose({"mu": np.zeros(3)})
    assert (caught.value.status, caught.value.code) == (422, "unreadable")
    with pytest.raises(ServiceError, match="does not answer") as caught:
        Client("http://127.0.0.1:9").job("a")
    assert caught.value.status == 0
    with pytest.raises(TypeError, match="draws"):
        service.diagnose(3)
    with pytest.raises(FileNotFoundError):
        service.diagnose("nowhere.nc")
    for url in ("file:///etc/passwd", "ftp://a", "localhost:80", ""):
        with pytest.raises(ValueError, match="url"):
            Client(url)
    with pytest.raises(ValueError, match="token"):
        Client("http://localhost", token="a\r\nb")


def test_a_token_does_not_follow_a_redirect():
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ServiceError) as caught:
            Client(f"http://127.0.0.1:{server.server_port}", "a-token-of-good-length").job("a")
        server.shutdown()
    assert caught.value.status == 302
    assert asked == [("/v1/jobs/a", "Bearer a-token-of-good-length")]


def test_a_token_is_sent():
    with serving(token="a-token-of-good-length") as (url, _):
        assert Client(url, "a-token-of-good-length").diagnose({"mu": X}).chains == 4
        with pytest.raises(ServiceError, match="unauthorized"):
            Client(url).diagnose({"mu": X})


def test_fifty_parallel_clients_lose_nothing(tmp_path):
    """Each gets the answer to its own draws, as a verdict, a job and a run, though few are served at a time."""
    means = np.arange(CLIENTS) + 0.5
    start = threading.Barrier(CLIENTS)

    def one(i):
        draws = {"mu": X[:, :, 0] + means[i]}
        client = Client(url)
        start.wait()
        job = client.submit(draws) if i % 10 == 0 else None
        with client.run(f"run {i}") as reporter:
            reporter.block(draws["mu"][..., None], ["mu"])
            assert reporter.flush(120)
        verdict = client.diagnose(draws)
        seen = [verdict.table[0]["mean"], client.run_state(reporter.id)["parameters"][0]["mean"]]
        return seen + ([] if job is None else [client.wait(job, 300).verdict.table[0]["mean"]])

    with serving(waiting=10, state=tmp_path) as (url, app), ThreadPoolExecutor(CLIENTS) as threads:
        answers = list(threads.map(one, range(CLIENTS)))
        text = app.state.rooms.metrics.text().decode()
        assert app.state.rooms.in_flight == 0
    for mean, answer in zip(means, answers, strict=True):
        np.testing.assert_allclose(answer, X[:, :, 0].mean() + mean, rtol=1e-9)
    assert 'mcmc_refused_total{code="busy"}' in text  # some had to come again
    assert not any('status="5' in line for line in text.splitlines())


def test_an_npz_that_was_zipped_twice_is_no_store(service, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.npz", npz(mu=X))
    with pytest.raises(ServiceError, match="unreadable"):
        service.diagnose(tmp_path / "a.zip")
