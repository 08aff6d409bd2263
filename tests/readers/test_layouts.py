"""No layout is guessed: what a file doesn't say is asked for, and what was taken is said in one line."""

import gzip

import files
import numpy as np
import pandas
import pytest

import mcmc
from mcmc.readers import LimitError, Limits, ReadError, read

X = files.drawn(4, 30, 2)
LONG = pandas.DataFrame(
    {"chain": np.repeat([1, 2, 3, 4], 30), "draw": np.tile(np.arange(1, 31), 4)}
    | {"mu": X[:, :, 0].ravel(), "theta[1]": X[:, :, 1].ravel()}
)
WIDE = LONG[["mu", "theta[1]"]]


def same(tree, names=("mu", "theta[1]")):
    assert list(tree.posterior.data_vars) == list(names)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(tree.posterior[name], X[:, :, k])


# --- Stan -------------------------------------------------------------------------------------------------


def test_rstan_warmup_rows_are_no_draws(tmp_path):
    tree = read(files.rstan(tmp_path / "a.csv", X[0], X[1]))
    np.testing.assert_array_equal(tree.posterior["mu"], X[:1, :, 0])
    assert not tree.sample_stats["diverging"].any()
    assert "1 chain x 30 draws, 30 warmup rows of each dropped, 2 parameters" in tree.attrs["understood"]


def test_rstan_files_that_are_cut_are_refused(tmp_path):
    path = files.rstan(tmp_path / "a.csv", X[0], X[1])
    whole = path.read_text().splitlines(keepends=True)
    for end in range(-5, -52, -9):
        path.write_text("".join(whole[:end]))
        with pytest.raises(ReadError, match=r"of 60 rows|no header|no data"):
            read(path, "cmdstan")


def test_where_adaptation_ended_counts_without_a_configuration(tmp_path):
    path = files.rstan(tmp_path / "a.csv", X[0], X[1])
    text = path.read_text()
    path.write_text("\n".join(line for line in text.split("\n") if "# iter" not in line and "warmup" not in line))
    np.testing.assert_array_equal(read(path).posterior["mu"], X[:1, :, 0])
    path.write_text(text.replace("# warmup=30", "# warmup=20"))
    with pytest.raises(ReadError, match="adaptation that ends after 30 rows"):
        read(path)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("laplace", "log_p__,log_q__,mu\n-1,-1,0.1\n"),
        ("generate_quantities", "y.1,y.2\n1,2\n"),
        ("diagnose", "#\n#  Log probability=-1\n#  0 1 2 3\n"),
        ("optimize", "lp__,mu\n-1,2\n"),
        ("variational", "lp__,log_p__,log_g__,mu\n0,0,0,1\n"),
        ("pathfinder", "lp_approx__,lp__,mu\n1,2,3\n"),
    ],
)
def test_other_methods_of_stan_are_named(tmp_path, method, body):
    (tmp_path / "a.csv").write_text(f"# stan_version_major = 2\n# method = {method}\n{body}")
    with pytest.raises(ReadError, match=f"method {method}"):
        read(tmp_path / "a.csv")
    if "__" in body:  # the columns tell it too
        (tmp_path / "a.csv").write_text(f"# stan_version_major=2\n{body}")
        if method != "optimize":
            with pytest.raises(ReadError, match="output of method"):
                read(tmp_path / "a.csv")
            (tmp_path / "a.csv").write_text(body)  # as tables of posterior and CmdStanPy have them
            with pytest.raises(ReadError, match="output of method"):
                read(tmp_path / "a.csv", chains=1)


def test_log_lik_of_stan_goes_to_its_group(tmp_path):
    tree = read(files.cmdstan(tmp_path / "a.csv", ["mu", "log_lik.1", "log_lik.2"], files.drawn()[0]))
    assert (list(tree.posterior), list(tree.log_likelihood)) == (["mu"], ["log_lik"])


# --- tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quoting", [0, 2])
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("names", [(".chain", ".iteration", ".draw"), ("chain__", "iter__", "draw__")])
def test_tables_of_posterior_and_cmdstanpy_have_their_chains(tmp_path, names, index, quoting):
    rows = LONG.rename(columns={"chain": names[0], "draw": names[1]})
    rows.insert(1, names[2], np.arange(1, 121))
    rows.insert(0, "lp__", -1.0)
    rows.to_csv(tmp_path / "a.csv", index=index, quoting=quoting)
    tree = read(tmp_path / "a.csv")
    same(tree)
    assert list(tree.sample_stats) == ["lp"]


def test_mcmcchains_statistics_go_to_their_group(tmp_path):
    beside = {"lp": -1.0, "n_steps": 7.0, "hamiltonian_energy": 2.0, "numerical_error": 0.0}
    rows = LONG.rename(columns={"draw": "iteration"}).assign(**beside)
    rows.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False)
    tree = read(tmp_path / "a.csv")
    same(tree)
    assert set(tree.sample_stats) == {"lp", "n_steps", "energy", "diverging"}
    assert tree.sample_stats["diverging"].dtype == bool
    rows[:-1].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ReadError, match="every draw once in every chain"):
        read(tmp_path / "a.csv")


