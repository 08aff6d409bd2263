"""Log densities and gradients at any number of positions, by any number of devices."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations, draw

import mcmc
from mcmc.engine.devices import layout_of
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.progress_state import Timings
from mcmc.warmup.value_and_grad import ValueAndGrad

PARAMETERS = {"a": mcmc.real(2), "s": mcmc.positive()}


def log_density(p, data):
    return -0.5 * jnp.sum(((data - p["a"]) / p["s"]) ** 2) - 6 * jnp.log(p["s"])


TARGET = mcmc.Target(log_density, PARAMETERS, data=np.arange(6.0).reshape(3, 2))


def value_and_grad(traced, devices, lanes):
    arrays = [jax.device_put(traced.arrays, device) for device in devices]
    dtype, settings = np.dtype(np.float64), Settings(lanes * len(devices), 1, 0, 1, None)
    layout = layout_of(settings.chains, lanes, 1, 8, mcmc.HMC(), False, devices)
    plan = Plan(TARGET, traced, mcmc.HMC(), settings, np.zeros(2, np.uint32), dtype)
    return ValueAndGrad(plan, replace(layout, devices=devices), arrays, Timings())


@pytest.mark.parametrize("n", [1, 15, 16, 17, 128, 300])
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_they_are_those_of_jax_whatever_the_number(n, devices):
    positions = np.random.default_rng(n).normal(size=(n, 3))
    with jax.enable_x64(True):
        traced = TARGET.trace(np.dtype(np.float64))
        lps, gradients = value_and_grad(traced, tuple(jax.devices()[:devices]), 16)(positions)
        expected = jax.vmap(jax.value_and_grad(lambda y: traced.log_density(traced.arrays, y)))(positions)
    assert lps.dtype == gradients.dtype == np.float64
    np.testing.assert_allclose(lps, expected[0], rtol=1e-13)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("no_kept_programs")
def test_one_program_serves_all_numbers_and_runs():
    with jax.enable_x64(True), compilations() as names:
        traced = TARGET.trace(np.dtype(np.float64))
        for n in (3, 40, 500):
            value_and_grad(traced, (jax.devices()[0],), 17)(np.ones((n, 3)))
    assert names.count("jit(_evaluate)") == 1


def test_improved_starts_do_not_depend_on_devices():
    meshes = [jax.make_mesh((n,), ("chains",), devices=jax.devices()[:n]) for n in (1, 2, 4)]
    settings = {"chains": 32, "draws": 20, "warmup": 20, "init": "pathfinder", "lanes": 8}
    runs = [draw(TARGET, mcmc.HMC(), mesh=mesh, **settings)["posterior"] for mesh in meshes]
    for other in runs[1:]:
        np.testing.assert_array_equal(other["a"], runs[0]["a"])
