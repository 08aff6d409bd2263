"""Recipes run, and agree with answers found in another way: SciPy, sums over a grid, enumeration, exact integrals."""

import itertools

import jax
import numpy as np
import pytest
from running import DOCS, flat, load, program, same_mean
from scipy import integrate, optimize, signal, special, stats

import mcmc

RECIPES = DOCS / "recipes"


def on_a_grid(log_density, *axes):
    """Means and sds of each coordinate of a density on a grid."""
    grids = np.meshgrid(*axes, indexing="ij")
    log_p = log_density(*grids)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    means = [np.sum(p * grid) for grid in grids]
    return [(m, np.sqrt(np.sum(p * (grid - m) ** 2))) for m, grid in zip(means, grids, strict=True)]


def at(function, *arguments):
    with jax.enable_x64(True):
        return np.asarray(function(*arguments), float)


@pytest.mark.slow
def test_a_line_with_outliers_agrees_with_sums_over_a_grid():
    page = program("recipes/outliers.md")
    x, y, error = page["x"] - page["middle"], page["y"], page["error"]

    def log_density(level, slope, spread, share):
        total = stats.norm.logpdf(level, 400, 200) + stats.norm.logpdf(slope, 0, 10) + stats.norm.logpdf(spread, 0, 300)
        for x_i, y_i, e in zip(x, y, error, strict=True):
            off = (y_i - level - slope * x_i) ** 2
            wide = e**2 + spread**2
            good = (1 - share) / e * np.exp(-0.5 * off / e**2)
            total += np.log(good + share / np.sqrt(wide) * np.exp(-0.5 * off / wide))
        return total

    axes = np.linspace(395, 450, 34), np.linspace(1.6, 2.9, 34), np.linspace(5, 1000, 40), (np.arange(30) + 0.5) / 60
    exact = on_a_grid(log_density, *axes)
    for name, (mean, sd) in zip(("level", "slope", "spread", "share"), exact, strict=True):
        same_mean(page["draws"], name, mean, sd)


@pytest.mark.slow
def test_a_population_has_its_exact_law_by_both_ways():
    page = program("recipes/capture_recapture.md")
    n, chance = of_pictures("exact_population", page)
    mean = np.sum(n * chance)
    sd = np.sqrt(np.sum((n - mean) ** 2 * chance))
    for run in ("draws", "again"):
        same_mean(page[run], "population", mean, sd)


def test_each_of_many_data_sets_has_its_own_posterior():
    page = program("recipes/many_data_sets.md", ("PATIENTS = 2000", "PATIENTS = 20"))
    grid = np.linspace(-3.5, 1.0, 2000)
    rate = np.exp(grid)[:, None]
    for i in range(20):  # given the rate, the start is normal and integrates out
        sums = (page["measured"][i] + rate * page["hours"]).sum(1)
        squares = ((page["measured"][i] + rate * page["hours"]) ** 2).sum(1)
        precision, shift = 1 / 0.3**2 + 8 / 0.15**2, 2 / 0.3**2 + sums / 0.15**2
        log_p = -0.5 * ((grid + 1.5) / 0.4) ** 2 - 0.5 * squares / 0.15**2 + 0.5 * shift**2 / precision
        p = np.exp(log_p - log_p.max()) / np.exp(log_p - log_p.max()).sum()
        x = page["draws"].posterior["log_rate"].values[i]
        assert abs(x.mean() - np.sum(p * grid)) < 5 * mcmc.mcse(x), i


@pytest.mark.slow
def test_counts_are_scipys_negative_binomial_with_zeros():
    page = program("recipes/counts.md")
    p = {"a": 0.7, "b": 0.4, "phi": 1.7, "absent": 0.3}
    with jax.enable_x64(True):
        found = np.asarray(page["log_likelihood"](p, page["target"].data)["k"])
    mean = np.exp(0.7 + 0.4 * page["x"])
    law = 0.7 * stats.nbinom.pmf(page["k"], 1.7, 1.7 / (1.7 + mean)) + 0.3 * (page["k"] == 0)
    np.testing.assert_allclose(found, np.log(law), rtol=1e-10)
    assert abs(flat(page["draws"], "absent").mean() - 0.24) < 0.03
    assert abs(page["zeros"].mean() - np.mean(page["k"] == 0)) < 0.05


