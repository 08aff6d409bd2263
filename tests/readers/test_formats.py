"""Each format gives the draws that were written, under the names that ArviZ uses."""

import files
import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmc
from mcmc.readers import FORMATS, ReadError, ReadWarning, format_of, read

X = files.drawn()
GROUPS = ("posterior", "sample_stats", "log_likelihood")


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    return files.one_of_each(tmp_path_factory.mktemp("each"), X)


NAMES = ("netcdf", "zarr", "npz", "packed npz", "emcee", "cmdstan", "getdist", "csv", "parquet")
NAMES += ("wide", "npy", "tracer", "coda", "ptmcmc", "bilby", "bilby hdf5", "posteriordb")


def test_every_format_is_among_the_files(each):
    assert tuple(each) == NAMES
    assert {format_called(name) for name in NAMES} == set(FORMATS)


def format_called(name):
    return {"packed npz": "npz", "bilby hdf5": "bilby"}.get(name, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_found_by_content_and_its_draws_are_those_written(each, name, tmp_path):
    path = each[name]
    if path.is_file() and name not in (
        "getdist",
        "coda",
        "ptmcmc",
    ):  # a name says nothing, save for what lies beside a chain
        path = tmp_path / "draws.dat"
        path.write_bytes(each[name].read_bytes())
    assert format_of(path) == format_called(name)
    posterior = read(path).posterior
    columns = [v.values.reshape(*v.shape[:2], -1) for v in posterior.data_vars.values()]
    found = np.concatenate(columns, axis=-1)
    one = dict.fromkeys(("cmdstan", "tracer", "ptmcmc"), X[:1]) | dict.fromkeys(("bilby", "bilby hdf5"), X[:, 4:])
    wanted = (one | {"getdist": np.repeat(X[:1, :, :2], 2, axis=1)}).get(name, X)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_can_be_judged(each, name):
    verdict = mcmc.diagnose(read(each[name]))
    assert verdict["non_finite"].passed
    assert not np.isnan(verdict.table["mean"]).any()


# --- CmdStan ----------------------------------------------------------------------------------------------


def test_cmdstan_statistics_have_arviz_names(tmp_path):
    tree = read(files.cmdstan(tmp_path / "a.csv", ["mu"], X[0, :, :1]))
    stats = tree.sample_stats
    assert tree.attrs["inference_library_version"] == "2.36.0"
    assert stats["diverging"].dtype == bool
    assert stats["diverging"].values.sum() == 1
    np.testing.assert_array_equal(stats["tree_depth"], [np.arange(20) % 4])
    np.testing.assert_array_equal(stats["reached_max_treedepth"], [np.arange(20) % 4 == 3])
    np.testing.assert_array_equal(stats["lp"], [-1.0 - np.arange(20)])
    assert {"energy", "acceptance_rate", "step_size", "n_steps"} <= set(stats.data_vars)


@settings(deadline=None, derandomize=True, max_examples=10)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), order=st.randoms(use_true_random=False))
def test_cmdstan_arrays_have_their_indices_whatever_the_order_of_columns(tmp_path_factory, shape, order):
    values = np.random.default_rng(0).normal(size=(5, *shape))
    indices = list(np.ndindex(shape))
    order.shuffle(indices)
    names = ["b." + ".".join(str(i + 1) for i in index) for index in indices]
    rows = np.stack([values[(slice(None), *index)] for index in indices], axis=-1)
    path = files.cmdstan(tmp_path_factory.mktemp("c") / "a.csv", ["alpha", *names], np.c_[rows[:, :1], rows])
    np.testing.assert_array_equal(read(path).posterior["b"].values[0], values)


@pytest.mark.parametrize("thin", [1, 3])
@pytest.mark.parametrize("adapted", [True, False])
def test_cmdstan_warmup_goes_to_its_own_groups(tmp_path, thin, adapted):
    paths = [
        files.cmdstan(tmp_path / f"{c}.csv", ["mu"], X[c, :, :1], warmup=X[c, :7, 1:2], thin=thin, adapted=adapted)
        for c in range(2)
    ]
    tree = read(paths)
    np.testing.assert_array_equal(tree.posterior["mu"], X[:, :, 0])
    np.testing.assert_array_equal(tree.warmup_posterior["mu"], X[:, :7, 1])
    assert tree.warmup_sample_stats["energy"].shape == (2, 7)


