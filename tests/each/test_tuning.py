"""Kernels of many data sets that are tuned by the same operations are what they would be one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.each.together import chosen, together
from mcmc.each.tuning import Seen, SideBySide, Tuning

SETS, CHAINS, DIM, TOTAL = 5, 16, 3, 60


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


@functools.cache
def shared(kernel):
    dtype = np.dtype("float64")
    target = mcmc.Target(lambda p, y: -0.5 * ((p["x"] - y) ** 2).sum(), {"x": mcmc.real(DIM)}, data=np.zeros(DIM))
    traced = target.trace(dtype)
    asked = {"kernel": kernel, "chains": CHAINS, "draws": 10, "warmup": TOTAL}
    kernel, settings, _ = chosen(target, traced, asked, dtype)
    return together(target, traced, kernel, settings, dtype)


def seen(rng, run, iterations):
    """Chains of data sets of different widths; of one all proposals are poor, one does not move."""
    shape = (SETS, CHAINS, iterations, DIM)
    positions = rng.normal(size=shape) * np.logspace(-2, 2, SETS)[:, None, None, None]
    positions[3] = 1.0
    gradients = -positions / np.logspace(-4, 4, SETS)[:, None, None, None] if run.has_gradient else None
    rates = rng.uniform(0.4, 1.0, (SETS, CHAINS, *run.shapes.rates))
    if run.shapes.rates:
        rates[..., 1], rates[..., 2:] = np.array([0, 0.5, 0, 0, 0.01])[:, None], 1.0
    return Seen(rates, positions, gradients, rng.normal(size=(SETS, CHAINS)))


@pytest.mark.parametrize("kernel", [mcmc.HMC(), mcmc.RandomWalk()], ids=lambda kernel: type(kernel).__name__)
def test_side_by_side_is_one_by_one(kernel):
    run, tuner = shared(kernel).first, shared(kernel).tuner
    rng, now = np.random.default_rng(0), 0
    together, single = Tuning.of(run, tuner, SETS), Tuning(run, tuner, SETS)
    assert isinstance(together, SideBySide)
    for stop in tuner.steps(TOTAL):
        what = seen(rng, run, stop - now)
        for tuning in (together, single):
            tuning.adjust(what._replace(positions=what.positions.copy()), stop, TOTAL)
        for a, b in zip(together.leaves, single.leaves, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
            assert a.dtype == b.dtype
        now = stop
    factors = run.form.rebuild(together.leaves).metric.factor
    np.testing.assert_allclose(factors[3], np.eye(DIM))  # there was nothing to learn
    assert factors[4, 0, 0] > 100 * factors[0, 0, 0]


def test_a_lost_chain_does_not_count():
    kernel = mcmc.HMC()
    run, tuner = shared(kernel).first, shared(kernel).tuner
    what = seen(np.random.default_rng(1), run, 3)
    clean = Tuning.of(run, tuner, SETS)
    what.positions[:, 1] = what.positions[:, 0]  # what stands in for the lost one
    what.gradients[:, 1] = what.gradients[:, 0]
    what.rates[:, 1, 0] = what.rates[:, [0, *range(2, CHAINS)], 0].mean(1)
    clean.adjust(what, 3, TOTAL)
    lost = what._replace(lps=what.lps.copy(), positions=what.positions.copy(), rates=what.rates.copy())
    lost.lps[:, 1], lost.positions[:, 1], lost.rates[:, 1, 0] = -1e6, 1e6, 0.0
    other = Tuning.of(run, tuner, SETS)
    other.adjust(lost, 3, TOTAL)
    for a, b in zip(clean.leaves, other.leaves, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_some_begin_again():
    kernel = mcmc.HMC()
    tuning = Tuning.of(shared(kernel).first, shared(kernel).tuner, SETS)
    begin = [np.array(leaf) for leaf in tuning.leaves]
    tuning.adjust(seen(np.random.default_rng(2), tuning.run, 3), 3, TOTAL)
    tuning.adjust(seen(np.random.default_rng(3), tuning.run, 9), 12, TOTAL)
    kept = [np.array(leaf) for leaf in tuning.leaves]
    again = np.arange(SETS) % 2 == 0
    tuning.restart(again)
    for leaf, old, new in zip(tuning.leaves, kept, begin, strict=True):
        np.testing.assert_array_equal(leaf[again], new[again])
        np.testing.assert_array_equal(leaf[~again], old[~again])
    assert jnp.all(tuning.state.step.count[again] == 0)
