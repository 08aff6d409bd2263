"""The ensemble moves: affine invariance, both halves move, counts of chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw, target_of

import mcmc

RNG = np.random.default_rng(8)
START = RNG.normal(size=(20, 3))
A, SHIFT = np.array([[2.0, 0.0, 0.0], [3.0, 0.1, 0.0], [-1.0, 0.5, 40.0]]), np.array([5.0, -3.0, 100.0])
ENSEMBLES = [mcmc.Stretch(), mcmc.DifferentialEvolution()]
each = pytest.mark.parametrize("kernel", ENSEMBLES, ids=lambda k: type(k).__name__)


def normal(y):
    return -0.5 * jnp.sum(y**2, -1)


def squeezed(y):
    return normal(jnp.linalg.solve(jnp.asarray(A), (y - SHIFT).T).T)


def walk(kernel, density, start, steps=30):
    with jax.enable_x64(True):
        start = jnp.asarray(start)

        def step(state, key):
            state, info = kernel.step(key, state, density)
            return state, (state.position, info.accepted)

        state = kernel.init(start, density)
        _, (path, accepted) = jax.jit(lambda s, k: jax.lax.scan(step, s, k))(
            state, jax.random.split(jax.random.key(3), steps)
        )
        return np.asarray(path), np.asarray(accepted)


@pytest.mark.parametrize("kernel", [mcmc.Stretch(), mcmc.DifferentialEvolution(noise=0.0)], ids=["stretch", "de"])
def test_an_affine_map_of_the_target_is_one_of_the_chains(kernel):
    plain, _ = walk(kernel, normal, START)
    mapped, _ = walk(kernel, squeezed, START @ A.T + SHIFT)
    np.testing.assert_allclose(mapped, plain @ A.T + SHIFT, rtol=1e-7, atol=1e-6)
    assert np.abs(plain[-1] - START).max() > 0.1


@each
def test_every_chain_moves(kernel):
    _, accepted = walk(kernel, normal, START, 100)
    assert accepted.any(0).all()
    assert 0.05 < accepted.mean() < 0.99


def test_a_stretch_stays_on_the_line_to_another_chain():
    path, accepted = walk(mcmc.Stretch(scale=2.0), normal, START, 1)
    second = START[10:]
    for before, after in zip(START[:10][accepted[0, :10]], path[0][:10][accepted[0, :10]], strict=True):
        z = np.linalg.norm(after - second, axis=1) / np.linalg.norm(before - second, axis=1)
        off = np.linalg.norm((after - second) - z[:, None] * (before - second), axis=1)
        at = off.argmin()
        assert off[at] < 1e-10
        assert 0.5 <= z[at] <= 2.0


@each
@pytest.mark.parametrize("chains", [1, 3, 9, 11])
def test_too_few_or_an_odd_number_of_chains(kernel, chains):
    with pytest.raises(ValueError, match=r"chains.*at least 10"):
        draw(target_of("correlated_normal"), kernel, chains=chains)


@each
def test_the_default_number_of_chains_suffices_in_many_dimensions(kernel):
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(50)})
    draws = draw(target, kernel, draws=5, warmup=0)
    assert draws["posterior"].sizes["chain"] >= 100


def test_a_scale_of_one_is_refused():
    with pytest.raises(ValueError, match="scale"):
        draw(target_of("correlated_normal"), mcmc.Stretch(scale=1.0))