def test_censored_and_truncated_agree_with_sums_over_a_grid():
    page = program("recipes/censored.md")
    first, second, limit = page["first"], page["truncated"], page["limit"]

    def log_density(mu, sigma):
        law = stats.norm(mu[..., None], sigma[..., None])
        seen = np.where(first > limit, law.logsf(limit), law.logpdf(first)).sum(-1)
        rest = (law.logpdf(second) - law.logcdf(limit)).sum(-1)
        return seen + rest + stats.norm.logpdf(mu, 0, 20) + stats.norm.logpdf(sigma, 0, 10)

    exact = on_a_grid(log_density, np.linspace(8, 14, 120), np.linspace(2, 6, 120))
    for name, (mean, sd) in zip(("mu", "sigma"), exact, strict=True):
        same_mean(page["draws"], name, mean, sd)
    low = np.array([-31.0, -1.0, 0.3, 12.0, 30.0])
    tail = np.where(low > 0, stats.norm.logsf(low), stats.norm.logcdf(low + 1))
    rest = np.where(low > 0, stats.norm.logsf(low + 1), stats.norm.logcdf(low))
    expected = tail + np.log1p(-np.exp(rest - tail))
    np.testing.assert_allclose(at(page["log_between"], low, low + 1, 0, 1), expected, rtol=1e-9)


def test_missing_values_integrate_to_the_law_without_them():
    page = program("recipes/missing_values.md")
    a, b, sigma, m, s = 0.8, 1.4, 0.6, 2.1, 0.9
    y, missing = page["y"], page["missing"]
    precision = 1 / s**2 + b**2 / sigma**2
    best = (m / s**2 + b * (y[missing] - a) / sigma**2) / precision
    p = {"a": a, "b": b, "sigma": sigma, "mean": m, "spread": s, "x_missing": best}
    with jax.enable_x64(True):
        data = jax.tree.map(jax.numpy.asarray, page["data"])
        whole = float(page["log_density"](p, data)) + 0.5 * len(missing) * np.log(2 * np.pi / precision)
    seen = np.setdiff1d(np.arange(80), missing)
    x = page["x"][seen]
    expected = stats.norm.logpdf(x, m, s).sum() + stats.norm.logpdf(y[seen], a + b * x, sigma).sum()
    expected += stats.norm.logpdf(y[missing], a + b * m, np.hypot(sigma, b * s)).sum()
    expected += sum(stats.norm.logpdf(v, 0, w) for v, w in ((a, 5), (b, 5), (sigma, 2), (m, 5), (s, 2)))
    assert abs(whole - expected) < 1e-8


def test_ordered_chances_are_differences_of_the_logistic_function():
    page = program("recipes/ordered.md")
    cut = np.array([-1.0, 0.2, 0.9, 2.0])
    found = at(page["chances"], {"cut": cut, "b": 0.7}, page["age"])
    below = np.c_[np.zeros(300), special.expit(cut - 0.7 * page["age"][:, None]), np.ones(300)]
    np.testing.assert_allclose(found, np.diff(below, axis=1), rtol=1e-9)
    table = page["mcmc"].summary(page["draws"])
    truth = np.array([0.8, -1.5, -0.5, 0.5, 2.0])
    assert np.all(abs(table["mean"] - truth) < 4 * table["sd"])


