"""Results of bilby, PTMCMCSampler, posteriordb, nutpie and nested sampling; tables as people really write them."""

import gzip
import json
import zipfile

import files
import numpy as np
import pandas
import pytest
import xarray

import mcmc
from mcmc.readers import ReadError, ReadWarning, read

X = files.drawn(4, 30, 2)


# --- bilby ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "steps_first"), [("emcee", False), ("zeus", True)])
def test_walkers_of_bilby_are_chains(tmp_path, sampler, steps_first):
    for path in files.bilby(tmp_path, X, sampler, steps_first=steps_first):
        tree = read(path)
        np.testing.assert_array_equal(tree.posterior["p1"], X[:, 4:, 1])
        assert list(tree.posterior) == ["p0", "p1"]
        assert list(tree.sample_stats) == ["log_lik_total"]
        assert f"walkers of {sampler} as chains, 4 steps of each dropped by bilby" in tree.attrs["understood"]
        assert "ignored: t0" in tree.attrs["understood"]


def test_draws_of_nested_sampling_have_no_chain_and_no_order(tmp_path):
    x = np.sort(files.drawn(1, 500, 2), axis=1)
    for path in files.bilby(tmp_path, x, "dynesty", burnt=0):
        tree = read(path)
        assert tree.posterior["p0"].shape == (1, 500)
        np.testing.assert_array_equal(np.sort(tree.posterior["p0"][0]), x[0, :, 0])
        assert "draws of dynesty, which have no chain, shuffled" in tree.attrs["understood"]
        assert mcmc.diagnose(tree).ok


def test_draws_of_chains_that_bilby_joined_are_asked_about(tmp_path):
    for path in files.bilby(tmp_path, X, "bilby_mcmc", burnt=0):
        with pytest.raises(ReadError, match="120 draws of bilby_mcmc, and not of how many chains"):
            read(path)
        np.testing.assert_array_equal(read(path, chains=4).posterior["p0"], X[:, :, 0])
        with pytest.raises(ReadError, match="a number of chains that divides"):
            read(path, chains=7)


def test_results_of_bilby_that_are_no_posterior_are_refused(tmp_path):
    path, _ = files.bilby(tmp_path, X)
    whole = json.loads(path.read_text())
    columns = whole["posterior"]["content"]
    for content, message in (
        ({"p0": columns["p0"], "p1": columns["p1"][:-1]}, "columns of"),
        ({"p0": ["a", "b"]}, "something else than numbers"),
        ({}, "no posterior"),
    ):
        path.write_text(json.dumps(whole | {"posterior": {"__dataframe__": True, "content": content}}))
        with pytest.raises(ReadError, match=message):
            read(path, "bilby")


# --- PTMCMCSampler ----------------------------------------------------------------------------------------


def test_chains_of_ptmcmc_have_their_names_and_statistics(tmp_path):
    paths = files.ptmcmc(tmp_path, X)
    tree = read(paths)
    np.testing.assert_array_equal(tree.posterior["p1"], X[:, :, 1])
    np.testing.assert_allclose(tree.sample_stats["lp"], -np.square(X).sum(2) / 2 - 3, atol=1e-6)
    assert "ignored: acceptance rate, swap acceptance rate" in tree.attrs["understood"]
    assert list(read(paths[0], names=["a", "b"], format="ptmcmc").posterior) == ["a", "b"]


def test_hot_torn_and_unnamed_chains_of_ptmcmc_are_refused(tmp_path):
    paths = files.ptmcmc(tmp_path, X)
    hot = paths[0].rename(paths[0].with_name("chain_2.5.txt"))
    with pytest.raises(ReadError, match=r"a chain at temperature 2\.5"):
        read(hot)
    lines = paths[1].read_text().splitlines(keepends=True)
    for wrong, message in (
        ([*lines[:-1], lines[-1][:-3]], "may be cut"),
        ([*lines[:4], lines[4][:60] + "\n", *lines[5:]], "values; expected 6"),
        (lines[:10], "10 draws; expected chains of like length"),
    ):
        paths[1].write_text("".join(wrong))
        with pytest.raises(ReadError, match=message):
            read(paths[1:])
    (paths[2].parent / "pars.txt").write_text("p0\n")  # of another model: then nobody says what the columns are
    with pytest.raises(ReadError, match="numbers without names"):
        read(paths[2])


# --- weights ----------------------------------------------------------------------------------------------


