"""R-hat, ESS and MCSE: equal to ArviZ's, the same in JAX, right where the truth is known."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from arviz_stats.base import array_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

import mcmc.diagnostics as diagnostics
from mcmc.diagnostics import arrays, ess, ess_chain_means, mcse, nested_rhat, rhat


def ar(rho, chains, draws, columns=1, start=1.0, seed=0):
    """Gaussian AR(1) chains with sd 1 (after a start with sd `start`), (chain, draw, column)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(chains, draws, columns)) * np.sqrt(1 - rho**2)
    noise[:, 0] = start * rng.normal(size=(chains, columns))
    return lfilter([1], [1, -rho], noise, axis=1)


def cases():
    rng = np.random.default_rng(1)
    rejecting = np.repeat(rng.normal(size=(4, 60, 2)), 5, axis=1)  # repeated draws, as from rejections
    return {
        "iid": rng.normal(size=(4, 250, 3)),
        "ar": ar(0.9, 4, 500, 3),
        "antithetic": ar(-0.7, 4, 300, 2),
        "slow": ar(0.999, 4, 600, 2),
        "random walk": rng.normal(size=(3, 400, 2)).cumsum(axis=1),
        "heavy tails": rng.standard_cauchy(size=(4, 200, 3)),
        "ties": rejecting,
        "counts": rng.poisson(1.5, size=(4, 100, 2)),
        "booleans": rng.random((4, 100, 2)) < 0.3,
        "rare": rng.random((4, 100, 2)) < 0.02,
        "odd": ar(0.5, 3, 301, 2),
        "very short": rng.normal(size=(3, 4, 2)),
        "short": rng.normal(size=(5, 7, 2)),
        "short odd": rng.normal(size=(2, 5, 2)),
        "many chains": ar(0.95, 100, 40, 2),
        "large": ar(0.9, 64, 301, 2),
        "large, with rejections": np.repeat(ar(0.5, 64, 75), 4, axis=1),
        "shifted chain": rng.normal(size=(4, 100, 2)) + np.array([0, 0, 0, 2.0])[:, None, None],
        "one chain": ar(0.5, 1, 300, 2),
        "large mean": rng.normal(size=(4, 100, 2)) + 1e6,
        "float32": rng.normal(size=(4, 100, 2)).astype(np.float32),
        "no event": rng.normal(size=(4, 100)),
        "matrices": rng.normal(size=(4, 50, 2, 3)),
    }


CASES = cases()
STATISTICS = {
    **{f"rhat {m}": (rhat, "rhat", {"method": m}) for m in ("rank", "folded", "split", "identity")},
    "rhat bulk": (lambda x, method: rhat(x, "bulk"), "rhat", {"method": "z_scale"}),
    **{f"ess {m}": (ess, "ess", {"method": m}) for m in ("bulk", "mean", "sd", "median", "identity")},
    "ess tail": (ess, "ess", {"method": "tail", "prob": (0.05, 0.95)}),
    "ess quantile": (ess, "ess", {"method": "quantile", "prob": 0.1}),
    "ess local": (ess, "ess", {"method": "local", "prob": (0.2, 0.7)}),
    **{f"mcse {m}": (mcse, "mcse", {"method": m}) for m in ("mean", "sd", "median")},
    "mcse quantile": (mcse, "mcse", {"method": "quantile", "prob": 0.95}),
}


def of_arviz(name, x, **settings):
    last = np.moveaxis(np.asarray(x, dtype=float), (0, 1), (-2, -1))
    with np.errstate(all="ignore"):
        return getattr(array_stats, name)(last, **settings)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_equals_arviz(statistic, case):
    function, name, options = STATISTICS[statistic]
    x = CASES[case]
    got = function(x, **options)
    assert np.shape(got) == x.shape[2:]
    np.testing.assert_allclose(got, of_arviz(name, x, **options), rtol=1e-10)