def test_ggmcmc_and_tidybayes_have_a_row_a_value(tmp_path):
    rows = LONG.melt(id_vars=["chain", "draw"])
    named = {"chain": "Chain", "draw": "Iteration", "variable": "Parameter"}
    rows.rename(columns=named).to_csv(tmp_path / "a.csv")
    same(read(tmp_path / "a.csv"))
    rows.rename(columns={name: f".{name}" for name in rows}).assign(**{".iteration": rows["draw"]}).to_csv(
        tmp_path / "b.csv", index=False
    )
    same(read(tmp_path / "b.csv"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_wide_table_is_asked_for_its_chains(tmp_path, separator):
    path = tmp_path / "a.csv"
    WIDE.assign(lp__=-1.0).to_csv(path, index=False, sep=separator)
    with pytest.raises(ReadError, match=r"not how many chains.*--chains"):
        read(path)
    same(read(path, chains=4))
    with pytest.raises(ReadError, match="as many for each of 7 chains"):
        read(path, chains=7)
    path.write_text(path.read_text()[:-4])
    with pytest.raises(ReadError, match="may be cut"):
        read(path, chains=4)


def test_a_wide_table_with_a_column_that_tells_its_chains(tmp_path):
    path = tmp_path / "a.csv"
    LONG.drop(columns="draw").to_csv(path, index=False)
    same(read(path))
    rows = LONG.drop(columns="chain").rename(columns={"draw": "iter"})
    rows.to_csv(path, index=False)
    same(read(path))
    assert "ignored: iter" in read(path).attrs["understood"]
    with pytest.raises(ReadError, match="begin anew 4 times"):
        read(path, chains=2)
    rows.drop(index=40).to_csv(path, index=False)
    with pytest.raises(ReadError, match="the same iterations in every chain"):
        read(path)


def test_wide_tables_may_be_a_file_a_chain(tmp_path):
    paths = [tmp_path / f"{c}.csv" for c in range(4)]
    for c, path in enumerate(paths):
        WIDE[c * 30 : c * 30 + 30].to_csv(path, index=False)
    same(read(paths))
    WIDE[:20].to_csv(paths[2], index=False)
    with pytest.raises(ReadError, match="20 rows; expected 30"):
        read(paths)
    WIDE[:30].rename(columns={"mu": "nu"}).to_csv(paths[2], index=False)
    with pytest.raises(ReadError, match="expected those of"):
        read(paths)


@pytest.mark.parametrize("separator", [" ", ",", "\t"])
def test_numbers_that_nobody_named_are_refused_and_a_comment_may_name_them(tmp_path, separator):
    rows = np.column_stack([np.arange(30), X[0]])
    np.savetxt(tmp_path / "a.txt", rows, delimiter=separator)
    with pytest.raises(ReadError, match=r"header|no data"):
        read(tmp_path / "a.txt")
    np.savetxt(tmp_path / "a.txt", rows, delimiter=separator, header="made by a script\niteration x y")
    tree = read(tmp_path / "a.txt")
    np.testing.assert_array_equal(tree.posterior["x"], X[:1, :, 0])
    assert list(tree.posterior) == ["x", "y"]


def test_cobaya_densities_are_no_parameters(tmp_path):
    header = "#  weight  minuslogpost  H0  minuslogprior  minuslogprior__0  chi2  chi2__CMB\n"
    (tmp_path / "a.1.txt").write_text(header + "2 3 70 1 1 3 3\n" * 20)
    tree = read(tmp_path / "a")
    assert list(tree.posterior) == ["H0"]
    assert "minuslogprior" in tree.attrs["understood"]


def test_gzip_is_unpacked_within_the_limits(tmp_path):
    path = tmp_path / "a.csv.gz"
    LONG.to_csv(path, index=False)
    same(read(path))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ReadError, match="gzip file"):
        read(path)
    path.write_bytes(gzip.compress(b"chain,draw,mu\n" + b"0" * 10_000_000 + b"\n"))
    with pytest.raises(LimitError, match="elements"):
        read(path, limits=Limits(elements=10_000))


# --- arrays -----------------------------------------------------------------------------------------------


def test_arrays_of_draws_by_chains_are_asked_about(tmp_path):
    np.savez(tmp_path / "a.npz", mu=X[:, :, 0].T, tau=X.swapaxes(0, 1))
    with pytest.raises(ReadError, match=r"30 chains of 4 draws, or \(draw, chain\).*how many chains"):
        read(tmp_path / "a.npz")
    for chains in (4, 30):
        tree = read(tmp_path / "a.npz", chains=chains)
        assert dict(tree.posterior["mu"].sizes) == {"chain": chains, "draw": 120 // chains}
    np.testing.assert_array_equal(read(tmp_path / "a.npz", chains=4).posterior["tau"], X)
    with pytest.raises(ReadError, match="3 chains as its first axis"):
        read(tmp_path / "a.npz", chains=3)


def test_statistics_beside_parameters_go_to_their_groups(tmp_path):
    flat = X[:, :, 0]
    np.savez(tmp_path / "a.npz", mu=X, lp__=flat, diverging=flat > 1, energy=flat, log_likelihood=X)
    tree = read(tmp_path / "a.npz")
    assert list(tree.posterior) == ["mu"]
    assert set(tree.sample_stats) == {"lp", "diverging", "energy"}
    assert list(tree.log_likelihood) == ["log_likelihood"]
    np.savez(tmp_path / "b.npz", energy=flat)  # alone it is a parameter
    assert list(read(tmp_path / "b.npz").posterior) == ["energy"]


def test_one_numpy_array(tmp_path):
    np.save(tmp_path / "a.npy", X)
    same(read(tmp_path / "a.npy", names=["mu", "theta[1]"]))
    np.save(tmp_path / "b.npy", X.swapaxes(0, 1))  # emcee's get_chain()
    with pytest.raises(ReadError, match="how many chains"):
        read(tmp_path / "b.npy")
    same(read(tmp_path / "b.npy", names=["mu", "theta[1]"], chains=4))
    np.save(tmp_path / "c.npy", X[0])
    with pytest.raises(ReadError, match="a row a draw"):
        read(tmp_path / "c.npy")
    assert read(tmp_path / "c.npy", chains=1).posterior["x"].shape == (1, 30, 2)
    with pytest.raises(ReadError, match="a name each"):
        read(tmp_path / "a.npy", names=["mu"])
    np.save(tmp_path / "d.npy", np.array([{}], object))
    with pytest.raises(ReadError, match="never opened"):
        read(tmp_path / "d.npy")


# --- CODA and Tracer --------------------------------------------------------------------------------------


def test_coda_finds_its_chains_and_its_index(tmp_path):
    index = files.coda(tmp_path, X)
    chains = [tmp_path / f"CODAchain{c}.txt" for c in (1, 2, 3, 4)]
    for paths in (index, chains, [index, *chains]):
        same(read(paths), ["theta[1]", "theta[2]"])
    whole = chains[3].read_text().splitlines(keepends=True)
    for wrong, message in (
        (whole[:-1], "59 rows; expected 60"),
        (whole[30:] + whole[:29], "59 rows"),
        ([whole[1], whole[0], *whole[2:]], "iterations that differ"),
        (["".join(whole)[:-3]], "may be cut"),
    ):
        chains[3].write_text("".join(wrong))
        with pytest.raises(ReadError, match=message):
            read(index)
    index.write_text("a 1 30\nb 32 60\n")
    with pytest.raises(ReadError, match="rows from 31"):
        read(index)
    index.unlink()
    with pytest.raises(ReadError, match=r"CODAindex|numbers without names|no data|one of"):
        read(chains[0])


@pytest.mark.parametrize("kind", ["beast", "beast2", "mrbayes", "revbayes"])
def test_logs_as_tracer_reads_them(tmp_path, kind):
    paths = [files.tracer(tmp_path / f"{c}.log", X[c], kind) for c in range(4)]
    tree = read(paths)
    same(tree, ["tree.p0", "tree.p1"])
    assert {"log_lik_total", "log_prior"} <= set(tree.sample_stats)
    text = paths[0].read_text()
    lines = text.splitlines(keepends=True)
    for wrong, message in (
        (lines[:12] + lines[15:], "equal steps"),
        (lines + lines[-20:], "equal steps"),
        ([*lines[:-2], lines[-1], lines[-2]], "equal steps"),
        ([text[:-8]], "may be cut"),
        ([*lines[:10], lines[10][:9] + "\n"], "values; expected"),
    ):
        paths[0].write_text("".join(wrong))
        with pytest.raises(ReadError, match=message):
            read(paths[0])


# --- parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["npz", "nc"])
def test_parts_of_a_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    tree = files.tree(X)
    tree.to_netcdf(path, engine="h5netcdf") if suffix == "nc" else np.savez(path, theta=X, **{"sample_stats/e": X})
    for burn in (9, 0.3):
        tree = mcmc.read(path, burn=burn, thin=2)
        np.testing.assert_array_equal(tree.posterior["theta"], X[:, 9::2])
        assert tree.sample_stats.sizes["draw"] == 11
        assert "9 draws of each chain dropped as burn-in, one in 2 kept: 11 draws left" in tree.attrs["understood"]
    for options, message in (
        ({"burn": 30}, "fewer than the 30 draws"),
        ({"burn": 1.5}, "whole number"),
        ({"burn": -1}, "burn"),
        ({"thin": 0}, "positive integer"),
        ({"chains": 0}, "positive integer"),
        ({"chains": 7}, "7"),
        ({"vars": ["thta"]}, "Did you mean theta"),
        ({"exclude": ["theta"]}, "no parameter left"),
    ):
        with pytest.raises(ValueError, match=message):
            mcmc.read(path, **options)


def test_variables_are_kept_by_name_or_by_element(tmp_path):
    LONG.to_csv(tmp_path / "a.csv", index=False)
    for name in ("theta", "theta[1]"):
        assert list(read(tmp_path / "a.csv", vars=[name]).posterior) == ["theta[1]"]
        assert list(read(tmp_path / "a.csv", exclude=[name]).posterior) == ["mu"]