def dead_points(n=4000, seed=0):
    """Points of ever higher density with weights that make them a standard normal's, as nested sampling has them."""
    x = 3 * np.random.default_rng(seed).normal(size=(n, 2))
    level = -np.square(x).sum(1) / 2
    order = np.argsort(level)
    weights = np.exp(level - level / 9)
    return x[order], weights[order] / weights.sum(), level[order]


def test_weights_that_are_not_whole_resample_and_say_so(tmp_path):
    x, weights, level = dead_points()
    worth = int(1 / np.square(weights).sum())
    files.getdist(tmp_path / "root", x[None], weights[None])
    text = np.column_stack([weights, -level, x])
    np.savetxt(tmp_path / "root_1.txt", text)
    np.savetxt(tmp_path / "post.txt", np.column_stack([weights, level, x]), header="weight logl mu sigma", comments="")
    for path in (tmp_path / "root", tmp_path / "post.txt"):
        with pytest.warns(ReadWarning, match=f"4000 weighted rows resampled to the {worth}"):
            tree = read(path)
        assert tree.posterior["mu"].shape == (1, worth)
        assert "nested sampling has no chain" in tree.attrs["understood"]
        assert list(tree.posterior) == ["mu", "sigma"]
        for name in ("mu", "sigma"):
            drawn = tree.posterior[name].values[0]
            assert abs(drawn.mean()) < 4 / worth**0.5
            assert abs(drawn.var() - 1) < 4 * (2 / worth) ** 0.5
            assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / worth**0.5


@pytest.mark.filterwarnings("ignore::mcmc.readers.ReadWarning")
def test_a_chain_that_was_reweighted_keeps_its_order(tmp_path):
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(400, 2)), axis=0)
    np.savetxt(tmp_path / "a.txt", np.column_stack([rng.uniform(0.5, 1.5, 400), rng.normal(size=400), x]))
    (tmp_path / "a.paramnames").write_text("mu\nsigma\n")
    tree = read(tmp_path / "a.txt")
    assert "in their order" in tree.attrs["understood"]
    drawn = tree.posterior["mu"].values[0]
    assert np.corrcoef(drawn[1:], drawn[:-1])[0, 1] > 0.9


def test_a_column_of_weights_is_no_parameter(tmp_path):
    rows = pandas.DataFrame({"mu": [1.0, 2.0, 3.0, 4.0], "weight": [3, 0, 2, 1]})
    rows.to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(read(tmp_path / "a.csv", chains=1).posterior["mu"], [[1, 1, 1, 3, 3, 4]])
    rows.assign(chain=[0, 0, 1, 1], draw=[0, 1, 0, 1]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ReadError, match="weights beside chain and draw"):
        read(tmp_path / "a.csv")


# --- posteriordb and nutpie -------------------------------------------------------------------------------


