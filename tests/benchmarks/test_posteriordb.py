"""The benchmark against posteriordb: its files, its comparison, its verdict; and posteriordb itself where it is."""

import json
import os
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray
from runs import draw

import mcmc

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import posteriordb
from posteriors import POSTERIORS

REGRESSION = "mesquite-logmesquite_logvolume"
N = 12
BUSHES = {
    name: np.random.default_rng(seed).uniform(0.4, 3.0, N).tolist()
    for seed, name in enumerate(("diam1", "diam2", "canopy_height", "weight"))
}


def exact_regression(generator, chains=10, draws=1000):
    """Independent draws of the regression's posterior, by its closed form: sigma, then beta given sigma."""
    x = np.c_[np.ones(N), np.log(np.prod([BUSHES[name] for name in ("diam1", "diam2", "canopy_height")], axis=0))]
    y = np.log(BUSHES["weight"])
    centre, rss, *_ = np.linalg.lstsq(x, y)
    sigma = np.sqrt(rss[0] / generator.chisquare(N - 3, (chains, draws)))  # flat on sigma, not on its logarithm
    root = np.linalg.cholesky(np.linalg.inv(x.T @ x))
    beta = centre + sigma[..., None] * (generator.normal(size=(chains, draws, 2)) @ root.T)
    return {"beta[1]": beta[..., 0], "beta[2]": beta[..., 1], "sigma": sigma}


def write_database(folder, reference):
    """A checkout of posteriordb with one posterior."""
    place = folder / "posterior_database"
    chains = [{name: x[c].tolist() for name, x in reference.items()} for c in range(len(reference["sigma"]))]
    files = {"data/data/bushes": BUSHES, "reference_posteriors/draws/draws/exact": chains}
    for name, content in files.items():
        path = place / f"{name}.json.zip"
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{Path(name).name}.json", json.dumps(content))
    (place / "posteriors").mkdir()
    about = {"name": REGRESSION, "data_name": "bushes", "reference_posterior_name": "exact"}
    (place / "posteriors" / f"{REGRESSION}.json").write_text(json.dumps(about))
    return place


def benchmark(monkeypatch, *arguments):
    """The exit status of the benchmark."""
    monkeypatch.setattr(sys, "argv", ["posteriordb.py", *map(str, arguments)])
    monkeypatch.setenv("MCMC_COMPILATION_CACHE", os.environ.get("MCMC_COMPILATION_CACHE", "off"))
    with pytest.raises(SystemExit) as stopped:
        posteriordb.main()
    return stopped.value.code


def test_without_data_it_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("POSTERIORDB", raising=False)
    assert benchmark(monkeypatch) == 2
    assert "--data" in capsys.readouterr().err
    assert benchmark(monkeypatch, "--data", tmp_path) == 2
    assert "posterior_database" in capsys.readouterr().err


def test_database_is_found_by_either_folder(tmp_path):
    place = write_database(tmp_path, exact_regression(np.random.default_rng(0), 2, 10))
    assert posteriordb.find_database(tmp_path) == posteriordb.find_database(place) == place
    data, reference = posteriordb.load(place, REGRESSION)
    assert data == BUSHES
    assert reference["beta[2]"].shape == (2, 10)


def test_names_are_chosen_by_words():
    assert posteriordb.chosen([]) == list(POSTERIORS)
    assert posteriordb.chosen(["nes"]) == ["nes1972-nes", "nes1976-nes", "nes1980-nes"]
    assert posteriordb.chosen(["kidiq-kidscore_momhs"]) == ["kidiq-kidscore_momhs"]
    with pytest.raises(ValueError, match="no posterior's name has 'wrong'"):
        posteriordb.chosen(["nes", "wrong"])


def test_errors_are_found_in_the_parameter_that_has_them():
    reference = {f"theta[{i}]": np.random.default_rng(i).normal(3, 2, (10, 1000)) for i in (1, 2)}
    fresh = np.random.default_rng(3).normal(3, 2, (64, 320, 2))
    cases = {
        "right": fresh,
        "moved": fresh + np.array([0, 0.2]),
        "wide": 3 + (fresh - 3) * [1.2, 1],
        "nan": fresh * [np.nan, 1],
    }
    rows = {}
    for name, theta in cases.items():
        tree = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"theta": (("chain", "draw", "i"), theta)})})
        rows[name] = posteriordb.compare(tree, reference) | {"ok": True, "failures": []}
    assert not posteriordb.misses(rows["right"])
    assert rows["moved"]["mean_sd_of"] == "theta[2]"
    assert rows["moved"]["mean_sd"] == pytest.approx(0.1, abs=0.05)
    assert len(posteriordb.misses(rows["moved"])) == 2
    assert rows["wide"]["sd_ratio_of"] == "theta[1]"
    assert rows["wide"]["sd_ratio"] == pytest.approx(1.2, abs=0.05)
    assert len(posteriordb.misses(rows["nan"])) == 3
    assert posteriordb.misses(rows["right"] | {"ok": False, "failures": ["rhat"]}) == ["diagnosis: rhat"]