@pytest.mark.parametrize("method", ["rank", "folded", "split", "identity"])
@pytest.mark.parametrize("case", ["iid", "ar", "ties", "odd", "counts", "many chains"])
def test_nested_rhat_equals_arviz(method, case):
    x = CASES[case]
    x = x[: x.shape[0] // 2 * 2]
    ids = np.random.default_rng(0).permutation(np.arange(len(x)) % 2)
    expected = of_arviz("rhat_nested", x, superchain_ids=ids, method=method)
    np.testing.assert_allclose(nested_rhat(x, superchains=ids, method=method), expected, rtol=1e-10)
    named = np.array(["b", "a"])[ids]
    np.testing.assert_allclose(nested_rhat(x, superchains=named, method=method), expected, rtol=1e-10)


def test_constant_columns_are_as_in_arviz():
    x = np.full((4, 100, 1), 2.5)
    for function, name, options in STATISTICS.values():
        np.testing.assert_allclose(function(x, **options), of_arviz(name, x, **options))


def test_chains_that_never_move():
    x = np.repeat(np.arange(4.0)[:, None], 100, axis=1)
    assert rhat(x) > 1e6
    np.testing.assert_allclose(ess(x), of_arviz("ess", x), rtol=1e-10)


def test_a_tiny_unit_does_not_look_constant():
    x = CASES["ar"]
    np.testing.assert_allclose(ess(x * 1e-20, "mean"), ess(x, "mean"), rtol=1e-9)  # ArviZ: every draw counts


@pytest.mark.parametrize("statistic", STATISTICS)
def test_nan_gives_nan_and_leaves_other_columns_alone(statistic):
    function, _, options = STATISTICS[statistic]
    x = CASES["ar"].copy()
    before = function(x, **options)
    x[2, 17, 1] = np.nan
    after = function(x, **options)
    assert np.isnan(after[1])
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


def test_infinite_draws_have_ranks_but_no_mean():
    x = CASES["iid"].copy()
    x[0, :3, 0] = np.inf
    np.testing.assert_allclose(rhat(x), of_arviz("rhat", x), rtol=1e-10)
    assert np.isnan(ess(x, "mean")[0])


@pytest.mark.parametrize("draws", [100, 57])
def test_jax_arrays_give_the_same_eagerly_and_jitted(draws):
    kinds = ("iid", "ar", "antithetic", "random walk", "heavy tails", "ties", "counts", "booleans", "large mean")
    x = np.concatenate([np.tile(CASES[kind], (2, 1, 1))[:4, :draws].astype(float) for kind in kinds], axis=2)
    ids = np.array([0, 1, 1, 0])
    every = {name: (f, options) for name, (f, _, options) in STATISTICS.items() if name != "mcse median"}
    every["nested"] = (nested_rhat, {"superchains": ids})
    every["chain means"] = (ess_chain_means, {})
    if draws % 2:  # a middle draw is left out: the split and the quantiles differ
        every = {name: every[name] for name in ("rhat rank", "ess bulk", "ess tail", "nested")}
    with jax.enable_x64(True):
        lowered = jax.jit(lambda x: {name: f(x, **options) for name, (f, options) in every.items()}).lower(x)
        jitted = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})(x)  # compiles sooner
        for name, (f, options) in every.items():
            np.testing.assert_allclose(jitted[name], f(x, **options), rtol=1e-8, err_msg=name)
        if draws % 2:
            return
        eager = rhat(jnp.asarray(x))
        assert isinstance(eager, jax.Array)
        np.testing.assert_allclose(eager, rhat(x), rtol=1e-9)
        one = rhat({"flag": jnp.asarray(x[:1, :, 0] > 0)})
        assert np.isnan(one["flag"])


def test_jax_in_float32_and_in_batches(monkeypatch):
    x = CASES["ar"].astype(np.float32)
    monkeypatch.setattr(arrays, "BLOCK_VALUES", 250)  # 8 such blocks a batch: one column at a time
    got = rhat(jnp.asarray(x))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, rhat(x), rtol=1e-4)
    bad = x.copy()
    bad[0, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(rhat(jnp.asarray(bad))), [True, False, False])


def test_blocks_and_threads_change_nothing(monkeypatch):
    x = ar(0.5, 4, 200, 40)
    whole = rhat(x), ess(x, "tail")
    monkeypatch.setattr(arrays, "BLOCK_VALUES", 2000)
    monkeypatch.setattr(arrays, "available_cores", lambda: 3)
    np.testing.assert_array_equal(rhat(x), whole[0])
    np.testing.assert_array_equal(ess(x, "tail"), whole[1])