def test_cmdstan_tuples_and_complex_numbers_keep_their_names(tmp_path):
    names = ["x:1", "x:2.1", "x:2.2", "z.1.real", "z.1.imag", "z.2.real", "z.2.imag", "t.1:1", "t.2:1"]
    tree = read(files.cmdstan(tmp_path / "a.csv", names, np.tile(np.arange(9.0), (6, 1))))
    shapes = {str(name): v.shape[2:] for name, v in tree.posterior.data_vars.items()}
    assert shapes == {"x:1": (), "x:2": (2,), "z.real": (2,), "z.imag": (2,), "t:1": (2,)}
    np.testing.assert_array_equal(tree.posterior["z.imag"].values[0, 0], [4.0, 6.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("num_samples = 20", "num_samples = 30"), "20 of 30 rows"),
        (lambda t: t.replace("method = sample", "method = optimize"), "method optimize"),
        (lambda t: t.replace("theta.2", "theta.1"), "twice"),
        (lambda t: t.replace("theta.2", "theta.4"), "elements of shape"),
        (lambda t: t.replace("theta.2", "theta.2.1"), "different dimensions"),
        (lambda t: t.replace("theta.2", "theta.0"), "different dimensions"),
        (lambda t: t.replace("-3.0,", "-3.0x,"), "line 23, lp__"),
        (lambda t: t.replace("-3.0,", "-3.0,1.0,"), "line 23: got 11 values; expected 10"),
        (lambda t: t.replace("thin = 1", "thin = 0"), "whole numbers"),
        (lambda t: t.replace("lp__", "lp"), "no header with lp__"),
        (lambda t: t[: t.index("# Adaptation")], "0 of 20 rows"),
    ],
)
def test_cmdstan_says_what_is_wrong_and_where(tmp_path, change, message):
    path = files.cmdstan(tmp_path / "a.csv", ["theta.1", "theta.2", "theta.3"], X[0])
    path.write_text(change(path.read_text()))
    with pytest.raises(ReadError, match=message) as caught:
        read(path, "cmdstan")
    assert "a.csv" in str(caught.value)


def test_cmdstan_chains_must_be_of_one_run(tmp_path):
    one = files.cmdstan(tmp_path / "1.csv", ["mu"], X[0, :, :1])
    with pytest.raises(ReadError, match="other columns"):
        read([one, files.cmdstan(tmp_path / "2.csv", ["nu"], X[0, :, :1])])
    with pytest.raises(ReadError, match="10 draws after 0 of warmup"):
        read([one, files.cmdstan(tmp_path / "3.csv", ["mu"], X[0, :10, :1])])


# --- npz, netCDF, zarr ------------------------------------------------------------------------------------


def test_npz_names_may_begin_with_a_group(tmp_path):
    np.savez(tmp_path / "a.npz", **{"mu": X, "sample_stats/diverging": X[:, :, 0] > 0})
    tree = read(tmp_path / "a.npz")
    assert set(tree.posterior.data_vars) == {"mu"}
    assert tree.sample_stats["diverging"].dtype == bool
    np.savez(tmp_path / "b.npz", **{"mu": X, "a/b": X})
    with pytest.raises(ReadError, match="a name without '/'"):
        read(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.array([{}, 1], object)}, "never opened"),
        ({"mu": np.array(["a", "b"])}, "real numbers or booleans"),
        ({"mu": np.zeros((2, 5), complex)}, "real numbers or booleans"),
        ({"mu": np.zeros(5)}, "chain, draw"),
        ({"mu": np.zeros((0, 5))}, "at least one chain"),
        ({"mu": np.zeros((2, 5)), "nu": np.zeros((2, 6))}, "2 chains of 5 draws, as mu has"),
        ({}, "no parameters"),
    ],
)
def test_npz_refuses_what_are_no_draws(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ReadError, match=message):
        read(tmp_path / "a.npz")


