"""Every filter keeps what a sort in float64 keeps, one by one, in sequence and jointly, row by row."""

import categorical_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmc.direct import categorical
from mcmc.direct.categorical import filters, tree

KEY = jax.random.key(0)
VALUES = {
    "top_k": (1, 2, 17, 400),
    "top_p": (0.0, 0.05, 0.5, 0.9, 0.999, 1.0),
    "min_p": (0.01, 0.3, 1.0),
    "typical_p": (0.0, 0.2, 0.9, 0.999, 1.0),
    "epsilon_cutoff": (1e-4, 3e-3, 0.9),
    "eta_cutoff": (1e-4, 3e-3, 0.9),
    "top_n_sigma": (0.0, 0.7, 2.0, np.inf),
}
kept = jax.jit(
    lambda x, limits, order: jnp.isfinite(categorical.filter_logits(x, order=order, **limits)), static_argnums=2
)


def logits(size, rows, seed=0, scale=3.0):
    x = np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32) * np.float32(scale)
    x[:, ::7] = -np.inf
    return x


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("size", [300, 5000])
def test_a_filter_keeps_what_a_sort_keeps(name, size):
    x = logits(size, len(VALUES[name]))
    found = kept(x, {name: np.array(VALUES[name])}, "sequential")
    expected = [reference.kept(row, **{name: value}) for row, value in zip(x, VALUES[name], strict=True)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", ["sequential", "joint"])
def test_filters_together(order):
    rows = 40
    rng = np.random.default_rng(1)
    limits = {
        "top_k": rng.integers(5, 200, rows),
        "top_p": rng.uniform(0.3, 1, rows),
        "min_p": rng.uniform(0, 0.02, rows),
        "typical_p": rng.uniform(0.7, 1, rows),
        "epsilon_cutoff": rng.uniform(0, 0.02, rows),
        "eta_cutoff": rng.uniform(0, 0.02, rows),
        "top_n_sigma": rng.uniform(1, 4, rows),
        "temperature": rng.uniform(0.5, 2, rows).astype(np.float32),
    }
    x = logits(300, rows, seed=2)
    each = [{name: value[i] for name, value in limits.items()} for i in range(rows)]
    expected = np.array([reference.kept(row, order=order, **one) for row, one in zip(x, each, strict=True)])
    found = np.asarray(kept(x, limits, order))
    alive = expected.any(axis=1)  # joint filters may leave nothing in common
    assert alive.sum() > 20
    np.testing.assert_array_equal(found[alive], expected[alive])
    assert np.all(expected[alive].sum(axis=1) >= 1)


def test_the_order_matters_where_it_should():
    x = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
    limits = {"top_k": 2, "top_p": 0.5}  # of the top two, the first has 4/7
    assert int(jnp.sum(categorical.probs(x, **limits) > 0)) == 1
    assert int(jnp.sum(categorical.probs(x, order="joint", **limits) > 0)) == 2


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.integers(-6, 6), min_size=12, max_size=12), st.integers(1, 12), st.floats(0.013, 0.987))
def test_ties_as_in_a_sort(values, k, p):
    x = np.array(values, np.float32)
    np.testing.assert_array_equal(kept(x, {"top_k": k}, "sequential"), reference.kept(x, top_k=k))
    mass = np.cumsum(np.sort(reference.law(x))[::-1])
    if np.min(np.abs(mass - p)) > 1e-6:  # a sum that p meets to rounding may fall on either side
        np.testing.assert_array_equal(kept(x, {"top_p": p}, "sequential"), reference.kept(x, top_p=p))


@pytest.mark.parametrize(
    ("dtype", "limits"),
    [("float32", {"top_k": 13}), ("float64", {"top_p": 0.9}), ("float32", {"typical_p": 0.6})],
    ids=str,
)
def test_early_and_fixed_steps_find_the_same_tokens(dtype, limits):
    with jax.enable_x64(True):
        x = jnp.asarray(logits(1000, 1)[0], dtype)
        f = jax.jit(lambda x, fixed: filters.truncated(x, None, limits, "sequential", fixed).keep, static_argnums=1)
        np.testing.assert_array_equal(f(x, True), f(x, False))
        np.testing.assert_array_equal(f(x, True), reference.kept(x, **limits))


def test_a_threshold_is_exact_among_neighbouring_floats():
    one = np.float32(1)
    weights = np.array([one, np.nextafter(one, np.float32(0)), 0.5, np.nextafter(np.float32(0.5), one), 1e-30])

    def find(target):
        with jax.enable_x64(True):
            w = jnp.asarray(weights, jnp.float32)
            bounds = jnp.float32(0), jnp.float32(1)
            mass = lambda c: tree.total(jnp.where(w >= c, w, 0), jnp.float64)  # noqa: E731
            return float(filters.threshold(mass, target, bounds, lambda c: c.astype(jnp.float64), True))

    assert find(0.9) == 1.0
    assert find(1.5) == weights[1]
    assert find(2.3) == weights[3]
    assert find(2.9) == 0.5


def test_ordered_integers_are_in_the_order_of_the_floats():
    x = np.array([-np.inf, -2.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, np.inf], np.float32)
    integers = np.asarray(filters.ordered(jnp.asarray(x)))
    assert np.all(np.diff(integers) > 0)
    back = jax.lax.bitcast_convert_type(filters.ordered(jnp.asarray(integers)), jnp.float32)
    np.testing.assert_array_equal(np.asarray(back).view(np.int32), x.view(np.int32))


def test_rows_switch_filters_off():
    x = logits(300, 4)
    limits = {"top_k": np.array([0, -1, 5, 0]), "top_p": np.array([1.0, 0.5, 1.0, 0.9])}
    each = [{}, {"top_p": 0.5}, {"top_k": 5}, {"top_p": 0.9}]
    expected = [reference.kept(row, **one) for row, one in zip(x, each, strict=True)]
    for found in (kept(x, limits, "sequential"), jnp.isfinite(categorical.filter_logits(x, **limits))):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "names",
    [("top_p", "top_k", "min_p", "temperature"), ("typical_p", "temperature", "top_p", "top_k", "min_p"), ("min_p",)],
    ids=" ".join,
)
def test_filters_in_any_order(names):
    x, limits = logits(300, 3), {"top_k": 40, "top_p": 0.8, "min_p": 0.02, "typical_p": 0.9, "temperature": 1.7}
    given = {name: value for name, value in limits.items() if name in names or name == "temperature"}
    found = np.asarray(categorical.probs(x, filters=names, **given))
    for row, p in zip(x.astype(float), found, strict=True):
        scaled, keep = row if "temperature" in names else row / 1.7, row > -np.inf
        for name in names:
            if name == "temperature":
                scaled = row / 1.7
            else:
                keep = keep & reference.one_filter(name, limits[name], row, scaled, keep)
        np.testing.assert_allclose(p, reference.normalised(row / 1.7, keep), atol=1e-6)


def test_temperature_0_last_takes_the_likeliest_that_is_left():
    x = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    assert int(categorical.sample(KEY, x, temperature=0.0, top_p=0.6, filters=("top_p", "temperature"))) == 0
