"""POST /v1/diagnose: the verdict of `mcmc.diagnose`, whatever the draws came in."""

import json
import zipfile

import numpy as np
import pytest
import xarray
from servers import BINARY, drawn, npz, post

import mcmc

X = drawn()


def table(verdict):
    return {row["parameter"]: row for row in verdict["table"]}


def same_numbers(answer, verdict):
    """The answer holds this diagnosis, number by number."""
    assert answer["ok"] == verdict.ok
    assert answer["verdict"] == verdict.verdict
    assert [c["code"] for c in answer["checks"]] == [c.code for c in verdict.checks]
    rows = table(answer)
    for column, values in verdict.columns.items():
        got = [rows[label][column] for label in verdict.labels]
        np.testing.assert_allclose(np.array(got, float), values, rtol=1e-12)


def tree():
    stats = xarray.Dataset({"diverging": (("chain", "draw"), X[:, :, 0] > 9)})
    return xarray.DataTree.from_dict(
        {"posterior": xarray.Dataset({"mu": (("chain", "draw", "k"), X)}), "sample_stats": stats}
    )


def as_file(kind, folder):
    """The draws X in a format, as bytes."""
    if kind == "npz":
        return npz(mu=X)
    if kind == "netcdf":
        tree().to_netcdf(folder / "a.nc", engine="h5netcdf")
        return (folder / "a.nc").read_bytes()
    if kind == "zarr":
        tree().to_zarr(folder / "a.zarr", consolidated=False)
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for file in (folder / "a.zarr").rglob("*"):
                archive.write(file, file.relative_to(folder))
        return (folder / "a.zip").read_bytes()
    import pandas

    chains, draws, dim = X.shape
    columns = {"chain": np.repeat(np.arange(chains), draws), "draw": np.tile(np.arange(draws), chains)}
    rows = pandas.DataFrame(columns | {f"mu[{k}]": X[:, :, k].ravel() for k in range(dim)})
    if kind == "csv":
        return rows.to_csv(index=False).encode()
    rows.to_parquet(folder / "a.parquet", index=False)
    return (folder / "a.parquet").read_bytes()


@pytest.mark.parametrize("kind", ["npz", "netcdf", "zarr", "csv", "parquet"])
def test_every_format_gives_the_diagnosis_of_its_draws(client, kind, tmp_path):
    answer = post(client, as_file(kind, tmp_path))
    assert answer.status_code == 200, answer.text
    given = tree() if kind in ("netcdf", "zarr") else {"posterior": {"mu": X}}
    same_numbers(answer.json(), mcmc.diagnose(given))


def test_parts_of_a_file_are_judged_as_asked(client):
    answer = post(client, npz(mu=X.swapaxes(0, 1), tau=X.swapaxes(0, 1)), chains=4, burn=0.5, vars="mu").json()
    same_numbers(answer, mcmc.diagnose({"posterior": {"mu": X[:, 200:]}}))
    assert "4 chains x 400 draws, 4 parameters" in answer["understood"]
    assert "200 draws of each chain dropped as burn-in" in answer["understood"]
    asked = post(client, npz(mu=X.swapaxes(0, 1)))
    assert (asked.status_code, asked.json()["code"]) == (422, "unreadable")
    assert "how many chains" in asked.json()["message"]


def test_json_gives_the_diagnosis_of_its_draws(client):
    answer = client.post("/v1/diagnose", json={"draws": {"mu": X.tolist()}, "sample_stats": {}})
    same_numbers(answer.json(), mcmc.diagnose({"posterior": {"mu": X}}))


def test_several_files_are_the_chains_of_one_run(client):
    rows = ["lp__,accept_stat__,mu.1,mu.2"]
    files = []
    for i, chain in enumerate(X):
        lines = rows + [",".join(map(repr, [-1.0, 0.9, *draw])) for draw in chain.tolist()]
        files.append(("files", (f"run_{i}.csv", "\n".join(lines) + "\n")))
    answer = client.post("/v1/diagnose", files=files)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["chains"], answer.json()["draws"]) == (4, 400)
    verdict = mcmc.diagnose({"posterior": {"mu": X}})
    got = sorted(row["mean"] for row in answer.json()["table"])
    np.testing.assert_allclose(got, sorted(verdict.columns["mean"]), rtol=1e-12)


def test_numbers_that_are_not_finite_are_null_and_flagged(client):
    bad = np.where(np.arange(400) == 7, np.inf, X[:, :, 0])
    bad[0, 9] = np.nan
    answer = post(client, npz(mu=X, bad=bad, still=np.ones((4, 400))))
    found = answer.json()
    json.dumps(found, allow_nan=False)
    assert found["has_non_finite"]
    rows = table(found)
    assert rows["bad"]["mean"] is None
    assert rows["bad"]["non_finite"]["mean"] == "nan"
    assert rows["still"]["non_finite"]["r_hat"] == "nan"
    assert rows["mu[0]"]["non_finite"] == {}