def test_a_flat_netcdf_file_is_a_posterior(tmp_path):
    xarray.Dataset({"mu": (("chain", "draw"), X[:, :, 0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read(tmp_path / "a.nc").posterior["mu"], X[:, :, 0])
    beside = dict.fromkeys(("mu", "lp", "divergent__", "log_lik"), (("chain", "draw"), X[:, :, 0]))
    xarray.Dataset(beside).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    tree = read(tmp_path / "b.nc")
    assert [set(tree[group]) for group in GROUPS] == [{"mu"}, {"lp", "diverging"}, {"log_lik"}]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"prior": xarray.Dataset({"mu": (("chain", "draw"), X[:, :, 0])})}, "a group 'posterior'"),
        ({"posterior": xarray.Dataset({"mu": (("walker", "draw"), X[:, :, 0])})}, "no dimension chain"),
    ],
)
def test_trees_without_draws_are_refused(tmp_path, suffix, groups, message):
    tree, path = xarray.DataTree.from_dict(groups), tmp_path / f"a{suffix}"
    tree.to_netcdf(path, engine="h5netcdf") if suffix == ".nc" else tree.to_zarr(path, consolidated=False)
    with pytest.raises(ReadError, match=message):
        read(path)


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_a_store_of_ours_is_read_by_its_committed_draws(tmp_path):
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    drawn = mcmc.sample(target, chains=4, draws=30, warmup=50, store=tmp_path / "run.zarr", progress=False)
    assert format_of(tmp_path / "run.zarr") == "zarr"
    np.testing.assert_array_equal(read(tmp_path / "run.zarr").posterior["x"], drawn.posterior["x"])


# --- emcee and GetDist ------------------------------------------------------------------------------------


def test_emcee_gives_the_steps_taken_with_walkers_as_chains(tmp_path):
    tree = read(files.emcee(tmp_path / "a.h5", X, room=7), names=["a", "b", "c"])
    np.testing.assert_array_equal(tree.posterior["b"], X[:, :, 1])
    np.testing.assert_allclose(tree.sample_stats["lp"], -(X**2).sum(-1) / 2, rtol=1e-15)
    assert tree.attrs["acceptance_rate"] == 0.5
    assert list(read(tmp_path / "a.h5").posterior.data_vars) == ["param_0", "param_1", "param_2"]


def test_emcee_refuses_empty_and_ambiguous_backends(tmp_path):
    with pytest.raises(ReadError, match="0 steps of 5"):
        read(files.emcee(tmp_path / "a.h5", X[:, :0]))
    with pytest.raises(ReadError, match="3 distinct names"):
        read(files.emcee(tmp_path / "b.h5", X), names=["a", "b"])
    assert len(read(files.emcee(tmp_path / "c.h5", X, name="other")).posterior.data_vars) == 3


def test_getdist_repeats_rows_by_their_weight(tmp_path):
    weights = np.random.default_rng(1).integers(1, 4, size=(3, 20))
    chains = files.drawn(3, 20, 2)
    files.getdist(tmp_path / "root", chains, weights)
    wanted = [np.repeat(x, w, axis=0) for x, w in zip(chains, weights, strict=True)]
    least = min(map(len, wanted))
    with pytest.warns(ReadWarning, match=f"the first {least} of each"):
        tree = read(tmp_path / "root")
    np.testing.assert_array_equal(tree.posterior["sigma"], [x[:least, 1] for x in wanted])
    np.testing.assert_allclose(tree.sample_stats["lp"], [-(x[:least] ** 2).sum(1) / 2 for x in wanted], rtol=1e-15)
    assert f"{least} to" in tree.attrs["note"]


def test_getdist_reads_names_from_a_header_as_cobaya_writes_it(tmp_path):
    body = "\n".join(f"{i % 3 + 1} 2.5 {i} {i * 2}" for i in range(9))
    (tmp_path / "run.1.txt").write_text(f"#  weight  minuslogpost  H0  ns\n{body}\n")
    tree = read(tmp_path / "run")
    assert list(tree.posterior.data_vars) == ["H0", "ns"]
    assert tree.posterior.sizes["draw"] == 18


def test_getdist_without_names_numbers_them_or_takes_those_given(tmp_path):
    files.getdist(tmp_path / "root", files.drawn(1, 9, 2), np.ones((1, 9)), names=())
    with pytest.raises(ReadError, match=r"numbers without names.*paramnames"):
        read(tmp_path / "root_1.txt")
    assert list(read(tmp_path / "root_1.txt", "getdist").posterior.data_vars) == ["param_0", "param_1"]
    assert list(read(tmp_path / "root_1.txt", names=["a", "b"]).posterior.data_vars) == ["a", "b"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, np.inf, 1], "row 2: got .*inf"),
        ([1, -1, 1], "weight -1"),
        ([0, 0, 0], "all 0"),
        ([1, np.nan, 1], "weight nan"),
    ],
)
def test_getdist_refuses_weights_that_are_no_counts(tmp_path, weights, message):
    files.getdist(tmp_path / "root", files.drawn(1, 3, 2), np.array([weights]))
    with pytest.raises(ReadError, match=message):
        read(tmp_path / "root")


