"""Gibbs sampling by blocks, discrete ones too: exact laws, tuning, invariance, resuming, errors."""

import functools
import itertools
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln
from laws import BY_NAME, Law
from proposals import GammaWide, LogNormalWalk, Uneven
from runs import compilations, draw, follows, resume, same, same_state, target_of

import mcmc
from mcmc.kernels.choose import choose_kernel
from mcmc.kernels.discrete import _choose
from mcmc.target.blocks import Block

EXAMPLE = Path(__file__).parents[2] / "examples" / "change_point.py"
SETTINGS = {"chains": 16, "draws": 2000, "warmup": 300, "superchains": 0, "seed": 3}


def law(mean, sd):
    return Law("here", lambda p: 0.0, {}, mean, sd)


def frequency(hits, expected, errors=5.0):
    """Assert that a share of draws (chain, draw) is the expected one."""
    hits = np.asarray(hits, float)
    assert abs(hits.mean() - expected) < errors * max(float(mcmc.mcse(hits)), 1e-4), f"{hits.mean()}, not {expected}"


# --- continuous blocks ---------------------------------------------------------------------------------


@functools.cache
def normal():
    """A bivariate normal, correlation 0.8, sd 1 and 50."""

    def log_density(p):
        a, b = p["a"] - 1.0, p["b"] / 50.0
        return -0.5 * (a**2 + b**2 - 1.6 * a * b) / 0.36

    return mcmc.Target(log_density, {"a": mcmc.real(), "b": mcmc.real()})


PAIRS = {
    "walks": {"a": mcmc.RandomWalk(), "b": mcmc.RandomWalk()},
    "hmc_and_walk": {"b": mcmc.HMC(step_size=0.7), "a": mcmc.RandomWalk(step_size=0.5, metric=1.0)},
    "one_block": {("b", "a"): mcmc.HMC()},
}


@functools.cache
def by_blocks(name):
    return draw(normal(), mcmc.Gibbs(PAIRS[name]), **{**SETTINGS, "draws": 4000})


