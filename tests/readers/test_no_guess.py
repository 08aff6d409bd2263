"""Files that other readers would take for something else: read right, asked about or refused."""

import gzip

import files
import numpy as np
import pandas
import pytest

from mcmc.readers import ReadError, read

X = files.drawn(4, 40, 2)


def same(tree, names=("mu", "tau")):
    assert list(tree.posterior.data_vars) == list(names)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(tree.posterior[name], X[:, :, k])


# --- arrays -----------------------------------------------------------------------------------------------


def test_rows_of_draws_without_chains_are_asked_about_and_parted(tmp_path):
    theta = files.drawn(4, 40, 4)
    np.savez(tmp_path / "a.npz", mu=X[:, :, 0].ravel(), theta=theta.reshape(160, 4))  # NumPyro's get_samples()
    with pytest.raises(ReadError, match=r"a row a draw; .*how many chains"):
        read(tmp_path / "a.npz")
    tree = read(tmp_path / "a.npz", chains=4)
    np.testing.assert_array_equal(tree.posterior["mu"], X[:, :, 0])
    np.testing.assert_array_equal(tree.posterior["theta"], theta)  # its 4 columns are no chains
    with pytest.raises(ReadError, match="a multiple of 7"):
        read(tmp_path / "a.npz", chains=7)
    np.savez(tmp_path / "b.npz", mu=X[:, :, 0].ravel(), theta=theta)
    with pytest.raises(ReadError, match="160 rows, as mu has"):
        read(tmp_path / "b.npz", chains=4)
    np.savez(tmp_path / "c.npz", x=X[0])
    assert read(tmp_path / "c.npz", chains=1).posterior["x"].shape == (1, 40, 2)


def test_as_many_chains_as_draws_are_asked_about(tmp_path):
    np.savez(tmp_path / "a.npz", mu=files.drawn(1, 20, 20)[0])
    with pytest.raises(ReadError, match=r"20 chains of 20 draws, or \(draw, chain\).*chains=20"):
        read(tmp_path / "a.npz")
    assert read(tmp_path / "a.npz", chains=20).posterior.sizes["chain"] == 20


@pytest.mark.parametrize("kind", ["autocorrelated", "stuck", "independent", "antithetic", "burn-in", "start"])
def test_fewer_draws_than_chains_are_seen_by_their_values(tmp_path, kind):
    e = files.drawn(60, 40, 3)
    x = {
        "autocorrelated": np.cumsum(e, 1) / np.sqrt(np.arange(1, 41))[:, None],
        "stuck": e * 0.1 + 5 * files.drawn(60, 1, 3, seed=1),
        "independent": e,
        "antithetic": e - np.roll(e, 1, 1),
        "burn-in": e + 30 * np.exp(-np.arange(40) / 3)[:, None],
        "start": e + 100 * (np.arange(40) == 0)[:, None],
    }[kind]
    np.savez(tmp_path / "a.npz", mu=x[:20])
    np.testing.assert_array_equal(read(tmp_path / "a.npz").posterior["mu"], x[:20])
    np.savez(tmp_path / "b.npz", mu=x.swapaxes(0, 1))  # 40 draws of 60 chains
    if kind in ("independent", "antithetic", "start"):  # the verdict is the same whichever axis is which
        assert read(tmp_path / "b.npz").posterior.sizes["chain"] == 40
    else:
        with pytest.raises(ReadError, match="neighbours along its first axis are alike"):
            read(tmp_path / "b.npz")
    np.testing.assert_array_equal(read(tmp_path / "b.npz", chains=60).posterior["mu"], x)


def test_statistics_of_numpyro_blackjax_and_turing_are_no_parameters(tmp_path):
    flat = X[:, :, 0]
    beside = {"potential_energy": flat, "num_steps": flat, "accept_prob": flat, "is_divergent": flat > 9}
    beside |= {"logprior": flat, "loglikelihood": flat, "log_prob": flat, "sigma_log__": flat}
    np.savez(tmp_path / "a.npz", mu=flat, **beside)
    tree = read(tmp_path / "a.npz")
    assert list(tree.posterior) == ["mu"]
    named = {"potential_energy", "n_steps", "acceptance_rate", "diverging", "log_prior", "log_lik_total", "lp"}
    assert set(tree.sample_stats) == named | {"sigma_log__"}