def test_trees_give_datasets():
    rng = np.random.default_rng(0)
    data = xarray.Dataset(
        {
            "mu": (("chain", "draw"), rng.normal(size=(4, 100))),
            "theta": (("draw", "school", "chain"), rng.normal(size=(100, 2, 4))),
            "flag": (("chain", "draw"), rng.random((4, 100)) < 0.5),
        },
        coords={"school": ["A", "B"], "chain": [3, 4, 5, 6]},
    )
    tree = xarray.DataTree.from_dict({"posterior": data, "sample_stats": data})
    for function in (rhat, ess, mcse, ess_chain_means):
        found = function(tree)
        assert isinstance(found, xarray.Dataset)
        xarray.testing.assert_identical(found, function(data))
        assert found["theta"].dims == ("school",)
        assert list(found["school"].values) == ["A", "B"]
        np.testing.assert_array_equal(found["theta"], function(data["theta"].transpose("chain", "draw", ...).values))
        np.testing.assert_array_equal(found["flag"], function(data["flag"].values.astype(float)))
    assert float(rhat(data["mu"])) == rhat(data["mu"].values)
    named = rhat({"mu": data["mu"].values})
    assert named == {"mu": rhat(data["mu"].values)}


def test_nested_rhat_of_a_tree_takes_its_recorded_superchains():
    x = ar(0.9, 20, 50)[..., 0]
    ids = np.arange(20) // 4
    posterior = xarray.Dataset({"mu": (("chain", "draw"), x)})
    state = xarray.Dataset({"superchain": ("chain", ids)})
    tree = xarray.DataTree.from_dict({"posterior": posterior, "run_state": state})
    assert float(nested_rhat(tree)["mu"]) == nested_rhat(x, superchains=ids)
    with pytest.raises(ValueError, match="superchains is None"):
        nested_rhat(x)


# --- known truth ------------------------------------------------------------------------------------------


