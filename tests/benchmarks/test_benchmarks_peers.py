"""The comparison with the peers: same densities for all, true moments, and an accounting that can be trusted."""

import json
import subprocess
import sys
from argparse import Namespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_benchmarks import BENCHMARKS, script

sys.path += [str(BENCHMARKS / "peers"), str(BENCHMARKS)]

import accounting
import child
import peer_tables
import peers
import problems
import reference


def around(name, n, seed=0):
    """Positions (n, dim) where the problem's probability is."""
    mean, sd = problems.moments(name)
    return mean + 0.5 * sd * np.random.default_rng(seed).standard_normal((n, len(mean)))


# --- the problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", problems.NAMES)
def test_density_is_the_same_in_numpy_and_jax_alone_and_in_batches(name):
    data, at = problems.data(name), around(name, 5)
    batch = problems.log_density(name, np)(at, data)
    assert batch.shape == (5,)
    assert np.isfinite(batch).all()
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, data)
        f = jax.jit(problems.log_density(name, jnp))
        one = [f(q, arrays) for q in at]
    np.testing.assert_allclose(np.array(one), batch, rtol=1e-10)


def closed_gradient(name, q, data):
    """∇ log density by hand."""
    if name == "normal":
        return -data["precision"] @ q
    if name == "rosenbrock":
        a, b = q[0::2], q[1::2]
        slack = (b - a**2) / problems.ROSENBROCK_SCALE**2
        return np.stack([1 - a + 2 * a * slack, -slack], 1).ravel()
    if name == "funnel":
        v, z = q[0], q[1:]
        first = -v / problems.FUNNEL_SCALE**2 - len(z) / 2 + 0.5 * np.sum(z**2) * np.exp(-v)
        return np.r_[first, -z * np.exp(-v)]
    if name == "logistic":
        return data["x"].T @ (data["y"] - 1 / (1 + np.exp(-data["x"] @ q))) - q
    if name == "schools":
        mu, tau, z = q[0], np.exp(q[1]), q[2:]
        pull = (data["y"] - mu - tau * z) / data["sigma"] ** 2
        second = 1 - 2 * (tau / 5) ** 2 / (1 + (tau / 5) ** 2) + tau * np.sum(pull * z)
        return np.r_[-mu / 25 + pull.sum(), second, -z + tau * pull]
    model = q[0] * data["x"] + q[1]
    spread = model**2 * np.exp(2 * q[2])
    variance = data["error"] ** 2 + spread
    by_variance = 0.5 * ((data["y"] - model) ** 2 / variance**2 - 1 / variance)
    by_model = (data["y"] - model) / variance + by_variance * 2 * model * np.exp(2 * q[2])
    return np.array([np.sum(by_model * data["x"]), np.sum(by_model), np.sum(by_variance * 2 * spread)])


@pytest.mark.parametrize("name", problems.NAMES)
def test_gradients_are_those_by_hand(name):
    data, gradient = problems.data(name), jax.jit(jax.grad(problems.log_density(name, jnp)))
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, data)
        for q in around(name, 3, seed=1):
            found = gradient(q, arrays)
            np.testing.assert_allclose(np.asarray(found), closed_gradient(name, q, data), rtol=1e-8, atol=1e-8)


def test_line_has_no_mass_outside_its_prior():
    f, data = problems.log_density("line", np), problems.data("line")
    inside = np.array(problems.LINE_NEAR)
    assert np.isfinite(f(inside, data))
    for i in range(3):
        for edge in (problems.LINE_LOW[i] - 0.01, problems.LINE_HIGH[i] + 0.01):
            outside = inside.copy()
            outside[i] = edge
            assert f(outside, data) == -np.inf


def test_pymc_has_the_same_densities():
    pytensor = pytest.importorskip("pytensor")
    import nutpie_nuts

    for name in problems.NAMES:
        x = pytensor.tensor.vector("x", dtype="float64")
        f = pytensor.function([x], nutpie_nuts.log_density(name, x), mode="FAST_COMPILE")
        at = around(name, 3)
        expected = problems.log_density(name, np)(at, problems.data(name))
        np.testing.assert_allclose([f(q) for q in at], expected, rtol=1e-10)


def exact_draws(name, n, seed):
    """Independent draws where the problem allows them, and their log density up to a constant."""
    rng = np.random.default_rng(seed)
    if name == "normal":
        rotation, variances = problems._normal_axes()
        z = rng.standard_normal((n, 100))
        return (np.sqrt(variances) * z) @ rotation.T, -0.5 * np.sum(z**2, 1)
    if name == "rosenbrock":
        z, e = rng.standard_normal((n, 5)), rng.standard_normal((n, 5))
        a = 1 + z
        q = np.stack([a, a**2 + problems.ROSENBROCK_SCALE * e], -1).reshape(n, 10)
        return q, -0.5 * np.sum(z**2 + e**2, 1)
    v, z = problems.FUNNEL_SCALE * rng.standard_normal(n), rng.standard_normal((n, 9))
    lp = -0.5 * (v / problems.FUNNEL_SCALE) ** 2 - 0.5 * np.sum(z**2, 1) - 9 * v / 2
    return np.c_[v, z * np.exp(v / 2)[:, None]], lp