# --- tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}.{}", "chain:{}.{}"])
def test_arrays_that_r_writes_have_a_column_a_chain(tmp_path, form):
    columns = {form.format(c + 1, name): X[c, :, k] for k, name in enumerate(("mu", "tau")) for c in range(4)}
    pandas.DataFrame(columns, index=np.arange(1, 41)).to_csv(tmp_path / "a.csv", quoting=2)
    same(read(tmp_path / "a.csv"))
    with pytest.raises(ReadError, match="columns of 4 chains"):
        read(tmp_path / "a.csv", chains=2)


def test_indices_of_tidybayes_are_parts_of_names(tmp_path):
    mu, theta = X[:, :, 0], files.drawn(4, 40, 3)
    at = {".chain": np.repeat([1, 2, 3, 4], 40), ".iteration": np.tile(np.arange(1, 41), 4), ".draw": np.arange(160)}
    parts = [pandas.DataFrame({"i": level, "theta": theta[:, :, i].ravel()} | at) for i, level in enumerate("abc")]
    spread = pandas.concat([part.assign(mu=mu.ravel()) for part in parts])
    values = [part.rename(columns={"theta": ".value"}).assign(**{".variable": "theta"}) for part in parts]
    gathered = pandas.concat([*values, pandas.DataFrame(at | {".value": mu.ravel(), ".variable": "mu"})])
    for table, missing in ((spread, ""), (gathered, "NA")):
        table.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False, na_rep=missing)
        tree = read(tmp_path / "a.csv")
        assert sorted(tree.posterior) == ["mu", "theta[a]", "theta[b]", "theta[c]"]
        np.testing.assert_array_equal(tree.posterior["mu"], mu)
        np.testing.assert_array_equal(tree.posterior["theta[b]"], theta[:, :, 1])
    spread.iloc[1:].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ReadError, match=r"in 3 rows|numbers below the header"):
        read(tmp_path / "a.csv")


def test_a_table_that_is_there_twice_is_refused(tmp_path):
    table = pandas.DataFrame({"chain": np.repeat([1, 2, 3, 4], 40), "draw": np.tile(np.arange(40), 4)})
    table = table.assign(mu=X[:, :, 0].ravel())
    pandas.concat([table, table]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ReadError, match="in 2 rows; expected one row each"):
        read(tmp_path / "a.csv")


def test_several_tables_hold_a_chain_each(tmp_path):
    for c in range(2):
        table = {"iter": np.tile(np.arange(20), 2), "mu": X[c, :, 0]}
        pandas.DataFrame(table).to_csv(tmp_path / f"{c}.csv", index=False)
    with pytest.raises(ReadError, match="begin anew 2 times; expected one chain in each"):
        read([tmp_path / "0.csv", tmp_path / "1.csv"])


@pytest.mark.parametrize("cell", ["1_000", "\uff11\uff12", "\u0663", "0,5"])
@pytest.mark.parametrize("shape", ["long", "wide"])
def test_what_only_python_takes_for_a_number_is_none(tmp_path, shape, cell):
    head, lead = ("chain,draw,mu", "1,{},") if shape == "long" else ("mu,tau", "{},")
    rows = [lead.format(i) + (f'"{cell}"' if i == 2 else "0.5") for i in range(4)]
    (tmp_path / "a.csv").write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    remedy = "decimal point" if cell == "0,5" else "Mend or remove"
    with pytest.raises(ReadError, match=f"line 4, .*expected a number. .*{remedy}"):
        read(tmp_path / "a.csv", chains=1)


def test_a_wide_parquet_table_is_asked_for_its_chains(tmp_path):
    table = pandas.DataFrame({"mu": X[:, :, 0].ravel(), "tau": X[:, :, 1].ravel()})
    table.to_parquet(tmp_path / "a.parquet", index=False)
    with pytest.raises(ReadError, match="not how many chains"):
        read(tmp_path / "a.parquet")
    same(read(tmp_path / "a.parquet", chains=4))


def test_columns_that_pandas_numbers_keep_their_numbers(tmp_path):
    pandas.DataFrame(X[0]).to_csv(tmp_path / "a.csv")
    assert list(read(tmp_path / "a.csv", chains=1).posterior) == ["0", "1"]
    (tmp_path / "b.csv").write_text("abc,1,2\n0.5,3,4\n")
    with pytest.raises(ReadError, match="one of netcdf"):
        read(tmp_path / "b.csv")


