"""Multivariate t, matrix normal, logistic-normal, directions, and mixtures of any laws: laws and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from numpyro import distributions as dist  # not by its own name: ArviZ may have put a lazy numpyro in its place
from reparam_laws import kolmogorov
from scipy.integrate import quad
from scipy.special import ive

import mcmc
from mcmc.direct import reparam

N = 20_000
KEY = jax.random.key(5)
LOC = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.3, 0.4, 0.7]])
COLUMNS = np.array([[1.0, 0.0], [-0.5, 0.3]])
SCALE = ROOT @ ROOT.T


def agree(x, exact):
    """The mean over the first axis within 4.5 Monte Carlo errors."""
    x = np.asarray(x, float)
    assert np.all(np.abs(x.mean(0) - exact) < 4.5 * x.std(0) / np.sqrt(len(x)) + 1e-6)


# --- arrays of normals ----------------------------------------------------------------------------------


def test_multivariate_student_t_is_its_law():
    df = 9.0
    with jax.enable_x64(True):
        draw = lambda df, s: reparam.multivariate_student_t(KEY, df, LOC, scale=s * SCALE, shape=(N,)) - LOC  # noqa: E731
        y, by_df = map(np.asarray, jax.jvp(draw, (df, 1.0), (1.0, 0.0)))
        _, by_scale = map(np.asarray, jax.jvp(draw, (df, 1.0), (0.0, 1.0)))
    white = np.linalg.solve(ROOT, y.T)
    assert max(kolmogorov(row, st.t(df)) for row in white) < 2.23
    assert kolmogorov((white**2).sum(0) / 3, st.f(3, df)) < 2.23
    agree(2 * y[:, :, None] * by_df[:, None], -2 * SCALE / (df - 2) ** 2)  # of the covariance, SCALE df / (df - 2)
    agree(2 * y[:, :, None] * by_scale[:, None], SCALE * df / (df - 2))
    with jax.enable_x64(True):
        same = np.asarray(reparam.multivariate_student_t(KEY, df, LOC, scale_tril=ROOT, shape=(N,)))
    assert np.allclose(same, y + LOC)


def test_matrix_normal_is_its_law():
    loc = np.arange(6.0).reshape(3, 2) / 3
    with jax.enable_x64(True):

        def draw(row, column):
            return reparam.matrix_normal(KEY, loc, scale_tril_row=row, scale_tril_column=column, shape=(N,))

        x = np.asarray(draw(ROOT, COLUMNS))
        size = lambda *at: jnp.mean(jnp.sum(draw(*at) ** 2, (1, 2)))  # noqa: E731
        by_row, by_column = map(np.asarray, jax.jit(jax.grad(size, (0, 1)))(ROOT, COLUMNS))
    y = x - loc
    agree(np.einsum("nij,nkl->nijkl", y, y), np.einsum("ik,jl->ijkl", SCALE, COLUMNS @ COLUMNS.T))
    white = np.linalg.solve(ROOT, y) @ np.linalg.inv(COLUMNS).T
    assert max(kolmogorov(white[:, i, j], st.norm) for i in range(3) for j in range(2)) < 2.4
    exact = 2 * ROOT * np.trace(COLUMNS @ COLUMNS.T), 2 * COLUMNS * np.trace(SCALE)
    for found, wanted in zip((by_row, by_column), exact, strict=True):  # of |loc|² + tr A Aᵀ tr B Bᵀ
        assert np.allclose(found, np.tril(wanted), atol=0.05 * np.abs(wanted).max())


def test_logistic_normal_is_its_law():
    with jax.enable_x64(True):
        draw = lambda loc: reparam.logistic_normal(KEY, loc, scale_tril=0.3 * ROOT, shape=(N,))  # noqa: E731
        x, slope = map(np.asarray, jax.jvp(draw, (LOC,), (np.array([0.0, 0.0, 1.0]),)))
        y = np.log(x[:, :3] / x[:, 3:]) - LOC
        assert max(kolmogorov(row, st.norm) for row in np.linalg.solve(0.3 * ROOT, y.T)) < 2.23
        assert np.allclose(x.sum(1), 1)
        assert np.allclose(slope.sum(1), 0, atol=1e-12)
        one = lambda loc: reparam.logistic_normal(KEY, loc, covariance=np.array([[0.64]]), shape=(N,))[:, 0]  # noqa: E731
        x, slope = map(np.asarray, jax.jvp(one, (np.array([0.3]),), (np.ones(1),)))
    mean = lambda m: quad(lambda z: st.norm.pdf(z) / (1 + np.exp(-m - 0.8 * z)), -9, 9)[0]  # noqa: E731
    agree(x, mean(0.3))
    agree(slope, (mean(0.31) - mean(0.29)) / 0.02)


# --- directions -----------------------------------------------------------------------------------------


def mean_cosine(d, k):
    """E[cos] of von Mises-Fisher, and its derivative in k."""
    if k == 0:
        return 0.0, 1 / d
    a = ive(d / 2, k) / ive(d / 2 - 1, k)
    return a, (d - 1) / (2 * k * k) if k > 1e4 else 1 - a * a - (d - 1) / k * a


def direction(d):
    mean = np.cos(np.arange(d))
    return mean / np.linalg.norm(mean)


@jax.jit
def directions_with_slopes(mu, k):
    draws = [lambda k, f=f: f(KEY, mu, k, shape=(N,)) for f in (reparam.power_spherical, reparam.von_mises_fisher)]
    return [jax.jvp(draw, (k,), (jnp.ones_like(k),)) for draw in draws]


@pytest.mark.parametrize("d", [2, 5, 60])
def test_directions_have_their_cosines_and_gradients(d):
    mu = direction(d)
    for k in (0.0, 0.5, 10.0, 1e5):
        with jax.enable_x64(True):
            (power, by_power), (fisher, by_fisher) = jax.device_get(directions_with_slopes(mu, np.float64(k)))
        for x in (power, fisher):
            assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-12)
        agree(power @ mu, k / (k + d - 1))
        agree(by_power @ mu * (k + d - 1), (d - 1) / (k + d - 1))
        cosine, slope = mean_cosine(d, k)
        agree(fisher @ mu, cosine)
        agree(by_fisher @ mu / slope, 1.0)
        assert np.all(by_fisher @ mu >= 0)  # a larger concentration draws every one nearer


def test_cosines_follow_their_laws():
    mu = direction(3)
    with jax.enable_x64(True):
        cosine = np.asarray(reparam.power_spherical(KEY, mu, 4.0, shape=(N,)) @ mu)
        assert kolmogorov((1 + cosine) / 2, st.beta(5.0, 1.0)) < 2.23
        x = np.asarray(reparam.von_mises_fisher(KEY, mu, 4.0, shape=(N,)))
        law = st.truncexpon(8.0, scale=1 / 4.0)  # of 1 - cos, in three dimensions
        assert kolmogorov(1 - x @ mu, law) < 2.23
        other = np.cross(mu, [0.0, 0.0, 1.0])
        other /= np.linalg.norm(other)
        around = np.arctan2(x @ other, x @ np.cross(mu, other))
        assert kolmogorov(around, st.uniform(-np.pi, 2 * np.pi)) < 2.23
        plane = np.asarray(reparam.von_mises_fisher(KEY, direction(2), 2.0, shape=(N,)))
        turn = np.arctan2(*plane.T[::-1]) - np.arctan2(*direction(2)[::-1])
        assert st.kstest((turn + np.pi) % (2 * np.pi) - np.pi, st.vonmises(2.0).cdf).pvalue > 1e-4


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_von_mises_fisher_gradients_draw_by_draw(x64):
    """In three dimensions F(t) = (exp(k t) - exp(-k)) / (exp(k) - exp(-k)) in closed form."""
    mu, k, h = np.array([0.0, 0.0, 1.0]), 4.0, 1e-6
    with jax.enable_x64(x64):
        draw = lambda k: reparam.von_mises_fisher(KEY, mu, k, shape=(2000,))[:, 2]  # noqa: E731
        t, slope = (np.asarray(a, float) for a in jax.jvp(draw, (k,), (1.0,)))
    below = lambda k: np.expm1(k * (t + 1)) / np.expm1(2 * k)  # noqa: E731
    exact = -(below(k + h) - below(k - h)) / (2 * h) / (k * np.exp(k * (t - 1)) / -np.expm1(-2 * k))
    assert np.abs(slope - exact).max() < (1e-8 if x64 else 2e-5)


@pytest.mark.parametrize("sampler", [reparam.power_spherical, reparam.von_mises_fisher])
def test_directions_turn_with_their_mean_and_have_second_derivatives(sampler):
    mu, k = direction(4), 3.0
    a = k / (k + 3) if sampler is reparam.power_spherical else mean_cosine(4, k)[0]
    with jax.enable_x64(True):
        draw = lambda mu: sampler(KEY, mu / jnp.linalg.norm(mu), k, shape=(N,))  # noqa: E731
        agree(jax.jit(jax.jacfwd(draw))(mu), a * (np.eye(4) - np.outer(mu, mu)))
        first = jax.jacfwd(lambda k: sampler(KEY, mu, k, shape=(N,)) @ mu)
        bend = np.asarray(jax.jit(jax.jacfwd(first))(k))
    exact = -6 / (k + 3) ** 3
    if sampler is reparam.von_mises_fisher:
        exact = (mean_cosine(4, k + 1e-4)[1] - mean_cosine(4, k - 1e-4)[1]) / 2e-4
    agree(bend, exact)


# --- mixtures -------------------------------------------------------------------------------------------

AT = (np.array([0.3, -0.2]), 3.0, 0.5)


def laws(a, scale):
    return [dist.Gamma(a, 1.0), dist.Normal(-1.0, scale)]


def mixture_law(logits, a, scale):
    w = np.exp(logits) / np.exp(logits).sum()
    parts = [st.gamma(a), st.norm(-1.0, scale)]
    law = st.rv_continuous()
    for name in ("cdf", "sf", "pdf"):
        setattr(law, name, lambda x, name=name: sum(v * getattr(p, name)(x) for v, p in zip(w, parts, strict=True)))
    return law


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_mixture_and_its_gradients_draw_by_draw(x64):
    at = tuple(np.asarray(a, np.float32).astype(float) for a in AT)
    with jax.enable_x64(x64):
        draw = lambda logits, a, scale: (reparam.mixture(KEY, logits, laws(a, scale), shape=(N,)),) * 2  # noqa: E731
        jacobians, x = jax.jit(jax.jacfwd(draw, (0, 1, 2), has_aux=True))(*map(jnp.asarray, at))
    x, law, jacobians = np.asarray(x, float), mixture_law(*at), jax.device_get(jacobians)
    assert kolmogorov(x, law) < 2.23
    h = 1e-5
    moves = [(0, np.array([h, 0.0])), (0, np.array([0.0, h])), (1, h), (2, h)]
    found = [*np.asarray(jacobians[0], float).T, *(np.asarray(j, float) for j in jacobians[1:])]
    right = law.cdf(x) > 0.5
    for (i, step), slope in zip(moves, found, strict=True):
        up, down = (mixture_law(*(v + s * step if j == i else v for j, v in enumerate(at))) for s in (1, -1))
        change = np.where(right, -(up.sf(x) - down.sf(x)), up.cdf(x) - down.cdf(x)) / (2 * h)
        exact = -change / law.pdf(x)
        off = np.abs(slope - exact) / (np.abs(exact) + np.abs(exact).mean())
        assert np.quantile(off, 0.99) < (2e-5 if x64 else 5e-3)


def test_mixture_agrees_with_the_mixture_of_normals():
    logits, locs, scales = np.array([0.2, -1.0, 0.5]), np.array([-2.0, 0.0, 3.0]), np.array([0.5, 1.5, 0.2])
    w = np.exp(logits) / np.exp(logits).sum()
    with jax.enable_x64(True):
        draw = lambda *at: (reparam.mixture(KEY, at[0], dist.Normal(*at[1:]), shape=(N,)),) * 2  # noqa: E731
        (by_logits, by_locs, by_scales), x = jax.jit(jax.jacfwd(draw, (0, 1, 2), has_aux=True))(logits, locs, scales)
        again = jax.jit(jax.jacfwd(jax.jacfwd(lambda a: draw(a, locs, 2 * np.ones(3))[0] ** 2)))(logits)
    x, by_logits, by_locs, by_scales = map(np.asarray, (x, by_logits, by_locs, by_scales))
    squares = locs**2 + scales**2
    agree(by_logits, w * (locs - w @ locs))
    agree(by_locs, w)
    agree(2 * x[:, None] * by_logits, w * (squares - w @ squares))
    agree(2 * x[:, None] * by_scales, 2 * w * scales)
    squares = locs**2 + 4.0
    mean = w @ squares
    exact = np.diag(w * (squares - mean)) - np.outer(w, w) * (np.add.outer(squares, squares) - 2 * mean)
    agree(again, exact)


def test_mixtures_of_fitted_laws_and_of_one_empty_component():
    tail = mcmc.InverseCDF.fit(lambda x: -x, (0.0, np.inf))
    with jax.enable_x64(True):
        draw = lambda logits: (reparam.mixture(KEY, logits, [tail, dist.Normal(-3.0, 1.0)], shape=(N,)),) * 2  # noqa: E731
        with_slope = jax.jit(jax.jacfwd(draw, has_aux=True))
        slope, x = with_slope(jnp.zeros(2))
        agree(x, -1.0)
        agree(slope, [1.0, -1.0])
        slope, x = with_slope(jnp.array([0.0, -np.inf]))
    agree(x, 1.0)
    assert np.isfinite(slope).all()


# --- how they are called --------------------------------------------------------------------------------


def test_shapes_are_batch_shapes_of_arrays_and_full_shapes_of_numbers():
    def shape(f, *at, **more):
        return jax.eval_shape(lambda: f(KEY, *at, **more)).shape

    ones, mu = np.ones((2, 1)), np.tile(direction(3), (2, 1))
    for of in ((5, 2), (2,), None):
        batch = (2,) if of is None else of
        assert shape(reparam.multivariate_student_t, np.ones(2), 0.0, scale=np.eye(3), shape=of) == (*batch, 3)
        assert shape(reparam.logistic_normal, np.zeros((2, 3)), scale_tril=np.eye(3), shape=of) == (*batch, 4)
        factors = {"scale_tril_row": np.eye(3), "scale_tril_column": np.tile(np.eye(2), (2, 1, 1))}
        assert shape(reparam.matrix_normal, 0.0, **factors, shape=of) == (*batch, 3, 2)
        for f in (reparam.power_spherical, reparam.von_mises_fisher):
            assert shape(f, mu, 2.0, shape=of) == (*batch, 3)
        assert shape(reparam.mixture, np.zeros((2, 2)), laws(3.0, np.ones(2)), shape=of) == batch
        assert shape(reparam.mixture, np.zeros(4), dist.Normal(ones, np.ones(4)), shape=of) == batch
    with jax.enable_x64(True):
        assert reparam.power_spherical(KEY, jnp.float32(direction(3)), jnp.float32(2.0)).dtype == jnp.float32
        assert reparam.von_mises_fisher(KEY, direction(3), 2.0).dtype == jnp.float64


BAD = [
    (lambda: reparam.multivariate_student_t(KEY, 3.0, np.zeros(3)), "scale_tril or scale"),
    (lambda: reparam.multivariate_student_t(KEY, 0.0, np.zeros(3), scale=np.eye(3)), "df: got"),
    (lambda: reparam.multivariate_student_t(KEY, 3.0, np.zeros(2), scale=np.eye(3)), "loc: got shape"),
    (lambda: reparam.multivariate_student_t(KEY, 3.0, 0.0, scale=-np.eye(3)), "scale: got.*definite"),
    (lambda: reparam.matrix_normal(KEY, 0.0, scale_tril_row=np.ones((2, 2)), scale_tril_column=np.eye(2)), "row: got"),
    (lambda: reparam.matrix_normal(KEY, np.ones((3, 2)), scale_tril_row=np.eye(2), scale_tril_column=np.eye(2)), "loc"),
    (lambda: reparam.logistic_normal(KEY, np.zeros(2)), "one of scale_tril"),
    (lambda: reparam.power_spherical(KEY, np.ones(3), 1.0), "mean_direction: got.*length 1"),
    (lambda: reparam.von_mises_fisher(KEY, np.ones(1), 1.0), "mean_direction: got shape"),
    (lambda: reparam.von_mises_fisher(KEY, direction(3), -1.0), "concentration: got"),
    (lambda: reparam.mixture(KEY, np.zeros(3), laws(3.0, 1.0)), "components: got.*3 of them"),
    (lambda: reparam.mixture(KEY, np.zeros(3), dist.Normal(np.zeros(2))), "components: got"),
    (lambda: reparam.mixture(KEY, np.full(2, -np.inf), laws(3.0, 1.0)), "finite logit"),
    (lambda: reparam.mixture(KEY, np.zeros(2), laws(3.0, np.ones(1)), shape=(5,)), "components: got a batch"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_components_that_are_no_laws_of_real_numbers():
    with pytest.raises(TypeError, match="laws with sample"):
        reparam.mixture(KEY, np.zeros(2), [1.0, 2.0])
    with pytest.raises(TypeError, match="laws of real numbers"):
        reparam.mixture(KEY, np.zeros(2), [dist.Poisson(1.0), dist.Poisson(2.0)])


def test_bad_values_give_nan_in_compiled_code():
    @jax.jit
    def draws(df, direction, k, logits):
        return (
            reparam.multivariate_student_t(KEY, df, 0.0, scale_tril=np.eye(2)),
            reparam.von_mises_fisher(KEY, direction, k),
            reparam.power_spherical(KEY, direction, k),
            reparam.mixture(KEY, logits, laws(3.0, 1.0)),
        )

    good = (3.0, direction(3), 1.0, np.zeros(2))
    assert all(np.isfinite(x).all() for x in draws(*good))
    for bad, which in ((-1.0, 0), (np.ones(3), 1), (-1.0, 2), (np.full(2, -np.inf), 3)):
        x = draws(*(bad if i == which else v for i, v in enumerate(good)))
        touched = {0: [0], 1: [1, 2], 2: [1, 2], 3: [3]}[which]
        assert [bool(np.isnan(a).all()) for a in x] == [i in touched for i in range(4)]
