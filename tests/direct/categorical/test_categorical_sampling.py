"""Draws follow the law: chi-square at 2 million draws, rare tails, masks; keys, batches, shapes and axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcmc.direct import categorical
from mcmc.random import philox

KEY = jax.random.key(0)
MANY = 2_000_000


def chi_square(counts, p):
    """The p-value of counts under p; no draw may be where p is 0."""
    assert counts[p == 0].sum() == 0
    few = p * counts.sum() < 10
    counts, p = np.append(counts[~few], counts[few].sum()), np.append(p[~few], p[few].sum())
    used = p > 0
    return stats.chisquare(counts[used], p[used] / p[used].sum() * counts.sum()).pvalue


def exact(x):
    w = np.exp(np.asarray(x, np.float64) - np.max(np.asarray(x, np.float64)))
    return w / w.sum()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_two_million_draws_follow_the_rounded_logits(dtype):
    x = np.random.default_rng(0).normal(size=1000) * 2
    x[::9] = -np.inf
    x = jnp.asarray(x, dtype)
    draws = categorical.sample(KEY, x, shape=(MANY,))
    assert draws.dtype == jnp.int32
    assert chi_square(np.bincount(draws, minlength=1000), exact(x)) > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_uniform_law_in_any_dtype(dtype):
    counts = np.bincount(categorical.sample(KEY, jnp.zeros(1000, dtype), shape=(MANY,)), minlength=1000)
    assert chi_square(counts, np.full(1000, 1e-3)) > 1e-3


def test_a_truncated_law():
    x = np.random.default_rng(3).normal(size=700).astype(np.float32) * 2
    limits = {"temperature": 1.3, "top_p": 0.8}
    p = np.asarray(categorical.probs(x, **limits), np.float64)
    assert 0 < np.sum(p > 0) < 400
    counts = np.bincount(categorical.sample(KEY, x, shape=(MANY,), **limits), minlength=700)
    assert chi_square(counts, p / p.sum()) > 1e-3


def test_a_long_row_with_one_key_a_row():
    """One draw a row, 20,000 equal rows of a long row: the path on which rows go one by one."""
    x = np.random.default_rng(4).normal(size=5000).astype(np.float32)
    draw = jax.jit(lambda k: categorical.sample(k, jnp.broadcast_to(jnp.asarray(x), (20_000, 5000))))
    counts = np.bincount(draw(KEY), minlength=5000)
    order = np.argsort(x)
    assert chi_square(counts[order].reshape(50, -1).sum(1), exact(x)[order].reshape(50, -1).sum(1)) > 1e-3


@pytest.mark.parametrize("place", [0, 100_000, 2**18])
def test_a_rare_tail_is_reached_as_often_as_it_should(place):
    x = np.full(2**18 + 1, -20.5, np.float32)
    x[place] = 0
    mass = 2**18 * np.exp(-20.5) / (1 + 2**18 * np.exp(-20.5))
    assert mass == pytest.approx(3.28e-4, rel=1e-2)
    draws = np.asarray(categorical.sample(jax.random.key(place), x, shape=(MANY,)))
    tail = draws[draws != place]
    assert abs(len(tail) - MANY * mass) < 5 * np.sqrt(MANY * mass)
    assert stats.kstest(tail / 2**18, "uniform").pvalue > 1e-3


def test_masked_tokens_are_never_drawn():
    x = np.full((50, 600), -np.inf, np.float32)
    at = np.random.default_rng(0).integers(0, 600, 50)
    x[np.arange(50), at] = np.linspace(-1e38, 1e38, 50)
    assert np.all(np.asarray(categorical.sample(KEY, x, shape=(2000, 50))) == at)


@pytest.mark.parametrize(
    ("impl", "size", "limits"),
    [
        (None, 11, {"top_k": 5, "typical_p": 0.8, "temperature": 0.7}),
        (philox.implementation, 6000, {}),
    ],
)
def test_with_a_key_a_row_a_draw_depends_on_its_row_alone(impl, size, limits):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, size)), jnp.float32)
    keys = jax.random.split(jax.random.key(1, impl=impl), 5)
    sample = jax.jit(
        lambda k, x, lead: categorical.sample(k, x, shape=(*lead, *x.shape[:-1]), **limits), static_argnums=2
    )
    together = np.asarray(sample(keys, x, (7,)))
    alone = np.stack([sample(k, row, (7,)) for k, row in zip(keys, x, strict=True)], axis=1)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(sample(keys[::-1], x[::-1], (7,)), together[:, ::-1])
    vmapped = jax.jit(jax.vmap(lambda k, x: categorical.sample(k, x, shape=(7,), **limits)))(keys, x)
    np.testing.assert_array_equal(vmapped.T, together)


def test_one_key_gives_rows_draws_of_their_own():
    x = jnp.zeros((4, 1000))
    draws = np.asarray(categorical.sample(KEY, x, shape=(500, 4)))
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 5 / np.sqrt(500)
    np.testing.assert_array_equal(draws, categorical.sample(KEY, x, shape=(500, 4)))


def test_shapes_and_axes():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 3)), jnp.float32)

    def shape(x, **settings):
        return jax.eval_shape(lambda key, x: categorical.sample(key, x, **settings), KEY, x).shape

    assert shape(x) == (2, 9)
    assert shape(x, axis=1) == (2, 3)
    assert shape(x, axis=-2, shape=(5, 4, 2, 3)) == (5, 4, 2, 3)
    moved = jnp.moveaxis(x, 1, -1)
    for f in (categorical.probs, categorical.filter_logits):
        np.testing.assert_array_equal(jnp.moveaxis(f(x, axis=1, top_p=0.7), 1, -1), f(moved, top_p=0.7))
    for f in (categorical.entropy, categorical.argmax):
        np.testing.assert_array_equal(f(x, axis=1), f(moved))
    np.testing.assert_array_equal(categorical.argmax(x, axis=1), jnp.argmax(x, axis=1))
    draws = categorical.sample(KEY, x, axis=1, shape=(6, 2, 3))
    assert categorical.log_prob(draws, x, axis=1).shape == (6, 2, 3)
    expected = np.take_along_axis(np.asarray(jax.nn.log_softmax(moved))[None], np.asarray(draws)[..., None], -1)[..., 0]
    np.testing.assert_allclose(categorical.log_prob(draws, x, axis=1), expected, rtol=1e-5)
    assert shape(jnp.zeros((3, 0, 4)), axis=2) == (3, 0)


def test_float64_logits_are_worked_on_in_float64():
    with jax.enable_x64(True):
        x = jnp.asarray([0.0, 1e-12, -30.0])
        p = np.asarray(categorical.probs(x))
        assert p.dtype == np.float64
        np.testing.assert_allclose(p, exact(x), rtol=1e-14)
        assert list(np.isfinite(categorical.filter_logits(x, top_p=0.2))) == [False, True, False]


def test_gradients_of_the_law():
    x = jnp.array([0.3, -jnp.inf, 1.0, -1.0])

    def f(x, t):
        return categorical.log_prob(2, x, temperature=t, top_k=2) + categorical.entropy(x, temperature=t)

    def plain(x, t):
        top, every = x[jnp.array([0, 2])] / t, x[jnp.array([0, 2, 3])] / t
        return jax.nn.log_softmax(top)[1] - jnp.sum(jax.nn.softmax(every) * jax.nn.log_softmax(every))

    found, expected = (jax.jit(jax.grad(g, (0, 1)))(x, 0.8) for g in (f, plain))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_a_draw_has_no_gradient_and_beside_one_others_are_asked_for_with_stop_gradient():
    x = jnp.array([0.3, -jnp.inf, 1.0, -1.0])

    def draw(x, logits):
        return categorical.sample(KEY, logits, top_p=0.5).astype(float) + jnp.sum(categorical.probs(x) ** 2)

    with pytest.raises(TypeError, match="no gradient"):
        jax.jit(jax.grad(lambda x: draw(x, x)))(x)
    assert np.all(np.isfinite(jax.jit(jax.grad(lambda x: draw(x, jax.lax.stop_gradient(x))))(x)))
