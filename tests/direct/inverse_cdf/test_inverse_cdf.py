"""InverseCDF on the shared densities: u-error against closed forms, exact laws, tails, what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from densities import BY_NAME, DENSITIES, INF
from scipy import stats

import mcmc
from mcmc.direct.inverse_cdf.inverse_cdf import InverseCDF
from mcmc.direct.inverse_cdf.lookup import quantile
from mcmc.random import philox

U = np.concatenate([np.linspace(0, 1, 4001)[1:-1], np.logspace(-15, -3, 60), 1 - np.logspace(-15, -3, 60)])
FITTED: dict = {}


def fitted(density):
    if density.name not in FITTED:
        FITTED[density.name] = InverseCDF.fit(density.log_density, density.support)
    return FITTED[density.name]


def key(seed=0):
    words = np.array([seed, 1, 2, 3], np.uint32)
    return jax.random.wrap_key_data(words, impl=philox.implementation)


def worth(density, x):
    """What two spacings of numbers at x are worth in u: x is a rounded sum of rounded numbers."""
    lo, hi = density.support
    apart = 2 * np.spacing(np.abs(x)).astype(float)
    return density.cdf(np.minimum(x + apart, hi)) - density.cdf(np.maximum(x - apart, lo))


each = pytest.mark.parametrize("density", DENSITIES, ids=[d.name for d in DENSITIES])


def test_there_are_enough_densities():
    assert len(DENSITIES) >= 25
    assert len(BY_NAME) == len(DENSITIES)


@each
def test_u_error_in_float64(density):
    s = fitted(density)
    assert s.u_error <= 1e-10
    with jax.enable_x64(True):
        x = np.asarray(s.icdf(jnp.asarray(U)))
    error = np.abs(density.cdf(x) - U)
    assert np.all(error <= np.maximum(1e-10, worth(density, x)))
    assert np.all(np.diff(x[:3999]) >= 0)


@each
def test_u_error_in_float32(density):
    u = U.astype(np.float32)
    u = u[(u > 0) & (u < 1)]
    x = np.asarray(fitted(density).icdf(u))
    assert x.dtype == np.float32
    error = np.abs(density.cdf(x.astype(float)) - u)
    assert np.all(error <= np.maximum(1e-7, worth(density, x)))


@each
def test_u_error_of_draws_in_float32(density):
    w = np.concatenate([np.linspace(0, 0.5, 4001)[1:-1], np.logspace(-10, -3, 60)]).astype(np.float32)
    table = fitted(density).table.cast(jnp.dtype("float32"), draws=True)
    for right in (False, True):
        x = np.asarray(quantile(table, jnp.full(w.shape, right), jnp.asarray(w)))
        u = 1 - w.astype(float) if right else w
        assert np.all(np.abs(density.cdf(x.astype(float)) - u) <= np.maximum(1e-7, worth(density, x)))


@jax.jit
def law_at(s, x):
    return *jax.jvp(s.cdf, (x,), (jnp.ones_like(x),)), s.log_prob(x)


@each
def test_cdf_and_log_prob_are_those_of_the_law(density):
    with jax.enable_x64(True):
        x = np.asarray(fitted(density).icdf(jnp.linspace(0.01, 0.99, 50)))
        cdf, slope, log_prob = map(np.asarray, law_at(fitted(density), x))
    assert np.all(np.abs(cdf - density.cdf(x)) <= 1e-10 + worth(density, x))
    np.testing.assert_allclose(slope, np.exp(log_prob), rtol=1e-6)


def test_the_gradient_of_the_cdf_in_reverse_mode():
    s, x = fitted(BY_NAME["normal"]), np.linspace(-3, 3, 20)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(s.cdf)))(x), stats.norm.pdf(x), rtol=1e-6)


@each
def test_draws_follow_the_law(density):
    x = np.asarray(fitted(density).sample(key(3), (20_000,), "float64"))
    assert stats.kstest(x, density.cdf).pvalue > 1e-3
    counts = np.histogram(density.cdf(x), 50, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", ["normal", "gumbel", "student t(0.5)", "gamma(2.5)", "gamma(0.2)", "levy"])
def test_tails_keep_their_shape(name):
    density = BY_NAME[name]
    w = np.logspace(-15, -6, 40)
    with jax.enable_x64(True):
        low = np.asarray(fitted(density).icdf(jnp.asarray(w)))
    np.testing.assert_allclose(density.cdf(low), w, rtol=2e-5)
    with jax.enable_x64(True):
        high = np.asarray(quantile(fitted(density).table, jnp.ones(40, bool), jnp.asarray(w)))
    np.testing.assert_allclose(density.sf(high), w, rtol=2e-5)


def test_float32_draws_reach_both_tails():
    x = np.asarray(fitted(BY_NAME["normal"]).sample(key(), (4_000_000,), "float32"))
    for side in (x, -x):
        beyond = np.sum(side > 4.5)
        expected = 4_000_000 * stats.norm.sf(4.5)
        assert abs(beyond - expected) < 5 * math.sqrt(expected)
        assert side.max() > 4.8


def test_no_draw_in_a_gap_or_outside_the_support():
    x = np.asarray(fitted(BY_NAME["gap"]).sample(key(1), (200_000,), "float64"))
    assert not np.any((x > 1 + 1e-12) & (x < 3 - 1e-12))
    for name in ("gamma(0.2)", "beta(0.5, 0.5)", "uniform(2, 3)"):
        density = BY_NAME[name]
        x = np.asarray(fitted(density).sample(key(2), (200_000,), "float32"))
        assert np.all((x > density.support[0]) & (x < density.support[1]))
        assert np.all(np.isfinite(jax.jit(lambda s, x: s.log_prob(x))(fitted(density), x)))


def test_breaks_find_what_the_scan_does_not():
    def spike(x):
        plain, narrow = -0.5 * x**2, -0.5 * ((x - 3.3333) / 1e-9) ** 2 - math.log(1e-9)
        return jnp.logaddexp(plain, narrow)

    with jax.enable_x64(True):
        s = InverseCDF.fit(spike, (-INF, INF), breaks=(3.3333,))
        found = np.asarray(s.icdf(jnp.asarray([0.25, 0.75])))
    assert abs(found[0] - stats.norm.ppf(0.5)) < 1e-6
    assert abs(found[1] - 3.3333) < 1e-8


def test_kinks_given_or_not():
    def kinked(x):
        return -jnp.abs(x - 0.3) - 2 * jnp.abs(x + 1.7)

    a, b = (InverseCDF.fit(kinked, (-INF, INF), breaks=breaks) for breaks in ((), (-1.7, 0.3)))
    with jax.enable_x64(True):
        u = jnp.linspace(0.001, 0.999, 500)
        assert np.max(np.abs(jax.jit(lambda a, b, u: b.cdf(a.icdf(u)))(a, b, u) - u)) < 1e-10


def test_ends_and_values_outside():
    s = fitted(BY_NAME["exponential"])
    all_three = jax.jit(lambda s, u, x: (s.icdf(u), s.cdf(x), s.log_prob(x)))
    at, below, log = all_three(s, np.array([0.0, 1.0, -0.1, 1.1, np.nan]), np.array([-1.0, 0.0, INF, np.nan]))
    np.testing.assert_array_equal(at, [0.0, INF, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(below[:3], [0.0, 0.0, 1.0])
    assert log[0] == -INF
    assert np.isnan(log[3])
    assert jax.eval_shape(s.icdf, 0.5).shape == ()


@pytest.mark.parametrize("up", [5000.0, -5000.0])
def test_log_normalizer(up):
    s = InverseCDF.fit(lambda x: -0.5 * x**2 + up, (-INF, INF))
    assert abs(s.log_normalizer - up - 0.5 * math.log(2 * math.pi)) < 1e-9


def test_same_key_same_draws_and_dtypes():
    s = fitted(BY_NAME["normal"])
    for k in (key(), jax.random.key(4)):
        a, b = (s.sample(k, (1000,)) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        assert a.dtype == jnp.float32
        wide = s.sample(k, (1000,), "float64")
        assert wide.dtype == jnp.float64
    assert s.sample(key(), (2, 3)).shape == (2, 3)
    assert s.sample(key()).shape == ()
    assert len(np.unique(s.sample(key(), (300_001,), "float64"))) == 300_001


def test_draws_in_blocks_follow_the_law_and_use_other_bits_in_each():
    s = fitted(BY_NAME["normal"])
    for dtype, k in (("float32", key(5)), ("float64", key(5)), ("float64", jax.random.key(5))):
        x = np.asarray(s.sample(k, (3, 70_001), dtype))
        assert x.shape == (3, 70_001)
        assert stats.kstest(x.ravel(), stats.norm.cdf).pvalue > 1e-3
        assert all(stats.kstest(part, stats.norm.cdf).pvalue > 1e-4 for part in np.split(x.ravel()[:200_000], 20))
        assert abs(np.corrcoef(x.ravel()[:100_000], x.ravel()[-100_000:])[0, 1]) < 5 / math.sqrt(100_000)


def test_inside_jit_and_vmap():
    s = fitted(BY_NAME["normal"])
    keys = jax.random.split(key(), 64)
    loop = np.array([s.sample(k, ()) for k in keys])
    np.testing.assert_array_equal(jax.vmap(lambda k: s.sample(k, ()))(keys), loop)
    np.testing.assert_array_equal(jax.jit(lambda s, k: s.sample(k, (50,)))(s, key()), s.sample(key(), (50,)))
    assert jax.jit(lambda: InverseCDF.fit(lambda x: -x, (0.0, INF)).icdf(0.5))() == pytest.approx(math.log(2))


def test_as_chains_and_as_a_proposal():
    s = fitted(BY_NAME["gamma(2.5)"])
    for dtype in ("float32", "float64"):
        draws = mcmc.sample(s, draws=500, chains=4, dtype=dtype, progress=False)
        x = draws.posterior["x"].values.ravel()
        assert stats.kstest(x, stats.gamma(2.5).cdf).pvalue > 1e-3
    target = mcmc.Target(lambda p: 2 * jnp.log(p["x"]) - p["x"], {"x": mcmc.positive()})
    draws = mcmc.sample(target, mcmc.IndependentMetropolis(s), draws=1000, chains=4, seed=1, progress=False)
    x = draws.posterior["x"].values
    assert abs(x.mean() - 3) < 5 * float(mcmc.mcse(x))
    direct = mcmc.sample(target, mcmc.Direct(s), draws=200, chains=4, progress=False)
    assert stats.kstest(direct.posterior["x"].values.ravel(), stats.gamma(2.5).cdf).pvalue > 1e-3


REFUSED = [
    (lambda x: 0.0 * x, (-INF, INF), "not integrable"),
    (lambda x: -jnp.log(x), (0.0, 1.0), "not integrable"),
    (lambda x: -jnp.log(x), (1.0, INF), "not integrable"),
    (lambda x: -jnp.log(x - 2.0), (2.0, 3.0), "not integrable"),
    (lambda x: jnp.full_like(x, -INF), (0.0, 1.0), "finite"),
    (lambda x: jnp.where(x > 0.5, jnp.nan, 0.0), (0.0, 1.0), "NaN at x = 0"),
    (lambda x: -jnp.log(jnp.abs(x)), (-1.0, 1.0), "not integrable"),
    (lambda x: -0.5 * jnp.log(jnp.maximum(jnp.abs(x) - 0.1, 0.0)), (-1.0, 1.0), r"\+inf at x = .* there are more"),
    (lambda x: -x - 2 * jnp.log(jnp.log(x)) - jnp.log(x) + x, (math.e, INF), "tol|integrable"),
]


@pytest.mark.parametrize(("log_density", "support", "says"), REFUSED)
def test_what_has_no_answer_is_refused(log_density, support, says):
    with pytest.raises(mcmc.SamplingError, match=says):
        InverseCDF.fit(log_density, support)


def test_the_point_is_in_the_error():
    with pytest.raises(mcmc.SamplingError) as caught:
        InverseCDF.fit(lambda x: jnp.where(x > 0.5, jnp.nan, 0.0), (0.0, 1.0))
    assert 0.5 < caught.value.position["x"] < 1


def test_a_tolerance_out_of_reach_says_what_was_reached():
    def rough(x):
        return jnp.log(1.5 + jnp.sin(3e5 * x))

    with pytest.raises(mcmc.SamplingError, match=r"u-error of .*expected at most 1e-12"):
        InverseCDF.fit(rough, (0.0, 1.0), tol=1e-12)


@pytest.mark.parametrize("support", [(1.0, 0.0), (1.0, 1.0), (math.nan, 1.0), (INF, INF)])
def test_supports_that_are_none(support):
    with pytest.raises(ValueError, match="support"):
        InverseCDF.fit(lambda x: -x, support)


def test_other_bad_arguments():
    with pytest.raises(TypeError, match="support"):
        InverseCDF.fit(lambda x: -x, 3.0)
    with pytest.raises(ValueError, match="breaks"):
        InverseCDF.fit(lambda x: -x, (0.0, 1.0), breaks=(2.0,))
    with pytest.raises(ValueError, match="tol"):
        InverseCDF.fit(lambda x: -x, (0.0, 1.0), tol=1e-20)
    with pytest.raises(TypeError, match="params"):
        InverseCDF.fit(lambda x: -x, (0.0, 1.0), params=2.0)
    with pytest.raises(TypeError, match="log_density"):
        InverseCDF.fit(3.0, (0.0, 1.0))
    with pytest.raises(ValueError, match="log_density"):
        InverseCDF.fit(lambda x: jnp.sum(x), (0.0, 1.0))
    with pytest.raises(ValueError, match="dtype"):
        fitted(BY_NAME["normal"]).sample(key(), (3,), "bfloat16")
