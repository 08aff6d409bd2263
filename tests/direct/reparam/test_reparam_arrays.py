"""Reparameterised draws of vectors and matrices, mixtures and directions: laws and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from reparam_laws import kolmogorov
from scipy.integrate import quad

from mcmc.direct import reparam
from mcmc.random import philox

N = 20_000
KEY = jax.random.key(7)
LOC = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.3, 0.4, 0.7]])
COVARIANCE = ROOT @ ROOT.T
WIDE = np.array([[1.0, 0.2], [0.3, -1.0], [0.5, 0.5]])
SPREADS = {
    "scale_tril": ({"scale_tril": ROOT}, COVARIANCE),
    "covariance": ({"covariance": COVARIANCE}, COVARIANCE),
    "precision": ({"precision": np.linalg.inv(COVARIANCE)}, COVARIANCE),
    "low rank": ({"factor": WIDE, "diagonal": np.array([0.1, 0.2, 0.3])}, WIDE @ WIDE.T + np.diag([0.1, 0.2, 0.3])),
}


def agree(x, exact):
    """The mean over the first axis within 4.5 Monte Carlo errors."""
    x = np.asarray(x, float)
    assert np.all(np.abs(x.mean(0) - exact) < 4.5 * x.std(0) / np.sqrt(len(x)) + 1e-6)


@pytest.mark.parametrize("name", SPREADS)
def test_multivariate_normal_has_its_covariance_and_gradients(name):
    spread, covariance = SPREADS[name]
    with jax.enable_x64(True):
        x = np.asarray(reparam.multivariate_normal(KEY, LOC, **spread, shape=(N,)))
        agree(x, LOC)
        agree((x - LOC)[:, :, None] * (x - LOC)[:, None], covariance)
        white = np.linalg.solve(np.linalg.cholesky(covariance), (x - LOC).T)
        assert max(kolmogorov(row, st.norm) for row in white) < 2.23

        def energy(spread):  # E (x - LOC)ᵀ A (x - LOC) = tr(A covariance)
            x = reparam.multivariate_normal(KEY, LOC, **spread, shape=(N,)) - LOC
            return jnp.mean(jnp.einsum("ni,ij,nj->n", x, weights, x))

        def exact(spread):
            if "factor" in spread:
                made = spread["factor"] @ spread["factor"].T + jnp.diag(spread["diagonal"])
            elif "precision" in spread:
                made = jnp.linalg.inv(spread["precision"])
            else:
                made = spread["covariance"] if "covariance" in spread else spread["scale_tril"] @ spread["scale_tril"].T
            return jnp.trace(weights @ made)

        weights = jnp.array([[1.0, 0.2, 0.0], [0.2, 0.5, -0.1], [0.0, -0.1, 2.0]])
        spread = jax.tree.map(jnp.asarray, spread)
        gradients = jax.jit(lambda spread: [jax.tree.leaves(jax.grad(f)(spread)) for f in (energy, exact)])
        for found, wanted in zip(*jax.device_get(gradients(spread)), strict=True):
            wanted = np.tril(wanted) if name == "scale_tril" else wanted
            if name in ("covariance", "precision"):
                found, wanted = found + found.T, wanted + wanted.T
            assert np.allclose(found, wanted, rtol=0.05, atol=0.05 * np.abs(wanted).max())


@pytest.mark.parametrize("method", ["eigh", "svd"])
def test_semidefinite_covariances_and_their_gradients(method):
    """Of rank one, with a double eigenvalue 0: E (x - LOC)ᵀ A (x - LOC) = tr(A C) moves by A."""
    covariance = np.outer(LOC, LOC)
    a = jnp.array([[1.0, 0.2, 0.0], [0.2, 0.5, -0.1], [0.0, -0.1, 2.0]])
    with jax.enable_x64(True):

        def energy(scale):
            x = reparam.multivariate_normal(KEY, LOC, covariance=scale * covariance, method=method, shape=(N,)) - LOC
            return jnp.einsum("ni,ij,nj->n", x, a, x), x

        slope, x = map(np.asarray, jax.jit(lambda: jax.jacfwd(energy, has_aux=True)(1.0))())
        agree(x[:, :, None] * x[:, None], covariance)
        assert np.allclose(np.cross(x, LOC), 0, atol=1e-6)
        agree(slope, np.trace(a @ covariance))
    with jax.enable_x64(False):  # twice the same eigenvalue: the gradients of eigenvectors are NaN there
        single = jax.grad(lambda c: reparam.multivariate_normal(KEY, 0.0, covariance=c, method=method).sum())(
            jnp.eye(3)
        )
        assert np.isfinite(single).all()


@pytest.mark.parametrize("a", [1e-20, 1e-25, 1e-30])
def test_dirichlet_gradients_are_numbers_at_tiny_concentrations(a):
    jacobian = np.asarray(dirichlet_with_jacobian(jnp.full(3, a, jnp.float32))[1])
    assert np.isfinite(jacobian).all()


def test_batches_of_normals():
    locs, factors = np.zeros((4, 1, 3)), np.stack([ROOT, 2 * ROOT])
    for spread in ({"scale_tril": factors}, {"precision": np.linalg.inv(factors @ factors.swapaxes(1, 2))}):
        x = np.asarray(reparam.multivariate_normal(KEY, locs, **spread, shape=(5000, 4, 2)))
        assert np.allclose(np.cov(x[:, 1, 1].T), 4 * COVARIANCE, rtol=0.1, atol=0.8)
        one = jax.eval_shape(lambda spread=spread: reparam.multivariate_normal(KEY, locs, **spread))
        assert one.shape == (4, 2, 3)


def test_wishart_is_its_law():
    with jax.enable_x64(True):
        df, draw = 3.5, lambda df: reparam.wishart(KEY, df, scale=COVARIANCE, shape=(N,))
        x, slope = map(np.asarray, jax.jvp(draw, (df,), (1.0,)))
        agree(x, df * COVARIANCE)
        agree(slope, COVARIANCE)
        agree(2 * x[:, 0, 0] * slope[:, 0, 0], (2 * df + 2) * COVARIANCE[0, 0] ** 2)  # of (df² + 2 df) v²
        determinants = np.linalg.det(x) / np.linalg.det(COVARIANCE)
        products = np.prod([st.chi2(df - i).rvs(N, random_state=i) for i in range(3)], 0)
        assert st.ks_2samp(determinants, products).pvalue > 1e-4
        same = reparam.wishart(KEY, df, scale_tril=ROOT, shape=(N,))
        assert np.allclose(same, x)


@pytest.mark.parametrize("concentration", [0.5, 1.0, 4.0])
def test_lkj_has_beta_marginals(concentration):
    """Each correlation of d = 4 is 2 Beta(c, c) − 1 with c = concentration + (d − 2) / 2."""
    with jax.enable_x64(True):
        draw = lambda c: reparam.lkj(KEY, c, 4, shape=(N,))  # noqa: E731
        x, slope = map(np.asarray, jax.jvp(draw, (concentration,), (1.0,)))
        c = concentration + 1
        for i, j in ((1, 0), (3, 0), (3, 2)):
            assert kolmogorov(x[:, i, j], st.beta(c, c, -1, 2)) < 2.23
            agree(2 * x[:, i, j] * slope[:, i, j], -2 / (2 * c + 1) ** 2)  # of the variance 1 / (2c + 1)
        factor = np.asarray(reparam.lkj_cholesky(KEY, concentration, 4, shape=(N,)))
        assert np.allclose(factor @ factor.swapaxes(1, 2), x, atol=1e-12)
        assert np.all(np.linalg.eigvalsh(x) > 0)


@jax.jit
def dirichlet_with_jacobian(a):
    draw = lambda a: reparam.dirichlet(KEY, a, shape=(N,))  # noqa: E731
    return draw(a), jax.jacfwd(draw)(a)


@pytest.mark.parametrize("a", [(2.0, 3.0, 4.0), (0.01, 0.02, 0.01), (1e6, 1e6, 2e6)])
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_dirichlet_moments_and_gradients(a, x64):
    a = np.array(a)
    with jax.enable_x64(x64):
        x, jacobian = (np.asarray(v, float) for v in dirichlet_with_jacobian(jnp.asarray(a, float)))
    mean = a / a.sum()
    agree(x, mean)
    agree(x[:, 0] ** 2, mean[0] * (a[0] + 1) / (a.sum() + 1))
    assert np.allclose(x.sum(1), 1, atol=1e-6)
    assert np.isfinite(jacobian).all()
    exact = (np.eye(3) - mean[:, None]) / a.sum()
    error = jacobian.std(0) / np.sqrt(N)
    assert np.all(np.abs(jacobian.mean(0) - exact) < 4.5 * error + 1e-6 * np.abs(exact))


def test_log_dirichlet_is_finite_where_draws_underflow():
    draw = lambda a: reparam.log_dirichlet(KEY, a, shape=(1000,))  # noqa: E731
    x, slope = map(np.asarray, jax.jit(lambda a: jax.jvp(draw, (a,), (jnp.ones(5),)))(np.full(5, 1e-3, np.float32)))
    assert np.isfinite(x).all()
    assert np.isfinite(slope).all()
    assert float(x.min()) < -200
    assert np.allclose(np.log(np.exp(x).sum(-1)), 0, atol=1e-5)


# --- mixtures -----------------------------------------------------------------------------------------

MIXTURE = (np.array([0.2, -1.0, 0.5]), np.array([-2.0, 0.0, 3.0]), np.array([0.5, 1.5, 0.2]))


def mixture_cdf(x, logits, locs, scales, survival=False):
    weights = np.exp(logits) / np.exp(logits).sum()
    z = (x[:, None] - locs) / scales
    return (weights * (st.norm.sf(z) if survival else st.norm.cdf(z))).sum(1)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_mixture_and_its_gradients_draw_by_draw(x64):
    at = tuple(a.astype(np.float32).astype(float) for a in MIXTURE)
    with jax.enable_x64(x64):
        draw = lambda *at: (reparam.normal_mixture(KEY, *at, shape=(N,)),) * 2  # noqa: E731
        *jacobians, x = jax.tree.leaves(jax.jit(jax.jacfwd(draw, (0, 1, 2), has_aux=True))(*map(jnp.asarray, at)))
    x, jacobians = np.asarray(x, float), [np.asarray(j, float) for j in jacobians]
    law = st.rv_continuous()
    law.cdf, law.sf = lambda x: mixture_cdf(x, *at), lambda x: mixture_cdf(x, *at, survival=True)
    assert kolmogorov(x, law) < 2.23
    weights = np.exp(at[0]) / np.exp(at[0]).sum()
    density = (weights * st.norm.pdf((x[:, None] - at[1]) / at[2]) / at[2]).sum(1)
    right, h = law.cdf(x) > 0.5, 1e-5
    for i, jacobian in enumerate(jacobians):
        for k in range(3):
            moved = [[a + d * (np.arange(3) == k) if j == i else a for j, a in enumerate(at)] for d in (h, -h)]
            down = (mixture_cdf(x, *moved[0]) - mixture_cdf(x, *moved[1])) / (2 * h)
            up = (mixture_cdf(x, *moved[0], survival=True) - mixture_cdf(x, *moved[1], survival=True)) / (2 * h)
            exact = np.where(right, up, -down) / density
            off = np.abs(jacobian[:, k] - exact) / (np.abs(exact) + np.abs(exact).mean())
            assert np.quantile(off, 0.999) < (2e-5 if x64 else 2e-3)


def test_mixture_means_move_with_their_weights():
    with jax.enable_x64(True):
        draw = lambda logits: (reparam.normal_mixture(KEY, logits, *MIXTURE[1:], shape=(N,)),) * 2  # noqa: E731
        with_jacobian = jax.jit(jax.jacfwd(draw, has_aux=True))
        weights = np.exp(MIXTURE[0]) / np.exp(MIXTURE[0]).sum()
        agree(with_jacobian(MIXTURE[0])[0], weights * (MIXTURE[1] - weights @ MIXTURE[1]))
        jacobian, x = with_jacobian(np.array([0.0, -np.inf, 0.0]))
        assert np.isfinite(jacobian).all()
        agree(x, 0.5)


# --- directions ---------------------------------------------------------------------------------------


def von_mises_law(k):
    """Cumulative sums over a fine grid, from the ends of the interval that holds all the mass."""
    reach = min(np.pi, 9 / np.sqrt(max(k, 1e-9)))
    grid = np.linspace(-reach, reach, 400_001)
    level = np.exp(-2 * k * np.sin(grid / 2) ** 2)
    step = np.concatenate([[0], np.cumsum((level[1:] + level[:-1]) / 2)])
    law = st.rv_continuous()
    law.cdf, law.sf = (lambda x: np.interp(x, grid, step / step[-1])), (lambda x: np.interp(-x, grid, step / step[-1]))
    return law


@pytest.mark.parametrize("k", [0.0, 1e-6, 0.5, 4.0, 100.0, 1e5, 1e6])
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_von_mises_and_its_gradient_draw_by_draw(k, x64):
    with jax.enable_x64(x64):
        key = jax.random.key(7, impl=philox.implementation if x64 else "threefry2x32")
        draw = lambda k: reparam.von_mises(key, 0.0, k, shape=(N,))  # noqa: E731
        x, slope = (np.asarray(a, float) for a in jax.jvp(draw, (k,), (1.0,)))
    k = float(np.float32(k)) if not x64 else k
    assert kolmogorov(x, von_mises_law(k)) < 2.23
    versine = lambda t: 2 * np.sin(t / 2) ** 2  # noqa: E731
    cut = min(np.pi, 9 / np.sqrt(max(k, 1e-9)))
    level, rest = (
        quad(lambda t, n=n: versine(t) ** n * np.exp(-k * versine(t)), 0, cut, epsrel=1e-12)[0] for n in (0, 1)
    )
    for angle, found in zip(x[:40], slope[:40], strict=True):
        from_zero = lambda t: (rest / level - versine(t)) * np.exp(k * (versine(angle) - versine(t)))  # noqa: E731
        exact = -quad(from_zero, 0, abs(angle), epsrel=1e-12)[0] * np.sign(angle)
        scale = np.abs(slope).mean()
        assert abs(found - exact) < (1e-6 if x64 else 1e-4) * (abs(exact) + scale)


def test_von_mises_wraps_about_its_direction():
    from scipy.special import i0e, i1e

    x, by_loc = map(np.asarray, jax.jvp(lambda loc: reparam.von_mises(KEY, loc, 4.0, shape=(N,)), (3.0,), (1.0,)))
    assert np.abs(x).max() <= np.float32(np.pi)
    agree(np.cos(x - 3.0), i1e(4.0) / i0e(4.0))
    agree(np.cos(x) * by_loc, np.cos(3.0) * i1e(4.0) / i0e(4.0))  # of sin x
