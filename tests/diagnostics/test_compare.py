"""Two runs of one model: equal ones agree as often as promised, different ones are told apart."""

import json

import arviz
import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from mcmc.diagnostics import mcse
from mcmc.diagnostics.compare import compare

rng = np.random.default_rng(0)


def autoregressive(rho, chains, draws, columns):
    noise = rng.normal(size=(chains, draws, columns)) * np.sqrt(1 - rho**2)
    noise[:, 0] = rng.normal(size=(chains, columns))
    return lfilter([1], [1, -rho], noise, axis=1)


def run(**arrays):
    return {"posterior": arrays}


MAKE = {
    "normal": lambda: rng.normal(size=(4, 400, 3)),
    "slow": lambda: autoregressive(0.8, 4, 1000, 3),
    "heavy tails": lambda: rng.standard_cauchy((4, 400, 3)),
    "skewed": lambda: np.exp(2 * rng.normal(size=(4, 400, 3))),
    "counts": lambda: rng.poisson(0.5, (4, 300, 3)),
    "rare": lambda: rng.random((4, 400, 3)) < 0.01,
    "many short": lambda: autoregressive(0.9, 64, 60, 3),
}


@pytest.mark.parametrize("name", MAKE)
def test_equal_runs_are_called_different_no_more_often_than_promised(name):
    differ = sum(compare(run(x=MAKE[name]()), run(x=MAKE[name]()), level=0.05).verdict == "differ" for _ in range(40))
    assert differ <= 7  # of 40 at 5 %: more has probability 0.1 %


@pytest.mark.parametrize(
    ("change", "test"),
    [
        (lambda x: x + 0.4, "z_mean"),
        (lambda x: x * 1.5, "z_sd"),
        (lambda x: np.where(x > 1.2, 2 * x, x), "z_sd"),
        (lambda x: x + 0.4, "z_q50"),
    ],
)
def test_a_difference_is_found_where_it_is(change, test):
    a, b = rng.normal(size=(4, 500, 3)), rng.normal(size=(4, 500, 3))
    b[:, :, 1] = change(b[:, :, 1])
    found = compare(run(x=a), run(x=b))
    assert found.verdict == "differ"
    assert not found.ok
    assert found.differing == ("x[1]",)
    assert abs(found.table.loc["x[1]", test]) > found.threshold


def test_the_table_holds_the_estimates_and_arviz_errors():
    a, b = autoregressive(0.5, 4, 500, 2), autoregressive(0.3, 3, 801, 2) * 1.1
    table = compare(run(x=a), run(x=b)).table
    np.testing.assert_allclose(table["mean_diff"], a.mean((0, 1)) - b.mean((0, 1)))
    np.testing.assert_allclose(table["mean_error"], np.hypot(mcse(a), mcse(b)), rtol=1e-10)
    np.testing.assert_allclose(table["sd_ratio"], a.std((0, 1), ddof=1) / b.std((0, 1), ddof=1))
    quantiles = [np.quantile(v, 0.95, axis=(0, 1)) for v in (a, b)]
    np.testing.assert_allclose(table["q95_diff"], quantiles[0] - quantiles[1])
    errors = [
        arviz.mcse(xarray.Dataset({"x": (("chain", "draw", "k"), v)}), method="quantile", prob=0.95) for v in (a, b)
    ]
    np.testing.assert_allclose(table["q95_error"], np.hypot(errors[0]["x"], errors[1]["x"]), rtol=1e-10)
    np.testing.assert_allclose(table["z_mean"], table["mean_diff"] / table["mean_error"])


@settings(deadline=None, derandomize=True, max_examples=10)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_units_do_not_matter_and_runs_may_change_places(scale, shift):
    fixed = np.random.default_rng(1)
    a, b = fixed.normal(size=(4, 200, 1)), fixed.normal(size=(2, 300, 1)) + 0.2
    found = compare(run(x=a), run(x=b)).table
    scaled = compare(run(x=a * scale + shift), run(x=b * scale + shift)).table
    swapped = compare(run(x=b), run(x=a)).table
    for name in ("z_mean", "z_sd", "z_q05", "z_q50", "z_q95"):
        np.testing.assert_allclose(scaled[name], found[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(swapped[name], -found[name], rtol=1e-8)


def test_names_in_one_run_only_are_listed_and_others_compared():
    a, b = rng.normal(size=(4, 400, 3)), rng.normal(size=(4, 400, 2))
    found = compare(run(x=a, mu=a[..., 0]), run(nu=b[..., 0], x=b))
    assert (found.only_in_a, found.only_in_b) == (("x[2]", "mu"), ("nu",))
    assert list(found.table.index) == ["x[0]", "x[1]"]
    assert "only in the second run: nu" in str(found)
    with pytest.raises(ValueError, match="a parameter that both have"):
        compare(run(mu=a[..., 0]), run(nu=b[..., 0]))


def test_a_run_that_fails_its_own_diagnosis_decides_nothing():
    apart = rng.normal(size=(4, 400, 1)) + 3 * np.arange(4)[:, None, None]
    found = compare(run(x=apart), run(x=rng.normal(size=(4, 400, 1)) + 4.5))
    assert found.verdict == "undecided"
    assert not found.ok
    assert "rhat" in found.unsound["a"]
    assert not found.unsound["b"]
    assert "run a fails its own diagnosis" in str(found)


def test_constants_and_what_is_not_finite():
    x = rng.normal(size=(4, 100))
    same = compare(run(c=np.ones((4, 100)), x=x), run(c=np.ones((4, 100)), x=x))
    assert same.table.loc["c", "z"] == 0
    other = compare(run(c=np.ones((4, 100)), x=x), run(c=2 * np.ones((4, 100)), x=x))
    assert other.differing == ("c",)
    missing = x.copy()
    missing[0, 0] = np.nan
    broken = compare(run(x=x), run(x=missing))
    assert broken.verdict == "differ"
    json.dumps(broken.to_dict(), allow_nan=False)
    json.dumps(other.to_dict(), allow_nan=False)


@pytest.mark.parametrize("level", [0, 1, -0.1, 2.0])
def test_the_level_is_a_probability(level):
    x = rng.normal(size=(4, 100))
    with pytest.raises(ValueError, match="level"):
        compare(run(x=x), run(x=x), level=level)
    with pytest.raises(ValueError, match="at least 4"):
        compare(run(x=x[:, :3]), run(x=x))
