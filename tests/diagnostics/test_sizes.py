"""Large columns, many variables, huge and tiny values, JAX arrays: the same numbers, in bounded memory."""

import gc
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import rankdata

from mcmc.diagnostics import arrays, diagnose, plot, rhat, summary
from mcmc.diagnostics.ranks import MANY, _finish, folded_scores, normal_scores, sort_columns

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(2, MANY))
KINDS = {
    "normal": NORMAL,
    "far from zero": NORMAL + 1e6,
    "heavy tails": RNG.standard_cauchy((2, MANY)),
    "skewed": np.exp(5 * NORMAL),
    "counts": RNG.poisson(3.0, (2, MANY)).astype(float),
    "booleans": (NORMAL > 2).astype(float),
    "repeated": np.repeat(NORMAL[:, ::4], 4, axis=1),
    "sorted": np.sort(NORMAL)[:, ::-1],
    "near neighbours": 1 + NORMAL * 1e-13,
    "huge": NORMAL * 3e307,
    "tiny": NORMAL * 1e-308,
    "infinite": np.where(NORMAL > 2, np.inf, NORMAL),
    "one value": np.full((2, MANY), 3.0),
    "one outlier": np.where(NORMAL > 3, 1e300, NORMAL),
}


@pytest.mark.parametrize("kind", KINDS)
def test_long_columns_are_sorted_exactly(kind):
    x = KINDS[kind]
    order, ordered = sort_columns(np, x)
    np.testing.assert_array_equal(ordered, np.sort(x))
    np.testing.assert_array_equal(np.take_along_axis(x, order, axis=1), ordered)
    np.testing.assert_array_equal(np.sort(order), np.broadcast_to(np.arange(MANY), x.shape))


def test_runs_that_digits_do_not_tell_apart_are_merged():
    """Draws over three hundred powers of ten leave such runs; swapping neighbours would take minutes."""
    nearly = np.concatenate([np.linspace(3, 4, 1 << 17), np.linspace(0, 1, 1 << 17)])
    at = np.arange(nearly.size)
    _finish(at, nearly)
    np.testing.assert_array_equal(nearly, np.sort(nearly))
    np.testing.assert_array_equal(at, np.roll(np.arange(at.size), 1 << 17))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(-3, 2))
def test_long_columns_of_any_coarseness_are_sorted_exactly(seed, digits, spread):
    x = np.random.default_rng(seed).normal(size=(1, MANY + seed % 7))
    x = np.round(np.sign(x) * np.abs(x) ** (10**spread), digits)
    np.testing.assert_array_equal(sort_columns(np, x)[1], np.sort(x))


@pytest.mark.parametrize("kind", ["normal", "counts", "repeated", "heavy tails", "one value"])
def test_scores_are_those_of_mean_ranks(kind):
    def score(x):
        return ndtri((rankdata(x, axis=1) - 3 / 8) / (x.shape[1] + 1 / 4))

    x = KINDS[kind]
    order, ordered = sort_columns(np, x)
    np.testing.assert_allclose(normal_scores(np, order, ordered), score(x), rtol=1e-12, atol=1e-12)
    folded = np.abs(x - np.median(x, axis=1, keepdims=True))
    np.testing.assert_allclose(folded_scores(np, order, ordered), score(folded), rtol=1e-12, atol=1e-12)


def peak(x):
    """Most memory beyond the draws that a table takes."""
    gc.collect()
    tracemalloc.start()
    try:
        summary({"posterior": {"x": x}})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_follows_the_threads_and_not_the_number_of_parameters(monkeypatch):
    monkeypatch.setattr(arrays, "FETCH_VALUES", 1)  # one column at a time, as a column of a million draws
    monkeypatch.setattr(arrays, "available_cores", lambda: 1)
    x = RNG.normal(size=(256, 600, 8))
    peak(x[..., :1])  # makes the table of normal scores
    one = peak(x)
    assert one < 7 * x[..., 0].nbytes  # the column and the work on it
    assert one == pytest.approx(peak(x[..., :2]), rel=0.02)
    monkeypatch.setattr(arrays, "available_cores", lambda: 2)
    assert peak(x) < 2.1 * one
    monkeypatch.setattr(arrays, "SCRATCH_VALUES", 1)  # a column too large for two threads has one
    assert peak(x) == pytest.approx(one, rel=0.02)


def test_many_small_variables_give_what_one_large_one_gives():
    x = RNG.normal(size=(20, 900, 12))
    whole = summary({"posterior": {"x": x}})
    apart = summary({"posterior": {f"x{k}": x[..., k] for k in range(12)}})
    np.testing.assert_array_equal(whole.to_numpy(), apart.to_numpy())


# --- huge and tiny values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chains", [4, 40])
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("exponent", [1018, 300, -300, -1000])
def test_units_do_not_matter_as_long_as_the_draws_are_numbers(exponent, quick, chains):
    x = RNG.normal(size=(chains, 100, 2))
    x[..., 1] += 10
    usual, extreme = (diagnose({"posterior": {"x": y}}, quick=quick) for y in (x, np.ldexp(x, exponent)))
    for name, value in usual.columns.items():
        unit = exponent if name.startswith(("mean", "sd", "mcse", "eti")) else 0
        np.testing.assert_allclose(np.ldexp(extreme.columns[name], -unit), value, rtol=1e-12, err_msg=name)
    assert [check.passed for check in extreme.checks] == [check.passed for check in usual.checks]


@pytest.mark.parametrize("scale", [1e300, 5e307, 1e160, 1e-170, 1e-300])
def test_extreme_values_are_drawn_in_units_that_the_picture_names(scale):
    x = np.clip(RNG.normal(size=(4, 50)), -3, 3) * scale
    figure = plot({"posterior": {"x": x}})
    figure.canvas.draw()
    unit = float(figure.axes[0].texts[1].get_text().split("in units of ")[1])
    assert 0.1 < np.abs(x).max() / unit < 10
    low, high = figure.axes[0].get_xlim()
    assert -20 < low < -1 < 1 < high < 20


def test_a_few_huge_draws_are_cut_and_a_huge_constant_is_drawn():
    x = RNG.normal(size=(4, 500))
    x[1, 7] = 1e300
    figure = plot({"posterior": {"x": x, "c": np.full((4, 500), 1e308)}})
    figure.canvas.draw()
    assert "some cut at 1e+60" in "".join(text.get_text() for axis in figure.axes for text in axis.texts)


# --- JAX ----------------------------------------------------------------------------------------------------


def test_a_tree_of_jax_arrays_gives_the_same_table():
    x = RNG.normal(size=(4, 100, 3))
    with jax.enable_x64(True):
        on_device = jnp.asarray(x)
        for draws in (
            {"posterior": {"x": on_device}},
            xarray.Dataset({"x": (("chain", "draw", "x_dim_0"), on_device)}),
        ):
            np.testing.assert_array_equal(summary(draws).to_numpy(), summary({"posterior": {"x": x}}).to_numpy())
        np.testing.assert_allclose(rhat(on_device), rhat(x), rtol=1e-12)