def test_stationary_short_chains():
    """AR(.95), 1024 chains of 100: the truth is 1024 / var(mean of 100 draws) = 3256 effective draws."""
    x = ar(0.95, 1024, 100, 8, seed=3)
    lag = np.arange(1, 100)
    truth = 1024 / ((1 + 2 * ((1 - lag / 100) * 0.95**lag).sum()) / 100)
    assert abs(truth - 3256) < 30
    assert abs(ess_chain_means(x).mean() / truth - 1) < 0.05
    assert 0.65 < ess(x).mean() / truth < 0.8  # the sum of autocorrelations is cut short: 2371
    judged = diagnostics.diagnose({"posterior": {"x": x}})["ess_bulk"]
    assert "from the chains' means" in judged.message
    assert 0.8 < judged.value / truth < 1.0  # the smallest of 8, each with a standard error of 4.4 %
    assert (nested_rhat(x, superchains=np.arange(1024) // 64) < 1.01).all()
    assert (rhat(x) > 1.3).all()


def test_ess_of_ar_chains_is_known():
    x = ar(0.8, 8, 20_000, 4)
    np.testing.assert_allclose(ess(x, "mean") / x[..., 0].size, 0.2 / 1.8, rtol=0.06)
    np.testing.assert_allclose(mcse(x) * np.sqrt(x[..., 0].size * 0.2 / 1.8), 1, rtol=0.05)


def test_a_stuck_ensemble_has_as_many_effective_draws_as_chains():
    x = np.random.default_rng(0).normal(size=(200, 1)).repeat(30, axis=1)
    assert abs(ess_chain_means(x) - 200) < 2


# --- invariances ------------------------------------------------------------------------------------------

draws_of = st.tuples(st.integers(2, 6), st.integers(4, 60), st.integers(0, 2**32 - 1), st.booleans())


def make(recipe):
    chains, draws, seed, coarse = recipe
    x = np.random.default_rng(seed).normal(size=(chains, draws)).cumsum(axis=1) * 0.3
    x = x + np.random.default_rng(seed).normal(size=x.shape)
    return np.round(x * 2) if coarse else x


@settings(max_examples=40, deadline=None, derandomize=True)
@given(draws_of, st.sampled_from([0.5, -2.0, 1024.0]), st.integers(-5, 5))
def test_unchanged_by_scale_shift_and_order_of_chains(recipe, scale, shift):
    x = make(recipe)
    order = np.random.default_rng(0).permutation(len(x))
    for function, options in ((rhat, {}), (ess, {}), (ess, {"method": "sd"}), (ess, {"method": "mean"})):
        value = function(x, **options)
        np.testing.assert_allclose(function(x * scale, **options), value, rtol=1e-9)
        np.testing.assert_allclose(function(x[order], **options), value, rtol=1e-9)
    # folded ranks see rounding: of an even number, the two middle draws are equally far from the median
    for function, options in (
        (rhat, {"method": "bulk"}),
        (rhat, {"method": "split"}),
        (ess, {}),
        (ess, {"method": "tail"}),
    ):
        np.testing.assert_allclose(function(x + shift, **options), function(x, **options), rtol=1e-6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(draws_of)
def test_ranks_see_monotone_maps_alike(recipe):
    x = make(recipe)
    np.testing.assert_allclose(rhat(np.exp(x), "bulk"), rhat(x, "bulk"), rtol=1e-12)
    np.testing.assert_allclose(ess(np.exp(x)), ess(x), rtol=1e-9)
    np.testing.assert_allclose(rhat(-x), rhat(x), rtol=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(draws_of)
def test_any_short_run_equals_arviz(recipe):
    x = make(recipe)
    for name in ("rhat rank", "ess bulk", "ess tail", "ess sd", "mcse median"):
        function, arviz_name, options = STATISTICS[name]
        np.testing.assert_allclose(function(x, **options), of_arviz(arviz_name, x, **options), rtol=1e-9)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: rhat(np.zeros((4, 3))), ValueError, "4 chains of 3 draws; expected at least 1 chain of 4"),
        (lambda: rhat(np.zeros(100)), ValueError, r"shape \(100,\); expected \(chain, draw"),
        (lambda: ess(np.zeros((0, 100))), ValueError, "0 chains of 100 draws"),
        (lambda: rhat(np.array([["a"] * 5])), TypeError, "dtype"),
        (lambda: rhat(np.zeros((4, 9), complex)), TypeError, "complex"),
        (lambda: rhat(jnp.zeros((4, 9), complex)), TypeError, "complex"),
        (lambda: rhat(np.zeros((4, 9)), method="ranks"), ValueError, "method is 'ranks'"),
        (lambda: ess(np.zeros((4, 9)), method="quantile"), ValueError, "one probability"),
        (lambda: ess(np.zeros((4, 9)), "tail", prob=(0.1, 2)), ValueError, "prob is"),
        (lambda: mcse(np.zeros((4, 9)), "quantile"), ValueError, "prob is None"),
        (lambda: nested_rhat(np.zeros((4, 9)), superchains=[0, 0, 0, 1]), ValueError, "1 to 3 chains"),
        (lambda: nested_rhat(np.zeros((4, 9)), superchains=[0, 0]), ValueError, r"expected \(4,\)"),
        (lambda: nested_rhat(np.zeros((4, 9)), superchains=[7] * 4), ValueError, "at least 2"),
        (lambda: jax.jit(lambda s: nested_rhat(np.ones((4, 9)), s))(jnp.arange(4)), TypeError, "traced"),
        (lambda: rhat(xarray.Dataset({"a": ("draw", np.zeros(9))})), ValueError, "'chain' and 'draw'"),
        (lambda: rhat(xarray.DataTree.from_dict({"prior": xarray.Dataset()})), ValueError, "posterior"),
    ],
)
def test_refusals_name_what_was_wrong(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_importing_costs_nothing_heavy():
    code = (
        "import sys, jax, numpy; before = set(sys.modules)\n"
        "import importlib.util as u\n"
        "spec = u.spec_from_file_location('mcmc', None)\n"
        "import types; sys.modules['mcmc'] = m = types.ModuleType('mcmc'); m.__path__ = [sys.argv[1]]\n"
        "import mcmc.diagnostics\n"
        "heavy = {'pandas', 'xarray', 'arviz', 'matplotlib', 'rich', 'scipy.stats'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    package = diagnostics.__path__[0].rsplit("/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("scale", [2.0**-660, 2.0**660])
def test_sizes_do_not_depend_on_the_unit(scale):
    x = np.random.default_rng(0).normal(size=(4, 500))
    for method in ("mean", "sd"):
        assert ess(scale * x, method) == pytest.approx(ess(x, method), rel=1e-12)
        assert mcse(scale * x, method) == pytest.approx(scale * mcse(x, method), rel=1e-12)
