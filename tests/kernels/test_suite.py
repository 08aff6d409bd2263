"""What every kernel must do: the protocol, one compilation, the exact law, in both precisions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME, CORRELATED, CORRELATED_LOC, CORRELATED_PRECISION
from proposals import Drift, Normal
from runs import compilations, draw, follows

import mcmc

FACTOR = 1.3 * np.linalg.cholesky(CORRELATED)
KERNELS = {
    "random_walk": mcmc.RandomWalk(),
    "random_walk_dense": mcmc.RandomWalk(step_size=0.9, metric=CORRELATED),
    "independent": mcmc.IndependentMetropolis(Normal(CORRELATED_LOC, FACTOR)),
    "metropolis_hastings": mcmc.MetropolisHastings(
        Drift(CORRELATED_LOC, np.float64(0.5), 0.95 * np.linalg.cholesky(CORRELATED))
    ),
    "hmc": mcmc.HMC(),
    "hmc_dense": mcmc.HMC(step_size=0.5, metric=CORRELATED),
    "hmc_fixed": mcmc.HMC(step_size=0.4, metric=CORRELATED, num_steps=3),
    "mala": mcmc.MALA(),
    "barker": mcmc.Barker(),
    "mams": mcmc.MAMS(),
    "slice": mcmc.Slice(),
    "elliptical_slice": mcmc.EllipticalSlice(metric=2 * CORRELATED, loc=np.asarray(CORRELATED_LOC)),
    "multiscale": mcmc.Multiscale(),
    "nuts": mcmc.NUTS(),
    "nuts_dense": mcmc.NUTS(step_size=0.5, metric=CORRELATED),
    "stretch": mcmc.Stretch(),
    "differential_evolution": mcmc.DifferentialEvolution(),
    "walk": mcmc.Walk(),
    "kde": mcmc.KDE(),
    "mixture": mcmc.Mixture([mcmc.HMC(), mcmc.RandomWalk()], weights=[1, 2]),
    "mixture_ensemble": mcmc.Mixture([mcmc.Stretch(), mcmc.KDE(), mcmc.RandomWalk()]),
    "direct": mcmc.Direct(Normal(CORRELATED_LOC, np.linalg.cholesky(CORRELATED))),
}
SLOW = {"differential_evolution": pytest.mark.slow}  # to compile


def log_density(y):
    x = y - CORRELATED_LOC
    return -0.05 * x @ CORRELATED_PRECISION @ x


def is_ensemble(kernel):
    return getattr(kernel, "ensemble", False)


# --- the protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_a_frozen_dataclass_and_a_pytree(name):
    kernel = KERNELS[name]
    assert dataclasses.is_dataclass(kernel)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kernel, dataclasses.fields(kernel)[0].name, 1.0)
    again = jax.tree.map(lambda leaf: leaf, kernel)
    assert type(again) is type(kernel)
    leaves = len(jax.tree.leaves(kernel))
    assert leaves == sum(len(jax.tree.leaves(getattr(kernel, f.name))) for f in dataclasses.fields(kernel))


@pytest.mark.parametrize("name", [n for n in KERNELS if n not in ("hmc_dense", "nuts_dense")])  # slow to compile
def test_a_kernel_works_in_anyones_jit_and_vmap_with_an_ordinary_key(name):
    kernel = KERNELS[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        start = CORRELATED_LOC + rng.normal(size=(20, 5)) @ np.linalg.cholesky(CORRELATED).T

        def one(kernel, key, position, density=log_density):
            return kernel.step(key, kernel.init(position, density), density)

        @jax.jit
        def run(kernel, key):
            if is_ensemble(kernel):
                return one(kernel, key, jnp.asarray(start), jax.vmap(log_density))
            return jax.vmap(one, (None, 0, 0))(kernel, jax.random.split(key, 20), jnp.asarray(start))

        state, info = run(kernel, jax.random.key(0))
        again = run(kernel, jax.random.key(0))[0]
        other = run(kernel, jax.random.key(1))[0]
        np.testing.assert_allclose(state.lp, jax.vmap(log_density)(state.position), rtol=1e-10)
    np.testing.assert_array_equal(state.position, again.position)
    assert np.any(state.position != other.position)
    assert {"position", "lp"} <= set(state._fields)
    assert {"acceptance_rate", "accepted", "nonfinite"} <= set(info._fields)
    assert state.position.shape == (20, 5)
    moved = np.any(np.asarray(state.position) != start, axis=-1)
    np.testing.assert_array_equal(moved, np.asarray(info.accepted))
    assert moved.any()
    assert np.all((np.asarray(info.acceptance_rate) >= 0) & (np.asarray(info.acceptance_rate) <= 1))


# --- one compilation, and the law -----------------------------------------------------------------------

LAW = BY_NAME["correlated_normal"]
SETTINGS = {"chains": 16, "warmup": 500, "superchains": 0, "seed": 3}
SINGLE = ("random_walk_dense", "hmc_dense", "nuts_dense")  # in float32, the others in float64, the stretch in both
CASES = [(n, None) for n in KERNELS if n not in SINGLE] + [(n, "float32") for n in (*SINGLE, "stretch")]
LANES = {"nuts": 16}  # of which each runs freely; without, trees of one chain at a time


@functools.cache
def shifted():
    """The correlated normal, moved by its data."""
    data = {"shift": np.zeros(5)}
    return mcmc.Target(lambda p, d: LAW.log_density({"x": p["x"] - d["shift"]}), LAW.parameters, data=data)


@jax.jit
@jax.vmap
@jax.vmap
def shifted_by_6(x):
    return LAW.log_density({"x": x - 6.0})


def samplers(names):
    """Without the program by which the verdict of a short run tests for labels that switch."""
    return [name for name in names if name != "jit(moved)"]


@pytest.mark.parametrize(("name", "dtype"), [pytest.param(n, t, marks=SLOW.get(n, ())) for n, t in CASES])
def test_one_program_serves_every_run_and_draws_the_law(name, dtype):
    before = jax.config.jax_enable_x64
    settings = {**SETTINGS, "lanes": LANES.get(name), "dtype": dtype}
    with compilations() as names:  # warmup's windows, two chunks and a remainder
        draws = draw(shifted(), KERNELS[name], draws=4000, chunk=1500, **settings)
    assert samplers(names) == ["jit(advance)"]
    assert jax.config.jax_enable_x64 == before
    assert draws["posterior"]["x"].dtype == (dtype or np.float64)
    assert draws["sample_stats"]["lp"].dtype == (dtype or np.float64)
    assert draws.attrs["dtype"] == (dtype or "float64")
    follows(draws, LAW)
    with compilations() as names:
        draw(shifted(), KERNELS[name], draws=77, **settings)
        other = draw(shifted().with_data({"shift": np.full(5, 6.0)}), KERNELS[name], draws=400, **settings)
    assert samplers(names) == []
    x = other["posterior"]["x"].values
    if dtype is None:
        with jax.enable_x64(True):
            np.testing.assert_allclose(other["sample_stats"]["lp"].values, shifted_by_6(x), rtol=1e-9, atol=1e-9)
    if name not in ("independent", "direct"):  # whose proposals stay where they were
        assert np.abs(x[:, -50:].mean((0, 1)) - LAW.mean["x"] - 6).max() < 2