@pytest.mark.parametrize("name", PAIRS)
def test_a_normal_by_blocks(name):
    draws = by_blocks(name)
    follows(draws, law({"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 50.0}))
    product = (draws["posterior"]["a"].values - 1) * draws["posterior"]["b"].values / 50
    assert abs(product.mean() - 0.8) < 5 * mcmc.mcse(product)


def test_every_block_is_tuned_by_itself():
    draws = by_blocks("walks")
    held = draws["run_state"]
    steps, factors = ([float(held[f"kernel_{i}"].values.squeeze()) for i in at] for at in ((0, 2), (1, 3)))
    assert 0.7 < factors[0] < 1.4
    assert 35 < factors[1] < 70
    conditional = 2.38 * 0.6  # the sd given the other block is 0.6 of the marginal one, which the metric knows
    np.testing.assert_allclose(steps, conditional, rtol=0.4)
    assert abs(draws["sample_stats"]["acceptance_rate"].values.mean() - 0.44) < 0.05


def test_a_field_that_is_set_is_kept_and_the_rest_is_tuned():
    draws = by_blocks("hmc_and_walk")
    assert "RandomWalk(step_size=0.5)" in draws.attrs["kernel"]
    assert "HMC(step_size=0.7" in draws.attrs["kernel"]
    held = draws["run_state"]
    assert float(held["kernel_1"].values.squeeze()) > 20
    assert float(held["kernel_6"].values.squeeze()) == 1.0
    assert set(draws["sample_stats"].data_vars) == {"lp", "acceptance_rate", "diverging", "n_steps"}


# --- integers and booleans -----------------------------------------------------------------------------


def test_a_draw_by_weights_is_exact_and_passes_what_is_not_finite():
    lps = jnp.log(jnp.array([0.2, 0.0, 0.5, 0.3, 0.0]))
    u = (jnp.arange(10_000) + 0.5) / 10_000
    chosen = jax.jit(jax.vmap(lambda u: _choose(u, lps, 0)))(u)
    np.testing.assert_allclose(np.bincount(chosen, minlength=5), [2000, 0, 5000, 3000, 0], atol=1)
    choose = jax.jit(_choose)
    inf, nan = jnp.inf, jnp.nan
    for weights, at in (([0.0, inf, nan], 1), ([nan, -inf, 700.0], 2), ([-inf, -inf, nan], 1)):
        found = {int(choose(u, jnp.array(weights), 1)) for u in (1e-12, 0.5, 1 - 1e-7)}
        assert found == {at}


@pytest.mark.parametrize(("name", "kernel"), [("binomial", None), ("ising", mcmc.DiscreteGibbs())])
def test_the_law_of_discrete_targets(name, kernel):
    follows(draw(target_of(name), kernel, **SETTINGS), BY_NAME[name])


def test_a_poisson_without_an_upper_bound_in_single_precision():
    rate = np.log(1000.0)
    target = mcmc.Target(lambda p: p["n"] * rate - gammaln(p["n"] + 1.0), {"n": mcmc.integer(0, None)})
    draws = draw(target, dtype="float32", **{**SETTINGS, "draws": 1000})
    follows(draws, law({"n": 1000.0}, {"n": np.sqrt(1000.0)}))
    n = draws["posterior"]["n"].values
    assert n.dtype == np.int32
    assert float(mcmc.ess(n.astype(float))) > 0.3 * n.size
    frequency(n % 2 == 0, 0.5)


def test_wide_ranges_with_bounds_of_each_coordinate():
    low, high = np.array([0, -40, 5]), np.array([300, -20, 400])  # uniform on each, one end cut off by the density
    target = mcmc.Target(lambda p: jnp.where(jnp.any(p["n"] > 350), -jnp.inf, 0.0), {"n": mcmc.integer(low, high)})
    n = draw(target, **{**SETTINGS, "draws": 1000})["posterior"]["n"].values
    for i, (a, b) in enumerate(zip(low, np.minimum(high, 350), strict=True)):
        assert n[..., i].min() == a
        assert n[..., i].max() == b
        shares = np.bincount(((n[..., i] - a) * 7 // (b - a + 1)).reshape(-1), minlength=7) / n[..., i].size
        sizes = np.bincount(np.arange(b - a + 1) * 7 // (b - a + 1)) / (b - a + 1)
        np.testing.assert_allclose(shares, sizes, atol=0.025)


def _steep(p, data):
    return jnp.where(p["n"] > 6, data["beyond"], -0.1 * p["n"])


STEEP = mcmc.Target(_steep, {"n": mcmc.integer(0, 9)}, data={"beyond": np.array(0.0)})


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_value_without_a_density_is_never_drawn_and_a_nan_is_counted(value):
    target = STEEP.with_data({"beyond": np.array(value)})
    draws = draw(target, chains=8, draws=200, warmup=0, superchains=0, init={"n": 3})
    assert draws["posterior"]["n"].values.max() == 6
    counted = draws["run_state"]["nonfinite_proposals"].values
    assert np.all(counted == (200 if np.isnan(value) else 0))


def test_an_infinite_density_is_an_error_with_its_place():
    with pytest.raises(mcmc.SamplingError, match=r"inf.*n = "):
        draw(STEEP.with_data({"beyond": np.array(np.inf)}), chains=8, draws=200, warmup=0, superchains=0, init={"n": 3})


# --- discrete and continuous together -------------------------------------------------------------------

WEIGHTS = np.array([0.1, 0.3, 0.05, 0.02, 0.2])


def _wedge(p):
    return jnp.log(jnp.asarray(WEIGHTS)[p["n"] - 1]) + jnp.log(p["x"])


@functools.cache
def wedge():
    """n in 1..5 and x in (0, n), density ∝ w_n x: P(n) ∝ w_n n²/2, and x given n has mean 2n/3."""
    return mcmc.Target(_wedge, {"n": mcmc.integer(1, 5), "x": mcmc.interval(0.0, lambda p: p["n"])})


def _wedge_law():
    n = np.arange(1, 6)
    p = WEIGHTS * n**2 / np.sum(WEIGHTS * n**2)
    mean, square = np.sum(p * n), np.sum(p * n**2)
    return law(
        {"n": mean, "x": 2 * mean / 3},
        {"n": np.sqrt(square - mean**2), "x": np.sqrt(square / 2 - (2 * mean / 3) ** 2)},
    )


WEDGES = {
    "chosen": None,
    "proposals": mcmc.Gibbs({"n": mcmc.MetropolisHastings(Uneven()), "x": mcmc.MetropolisHastings(LogNormalWalk())}),
    "independent": mcmc.Gibbs({"n": mcmc.DiscreteGibbs(), ("x",): mcmc.IndependentMetropolis(GammaWide())}),
}


@pytest.mark.parametrize(
    "kernel",
    [pytest.param(k, marks=pytest.mark.slow if n == "independent" else ()) for n, k in WEDGES.items()],
    ids=WEDGES,
)
def test_bounds_that_depend_on_another_block(kernel):
    draws = draw(wedge(), kernel, **{**SETTINGS, "draws": 4000})
    follows(draws, _wedge_law())
    n, x = draws["posterior"]["n"].values, draws["posterior"]["x"].values
    assert np.all((x > 0) & (x < n))
    for k in range(1, 6):
        frequency(n == k, WEIGHTS[k - 1] * k**2 / np.sum(WEIGHTS * np.arange(1, 6) ** 2))


class Pair:
    """Both parameters of a block at once, by name: x = x exp(z), n one up or down."""

    def sample(self, key, given):
        a, b = jax.random.split(key)
        step = jnp.where(jax.random.bernoulli(a), 1, -1)
        return {"n": given["n"] + step, "s": given["s"] * jnp.exp(jax.random.normal(b, (), given["s"].dtype))}

    def log_prob(self, to, given):
        z = jnp.log(to["s"]) - jnp.log(given["s"])
        return -0.5 * z**2 - jnp.log(to["s"])


@pytest.mark.slow
def test_a_proposal_of_a_block_of_two_parameters_that_are_not_neighbours():
    def log_density(p):  # s ~ Gamma(3, 1), x ~ N(n, s), n binomial-like
        prior = 2 * jnp.log(p["s"]) - p["s"] + jnp.asarray([0.0, 1.0, 1.5, 0.5])[p["n"]]
        return prior - jnp.log(p["s"]) - 0.5 * ((p["x"] - p["n"]) / p["s"]) ** 2

    target = mcmc.Target(log_density, {"n": mcmc.integer(0, 3), "x": mcmc.real(), "s": mcmc.positive()})
    kernel = mcmc.Gibbs({"x": mcmc.RandomWalk(), ("s", "n"): mcmc.MetropolisHastings(Pair())})
    p = np.exp([0.0, 1.0, 1.5, 0.5])
    p /= p.sum()
    mean = np.sum(p * np.arange(4))
    variance = np.sum(p * np.arange(4) ** 2) - mean**2
    expected = law(
        {"n": mean, "s": 3.0, "x": mean}, {"n": np.sqrt(variance), "s": np.sqrt(3.0), "x": np.sqrt(variance + 12.0)}
    )
    follows(draw(target, kernel, **{**SETTINGS, "draws": 6000}), expected)


def test_the_change_point_of_the_example(capfd):
    example = runpy.run_path(str(EXAMPLE))
    assert example["data"]["disasters"].shape == (112,)
    assert example["data"]["disasters"].sum() == 191
    years, probabilities = example["exact"]()
    draws = draw(example["target"], chains=16, draws=400, warmup=100, superchains=0, seed=5, progress=True)
    assert "because switch is discrete: DiscreteGibbs for switch; HMC for early, late" in capfd.readouterr().err
    assert draws.attrs["kernel"].startswith("Gibbs(switch: DiscreteGibbs(), ('early', 'late'): HMC(")
    switch = draws["posterior"]["switch"].values
    for year in range(1886, 1896):
        frequency(switch == year, probabilities[years == year][0])
    for name, (mean, _) in example["exact_moments"]().items():
        x = draws["posterior"][name].values
        assert abs(x.mean() - mean) < 5 * mcmc.mcse(x)


POINTS = np.array([-2.1, -1.7, -1.2, -0.9, -0.4, 0.1, 0.3, 0.8, 1.1, 1.2, 1.6, 1.9, 2.4, 2.6, 3.3])


def _allocated(p, data):  # 0.4 N(m0, 1) + 0.6 N(m1, 1), m ~ N(0, 2) in order
    z = p["z"].astype(p["m"].dtype)
    own = jnp.where(p["z"], p["m"][1], p["m"][0])
    prior = -0.125 * jnp.sum(p["m"] ** 2) + jnp.sum(z * np.log(0.6) + (1 - z) * np.log(0.4))
    return prior - 0.5 * jnp.sum((data - own) ** 2)


def _marginalised():
    """Moments of the means and of the allocations by quadrature over the means."""
    grid = np.linspace(-5, 5, 401)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    first = 0.4 * np.exp(-0.5 * (POINTS - a[..., None]) ** 2)
    second = 0.6 * np.exp(-0.5 * (POINTS - b[..., None]) ** 2)
    weight = np.exp(-0.125 * (a**2 + b**2)) * np.prod(first + second, -1) * np.where(a < b, 1.0, 0.5 * (a == b))
    weight /= weight.sum()
    mean = np.array([np.sum(weight * x) for x in (a, b)])
    square = np.array([np.sum(weight * x**2) for x in (a, b)])
    z = np.sum(weight[..., None] * second / (first + second), (0, 1))
    return law({"m": mean, "z": z}, {"m": np.sqrt(square - mean**2), "z": np.sqrt(z * (1 - z))})


@functools.cache
def mixture():
    return mcmc.Target(_allocated, {"z": mcmc.boolean(len(POINTS)), "m": mcmc.ordered(2)}, data=POINTS)


def test_a_mixture_with_its_allocations_by_one_program():
    settings = {"chains": 32, "warmup": 200, "superchains": 0, "seed": 4, "chunk": 300}
    with compilations() as names:
        draws = draw(mixture(), draws=1000, **settings)
    assert names.count("jit(advance)") == 1
    follows(draws, _marginalised())
    with compilations() as names:
        draw(mixture(), draws=50, **settings)
    assert names == []


def test_the_choice_of_blocks_and_its_reason():
    def log_density(p):
        return -0.5 * jax.lax.while_loop(lambda s: s < p["n"], lambda s: s + 1.0, jnp.abs(p["x"])) ** 2

    target = mcmc.Target(log_density, {"x": mcmc.real(), "n": mcmc.integer(0, 3), "k": mcmc.boolean()})
    kernel, why = choose_kernel(target, target.trace(np.float32), np.float32, 64)
    assert {names: type(inner).__name__ for names, inner in kernel.blocks.items()} == {
        "n": "DiscreteGibbs",
        "k": "DiscreteGibbs",
        ("x",): "RandomWalk",
    }
    assert why.startswith("n, k are discrete: DiscreteGibbs for n, k; RandomWalk for x, without a gradient (Reverse")
    kernel, why = choose_kernel(mixture(), mixture().trace(np.float32), np.float32, 64)
    assert why == "z is discrete: DiscreteGibbs for z; HMC for m"


# --- invariance ----------------------------------------------------------------------------------------

BASE = {"chains": 8, "lanes": 8, "draws": 30, "warmup": 0, "seed": 11, "superchains": 0}
TUNED = mcmc.Gibbs({"z": mcmc.DiscreteGibbs(), "m": mcmc.HMC(step_size=0.3, metric=0.5)})


@functools.cache
def base():
    return draw(mixture(), TUNED, **BASE)


@pytest.mark.parametrize("change", [{"chunk": 1}, {"chunk": 7}, {"chains": 5}], ids=str)
def test_chunks_and_chains_beside_do_not_enter(change):
    same(base(), draw(mixture(), TUNED, **{**BASE, **change}), slice(0, min(8, change.get("chains", 8))))


@pytest.mark.slow
def test_devices_and_chains_beside_do_not_enter():
    mesh = jax.make_mesh((2,), ("anything",), devices=jax.devices()[:2])
    same(base(), draw(mixture(), TUNED, **{**BASE, "chains": 16, "chunk": 9}, mesh=mesh), slice(0, 8))


# --- resuming ------------------------------------------------------------------------------------------


def test_resumed_draws_are_those_of_an_unbroken_run(tmp_path):
    settings = {**BASE, "warmup": 60}
    whole = draw(mixture(), **{**settings, "draws": 50})
    first = draw(mixture(), **{**settings, "draws": 20})
    first.to_netcdf(tmp_path / "first.nc", engine="h5netcdf")
    for start in (first, str(tmp_path / "first.nc")):
        more = resume(mixture(), start, 30)
        same(whole, more)
        same_state(whole, more)


def test_a_run_without_anything_tuned_goes_on_too():
    whole = draw(target_of("ising"), **{**BASE, "warmup": 5})
    same(whole, resume(target_of("ising"), draw(target_of("ising"), **{**BASE, "warmup": 5, "draws": 10}), 20))


def test_a_run_with_a_users_proposal_asks_for_the_kernel():
    kernel = WEDGES["proposals"]
    whole = draw(wedge(), kernel, **BASE)
    first = draw(wedge(), kernel, **{**BASE, "draws": 10})
    with pytest.raises(ValueError, match=r"kernel.*MetropolisHastings.*kernel="):
        resume(wedge(), first, 20)
    with pytest.raises(mcmc.FingerprintError, match=r"kernel.*x: MetropolisHastings.*as saved"):
        resume(wedge(), first, 20, kernel=WEDGES["independent"])
    same(whole, resume(wedge(), first, 20, kernel=kernel))


# --- the protocol and its errors -----------------------------------------------------------------------


def test_a_bound_kernel_is_a_pytree_that_works_in_anyones_jit():
    with jax.enable_x64(True):
        kernel = mcmc.Gibbs({"b": mcmc.RandomWalk(step_size=30.0), "a": mcmc.RandomWalk(step_size=0.6)})
        kernel = kernel.bind(normal(), jnp.float64)
        again = jax.tree.map(lambda x: x, kernel)
        assert type(again) is mcmc.Gibbs
        assert list(again.blocks) == ["b", "a"]
        traced = normal().trace(np.float64)
        density = functools.partial(traced.log_density, traced.arrays)
        state = kernel.init(jnp.array([1.0, 2.0]), density)
        step = jax.jit(lambda kernel, key, state: kernel.step(key, state, density))
        for key in jax.random.split(jax.random.key(0), 10):
            state, info = step(kernel, key, state)
            np.testing.assert_allclose(state.lp, density(state.position), rtol=1e-12)
            assert info.rates.shape == (2,)
            np.testing.assert_allclose(info.acceptance_rate, np.mean(info.rates))


def test_a_block_finds_its_values_and_jacobian_among_the_others():
    parameters = {
        "a": mcmc.positive(),
        "b": mcmc.interval(0.0, lambda p: p["a"]),
        "c": mcmc.interval(lambda p: p["b"], lambda p: p["b"] + p["a"]),
    }
    target = mcmc.Target(lambda p: 0.0, parameters)
    blocks = [Block(target, names) for size in (1, 2, 3) for names in itertools.combinations("abc", size)]

    def found(y):
        for block in (b.at(y) for b in blocks):
            part = block.part(y)
            p, log_jacobian = block.constrain(part)
            matrix = jax.jacfwd(lambda z, at=block: jnp.stack(list(at.constrain(z)[0].values())))(part)
            determinant = jnp.linalg.slogdet(matrix)[1]
            yield p, (block.unconstrain(p), part), (log_jacobian, determinant), block.inside(p)

    with jax.enable_x64(True):
        y = jnp.array([0.3, -0.8, 0.5])
        whole = target.constrain(y)[0]
        for block, (p, places, jacobians, inside) in zip(blocks, jax.jit(lambda y: list(found(y)))(y), strict=True):
            assert set(p) == set(block.names)
            for name, value in p.items():
                np.testing.assert_allclose(value, whole[name], rtol=1e-14)
            np.testing.assert_allclose(*places, atol=1e-12)
            np.testing.assert_allclose(*jacobians, rtol=1e-10)
            assert bool(inside)
            moved = block.joined(y, places[1] + 1)
            np.testing.assert_array_equal(moved - y != 0, np.isin(np.arange(3), block.columns))
        assert not bool(Block(target, "c").at(y).inside({"c": whole["b"] - 0.1}))


GOOD = {"n": mcmc.DiscreteGibbs(), "x": mcmc.HMC()}


@pytest.mark.usefixtures("no_kept_programs")
@pytest.mark.parametrize(
    ("blocks", "error", "match"),
    [
        ({"n": mcmc.DiscreteGibbs()}, ValueError, r"blocks.*none for x.*Add a block for x"),
        ({**GOOD, "y": mcmc.HMC()}, ValueError, r"blocks.*'y'.*n, x"),
        ({**GOOD, ("x", "n"): mcmc.HMC()}, ValueError, r"blocks.*'x' twice"),
        ({**GOOD, (): mcmc.HMC()}, ValueError, r"blocks.*\(\)"),
        ({**GOOD, 3: mcmc.HMC()}, ValueError, r"blocks.*3"),
        ({}, TypeError, "blocks.*dict"),
        ([mcmc.HMC()], TypeError, "blocks.*dict"),
        ({**GOOD, "x": mcmc.Stretch()}, ValueError, r"blocks\['x'\].*Stretch"),
        ({**GOOD, "x": mcmc.Direct(GammaWide())}, ValueError, r"blocks\['x'\].*Direct"),
        ({("n", "x"): mcmc.Gibbs(GOOD)}, ValueError, r"blocks\[\('n', 'x'\)\].*Gibbs"),
        ({"n": mcmc.HMC(), "x": mcmc.HMC()}, ValueError, r"HMC.*n is one"),
        ({("n", "x"): mcmc.HMC()}, ValueError, r"HMC.*n is one"),
        ({("n", "x"): mcmc.DiscreteGibbs()}, ValueError, r"DiscreteGibbs for 'x'.*discrete"),
        ({**GOOD, "x": mcmc.HMC}, TypeError, "kernel"),
        ({**GOOD, "x": 3}, TypeError, "kernel"),
        ({**GOOD, "x": mcmc.HMC(step_size=-1.0)}, ValueError, "step_size"),
        ({**GOOD, "x": mcmc.HMC(metric=[1.0, 2.0])}, ValueError, "metric"),
        ({**GOOD, "x": mcmc.MetropolisHastings(object())}, TypeError, "proposal"),
        ({**GOOD, "x": mcmc.IndependentMetropolis({"n": GammaWide()})}, ValueError, r"proposal.*x"),
    ],
)
def test_blocks_that_do_not_fit(blocks, error, match):
    with compilations() as names, pytest.raises(error, match=match):
        draw(wedge(), mcmc.Gibbs(blocks), chains=4)
    assert "jit(advance)" not in names


def test_kernels_that_were_not_bound_say_so():
    for kernel in (mcmc.Gibbs({"x": mcmc.HMC()}), mcmc.DiscreteGibbs()):
        with pytest.raises(ValueError, match="bind"):
            kernel.step(jax.random.key(0), kernel.init(jnp.zeros(1), jnp.sum), jnp.sum)
