"""Draws without replacement: the law of the order, its log probability, and what can't be drawn."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.direct import categorical

KEY = jax.random.key(0)
X = np.array([0.5, -1.0, 1.2, 0.0], np.float32)


def in_order(sequence, logits):
    """The probability of a sequence by its definition."""
    p = np.exp(np.asarray(logits, float))
    p /= p.sum()
    result, left = 1.0, 1.0
    for i in sequence:
        result *= p[i] / left
        left -= p[i]
    return result


@pytest.mark.parametrize("n", [1, 2, 4])
def test_sequences_follow_their_law(n):
    count = 20_000
    draws, log_p = categorical.sample_without_replacement(KEY, np.tile(X, (count, 1)), n, return_log_prob=True)
    draws = np.asarray(draws)
    found, first = {}, {}
    for i, sequence in enumerate(map(tuple, draws)):
        found[sequence] = found.get(sequence, 0) + 1
        first.setdefault(sequence, i)
    for sequence in permutations(range(4), n):
        p = in_order(sequence, X)
        assert abs(found.get(sequence, 0) - count * p) < 5 * np.sqrt(count * p)
        if sequence in first:
            assert float(log_p[first[sequence]]) == pytest.approx(np.log(p), abs=2e-6)


def test_a_rare_tail_keeps_its_log_probability():
    x = jnp.array([0.0, -50.0, -51.0, -200.0])
    order, log_p = categorical.sample_without_replacement(KEY, x, 4, return_log_prob=True)
    assert int(order[0]) == 0
    assert int(order[3]) == 3
    assert float(log_p) == pytest.approx(-np.log1p(np.exp(-1.0)) - int(order[1] == 2), abs=1e-5)


def test_the_log_probability_has_its_gradient():
    def f(x):
        order, log_p = categorical.sample_without_replacement(KEY, x, 3, return_log_prob=True)
        return log_p, order

    (log_p, order), slope = jax.device_get(jax.jit(jax.value_and_grad(f, has_aux=True))(X))
    np.testing.assert_array_equal(order, categorical.sample_without_replacement(KEY, X, 3))

    def plain(x):
        steps = [x[i] - jax.nn.logsumexp(x[np.setdiff1d(np.arange(4), order[:j])]) for j, i in enumerate(order)]
        return sum(steps)

    value, wanted = jax.jit(jax.value_and_grad(plain))(X)
    assert float(log_p) == pytest.approx(float(value), abs=1e-5)
    np.testing.assert_allclose(slope, wanted, atol=1e-5)


def test_filters_rows_and_axes():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 20, 2)), jnp.float32)
    keys = jax.random.split(KEY, (3, 2))
    order = np.asarray(categorical.sample_without_replacement(keys, x, 5, axis=1, top_k=5))
    assert order.shape == (3, 2, 5)
    expected = np.sort(np.argsort(np.asarray(x), axis=1)[:, -5:], axis=1)
    np.testing.assert_array_equal(np.sort(order, axis=-1), np.moveaxis(expected, 1, -1))
    alone = categorical.sample_without_replacement(keys[1, 1], x[1, :, 1], 5, top_k=5)
    np.testing.assert_array_equal(alone, order[1, 1])


def test_too_many_are_refused():
    x = jnp.array([0.0, 1.0, -jnp.inf])
    with pytest.raises(ValueError, match="n: got 4"):
        categorical.sample_without_replacement(KEY, x, 4)
    with pytest.raises(ValueError, match="fewer than n = 3 tokens"):
        categorical.sample_without_replacement(KEY, x, 3)
    f = jax.jit(lambda x: categorical.sample_without_replacement(KEY, x, 3, return_log_prob=True))
    order, log_p = f(x)
    assert sorted(np.asarray(order).tolist()) == [-1, 0, 1]
    assert np.isnan(log_p)