def test_survival_is_scipys_weibull_and_its_maximum_the_published_one():
    page = program("recipes/survival.md")

    def log_likelihood(level, effect, shape):
        law = stats.weibull_min(shape, scale=np.exp(level + effect * page["treated"]))
        return np.sum(np.where(page["over"], law.logpdf(page["week"]), law.logsf(page["week"])))

    p = {"level": 2.1, "effect": 1.1, "shape": 1.2}
    prior = stats.norm.logpdf(2.1, 2, 2) + stats.norm.logpdf(1.1, 0, 2) + stats.norm.logpdf(np.log(1.2)) - np.log(1.2)
    assert abs(at(page["log_density"], p, page["target"].data) - prior - log_likelihood(**p)) < 1e-8
    best = optimize.minimize(lambda v: -log_likelihood(*v), [2.0, 1.0, 1.0], method="Nelder-Mead").x
    assert np.allclose([best[0], best[1], 1 / best[2]], [2.248, 1.267, 0.732], atol=2e-3)


def test_mixed_effects_are_what_their_scales_and_the_data_say():
    page = program("recipes/mixed.md")
    subject, item, y, draws = page["subject"], page["item"], page["y"], page["draws"]
    design = np.c_[np.ones(300), subject[:, None] == np.arange(20), item[:, None] == np.arange(15)].astype(float)
    scales = [flat(draws, name)[::16] for name in ("of_subjects", "of_items", "sigma")]
    given = []
    for s, i, e in zip(*scales, strict=True):  # E[mu, effects | scales, y], in closed form
        prior = np.r_[1 / 2**2, np.full(20, s**-2), np.full(15, i**-2)]
        shift = np.r_[6 / 2**2, np.zeros(35)]
        given.append(np.linalg.solve(design.T @ design / e**2 + np.diag(prior), design.T @ y / e**2 + shift))
    found = np.r_[flat(draws, "mu").mean(), flat(draws, "subject").mean(0), flat(draws, "item").mean(0)]
    sd = np.r_[flat(draws, "mu").std(), flat(draws, "subject").std(0), flat(draws, "item").std(0)]
    assert np.all(np.abs(found - np.mean(given, 0)) < 0.15 * sd)


def test_dose_and_response_count_what_was_not_detected():
    page = program("recipes/dose_response.md")
    p = {"top": 95.0, "bottom": 4.0, "slope": 1.1, "log_ec50": 3.2, "sigma": 0.2}
    mean = np.log(4 + 91 / (1 + (page["dose"] / np.exp(3.2)) ** 1.1))
    law = stats.norm(mean, 0.2)
    expected = np.where(page["detected"], law.logpdf(page["log_response"]), law.logcdf(page["limit"])).sum()
    expected += stats.norm.logpdf(95, 100, 30) + stats.norm.logpdf(4, 0, 20) + stats.norm.logpdf(1.1, 1, 1)
    expected += stats.norm.logpdf(3.2, np.log(10), 3) + stats.norm.logpdf(0.2, 0, 0.5)
    assert abs(at(page["log_density"], p, page["data"]) - expected) < 1e-8
    ec50 = flat(page["draws"], "ec50")
    assert abs(np.median(ec50) - 20) < 3 * ec50.std()


@pytest.mark.slow
def test_the_epidemic_is_scipys_and_stans():
    page = program("recipes/epidemic.md")
    flow = lambda _, v: [-1.7 * v[0] * v[1] / 763, 1.7 * v[0] * v[1] / 763 - 0.5 * v[1]]  # noqa: E731
    exact = integrate.solve_ivp(flow, (0, 14), [762, 1], t_eval=np.arange(1, 15), rtol=1e-10, atol=1e-10).y[1]
    np.testing.assert_allclose(at(page["infected"], {"beta": 1.7, "gamma": 0.5}), exact, rtol=1e-4)
    for name, mean, room in (("beta", 1.73, 0.02), ("gamma", 0.54, 0.02), ("R0", 3.22, 0.08)):
        assert abs(flat(page["draws"], name).mean() - mean) < room