def test_getdist_refuses_chains_of_very_different_lengths(tmp_path):
    files.getdist(tmp_path / "root", [files.drawn(1, n, 2)[0] for n in (30, 10)], [np.ones(30), np.ones(10)])
    with pytest.raises(ReadError, match="10 draws; expected chains of like length"):
        read(tmp_path / "root")


# --- tables in long form ----------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=10)
@given(order=st.randoms(use_true_random=False), melted=st.booleans(), parquet=st.booleans())
def test_rows_may_come_in_any_order_and_one_a_value(tmp_path_factory, order, melted, parquet):
    rows = files.table(X)
    if melted:
        rows = rows.melt(id_vars=["chain", "draw"], var_name="parameter", value_name="value")
    index = list(range(len(rows)))
    order.shuffle(index)
    path = tmp_path_factory.mktemp("t") / "draws"
    rows = rows.iloc[index]
    rows.to_parquet(path, index=False) if parquet else rows.to_csv(path, index=False)
    posterior = read(path).posterior
    for k in range(3):
        np.testing.assert_array_equal(posterior[f"theta[{k}]"], X[:, :, k])


def test_a_table_as_posterior_writes_it_is_read_by_chain_and_iteration(tmp_path):
    rows = files.table(X).rename(columns={"chain": ".chain", "draw": ".iteration"})
    rows.insert(2, ".draw", np.arange(len(rows)))
    rows.to_csv(tmp_path / "a.csv")  # with an index, too
    np.testing.assert_array_equal(read(tmp_path / "a.csv").posterior["theta[1]"], X[:, :, 1])


@pytest.mark.parametrize("parquet", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:-1], "39 rows for 2 chains and 20 distinct draws"),
        (lambda t: t.assign(draw=np.arange(len(t))), "every draw once in every chain"),
        (lambda t: t.assign(draw=0), "in 20 rows; expected one row each"),
        (lambda t: t.drop(columns=["chain", "draw"]), "chain"),
        (lambda t: t[["chain", "draw"]], "parameters"),
        (lambda t: t.assign(parameter="a"), "parameter"),
        (lambda t: t.iloc[:0], "Sample first"),
        (lambda t: t.assign(**{"theta[1]": "high"}), r"theta\[1\].*number"),
        (lambda t: t.assign(draw=np.nan), "draw"),
    ],
)
def test_tables_that_are_no_draws_are_refused(tmp_path, parquet, change, message):
    rows, path = change(files.table(X)), tmp_path / "a"
    rows.to_parquet(path, index=False) if parquet else rows.to_csv(path, index=False)
    with pytest.raises(ReadError, match=message):
        read(path, "parquet" if parquet else "csv")


def test_csv_errors_name_the_line(tmp_path):
    (tmp_path / "a.csv").write_text("chain,draw,mu\n0,0,1\n0,1,2,3\n")
    with pytest.raises(ReadError, match=r"line 3: got 4 values; expected 3"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("chain,draw,mu\n0,0,1\n0,1,x\n")
    with pytest.raises(ReadError, match=r"line 3, mu: got 'x'; expected a number"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("chain,draw,mu\n0,0,1\n0,1,1.2")
    with pytest.raises(ReadError, match="may be cut"):
        read(tmp_path / "a.csv")


# --- arguments --------------------------------------------------------------------------------------------


def test_arguments_are_checked(each, tmp_path):
    with pytest.raises(ReadError, match="Check the path"):
        read(tmp_path / "none.nc")
    with pytest.raises(ValueError, match="one of netcdf"):
        read(each["npz"], "hdf5")
    with pytest.raises(ReadError, match="2 files"):
        read([each["npz"], each["npz"]])
    with pytest.raises(ValueError, match="names"):
        read(each["npz"], names=["a"])
    with pytest.raises(TypeError, match="paths"):
        read([])
    with pytest.raises(ReadError, match="a folder"):
        read(tmp_path)