def test_null_in_json_is_nan(client):
    lists = X[:, :, 0].tolist()
    lists[2][5] = None
    found = client.post("/v1/diagnose", json={"draws": {"mu": lists}}).json()
    failed = [check for check in found["checks"] if check["code"] == "non_finite"]
    assert failed[0]["value"] == 1.0
    assert failed[0]["chains"] == ["2"]


def test_a_name_that_is_half_a_character_breaks_nothing(client):
    body = b'{"draws": {"a\\ud800": [[1, 2, 3, 4], [2, 1, 4, 3]]}}'
    answer = client.post("/v1/diagnose", content=body, headers={"content-type": "application/json"})
    assert answer.json()["table"][0]["parameter"] == "a?"


def test_thresholds_are_parameters(client):
    body = npz(mu=X)
    ess = post(client, body, table="false").json()
    assert "table" not in ess
    assert ess["ok"]
    assert not post(client, body, ess=1e6).json()["ok"]
    assert client.get("/v1/thresholds").json() == {"rhat": 1.01, "ess": 400.0, "ebfmi": 0.3}


@pytest.mark.parametrize("query", ["rhat=0.5", "rhat=nan", "ess=-1", "ebfmi=x", "quick=perhaps", "format=pickle"])
def test_bad_thresholds_are_named(client, query):
    answer = client.post(f"/v1/diagnose?{query}", content=npz(mu=X), headers=BINARY)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert query.partition("=")[0] in answer.json()["message"]


@pytest.mark.parametrize("path", ["/v1/diagnose", "/v1/jobs"])
def test_no_option_is_left_out_silently(client, path):
    for query, message in (("brun=3", "Did you mean burn"), ("vars=mu&vars=nu", "got 2 values; expected one")):
        answer = client.post(f"{path}?{query}", content=npz(mu=X), headers=BINARY)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert message in answer.json()["message"]
    answer = client.post(path, files={"files": npz(mu=X)}, data={"burn": "3"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["message"].startswith("burn: got a field of the form")


JSON = {"content-type": "application/json"}
BAD = [
    (b"{", JSON, 422, "unreadable"),
    (b"[" * 100_000, JSON, 422, "unreadable"),
    (b"[]", JSON, 422, "unreadable"),
    (b'{"draws": {}}', JSON, 422, "unreadable"),
    (b'{"draws": {"mu": [[1, 2], [3]]}}', JSON, 422, "unreadable"),
    (b'{"draws": {"mu": [["1", "2"], ["3", "4"]]}}', JSON, 422, "unreadable"),
    (b'{"draws": {"mu": [1, 2, 3]}}', JSON, 422, "unreadable"),
    (b'{"draws": {"mu": [[1, 2, 3], [3, 4, 5]]}, "burn": 1}', JSON, 422, "unreadable"),
    (b'{"draws": {"mu": 1}}', JSON, 422, "unreadable"),
    (b'{"draws": {"a/b/c": [[1, 2], [3, 4]]}}', JSON, 422, "unreadable"),
    (b"", JSON, 400, "no_file"),
    (b"", BINARY, 400, "no_file"),
    (b"mu\n1\n", {"content-type": "text/csv"}, 415, "unsupported_media_type"),
    (b"mu\n1\n", {}, 415, "unsupported_media_type"),
    (b"mu\n1\n", {**BINARY, "content-encoding": "gzip"}, 415, "unsupported_encoding"),
    (b"no form", {"content-type": "multipart/form-data; boundary=x"}, 400, "bad_request"),
    (b"no form", {"content-type": "multipart/form-data"}, 400, "bad_request"),
    (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
     {"content-type": "multipart/form-data; boundary=x"}, 400, "no_file"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD)
def test_bad_requests_get_a_clear_answer(client, body, headers, status, code):
    answer = client.post("/v1/diagnose", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["message"]


def test_unknown_paths_and_methods_have_the_same_form(client):
    assert client.get("/v1/nothing").json()["code"] == "not_found"
    answer = client.get("/v1/diagnose")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "ok", "version": mcmc.__version__}
    post(client, npz(mu=X))
    text = client.get("/metrics").text
    counted = [line for line in text.splitlines() if line.startswith("mcmc_diagnoses_total")]
    assert any('verdict="ok"' in line and float(line.split()[-1]) >= 1 for line in counted)
    assert 'path="/v1/diagnose"' in text