def test_numbers_without_a_header_may_be_named(tmp_path):
    path = tmp_path / "a.txt"
    np.savetxt(path, X.reshape(-1, 2))
    same(read(path, names=["mu", "tau"], chains=4))
    with pytest.raises(ReadError, match="not how many chains"):
        read(path, names=["mu", "tau"])
    with pytest.raises(ValueError, match="3 names; expected 2 of them"):
        read(path, names=["a", "b", "c"], chains=4)
    np.savetxt(path, X.reshape(-1, 2), header="mu tau")
    with pytest.raises(ReadError, match="and a header"):
        read(path, "wide", names=["a", "b"], chains=4)
    for step in (1, 10):
        np.savetxt(path, np.column_stack([step * np.arange(40), X[0]]))
        with pytest.raises(ReadError, match=r"weights 0, .*counts rows"):
            read(path, names=["y"])  # a column too few: the iteration is no weight
        (tmp_path / "a.paramnames").write_text("y\n")
        with pytest.raises(ReadError, match="counts rows"):
            read(path)
        (tmp_path / "a.paramnames").unlink()


def test_rows_that_were_appended_twice_are_refused(tmp_path):
    moves = np.cumsum(files.drawn(1, 60, 2)[0], axis=0)
    rows = np.repeat(moves, np.random.default_rng(0).integers(1, 4, 60), axis=0)  # as Metropolis chains stay
    for number, part in enumerate((rows, np.concatenate([rows, rows[40:]]), np.concatenate([rows, rows[::-1]]))):
        pandas.DataFrame(part, columns=["mu", "tau"]).to_csv(tmp_path / "a.csv", index=False)
        np.savetxt(tmp_path / "r_1.txt", np.column_stack([np.ones((len(part), 2)), part]))
        (tmp_path / "r.paramnames").write_text("mu\ntau\n")
        (tmp_path / "pt").mkdir(exist_ok=True)
        (tmp_path / "pt" / "pars.txt").write_text("mu\ntau\n")
        np.savetxt(tmp_path / "pt" / "chain_1.txt", np.column_stack([part, np.ones((len(part), 4))]))
        for path, options in (("a.csv", {"chains": 1}), ("r_1.txt", {}), ("pt/chain_1.txt", {})):
            if number == 1:
                with pytest.raises(ReadError, match=f"rows from {len(rows) + 1} on that are those from"):
                    read(tmp_path / path, **options)
            else:
                assert read(tmp_path / path, **options).posterior.sizes["draw"] == len(part)
    whole = np.random.default_rng(0).integers(0, 2, (200, 1))
    pandas.DataFrame(whole, columns=["z"]).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path / "a.csv", chains=1).posterior.sizes["draw"] == 200


def test_row_numbers_say_whether_rows_are_in_their_order(tmp_path):
    table = pandas.DataFrame({"mu": X[:, :, 0].ravel(), "tau": X[:, :, 1].ravel()})
    table.to_csv(tmp_path / "a.csv")
    same(read(tmp_path / "a.csv", chains=4))
    table.set_index(np.tile(np.arange(40), 4)).to_csv(tmp_path / "a.csv")  # chains that pandas joined
    same(read(tmp_path / "a.csv"))
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv")
    with pytest.raises(ReadError, match="row numbers that begin anew"):
        read(tmp_path / "a.csv", chains=4)


# --- chains of several runs -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paramnames", "header", "ptmcmc"])
def test_chains_whose_names_differ_are_of_several_runs(tmp_path, kind):
    paths = []
    for c, names in enumerate(("a b", "b a")):
        if kind == "ptmcmc":
            (tmp_path / f"run{c}").mkdir()
            paths.append(tmp_path / f"run{c}" / "chain_1.txt")
            (tmp_path / f"run{c}" / "pars.txt").write_text("\n".join(names.split()) + "\n")
            np.savetxt(paths[-1], np.column_stack([X[c], np.ones((40, 4))]))
            continue
        paths.append(tmp_path / f"run{c}_1.txt")
        header = f"weight minuslogpost {names}" if kind == "header" else ""
        np.savetxt(paths[-1], np.column_stack([np.ones((40, 2)), X[c]]), header=header)
        if kind == "paramnames":
            (tmp_path / f"run{c}.paramnames").write_text("\n".join(names.split()) + "\n")
    with pytest.raises(ReadError, match=r"parameters \['b', 'a'\]; expected \['a', 'b'\], as"):
        read(paths)


def test_packed_chains_find_their_names(tmp_path):
    root = files.getdist(tmp_path / "root", X[:1], np.ones((1, 40)))
    text = (tmp_path / "root_1.txt").read_bytes()
    (tmp_path / "root_1.txt").unlink()
    (tmp_path / "root_1.txt.gz").write_bytes(gzip.compress(text))
    for path in (root, tmp_path / "root_1.txt.gz"):
        assert list(read(path).posterior) == ["mu", "sigma"]