@pytest.mark.parametrize("name", ["normal", "rosenbrock", "funnel"])
def test_closed_forms_belong_to_the_densities(name):
    q, lp = exact_draws(name, 20_000, seed=2)
    found = problems.log_density(name, np)(q, problems.data(name))
    np.testing.assert_allclose(found - found[0], lp - lp[0], rtol=1e-8, atol=1e-6)
    mean, sd = problems.moments(name)
    if name == "funnel":  # the others have tails too heavy for an average: exp(v) has mean exp(9 / 2)
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        variance = np.sum(weights * np.exp(problems.FUNNEL_SCALE * points)) / np.sum(weights)
        np.testing.assert_allclose(sd[1:], np.sqrt(variance), rtol=1e-9)
        q, mean, sd = q[:, :1], mean[:1], sd[:1]
    error = np.abs(q.mean(0) - mean) / (sd / np.sqrt(len(q)))
    assert error.max() < 5
    kurtosis = np.mean((q - mean) ** 4, 0) / sd**4
    spread = np.abs(q.var(0) / sd**2 - 1) / np.sqrt((kurtosis - 1) / len(q))
    assert spread.max() < 5


def test_reference_moments_are_reproduced_by_coarser_quadrature():
    for name, found in (("schools", reference.schools((301, 601))), ("line", reference.line(61))):
        mean, sd = problems.moments(name)
        np.testing.assert_allclose(found["mean"], mean, atol=1e-4 * sd.max())
        np.testing.assert_allclose(found["sd"], sd, rtol=1e-3)


def test_reference_moments_of_the_logistic_regression():
    found = reference.logistic(rounds=3, size=5000)
    mean, sd = problems.moments("logistic")
    assert np.max(np.abs(found["mean"] - mean) / sd) < 5 / np.sqrt(8000)  # its ESS is 0.55 of the draws
    assert np.max(np.abs(found["sd"] / sd - 1)) < 5 / np.sqrt(2 * 8000)


def test_starts_are_seeded():
    for name in problems.NAMES:
        starts = problems.starts(name, 6, 3)
        assert starts.shape == (6, problems.DIM[name])
        assert np.array_equal(starts, problems.starts(name, 6, 3))
        assert np.isfinite(problems.log_density(name, np)(starts, problems.data(name))).all()


# --- the accounting ---------------------------------------------------------------------------------------

TRUTH = np.array([1.0, -2.0]), np.array([1.0, 3.0])


def draws_of(chains, draws, seed, mean=TRUTH[0], sd=TRUTH[1]):
    return mean + sd * np.random.default_rng(seed).standard_normal((chains, draws, 2))


def row_of(tool, problem="schools", rate=100.0, **changes):
    row = {"tool": tool, "problem": problem, "asked": 64, "chains": 4, "draws": 1000, "dtype": "float32"}
    row |= {"warmup": 1.0, "sampling": 3.0, "call": 5.0, "ess": 8 * rate, "square_ess": 4 * rate, "rhat": 1.002}
    row |= {"mean_error": 0.01, "sd_error": 0.02, "gradients": 4000.0, "warmup_gradients": 2000.0}
    row |= {"divergences": 0, "note": "", "cold": 3.0, "warm": 2.0} | changes
    return row | {"why_not": accounting.why_not(row)}


def test_figures_of_independent_draws():
    found = accounting.figures([draws_of(8, 500, seed) for seed in range(3)], TRUTH)
    assert 3000 < found["ess"] < 5000
    assert 3000 < found["square_ess"] < 5000
    assert found["rhat"] < 1.01
    assert found["mean_error"] < 5 / np.sqrt(12_000)
    assert found["sd_error"] < 5 / np.sqrt(24_000)


def test_figures_are_of_all_repeats_together_and_rhat_of_the_worst():
    good, off = draws_of(8, 500, 0), draws_of(8, 500, 1)
    off[0] += 10 * TRUTH[1]
    found = accounting.figures([good, good, off], TRUTH)
    assert found["rhat"] > 1.2
    assert found["ess"] > 3000
    np.testing.assert_allclose(found["mean_error"], 10 / 8 / 3, atol=0.05)


def test_sd_error_counts_from_the_found_mean():
    found = accounting.figures([draws_of(8, 2000, 0, mean=TRUTH[0] + 5 * TRUTH[1], sd=1.5 * TRUTH[1])], TRUTH)
    np.testing.assert_allclose(found["mean_error"], 5, atol=0.1)
    np.testing.assert_allclose(found["sd_error"], 0.5, atol=0.05)


