"""What every kernel must do: the protocol, one compilation, the exact law, the policy on NaN and infinities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME, CORRELATED, CORRELATED_LOC
from proposals import Drift, Normal
from runs import compilations, draw, follows, target_of

import mcmc

FACTOR = 1.3 * np.linalg.cholesky(CORRELATED)
KERNELS = {
    "random_walk": mcmc.RandomWalk(),
    "random_walk_dense": mcmc.RandomWalk(step_size=0.9, metric=CORRELATED),
    "independent": mcmc.IndependentMetropolis(Normal(CORRELATED_LOC, FACTOR)),
    "metropolis_hastings": mcmc.MetropolisHastings(
        Drift(CORRELATED_LOC, np.float64(0.5), 0.8 * np.linalg.cholesky(CORRELATED))
    ),
    "hmc": mcmc.HMC(),
    "hmc_dense": mcmc.HMC(step_size=0.5, metric=CORRELATED),
    "hmc_fixed": mcmc.HMC(step_size=0.4, metric=CORRELATED, num_steps=3),
    "stretch": mcmc.Stretch(),
    "differential_evolution": mcmc.DifferentialEvolution(),
    "direct": mcmc.Direct(Normal(CORRELATED_LOC, np.linalg.cholesky(CORRELATED))),
}
each = pytest.mark.parametrize("name", KERNELS)
CONTINUOUS = [law.name for law in BY_NAME.values() if not law.discrete and not law.hard]


def log_density(y):
    return -0.5 * jnp.sum((y - CORRELATED_LOC) ** 2)


def is_ensemble(kernel):
    return getattr(kernel, "ensemble", False)


# --- the protocol -------------------------------------------------------------------------------------


@each
def test_a_kernel_is_a_frozen_dataclass_and_a_pytree(name):
    kernel = KERNELS[name]
    assert dataclasses.is_dataclass(kernel)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kernel, dataclasses.fields(kernel)[0].name, 1.0)
    again = jax.tree.map(lambda leaf: leaf, kernel)
    assert type(again) is type(kernel)
    leaves = len(jax.tree.leaves(kernel))
    assert leaves == sum(len(jax.tree.leaves(getattr(kernel, f.name))) for f in dataclasses.fields(kernel))


@each
def test_a_kernel_works_in_anyones_jit_and_vmap_with_an_ordinary_key(name):
    kernel = KERNELS[name]
    with jax.enable_x64(True):
        start = CORRELATED_LOC + np.random.default_rng(1).normal(size=(20, 5))
        density = jax.vmap(log_density) if is_ensemble(kernel) else log_density

        @jax.jit
        def run(kernel, key, position):
            state = kernel.init(position, density)
            return kernel.step(key, state, density)

        if is_ensemble(kernel):
            state, info = run(kernel, jax.random.key(0), jnp.asarray(start))
        else:
            keys = jax.random.split(jax.random.key(0), 20)
            state, info = jax.vmap(run, (None, 0, 0))(kernel, keys, jnp.asarray(start))
        np.testing.assert_allclose(state.lp, jax.vmap(log_density)(state.position), rtol=1e-10)
    assert {"position", "lp"} <= set(state._fields)
    assert {"acceptance_rate", "accepted", "nonfinite"} <= set(info._fields)
    assert state.position.shape == (20, 5)
    moved = np.any(np.asarray(state.position) != start, axis=-1)
    np.testing.assert_array_equal(moved, np.asarray(info.accepted))
    assert moved.any()
    assert np.all((np.asarray(info.acceptance_rate) >= 0) & (np.asarray(info.acceptance_rate) <= 1))


@each
def test_steps_differ_by_key_and_repeat_with_it(name):
    kernel = KERNELS[name]
    with jax.enable_x64(True):
        start = CORRELATED_LOC + np.random.default_rng(2).normal(size=(20, 5))
        density = jax.vmap(log_density) if is_ensemble(kernel) else log_density
        start = jnp.asarray(start if is_ensemble(kernel) else start[0])
        step = jax.jit(lambda key: kernel.step(key, kernel.init(start, density), density)[0].position)
        found = [np.asarray(step(jax.random.key(k))) for k in range(8)]
        np.testing.assert_array_equal(found[3], step(jax.random.key(3)))
    assert len({x.tobytes() for x in found}) > 2


# --- one compilation ----------------------------------------------------------------------------------


@each
def test_a_run_compiles_one_program_and_a_second_run_none(name):
    n, at = (16, 16) if is_ensemble(KERNELS[name]) else (8, 8)
    law = BY_NAME["correlated_normal"]
    target = mcmc.Target(
        lambda p, d: law.log_density({"x": p["x"] - d["shift"]}), law.parameters, data={"shift": np.zeros(5)}
    )
    settings = {"chains": n, "lanes": at, "warmup": 40, "chunk": 50, "superchains": 0}
    with compilations() as names:
        draw(target, KERNELS[name], draws=125, **settings)  # warmup's windows, two chunks and a remainder
    assert names == ["jit(advance)"]
    with compilations() as names:
        draw(target, KERNELS[name], draws=77, **settings)
    assert names == []
    with compilations() as names:
        other = draw(target.with_data({"shift": np.full(5, 6.0)}), KERNELS[name], draws=400, **settings)
    assert names == []
    assert np.abs(other["posterior"]["x"].values[:, -50:].mean((0, 1)) - law.mean["x"] - 6).max() < 2


# --- the law ------------------------------------------------------------------------------------------

SETTINGS = {"chains": 16, "draws": 4000, "warmup": 500, "superchains": 0, "seed": 3}


@each
def test_the_law_of_a_correlated_normal(name):
    draws = draw(target_of("correlated_normal"), KERNELS[name], **SETTINGS)
    follows(draws, BY_NAME["correlated_normal"])


@pytest.mark.slow
@pytest.mark.parametrize("law", [n for n in CONTINUOUS if n != "correlated_normal"])
@pytest.mark.parametrize("kernel", [mcmc.RandomWalk(), mcmc.HMC()], ids=lambda k: type(k).__name__)
def test_the_law_of(law, kernel):
    follows(draw(target_of(law), kernel, **SETTINGS), BY_NAME[law])


@pytest.mark.slow
@pytest.mark.parametrize("law", ["student_t", "bounded"])
def test_the_law_of_an_ensemble(law):
    follows(draw(target_of(law), mcmc.Stretch(), **SETTINGS), BY_NAME[law])


# --- NaN and infinities -------------------------------------------------------------------------------


def _walled(p, data):
    x = p["x"]
    return jnp.where(x[0] > 1.0, data["beyond"], -0.5 * jnp.sum(x**2))


WALLED = mcmc.Target(_walled, {"x": mcmc.real(2)}, data={"beyond": np.array(0.0)})


def walled(value):
    """A standard normal in two dimensions, where a first coordinate above 1 meets the value."""
    return WALLED.with_data({"beyond": np.array(value)})


POLICY = {
    "random_walk": mcmc.RandomWalk(step_size=1.0, metric=1.0),
    "independent": mcmc.IndependentMetropolis(Normal(np.zeros(2), np.eye(2))),
    "metropolis_hastings": mcmc.MetropolisHastings(Drift(np.zeros(2), np.float64(0.5), 0.8 * np.eye(2))),
    "hmc": mcmc.HMC(step_size=0.5, metric=1.0, num_steps=3),
    "stretch": mcmc.Stretch(),
    "differential_evolution": mcmc.DifferentialEvolution(),
}
SHORT = {"chains": 16, "draws": 200, "warmup": 0, "superchains": 0, "init": {"x": np.zeros(2)}}


@pytest.mark.parametrize("name", POLICY)
@pytest.mark.parametrize("value", [np.nan, -np.inf], ids=["nan", "-inf"])
def test_a_proposal_without_a_density_is_rejected_and_a_nan_is_counted(name, value):
    draws = draw(walled(value), POLICY[name], **SHORT)
    x = draws["posterior"]["x"].values
    assert np.isfinite(x).all()
    assert np.isfinite(draws["sample_stats"]["lp"].values).all()
    assert x[..., 0].max() <= 1.0
    assert x[..., 0].std() > 0.3
    counted = draws["run_state"]["nonfinite_proposals"].values
    assert counted.shape == (16,)
    assert counted.sum() > 50 if np.isnan(value) else counted.sum() == 0
    rates = draws["sample_stats"]["acceptance_rate"].values
    assert np.all((rates >= 0) & (rates <= 1))


@pytest.mark.parametrize("name", POLICY)
def test_an_infinite_log_density_is_an_error_with_chain_and_parameter(name):
    with pytest.raises(mcmc.SamplingError, match="inf") as raised:
        draw(walled(np.inf), POLICY[name], **SHORT)
    text, chain = str(raised.value), raised.value.chain
    assert f"chain {chain} " in text
    assert "x = [" in text
    assert "log_density" in text
    assert raised.value.position["x"][0] > 1.0


# --- precision ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random_walk_dense", "hmc_dense", "stretch"])
def test_float32(name):
    before = jax.config.jax_enable_x64
    draws = draw(target_of("correlated_normal"), KERNELS[name], dtype="float32", **SETTINGS)
    assert jax.config.jax_enable_x64 == before
    assert draws["posterior"]["x"].dtype == np.float32
    assert draws["sample_stats"]["lp"].dtype == np.float32
    assert draws.attrs["dtype"] == "float32"
    follows(draws, BY_NAME["correlated_normal"])
