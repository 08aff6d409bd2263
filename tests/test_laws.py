"""The shared laws: densities against SciPy's, moments against draws and quadrature, and Stein's identity."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME, LAWS
from scipy import stats
from scipy.integrate import quad

N = 200_000


# --- independent accounts: name -> (draws, log densities of draws up to a constant) --------------------


def each_normal(rng, n, loc, covariance):
    law = stats.multivariate_normal(loc, covariance)
    x = law.rvs(n, random_state=rng)
    return {"x": x}, law.logpdf(x)


def student_t(rng, n):
    law = stats.multivariate_t(np.zeros(2), np.eye(2), df=7)
    x = law.rvs(n, random_state=rng)
    return {"x": x}, law.logpdf(x)


def mixture(rng, n):
    x = rng.normal(np.where(rng.random(n) < 0.3, -1.5, 1.5))
    return {"x": x}, np.log(0.3 * stats.norm.pdf(x, -1.5) + 0.7 * stats.norm.pdf(x, 1.5))


def funnel(rng, n, scale, k):
    v = rng.normal(0, scale, n)
    sd = np.exp(v / 2)[:, None]
    x = sd * rng.normal(size=(n, k))
    return {"v": v, "x": x}, stats.norm.logpdf(v, 0, scale) + stats.norm.logpdf(x, 0, sd).sum(1)


def banana(rng, n):
    x1 = rng.normal(1, 1, n)
    x2 = rng.normal(x1**2, 0.5)
    return {"x1": x1, "x2": x2}, stats.norm.logpdf(x1, 1) + stats.norm.logpdf(x2, x1**2, 0.5)


def dirichlet(rng, n):
    x = rng.dirichlet([2, 3, 4], n)
    return {"x": x}, stats.dirichlet([2, 3, 4]).logpdf(x.T)


def gamma(rng, n):
    law = stats.gamma(3, scale=0.5)
    x = law.rvs(n, random_state=rng)
    return {"x": x}, law.logpdf(x)


def bounded(rng, n):
    alpha, beta = rng.beta(3, 4, n), rng.beta(2, 2, n)  # the second: beta / (1 - alpha)
    log_p = stats.beta.logpdf(alpha, 3, 4) + stats.beta.logpdf(beta, 2, 2) - np.log1p(-alpha)
    return {"alpha": alpha, "beta": beta * (1 - alpha)}, log_p


def order_statistics(rng, n):
    x = np.sort(rng.normal(size=(n, 3)), 1)
    return {"x": x}, stats.norm.logpdf(x).sum(1)


def von_mises(rng, n):
    x = rng.vonmises(0.5, 2, n)
    return {"angle": x}, stats.vonmises.logpdf(x, 2, loc=0.5)


def binomial(rng, n):
    x = rng.binomial(10, 0.3, n)
    return {"n": x}, stats.binom.logpmf(x, 10, 0.3)


def ising_states():
    field = [0.4, -0.2, 0.1, 0.0, 0.3, -0.5, 0.2, 0.0, -0.1]
    pairs = [(3 * i + j, 3 * i + (j + 1) % 3) for i in range(3) for j in range(3)]
    pairs += [(3 * i + j, 3 * ((i + 1) % 3) + j) for i in range(3) for j in range(3)]
    states = np.array(list(itertools.product([-1, 1], repeat=9)))
    log_p = [sum(f * t for f, t in zip(field, s)) + 0.15 * sum(s[i] * s[j] for i, j in pairs) for s in states]
    return states, np.array(log_p)


def ising(rng, n):
    states, log_p = ising_states()
    index = rng.choice(len(states), n, p=np.exp(log_p) / np.exp(log_p).sum())
    return {"up": (states[index] > 0).reshape(-1, 3, 3)}, log_p[index]


ACCOUNTS = {
    "normal": lambda rng, n: each_normal(rng, n, [1, -2, 0.5], np.diag([0.01, 1, 100])),
    "correlated_normal": lambda rng, n: each_normal(rng, n, [0, 1, 2, -1, -2], np.where(np.eye(5, dtype=bool), 1, 0.9)),
    "student_t": student_t,
    "mixture": mixture,
    "funnel": lambda rng, n: funnel(rng, n, 1, 2),
    "funnel_hard": lambda rng, n: funnel(rng, n, 3, 9),
    "banana": banana,
    "dirichlet": dirichlet,
    "gamma": gamma,
    "bounded": bounded,
    "order_statistics": order_statistics,
    "von_mises": von_mises,
    "binomial": binomial,
    "ising": ising,
}
each = pytest.mark.parametrize("law", LAWS, ids=repr)


@each
def test_density_is_the_one_that_the_draws_have(law):
    with jax.enable_x64(True):
        p, expected = ACCOUNTS[law.name](np.random.default_rng(1), 500)
        got = jax.jit(jax.vmap(law.log_density))(jax.tree.map(jnp.asarray, p))
        assert got.shape == (500,)
        difference = got - expected
        np.testing.assert_allclose(difference, difference[0], rtol=1e-9, atol=1e-9)


@each
def test_moments_are_those_of_the_draws(law):
    p, _ = ACCOUNTS[law.name](np.random.default_rng(2), N)
    assert list(p) == list(law.mean) == list(law.sd) == list(law.parameters)
    for name, x in p.items():
        mean, sd = law.mean[name], law.sd[name]
        assert np.shape(mean) == np.shape(sd) == law.parameters[name].shape
        if (law.name, name) == ("funnel_hard", "x"):
            continue  # its fourth moment is exp(18) times its second squared: see the quadrature below
        np.testing.assert_array_less(np.abs(x.mean(0) - mean), 5 * sd / np.sqrt(N))
        squares = (x - mean) ** 2
        error = squares.std(0) / np.sqrt(N)
        np.testing.assert_array_less(np.abs(squares.mean(0) - sd**2), 5 * error + 1e-12)
    for name, covariance in law.covariance.items():
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), law.sd[name], rtol=1e-12)
        scale = np.outer(law.sd[name], law.sd[name])
        np.testing.assert_allclose(np.cov(p[name].T) / scale, covariance / scale, atol=0.02)


@each
def test_draws_are_contained_and_positions_finite(law):
    draws, _ = ACCOUNTS[law.name](np.random.default_rng(3), 50)
    before = {}
    for name, support in law.parameters.items():
        x = jnp.asarray(draws[name])
        both = jax.jit(jax.vmap(lambda x, before, s=support: (s.contains(x, before), s.unconstrain(x, before))))
        contained, position = jax.device_get(both(x, before))
        assert contained.all()
        assert np.isfinite(position).all()
        before[name] = x
        assert support.discrete == law.discrete


@each
def test_log_density_is_a_scalar_in_the_dtype_of_its_positions(law):
    with jax.enable_x64(True):

        def at(positions):
            p = {}
            for name, support in law.parameters.items():
                p[name], _ = support.constrain(positions[name], p)
            return law.log_density(p)

        shapes = {name: support.position_shape for name, support in law.parameters.items()}
        value = jax.eval_shape(at, {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()})
        assert value.shape == ()
        assert law.discrete or value.dtype == "float32"


def test_moments_by_quadrature():
    def moments(density, low, high):
        mass, first, second = (
            quad(lambda x: x**k * density(x), low, high, epsabs=1e-13, limit=200)[0] for k in range(3)
        )
        return first / mass, np.sqrt(second / mass - (first / mass) ** 2)

    def check(name, parameter, density, low, high, at=()):
        mean, sd = moments(density, low, high)
        np.testing.assert_allclose(BY_NAME[name].mean[parameter][at], mean, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(BY_NAME[name].sd[parameter][at], sd, rtol=1e-8)

    pdf, cdf = stats.norm.pdf, stats.norm.cdf
    check("order_statistics", "x", lambda x: pdf(x) * cdf(x) ** 2, -12, 12, 2)
    check("order_statistics", "x", lambda x: pdf(x) * cdf(x) * cdf(-x), -12, 12, 1)
    check("mixture", "x", lambda x: 0.3 * pdf(x + 1.5) + 0.7 * pdf(x - 1.5), -15, 15)
    check("gamma", "x", stats.gamma(3, scale=0.5).pdf, 0, 40)
    check("bounded", "alpha", stats.beta(3, 4).pdf, 0, 1)
    check("bounded", "beta", stats.beta(2, 5).pdf, 0, 1)
    check("von_mises", "angle", stats.vonmises(2, loc=0.5).pdf, -np.pi, np.pi)
    for name, scale in (("funnel", 1.0), ("funnel_hard", 3.0)):
        variance = quad(lambda v: np.exp(v) * pdf(v, 0, scale), -40, 60, limit=200, points=[0, scale**2])[0]
        np.testing.assert_allclose(BY_NAME[name].sd["x"] ** 2, variance, rtol=1e-8)


def test_ising_by_another_enumeration():
    states, log_p = ising_states()
    p = np.exp(log_p) / np.exp(log_p).sum()
    mean = (p @ (states > 0)).reshape(3, 3)
    np.testing.assert_allclose(BY_NAME["ising"].mean["up"], mean, rtol=1e-12)
    np.testing.assert_allclose(BY_NAME["ising"].sd["up"], np.sqrt(mean * (1 - mean)), rtol=1e-12)


def test_the_list():
    assert len(BY_NAME) == len(LAWS) == len(ACCOUNTS)
    assert [law.name for law in LAWS if law.hard] == ["funnel_hard"]
    assert [law.name for law in LAWS if law.discrete] == ["binomial", "ising"]


@pytest.mark.parametrize("law", [law for law in LAWS if not law.discrete and not law.hard], ids=repr)
def test_steins_identity_in_unconstrained_space(law):
    """Positions of exact draws have E[grad] = 0 and E[y grad'] = -I: Jacobians and densities agree."""
    n = 20_000
    with jax.enable_x64(True):
        draws, _ = ACCOUNTS[law.name](np.random.default_rng(4), n)
        rng = np.random.default_rng(5)
        positions, before = {}, {}
        for name, support in law.parameters.items():
            x = jnp.asarray(draws[name])
            y = jax.jit(jax.vmap(support.unconstrain))(x, before)
            if support.name == "circular":  # the radius has a law of its own
                y = y * np.exp(rng.normal(0, 0.3, (n, 1)))
            positions[name] = y
            before[name] = x

        def log_density(y):
            p, total = {}, 0.0
            for name, support in law.parameters.items():
                p[name], log_jacobian = support.constrain(y[name], p)
                total += log_jacobian
            return law.log_density(p) + total

        gradient = jax.jit(jax.vmap(jax.grad(log_density)))(positions)
        y = np.concatenate([np.reshape(v, (n, -1)) for v in positions.values()], 1)
        g = np.concatenate([np.reshape(gradient[name], (n, -1)) for name in positions], 1)
    np.testing.assert_array_less(np.abs(g.mean(0)), 5 * g.std(0) / np.sqrt(n))
    products = y[:, :, None] * g[:, None, :]
    error = products.std(0) / np.sqrt(n)
    np.testing.assert_array_less(np.abs(products.mean(0) + np.eye(y.shape[1])), 5 * error)