def test_effective_size_of_an_ensemble():
    rng, chains, draws, rho = np.random.default_rng(0), 4000, 20, 0.8
    x = np.empty((chains, draws, 1))
    x[:, 0] = rng.standard_normal((chains, 1))
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal((chains, 1))
    lags = np.arange(1, draws)
    expected = chains * draws / (1 + 2 * np.sum((1 - lags / draws) * rho**lags))
    np.testing.assert_allclose(accounting.ensemble_ess(x), expected, rtol=5 * np.sqrt(2 / chains))
    assert accounting.judge(x, np.zeros(1))["rhat"] is None
    stuck = np.repeat(x[:, :1], draws, 1)
    np.testing.assert_allclose(accounting.ensemble_ess(stuck), chains, rtol=1e-2)


def test_only_right_rows_can_be_the_best_peer():
    assert accounting.why_not(row_of("emcee")) == ""
    assert "R-hat" in accounting.why_not(row_of("emcee", rhat=1.06))
    assert "R-hat" in accounting.why_not(row_of("emcee", rhat=float("nan")))
    assert "mean" in accounting.why_not(row_of("emcee", mean_error=0.2))
    assert "an sd" in accounting.why_not(row_of("emcee", sd_error=0.2))
    assert accounting.why_not({"tool": "emcee", "note": "not installed"}) == "not installed"
    assert accounting.why_not(row_of("emcee", rhat=None)) == ""
    assert "effective" in accounting.why_not(row_of("emcee", rate=float("nan")))


def test_rates_count_the_smaller_size_and_warmup():
    row = row_of("emcee", rate=100.0)
    assert accounting.per_second(row) == 100.0
    assert accounting.per_effective(row, warmup=False) == 10.0
    assert accounting.per_effective(row, warmup=True) == 15.0
    assert accounting.per_effective(row | {"warmup_gradients": None}, warmup=True) is None


def test_summary_against_the_best_right_peer():
    rows = []
    for i, problem in enumerate(accounting.COUNTED):
        rows.append(row_of("mcmc, float32", problem, rate=100.0 * 2 ** (i + 1)))
        rows.append(row_of("numpyro: NUTS", problem, rate=50.0))
        rows.append(row_of("blackjax: ChEES", problem, rate=100.0))
        rows.append(row_of("emcee", problem, rate=1e6, rhat=2.0))
        rows.append({"tool": "nutpie: NUTS", "problem": problem, "asked": 64, "note": "failed: x"})
        rows.append(row_of("blackjax: ChEES", problem, rate=1e7, asked=1024))
    rows.append(row_of("mcmc, float32", "funnel", rate=1.0))
    rows.append(row_of("emcee", "funnel", rate=1000.0))
    found = accounting.summary(rows, 64)
    assert [p["best_peer"] for p in found["problems"]] == ["blackjax: ChEES"] * 5 + ["emcee"]
    assert [p["ratios"]["mcmc, float32"] for p in found["problems"]] == pytest.approx([2, 4, 8, 16, 32, 0.001])
    assert found["geometric_means"]["mcmc, float32"] == pytest.approx(8.0)
    assert [p["asked"] for p in found["problems"]] == [2.0, 2.0, 2.0, 8.0, 8.0, None]


def test_a_wrong_row_of_ours_has_no_ratio():
    rows = [row_of("mcmc, float32", rhat=1.5), row_of("emcee")]
    found = accounting.summary(rows, 64)
    assert found["problems"][0]["ratios"] == {"mcmc, float32": None}
    assert found["geometric_means"] == {"mcmc, float32": None}


def test_fewest_gradients_are_of_nuts():
    rows = [row_of("mcmc, float32"), row_of("numpyro: NUTS", rate=50.0), row_of("blackjax: NUTS", rate=25.0)]
    rows += [row_of("blackjax: ChEES", rate=1e6), row_of("nutpie: NUTS", rate=1e6, rhat=2.0)]
    assert accounting.fewest_gradients(rows, 64) == {"schools": {"mcmc, float32": 10.0, "NUTS": 20.0}}


def test_medians_over_repeats():
    runs = [
        {"warmup": w, "sampling": 2.0, "call": 9.0, "gradients": g, "warmup_gradients": None, "divergences": 0}
        | {"chains": 4, "draws": 10, "note": "n"}
        for w, g in ((1.0, 10), (5.0, 30), (2.0, 20))
    ]
    found = accounting.summed_up(runs)
    assert (found["warmup"], found["gradients"], found["warmup_gradients"]) == (2.0, 20, None)
    assert found["hot"] == [3.0, 7.0, 4.0]


# --- the children -----------------------------------------------------------------------------------------