@pytest.mark.slow
def test_a_right_and_a_wrong_reference(monkeypatch, tmp_path, capsys):
    reference = exact_regression(np.random.default_rng(0))
    place, out = write_database(tmp_path, reference), tmp_path / "out.json"
    assert benchmark(monkeypatch, REGRESSION, "--data", place, "--out", out) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["ok"]
    assert row["misses"] == []
    assert min(row["cold"], row["hot"], row["ess"], row["gradients_per_ess"]) > 0
    wrong = tmp_path / "wrong"
    write_database(wrong, reference | {"beta[1]": reference["beta[1]"] + reference["beta[1]"].std()})
    assert benchmark(monkeypatch, REGRESSION, "--data", wrong, "--quick", "--out", out) == 1
    (row,) = json.loads(out.read_text())["rows"]
    assert row["mean_sd_of"] == "beta[1]"
    assert "1 of 1 right" in (printed := capsys.readouterr().out)
    assert "0 of 1 right" in printed


# --- against posteriordb's own reference draws -------------------------------------------------------------


@pytest.fixture
def database():
    place = os.environ.get("POSTERIORDB")
    if not place:
        pytest.skip("POSTERIORDB does not name a checkout of posteriordb")
    return posteriordb.find_database(place)


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sblrc-blr", "garch-garch11", "eight_schools-eight_schools_noncentered"])
def test_default_run_agrees_with_the_reference(database, name):
    data, reference = posteriordb.load(database, name)
    draws = draw(POSTERIORS[name](data))
    row = posteriordb.compare(draws, reference) | posteriordb.judge(draws)
    assert not posteriordb.misses(row)


@pytest.mark.slow
@pytest.mark.parametrize("name", POSTERIORS)
def test_reference_draws_have_the_score_of_the_target(database, name, double_precision):
    """E[∂ log π / ∂y] = 0 and E[(y − E y) ∂ log π / ∂y] = −1 at draws of π, without sampling."""
    data, reference = posteriordb.load(database, name)
    target = POSTERIORS[name](data)
    flat = {key: x.reshape(-1) for key, x in reference.items()}
    positions = np.asarray(jax.jit(jax.vmap(lambda p: target.unconstrain(p, "float64")))(parameters_of(target, flat)))
    gradient = jax.jit(jax.vmap(jax.grad(target.value), in_axes=(0, None)))
    score = np.concatenate([gradient(part, target.data) for part in np.split(positions, 10)])
    for terms in (score, 1 + (positions - positions.mean(0)) * score):
        error = mcmc.mcse(terms.reshape(10, -1, target.dim))
        assert np.all(np.abs(terms.mean(0)) < 5 * error)


def parameters_of(target, flat):
    """Reference draws as the target's parameters, {name: (draw, ...)}; derived ones are solved for."""
    held = {}
    for leaf in target.leaves:
        name = {"theta_trans": "theta", "f_tilde": "f"}.get(leaf.name, leaf.name)
        labels = [f"{name}[{i + 1}]" for i in range(leaf.support.shape[0])] if leaf.support.shape else [name]
        x = np.stack([flat[label] for label in labels], -1)
        held[leaf.name] = x if leaf.support.shape else x[:, 0]
    if "theta_trans" in held:
        held["theta_trans"] = (held["theta_trans"] - held["mu"][:, None]) / held["tau"][:, None]
    if "f_tilde" in held:
        x = target.data["x"]
        squares = (x[:, None] - x) ** 2 / held["rho"][:, None, None] ** 2
        covariance = held["alpha"][:, None, None] ** 2 * np.exp(-0.5 * squares) + 1e-10 * np.eye(len(x))
        held["f_tilde"] = np.linalg.solve(np.linalg.cholesky(covariance), held["f_tilde"][..., None])[..., 0]
    return held
