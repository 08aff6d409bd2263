"""Weighted rows of nested sampling and of chains, whatever program wrote them."""

import files
import numpy as np
import pandas
import pytest

from mcmc.readers import ReadError, read

pytestmark = pytest.mark.filterwarnings("ignore::mcmc.readers.ReadWarning")
X = files.drawn(4, 30, 2)


def dead_points(n=3000, seed=0):
    """Points of ever higher likelihood `(level, log weight, x)`, worth a standard normal's draws."""
    x = 3 * np.random.default_rng(seed).normal(size=(n, 2))
    level = -np.square(x).sum(1) / 2
    order = np.argsort(level)
    return level[order], (level - level / 9)[order], x[order]


def is_normal(values):
    values = np.ravel(values)
    assert abs(values.mean()) < 4 / len(values) ** 0.5
    assert abs(values.var() - 1) < 4 * (2 / len(values)) ** 0.5
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / len(values) ** 0.5


@pytest.mark.parametrize("weight", ["logwt", "log_weight", "weight", "Weights"])
def test_tables_of_dead_points_are_resampled_and_nothing_beside_them_is_a_parameter(tmp_path, weight):
    level, logwt, x = dead_points()
    w = logwt - 1000 if weight.startswith("log") else np.exp(logwt)
    table = pandas.DataFrame({weight: w, "logL": level, "logL_birth": level - 1, "nlive": 100, "a": x[:, 0]})
    table.to_csv(tmp_path / "a.csv")
    table.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        tree = read(tmp_path / name)
        assert (list(tree.posterior), list(tree.sample_stats)) == (["a"], ["log_lik_total"])
        assert "shuffled: nested sampling has no chain" in tree.attrs["understood"]
        is_normal(tree.posterior["a"])


def test_arrays_of_dynesty_are_resampled(tmp_path):
    level, logwt, x = dead_points()
    np.savez(tmp_path / "a.npz", samples=x, logwt=logwt, logl=level, logz=level, samples_it=np.arange(len(x)))
    tree = read(tmp_path / "a.npz")
    assert list(tree.posterior) == ["samples"]
    assert "ignored: logz, samples_it" in tree.attrs["understood"]
    is_normal(tree.posterior["samples"][0, :, 1])
    with pytest.raises(ReadError, match="weights, and 4 chains"):
        read(tmp_path / "a.npz", chains=4)
    np.savez(tmp_path / "b.npz", samples=x, logwt=np.full(len(x), np.nan))
    with pytest.raises(ReadError, match="log weights that are NaN"):
        read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", samples=x, logwt=logwt[:-1])
    with pytest.raises(ReadError, match="a row for each of logwt"):
        read(tmp_path / "c.npz")


def test_what_may_be_a_parameter_stays_one_or_is_asked_about(tmp_path):
    _, logwt, x = dead_points()
    columns = {"weights": np.exp(logwt), "scale": x[:, 0], "logZ": x[:, 1], "logL": x[:, 0] - x[:, 1], "z": x[:, 1]}
    pandas.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    assert list(read(tmp_path / "a.csv").posterior) == ["scale", "logZ", "logL", "z"]  # a luminosity, a metallicity
    columns = {"a": x[:, 0], "b": x[:, 1], "weight": np.exp(logwt)}
    pandas.DataFrame(columns).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ReadError, match="Name it weights where"):
        read(tmp_path / "b.csv", chains=1)
    pandas.DataFrame(columns).rename(columns={"weight": "weights"}).to_csv(tmp_path / "b.csv", index=False)
    assert list(read(tmp_path / "b.csv").posterior) == ["a", "b"]


@pytest.mark.parametrize("labels", [True, False])
def test_tables_of_anesthetic_have_their_names(tmp_path, labels):
    level, logwt, x = dead_points(500)
    head = [",weights,a,1,logL,nlive"] if not labels else [",,a,b,logL,nlive", "labels,,$a$,$b$,$L$,n", ",weights,,,,"]
    head[0] = head[0].replace("a,1", "0,1")
    rows = [f"{i},{np.exp(w)},{p[0]},{p[1]},{v},9" for i, (w, p, v) in enumerate(zip(logwt, x, level, strict=True))]
    (tmp_path / "a.csv").write_text("\n".join([*head, *rows, ""]))
    assert list(read(tmp_path / "a.csv").posterior) == (["a", "b"] if labels else ["0", "1"])


def test_a_header_says_whether_the_second_column_is_plus_or_minus_the_log_density(tmp_path):
    level, logwt, x = dead_points()
    for second, sign in (("logl", 1), ("minuslogpost", -1)):
        table = np.column_stack([np.exp(logwt), sign * level, x])
        np.savetxt(tmp_path / "a.txt", table, header=f"weight {second} a b")
        tree = read(tmp_path / "a.txt")
        (stat,) = tree.sample_stats.data_vars.values()
        drawn = tree.posterior.to_dataset()
        np.testing.assert_allclose(stat, -(drawn["a"] ** 2 + drawn["b"] ** 2) / 2, rtol=1e-6)
        assert "shuffled" in tree.attrs["understood"]


def test_draws_of_one_weight_in_the_order_of_their_likelihood_are_shuffled(tmp_path):
    x = files.drawn(1, 400, 2)[0]
    x = x[np.argsort(-np.square(x).sum(1))]
    (tmp_path / "p.paramnames").write_text("a\nb\n")
    np.savetxt(tmp_path / "p.txt", np.column_stack([np.ones(400), np.square(x).sum(1), x]))
    tree = read(tmp_path / "p.txt")
    assert "rows of one weight, shuffled" in tree.attrs["understood"]
    is_normal(tree.posterior["a"])


def test_a_weighted_chain_that_climbs_is_not_shuffled(tmp_path):
    rng = np.random.default_rng(0)
    x = np.linspace(0, 30, 400) + rng.normal(size=400)  # rank correlation of density and row: 0.99
    np.savetxt(tmp_path / "a.txt", np.column_stack([rng.uniform(0.5, 1.5, 400), 30 - x, x]))
    (tmp_path / "a.paramnames").write_text("mu\n")
    assert "in their order" in read(tmp_path / "a.txt").attrs["understood"]


def test_whole_weights_count_within_their_chain(tmp_path):
    paths = [tmp_path / f"{c}.csv" for c in range(2)]
    for path, weight in zip(paths, ([3, 0, 2], [1, 1, 4]), strict=True):
        pandas.DataFrame({"weight": weight, "mu": [1.0, 2.0, 3.0]}).to_csv(path, index=False)
    tree = read(paths)
    assert list(tree.posterior) == ["mu"]
    np.testing.assert_array_equal(tree.posterior["mu"], [[1, 1, 1, 3, 3], [1, 2, 3, 3, 3]])
    assert "the first 5 of each are kept" in tree.attrs["understood"]
    with pytest.raises(ReadError, match="not how many chains"):
        read(paths[0])
    with pytest.raises(ReadError, match="weights, and 3 chains below each other"):
        read(paths[0], chains=3)


def test_weights_of_draws_that_have_chains_are_refused(tmp_path):
    rows = {".chain": np.repeat([1, 2], 30), ".iteration": np.tile(np.arange(30), 2), ".draw": np.arange(60)}
    table = pandas.DataFrame(rows | {"mu": X[:2, :, 0].ravel(), ".log_weight": X[:2, :, 1].ravel()})
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ReadError, match="weights beside chain and draw"):
        read(tmp_path / "a.csv")
    table.assign(**{".log_weight": 0.0}).to_csv(tmp_path / "a.csv", index=False)
    assert list(read(tmp_path / "a.csv").posterior) == ["mu"]
