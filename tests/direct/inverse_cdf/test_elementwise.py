"""Log densities evaluated by NumPy: as JAX does it, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from densities import DENSITIES

from mcmc.direct.inverse_cdf.elementwise import on_host
from mcmc.direct.inverse_cdf.scan import HostDensity

X = np.concatenate([np.linspace(-3, 3, 41), np.geomspace(1e-300, 1e300, 41), [np.inf, -np.inf, np.nan]])
FUNCTIONS = {
    "powers": lambda x: x**2 + x**-3 + jnp.abs(x) ** 1.5 + x**0,
    "choices": lambda x: jnp.where((x > 1) & ~(x < 2) | (x == 0), jnp.clip(x, -1.0, 1.5), jnp.maximum(x, 0.5)),
    "logistic": lambda x: jax.nn.sigmoid(x) + jax.nn.softplus(x) + jax.nn.log_sigmoid(x) + jnp.logaddexp(x, 1.0),
    "inverse": lambda x: jnp.arctan(x) + jnp.arcsinh(x) + jnp.tanh(x) + jnp.arctan2(x, 2.0) + jnp.remainder(x, 1.7),
    "nested": lambda x: jax.jit(lambda y: jnp.hypot(y, 3.0))(x) + jnp.isfinite(x) * 2.0,
    "a constant": lambda x: jnp.full_like(x, 2.5),
}


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True), np.errstate(all="ignore"):
        yield


def assert_same(function, x):
    by_numpy = on_host(function)
    assert by_numpy is not None
    expected = np.asarray(function(jnp.asarray(x)))
    found = by_numpy(x)
    assert (found.shape, found.dtype) == (x.shape, np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_jax_does_it(name):
    assert_same(FUNCTIONS[name], X)


@pytest.mark.parametrize("density", DENSITIES, ids=[d.name for d in DENSITIES])
def test_the_shared_densities(density):
    low, high = np.clip(density.support, -1e3, 1e3)
    assert_same(density.log_density, np.linspace(low, high, 103)[1:-1])


CONSTANTS = jnp.arange(3.0)
UNKNOWN = {
    "a sum over components": lambda x: jax.nn.logsumexp(-((x[..., None] - CONSTANTS) ** 2), axis=-1),
    "lgamma": lambda x: jax.lax.lgamma(x),
    "integers": lambda x: jnp.floor(x).astype(int) // 2 * 1.0,
    "NumPy on arrays": lambda x: jnp.asarray(np.abs(np.asarray(x))),
    "a scalar": lambda x: jnp.sum(x),
    "neighbours": lambda x: x[::-1] + x,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_here_is_left_to_jax(name):
    assert on_host(UNKNOWN[name]) is None


def test_jax_in_batches_gives_the_same():
    def plain(x):
        return -0.5 * x**2

    x = np.linspace(-3, 3, 9001).reshape(-1, 1)
    a = HostDensity(plain, (-np.inf, np.inf))
    b = HostDensity(lambda x: plain(x) + 0 * jax.lax.lgamma(x + 10), (-np.inf, np.inf))
    assert a.by_numpy
    assert not b.by_numpy
    np.testing.assert_allclose(a(x), b(x), rtol=1e-14)