def test_compiling_is_counted_once():
    assert child.covered([]) == 0
    assert child.covered([(0.0, 4.0), (1.0, 2.0), (3.0, 5.0), (7.0, 8.0)]) == pytest.approx(6.0)
    assert child.covered([(3.0, 1.0), (3.0, 4.0)]) == pytest.approx(1.0)


def test_only_huge_runs_are_thinned(monkeypatch):
    x = np.arange(2 * 1600 * 3).reshape(2, 1600, 3)
    assert np.array_equal(child.thinned(x), x)
    monkeypatch.setattr(child, "MOST_NUMBERS", 3000)
    assert np.array_equal(child.thinned(x), x[:, ::4])
    assert child.thinned(x[:, :500]).shape == (2, 500, 3)


def test_a_line_has_no_draws():
    run = child.Run(np.zeros((4, 10, 2)), 1.0, 2.0, 5, None, 0)
    line = child.line_of(run)
    assert json.loads(json.dumps(line)) == line
    assert (line["chains"], line["draws"], line["call"]) == (4, 10, 3.0)


def options_of(**changes):
    known = {"chains": None, "repeats": 3, "device": "cpu", "dtype": "float32", "kernels": [], "tools": None}
    return Namespace(**{**known, "peers_python": "python", **changes})


def test_tools_and_commands():
    names = [tool.name for tool in peers.tools_of(options_of(kernels=["NUTS"]))]
    equal = "mcmc, float32, as many draws as ChEES"
    assert names[:4] == ["mcmc, float32", "mcmc, float64", equal, "mcmc, NUTS, float32"]
    assert len(names) == 10
    assert {t.name for t in peers.tools_of(options_of(dtype="float64", tools=["mcmc, float"]))} == {
        "mcmc, float64",
        "mcmc, float64, as many draws as ChEES",
    }
    ours, matched, chees = peers.tools_of(options_of(tools=["mcmc, float32", "blackjax: ChEES"]))
    assert peers.case_of("line", matched, 64, options_of()).command[-2:] == ("--draws", "500")
    assert "--chains" not in peers.case_of("line", ours, 64, options_of()).command
    assert "--chains" in peers.case_of("line", ours, 64, options_of(chains=[64])).command
    command = peers.case_of("line", chees, 64, options_of()).command
    assert command[0] == "python"
    assert command[command.index("--chains") + 1] == "64"


def test_on_a_gpu_many_chains_of_three_tools():
    options = options_of(device="gpu", chains=[64, 65536])
    found = peers.tools_of(options)
    assert [tool.name for tool in found] == ["mcmc, float32", "numpyro: NUTS", "blackjax: ChEES"]
    for tool in found:
        command = peers.case_of("line", tool, 65536, options).command
        assert command[command.index("--chains") + 1] == "65536"
        assert command[command.index("--draws") + 1] == "20"
        assert "float32" in command
    assert [peers.draws_of(n) for n in (64, 1024, 16384, 65536)] == [500, 195, 20, 20]


def test_tables_show_ratios_marks_and_failures():
    rows = [row_of("mcmc, float32", rate=250.0), row_of("emcee"), row_of("blackjax: ChEES", rate=1e6, rhat=1.5)]
    rows.append({"tool": "nutpie: NUTS", "problem": "schools", "asked": 64, "note": "not installed", "why_not": "x"})
    text = peer_tables.tables({"rows": rows, "summaries": [accounting.summary(rows, 64)]})
    assert "| schools | emcee | 100 | 250 | 2.5 × | 2 × |" in text
    assert "blackjax: ChEES (!)" in text
    assert "not installed" in text
    assert "3.0 / 2.0" in text


@pytest.mark.slow
def test_ours_runs_whole_and_peers_that_are_missing_are_said(tmp_path):
    bare, out = tmp_path / "bare", tmp_path / "peers.json"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    tools = ["mcmc, float64", "as many draws", "emcee"]
    printed = script(
        "peers", "--quick", "--problems", "line", "--out", out, "--tools", *tools,
        "--peers-python", bare / "bin/python",
    )  # fmt: skip
    result = json.loads(out.read_text())
    ours, equal, emcee = result["rows"]
    assert (ours["draws"], equal["draws"]) == (320, 500)
    assert emcee["note"] == "not installed"
    for row, dtype in ((ours, "float64"), (equal, "float32")):
        assert row["why_not"] == ""
        assert row["dtype"] == dtype
        assert min(row[name] for name in ("warmup", "sampling", "ess", "square_ess", "gradients", "cold")) > 0
        assert row["call"] > row["warmup"] + row["sampling"]
        assert row["warmup_gradients"] > 0
    assert result["summaries"][0]["problems"][0]["best_peer"] is None
    assert "line fit" in printed
    assert "line fit" in script("report", "--results", tmp_path)
