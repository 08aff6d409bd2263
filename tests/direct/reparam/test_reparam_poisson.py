"""Poisson draws beside SciPy, from small rates to those that only 64 bits hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from mcmc.direct import reparam
from mcmc.direct.reparam.poisson import log_prob

N = 100_000
RATES = np.array([0.0, 0.02, 1.0, 5.5, 9.99, 10.0, 12.3, 60.0, 1e3, 1e4, 1e6, 2e9])


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_draws_follow_their_law(x64):
    with jax.enable_x64(x64):
        rates = np.append(RATES, [1e12, 1e15]) if x64 else RATES.astype(np.float32)
        x = np.asarray(reparam.poisson(jax.random.key(3), jnp.asarray(rates), shape=(N, len(rates))))
    assert x.dtype == (np.int64 if x64 else np.int32)
    assert np.all(x[:, 0] == 0)
    for rate, draws in zip(rates[1:].astype(float), x.T[1:], strict=True):
        edges = np.unique(np.round(st.poisson(rate).ppf(np.linspace(0, 1, 30)[1:-1])))
        probabilities = np.diff([0.0, *st.poisson(rate).cdf(edges), 1.0])
        found = np.bincount(np.searchsorted(edges, draws), minlength=len(edges) + 1)
        some = probabilities * N > 5
        assert st.chisquare(found[some], N * probabilities[some] / probabilities[some].sum() * found[some].sum() / N
                            ).pvalue > 1e-4  # fmt: skip
        assert abs((draws - rate).mean()) < 4.5 * np.sqrt(rate / N)
        assert abs((draws - rate).std() / np.sqrt(rate) - 1) < 4.5 * np.sqrt((2 + 1 / rate) / (4 * N))


def test_log_probabilities_keep_their_digits_at_huge_rates():
    with jax.enable_x64(True):
        f = jax.jit(log_prob)
        for rate in (10.0, 33.3, 1e4):
            k = np.round(rate + np.sqrt(rate) * np.linspace(-3, 9, 60))
            assert np.allclose(f(np.full(60, rate), k - rate), st.poisson(rate).logpmf(k), atol=1e-9)
        assert np.allclose(f(np.full(60, 12.0), np.full(60, -12.0)), -12.0)
        z = np.linspace(-6, 6, 60)  # next to a normal of that variance, and its first correction
        exact = -z * z / 2 - np.log(2 * np.pi * 1e12) / 2 + (z**3 / 6 - z / 2) * 1e-6
        assert np.allclose(f(np.full(60, 1e12), 1e6 * z), exact, atol=1e-10)


def test_its_types():
    with pytest.raises(ValueError, match="dtype: got 'int64'; expected int32 here"):
        reparam.poisson(jax.random.key(0), 3.0, dtype="int64")
    with pytest.raises(ValueError, match="dtype: got 'float32'"):
        reparam.poisson(jax.random.key(0), 3.0, dtype=np.float32)
    with jax.enable_x64(True), pytest.raises(ValueError, match=r"rate: got.*int64"):
        reparam.poisson(jax.random.key(0), 1e17)