@pytest.mark.slow
def test_the_periods_of_an_orbit_have_their_exact_shares():
    page = program("recipes/radial_velocity.md", ("particles=4096", "particles=1024"))
    period, log_p = of_pictures("exact_periods", page, points=4001)
    weight = np.exp(log_p - log_p.max()) * np.abs(np.gradient(period))
    drawn = flat(page["draws"], "period")
    for low, high in itertools.pairwise(page["edges"]):
        share = weight[(low < period) & (period < high)].sum() / weight.sum()
        by_island = (page["draws"].posterior["period"].values > low) & (page["draws"].posterior["period"].values < high)
        error = by_island.mean(1).std(ddof=1) / np.sqrt(len(by_island))
        assert abs(np.mean((low < drawn) & (drawn < high)) - share) < 5 * error + 1e-3


def of_pictures(name, *arguments, **settings):
    """What a function beside the recipes' pictures returns."""
    import sys

    sys.path.insert(0, str(DOCS))
    try:
        return getattr(load(RECIPES / "pictures.py"), name)(*arguments, **settings)
    finally:
        sys.path.remove(str(DOCS))


@pytest.mark.slow
def test_occupancy_agrees_with_sums_over_a_grid_by_both_ways():
    page = program("recipes/occupancy.md")
    seen = page["seen"]

    def log_density(psi, p):
        k = seen[:, None, None]
        there = psi * p**k * (1 - p) ** (5 - k)
        return np.log(there + (k == 0) * (1 - psi)).sum(0)

    grid = (np.arange(200) + 0.5) / 200
    exact = on_a_grid(log_density, grid, grid)
    for run in ("draws", "states"):
        for name, (mean, sd) in zip(("psi", "p"), exact, strict=True):
            same_mean(page[run], name, mean, sd)


@pytest.mark.slow
def test_the_forward_algorithm_is_the_sum_over_all_sequences():
    page = program("recipes/hidden_markov.md")
    p = {"mean": np.array([0.2, 2.5]), "sigma": 0.9, "stay": np.array([0.9, 0.8])}
    y, change = page["y"][:8], np.array([[0.9, 0.1], [0.2, 0.8]])
    total = 0.0
    for states in itertools.product((0, 1), repeat=8):
        chance = 0.5 * np.prod([change[a, b] for a, b in itertools.pairwise(states)])
        total += chance * np.prod(stats.norm.pdf(y, p["mean"][list(states)], 0.9))
    with jax.enable_x64(True):
        found = special.logsumexp(np.asarray(page["forward"](p, jax.numpy.asarray(y))[-1]))
    assert abs(found - np.log(total)) < 1e-10
    assert np.mean((page["chance"] > 0.5) == page["state"]) > 0.93


@pytest.mark.slow
def test_volatility_is_an_autoregression():
    page = program("recipes/stochastic_volatility.md", ("DAYS = 1000", "DAYS = 60"))
    z = np.random.default_rng(0).normal(size=59)
    p = {"mu": -1.0, "sigma": 0.2, "phi": 0.9, "first": 0.3, "z": z}
    expected = -1 + signal.lfilter([1], [1, -0.9], np.r_[0.3, 0.2 * z])
    np.testing.assert_allclose(at(page["log_volatility"], p, {}), expected, rtol=1e-9)


@pytest.mark.slow
def test_the_filter_is_one_large_normal_law():
    page = program("recipes/kalman.md")
    y = page["flow"]
    when = np.arange(100.0)
    covariance = 500.0**2 + 40.0**2 * np.minimum(when[:, None], when) + 120.0**2 * np.eye(100)
    expected = stats.multivariate_normal.logpdf(y, np.full(100, 1000.0), covariance)
    found = at(lambda: page["kalman"]({"step": 40.0, "error": 120.0}, jax.numpy.asarray(y))[0])
    assert abs(found.sum() - expected) < 1e-6
    assert abs(np.median(flat(page["draws"], "error")) - 123) < 12  # maximum likelihood: 122.9 (Durbin & Koopman)