def test_reference_draws_of_posteriordb(tmp_path):
    path = files.posteriordb(tmp_path / "a.json", X)
    with zipfile.ZipFile(tmp_path / "a.json.zip", "w") as archive:
        archive.write(path, "a.json")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, tmp_path / "a.json.zip", tmp_path / "a.json.gz"):
        np.testing.assert_array_equal(read(each).posterior["theta[2]"], X[:, :, 1])
    chains = json.loads(path.read_text())
    for wrong, message in (
        ([*chains[:3], {"theta[1]": chains[3]["theta[1]"]}], "chain 4"),
        ([*chains[:3], {name: draws[:-1] for name, draws in chains[3].items()}], r"draws \[29, 30\]"),
        ([{"mu": ["a", "b"]}], "something else than numbers"),
        ([{"mu": 1.0}], "a list of as many draws"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ReadError, match=message):
            read(path)


@pytest.mark.parametrize("form", ["zarr", "nc"])
def test_statistics_of_nutpie_get_their_names(tmp_path, form):
    flat, path = X[:, :, 0], tmp_path / f"a.{form}"
    stats = {"logp": -flat, "depth": np.full(flat.shape, 2), "maxdepth_reached": flat > 1, "diverging": flat > 9,
             "mean_tree_accept": np.full(flat.shape, 0.9), "energy": flat}  # fmt: skip
    groups = {"posterior": {"mu": flat}, "sample_stats": stats, "warmup_posterior": {"mu": flat}}
    tree = xarray.DataTree.from_dict(
        {g: xarray.Dataset({k: (("chain", "draw"), v) for k, v in parts.items()}) for g, parts in groups.items()}
    )
    tree.to_zarr(path, consolidated=False) if form == "zarr" else tree.to_netcdf(path, engine="h5netcdf")
    found = read(path)
    wanted = {"lp", "tree_depth", "reached_max_treedepth", "diverging", "acceptance_rate", "energy"}
    assert set(found.sample_stats) == wanted
    assert "30 warmup rows of each dropped" in found.attrs["understood"]
    checks = {check.code: check.passed for check in mcmc.diagnose(found).checks}
    assert (checks["max_tree_depth"], checks["divergences"]) == (False, True)


# --- tables -----------------------------------------------------------------------------------------------

LONG = pandas.DataFrame(
    {"chain": np.repeat([1, 2, 3, 4], 30), "draw": np.tile(np.arange(1, 31), 4)}
    | {"mu": X[:, :, 0].ravel(), "tau": X[:, :, 1].ravel()}
)


def same(tree):
    assert list(tree.posterior) == ["mu", "tau"]
    np.testing.assert_array_equal(tree.posterior["mu"], X[:, :, 0])
    np.testing.assert_array_equal(tree.posterior["tau"], X[:, :, 1])


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_rows_of_a_long_table_have_their_place_whatever_parts_the_columns(tmp_path, separator):
    rows = LONG.sample(frac=1, random_state=0)
    rows.to_csv(tmp_path / "a.csv", index=False, sep=separator)
    same(read(tmp_path / "a.csv"))


@pytest.mark.parametrize("change", ["BOM", "CRLF", "both, packed", "comments", "blank lines"])
@pytest.mark.parametrize("shape", ["long", "wide"])
def test_tables_as_other_systems_write_them(tmp_path, shape, change):
    rows = LONG if shape == "long" else LONG.drop(columns=["chain", "draw"])
    text = rows.to_csv(index=False)
    if change in ("BOM", "both, packed"):
        text = "\ufeff" + text
    if change in ("CRLF", "both, packed"):
        text = text.replace("\n", "\r\n")
    if change == "comments":
        text = "# made by a script\n# on a Monday\n" + text + "# the end\n"
    if change == "blank lines":
        text = "\n" + text.replace("\n", "\n\n")
    data = text.encode()
    (tmp_path / "a.csv").write_bytes(gzip.compress(data) if "packed" in change else data)
    same(read(tmp_path / "a.csv", chains=4))


def test_tables_of_numpy_and_r_have_their_names(tmp_path):
    wide = LONG[["mu", "tau"]]
    for delimiter, header in ((" ", "mu tau"), (",", "mu,tau"), (",", "mu tau"), ("\t", "mu\ttau")):
        np.savetxt(tmp_path / "a.txt", wide.to_numpy(), delimiter=delimiter, header=header)
        same(read(tmp_path / "a.txt", chains=4))
    lines = ['"mu" "tau"', *(f'"{i + 1}" {mu!r} {tau!r}' for i, (mu, tau) in enumerate(wide.to_numpy().tolist()))]
    (tmp_path / "r.txt").write_text("\n".join([*lines, ""]))  # write.table
    same(read(tmp_path / "r.txt", chains=4))
    lines[7] = lines[7].rpartition(" ")[0]
    (tmp_path / "r.txt").write_text("\n".join([*lines, ""]))
    with pytest.raises(ReadError, match="line 8: got 2 values; expected 3"):
        read(tmp_path / "r.txt", chains=4)


@pytest.mark.parametrize(
    ("chain", "draw"), [("walker", "step"), ("CHAIN", "DRAW"), ("chain_id", "iter"), ("Chain", "Step")]
)
def test_columns_of_chains_and_steps_are_no_parameters(tmp_path, chain, draw):
    rows = LONG.sort_values(["draw", "chain"]).rename(columns={"chain": chain, "draw": draw})  # a step after another
    rows.to_csv(tmp_path / "a.csv", index=False)
    same(read(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mu,name\n0.1,abc\n0.2,def\n", "name: got 'abc'; expected numbers below the header. Leave the column out"),
        ("mu;tau\n0,1;0,2\n0,3;0,4\n", "mu: got '0,1'; .*decimal point"),
        ("1,0.5,0.1,0.2\n1,0.5,0.3,0.4\n", "numbers without names"),
        ("lp__;mu\n-1;0.5\n", "read as cmdstan|columns parted by|how many chains"),
        ("# stan_version_major = 2\nlp__;mu\n-1;0.5\n", "columns parted by ';'; expected commas"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ReadError, match=message):
        read(tmp_path / "a.csv")
