"""Densities as people have them: values on a grid, a histogram, points; beside SciPy."""

import itertools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import mcmc

U = np.linspace(0.001, 0.999, 301)
RNG = np.random.default_rng(4)


@pytest.fixture(autouse=True)
def wide():
    with jax.enable_x64(True):
        yield


def test_a_linear_grid_is_integrated_in_closed_form():
    x = np.array([-1.0, 0.5, 1.0, 1.00001, 3.0, 7.0])
    log_f = np.array([-2.0, 0.0, 0.0, -1.0, 5.0, -400.0])
    s = mcmc.InverseCDF.from_grid(x, log_f)

    def f(t):
        return np.exp(np.interp(t, x, log_f))

    total = sum(integrate.quad(f, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(x))
    np.testing.assert_allclose(s.log_normalizer, np.log(total), rtol=1e-10)
    for t in (0.0, 0.7, 2.5, 3.01):
        whole = sum(
            integrate.quad(f, a, min(b, t), epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(x) if a < t
        )
        np.testing.assert_allclose(float(s.cdf(t)), whole / total, rtol=1e-9)
        np.testing.assert_allclose(float(s.log_prob(t)), np.log(f(t) / total), rtol=1e-10)
    np.testing.assert_allclose(np.asarray(s.cdf(s.icdf(U))), U, atol=1e-12)
    assert np.asarray(s.icdf(jnp.array([0.0, 1.0, 1.1]))).tolist()[:2] == [-1.0, 7.0]
    assert math.isnan(float(s.icdf(-0.1)))
    assert float(s.log_prob(8.0)) == -np.inf


def test_masked_parts_of_a_grid_have_no_mass():
    s = mcmc.InverseCDF.from_grid(np.arange(6.0), [0.0, 0.0, -np.inf, -np.inf, 0.0, 0.0])
    x = np.asarray(s.sample(jax.random.key(0), (20_000,)))
    assert not np.any((x > 1) & (x < 4))
    assert abs(np.mean(x > 2) - 0.5) < 5 * 0.5 / np.sqrt(20_000)


def test_a_cubic_grid_is_close_to_the_density():
    x = np.linspace(-8, 8, 200)
    s = mcmc.InverseCDF.from_grid(x, stats.t(5).logpdf(x), kind="cubic")
    inside = stats.t(5).cdf([-8, 8])
    expected = stats.t(5).ppf(inside[0] + U * (inside[1] - inside[0]))
    np.testing.assert_allclose(np.asarray(s.icdf(U)), expected, atol=1e-4)
    assert s.u_error < 1e-10
    assert abs(float(s.log_prob(0.3)) - stats.t(5).logpdf(0.3) + np.log(inside[1] - inside[0])) < 1e-5


def test_a_histogram_is_scipys():
    counts, edges = np.histogram(RNG.gamma(2.0, size=500), bins=[0, 0.5, 1, 1.2, 3, 4, 20])
    counts[3] = 0
    s, scipys = mcmc.InverseCDF.from_histogram(counts, edges), stats.rv_histogram((counts, edges), density=False)
    t = np.linspace(-1, 21, 113)
    np.testing.assert_allclose(np.asarray(s.cdf(t)), scipys.cdf(t), atol=1e-12)
    np.testing.assert_allclose(np.asarray(s.icdf(U)), scipys.ppf(U), rtol=1e-10)
    np.testing.assert_allclose(np.exp(np.asarray(s.log_prob(t[6:-6]))), scipys.pdf(t[6:-6]), rtol=1e-10, atol=1e-300)
    x = np.asarray(s.sample(jax.random.key(1), (50_000,)))
    found = np.histogram(x, edges)[0][counts > 0]
    assert stats.chisquare(found, len(x) * counts[counts > 0] / counts.sum()).pvalue > 1e-4


def test_ten_thousand_points_under_normal_kernels():
    points = np.concatenate([RNG.normal(size=5000), RNG.normal(6, 0.5, size=5000)])
    s = mcmc.InverseCDF.from_points(points, bandwidth=0.2)
    t = np.linspace(-4, 9, 40)
    z = (t[:, None] - points) / 0.2
    log_f = special.logsumexp(-0.5 * z**2, axis=1) - np.log(len(points) * 0.2 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(np.asarray(s.log_prob(t)), log_f, atol=1e-9)
    np.testing.assert_allclose(np.asarray(s.cdf(t)), stats.norm.cdf(z).mean(1), atol=1e-10)
    assert s.u_error < 1e-10
    assert abs(s.log_normalizer) < 1e-9


def test_silvermans_bandwidth():
    from mcmc.direct.inverse_cdf.kernel_density import silverman

    x = RNG.normal(size=1000)
    spread = min(x.std(ddof=1), stats.iqr(x) / 1.34)
    np.testing.assert_allclose(silverman(x), 0.9 * spread * 1000**-0.2)


def test_tails_of_grids_and_histograms_keep_their_digits():
    counts, edges = np.array([2, 0, 5, 3]), np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    s, scipys = mcmc.InverseCDF.from_histogram(counts, edges), stats.rv_histogram((counts, edges), density=False)
    np.testing.assert_allclose(s.isf(U), scipys.isf(U), rtol=1e-10)
    np.testing.assert_allclose(s.sf([-1.0, 0.5, 1.5, 4.0, 6.0]), scipys.sf([-1.0, 0.5, 1.5, 4.0, 6.0]), atol=1e-12)
    slope = mcmc.InverseCDF.from_grid([0.0, 1.0, 50.0], [0.0, -2.0, -100.0])  # exp(-2 x)
    np.testing.assert_allclose(slope.sf([10.0, 40.0]), np.exp([-20.0, -80.0]), rtol=1e-7)
    np.testing.assert_allclose(slope.isf([1e-10, 1e-30]), np.log([1e10, 1e30]) / 2, rtol=1e-10)


def laws_to_cut():
    normal = stats.norm
    x = np.linspace(0.0, 300.0, 7)
    return {
        "grid": (mcmc.InverseCDF.from_grid(x, -x), stats.expon),
        "histogram": (mcmc.InverseCDF.from_histogram([1, 1, 1], [0.0, 0.7, 1.0, 3.0]), None),
        "cdf": (mcmc.InverseCDF.from_cdf(jax.scipy.stats.norm.cdf, (-math.inf, math.inf)), normal),
        "icdf": (mcmc.InverseCDF.from_icdf(jax.scipy.stats.norm.ppf), normal),
    }


@pytest.mark.parametrize("name", ["grid", "histogram", "cdf", "icdf"])
def test_truncated(name):
    whole, law = laws_to_cut()[name]
    s, (low, high) = whole.truncated(0.5, 2.0), (0.5, 2.0)
    law = stats.rv_histogram(([1, 1, 1], [0.0, 0.7, 1.0, 3.0]), density=False) if law is None else law
    below, mass = law.cdf(low), law.cdf(high) - law.cdf(low)
    assert s.support == (low, high)
    np.testing.assert_allclose(s.icdf(U), law.ppf(below + U * mass), atol=1e-9)
    np.testing.assert_allclose(s.isf(U), law.ppf(below + (1 - U) * mass), atol=1e-9)
    t = np.array([0.4, 0.6, 1.3, 2.1])
    np.testing.assert_allclose(s.cdf(t), np.clip((law.cdf(t) - below) / mass, 0, 1), atol=1e-9)
    np.testing.assert_allclose(s.log_prob(t)[1:3], law.logpdf(t[1:3]) - np.log(mass), atol=1e-9)
    assert np.all(np.asarray(s.log_prob(t)[jnp.array([0, 3])]) == -np.inf)
    if name == "grid":  # 1e-87 of the mass
        np.testing.assert_allclose(whole.truncated(200.0).icdf(0.5), 200 + np.log(2), rtol=1e-12)
    elif name != "histogram":
        with pytest.raises(mcmc.SamplingError, match="no mass between 9"):
            whole.truncated(9.0)


def test_truncated_laws_are_differentiated_in_their_parameters():
    def median(a):
        whole = mcmc.InverseCDF.from_cdf(lambda x, a: 1 - jnp.exp(-a * x), (0.0, math.inf), params=(a,))
        return whole.truncated(1.0, 3.0).icdf(0.5)

    exact = lambda a: -np.log((np.exp(-a) + np.exp(-3 * a)) / 2) / a  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(median))(2.0)
    np.testing.assert_allclose(value, exact(2.0), rtol=1e-10)
    np.testing.assert_allclose(slope, (exact(2 + 1e-5) - exact(2 - 1e-5)) / 2e-5, rtol=1e-6)


def test_each_function_of_a_law_is_one_program():
    compiled = []
    listen = lambda name, _, **more: compiled.append(name) if name.endswith("backend_compile_duration") else None  # noqa: E731
    fitted = [mcmc.InverseCDF.fit(lambda x, n, a: -a * x**n, (0.0, math.inf), params=(2, a)) for a in (1.3, 0.4)]
    u, x = jnp.linspace(0.1, 0.9, 11), jnp.linspace(0.2, 2.0, 11)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for s in fitted:
            for name, at in (("cdf", x), ("sf", x), ("icdf", u), ("isf", u), ("log_prob", x)):
                compiled.clear()
                getattr(s, name)(at).block_until_ready()
                assert len(compiled) <= 1, name
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    np.testing.assert_allclose(fitted[0].cdf(x), special.erf(np.sqrt(1.3) * x), atol=1e-9)


def test_they_enter_jit_and_are_chains():
    s = mcmc.InverseCDF.from_histogram([1, 3], [0.0, 1.0, 2.0])
    drawn = jax.jit(lambda s, key: s.sample(key, (5,)))(s, jax.random.key(0))
    np.testing.assert_allclose(np.asarray(drawn), np.asarray(s.sample(jax.random.key(0), (5,))))
    draws = mcmc.sample(s, chains=4, draws=500, progress=False)
    x = draws["posterior"]["x"].values
    assert abs(x.mean() - 1.25) < 5 * mcmc.mcse(x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mcmc.InverseCDF.from_grid([0, 1, 2], [0, 1]), r"x and log_f: got shapes \(3,\) and \(2,\)"),
        (lambda: mcmc.InverseCDF.from_grid([0, 2, 1], [0, 1, 2]), "x: got .*expected finite numbers that rise"),
        (lambda: mcmc.InverseCDF.from_grid([0, 1], [0, np.nan]), r"log_f\[1\]: got nan"),
        (lambda: mcmc.InverseCDF.from_grid([0, 1, 2], [0, -np.inf, 0]), "log_f: got -inf beside every point"),
        (lambda: mcmc.InverseCDF.from_grid([0, 1, 2], [0, 0, -np.inf], kind="cubic"), r"log_f\[2\]: got -inf"),
        (lambda: mcmc.InverseCDF.from_grid([0, 1], [0, 0], kind="spline"), "kind: got 'spline'"),
        (lambda: mcmc.InverseCDF.from_histogram([1, -1], [0, 1, 2]), "counts: got"),
        (lambda: mcmc.InverseCDF.from_histogram([1, 1], [0, 1]), "counts and edges: got shapes"),
        (lambda: mcmc.InverseCDF.from_points([1.0, 1.0]), "points: got"),
        (lambda: mcmc.InverseCDF.from_points([1.0, 2.0], bandwidth=0.0), "bandwidth: got 0"),
        (lambda: mcmc.InverseCDF.from_points([0.0, 1e9], bandwidth=1.0), "bandwidth: got 1.0; expected one above"),
        (
            lambda: mcmc.InverseCDF.from_points([0.0, 1e-9, 2e-9, 3e-9, 1e9]),
            "bandwidth: got .*e-10; expected one above",
        ),
        (lambda: mcmc.InverseCDF.from_histogram([1, 1], [0, 1, 2]).truncated(3.0), "low, high: got"),
    ],
)
def test_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_page_runs():
    page = (Path(__file__).parents[3] / "docs" / "inverse_cdf.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert abs(float(names["from_points"].icdf(0.5))) < 0.2


@pytest.mark.parametrize("draw", ["standard_cauchy", "lognormal"])
def test_points_far_from_all_others_are_not_overlooked(draw):
    rng = np.random.default_rng(5)
    points = rng.standard_cauchy(2000) if draw == "standard_cauchy" else rng.lognormal(0, 3, 2000)
    s = mcmc.InverseCDF.from_points(points)
    bandwidth = 0.9 * min(points.std(ddof=1), stats.iqr(points) / 1.34) * 2000**-0.2
    assert s.u_error <= 1e-10
    assert abs(float(s.log_normalizer)) < 1e-10
    x = np.concatenate([np.quantile(points, [0.001, 0.02, 0.5, 0.98, 0.999]), points[:10] + bandwidth / 3])
    exact = [special.ndtr((at - points) / bandwidth).mean() for at in x]
    np.testing.assert_allclose(s.cdf(x), exact, atol=1e-10)