@pytest.mark.slow
def test_waves_have_the_covariance_of_the_process():
    page = program("recipes/latent_gp.md")
    t, omega, waves = page["t"], page["omega"], page["waves"]
    height = 0.8 * (2 * np.pi) ** 0.25 * np.sqrt(0.7) * np.exp(-0.25 * (0.7 * omega) ** 2)
    exact = 0.8**2 * np.exp(-0.5 * ((t[:, None] - t) / 0.7) ** 2)
    assert np.abs((waves * height**2) @ waves.T - exact).max() < 1e-3
    true = np.exp(1.0 + np.sin(t) + 0.4 * np.cos(3 * t))
    rate = flat(page["draws"], "rate")
    assert np.mean((np.quantile(rate, 0.005, 0) < true) & (true < np.quantile(rate, 0.995, 0))) > 0.9


def test_the_spectrum_is_where_maximum_likelihood_finds_it():
    page = program("recipes/spectrum.md", ("until=", "chains=64, warmup=1500, draws=100, until="))
    p = {name: np.asarray(value)[None] for name, value in page["true"].items()}
    assert np.allclose(page["log_likelihood"](p), stats.poisson.logpmf(page["counts"], page["spectrum"](p)[0]).sum())

    def deviance(v):
        p = {"level": v[0], "fall": v[1] / 1000, "width": v[2], "place": v[3:6], "height": v[6:]}
        return -page["log_likelihood"]({name: np.asarray(value, float)[None] for name, value in p.items()})[0]

    best = optimize.minimize(deviance, [30.0, 10, 3, 25, 50, 58, 40, 60, 25], method="BFGS").x
    place = flat(page["draws"], "place")
    assert np.all(np.abs(place.mean(0) - best[3:6]) < 0.5 * place.std(0))


def test_the_simulator_agrees_with_sums_over_a_grid():
    page = program("recipes/simulator.md", ("time.sleep(0.001)", "pass"), ("workers=2", "workers=None"))
    t, signal = page["t"], page["signal"]

    def log_density(rate, delay):
        late = np.maximum(t - delay[..., None], 0)
        return -0.5 * np.sum(((signal - (1 - np.exp(-rate[..., None] * late))) / 0.1) ** 2, -1)

    exact = on_a_grid(log_density, np.linspace(0.5, 4, 300), np.linspace(0, 2, 300))
    for name, (mean, sd) in zip(("rate", "delay"), exact, strict=True):
        same_mean(page["draws"], name, mean, sd)


@pytest.mark.slow
def test_a_network_is_sure_at_the_data_only():
    page = program("recipes/bayesian_network.md")
    f, grid = flat(page["draws"], "f"), page["grid"]
    sd = dict(zip(grid.round(1).tolist(), f.std(0), strict=True))
    assert sd[0.0] > 3 * sd[1.0]
    assert sd[3.0] > 3 * sd[1.0]
    inside = np.abs(np.abs(grid) - 1.3) < 0.5
    assert np.abs(f.mean(0) - np.sin(2 * grid))[inside].max() < 0.2


def test_many_chains_have_the_exact_moments():
    page = program("recipes/many_chains.md", ("100_000", "4_000"))
    x, y = page["x"][:, -1], page["y"][:, -1]
    sd = np.sqrt(1 + 2 * 0.3**2)
    assert abs(x.mean()) < 5 / np.sqrt(4000)
    assert abs(y.mean() - 0.3) < 5 * sd / np.sqrt(4000)
    assert abs(x.std() - 1) < 5 / np.sqrt(8000)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.md") if path.stem != "index"))
def test_a_recipe_is_short_and_has_a_picture(name):
    text = (RECIPES / f"{name}.md").read_text()
    lines = sum(block.count("\n") for block in load(DOCS / "pages.py").blocks(RECIPES / f"{name}.md"))
    assert 15 <= lines <= 65
    assert f"(images/{name}.png)" in text
    assert f"]({name}.md)" in (RECIPES / "index.md").read_text()
    assert 3_000 < (RECIPES / "images" / f"{name}.png").stat().st_size < 60_000
