"""Discrete starts: values at which the log density is finite are found one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.errors import InitializationError
from mcmc.warmup.starts import find_starts

RNG = np.random.default_rng(0)
MUST = RNG.integers(-1, 2, 60)  # 0, 1, or anything
COUNTS = RNG.integers(0, 9, (10, 3))
SEEN = np.where(RNG.random(12) < 0.3, np.repeat([0, 1, 2], 4), -1)


def left_to_right(p):
    steps = jnp.log(jnp.array([[0.7, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.0]]))
    return steps[p["s"][:-1], p["s"][1:]].sum() + jnp.where((SEEN >= 0) & (p["s"] != SEEN), -jnp.inf, 0.0).sum()


CASES = {
    "values that were seen": (
        lambda p: jnp.where((MUST >= 0) & (p["z"] != MUST), -jnp.inf, 0.0).sum(),
        {"z": mcmc.boolean(60)},
    ),
    "at least what was counted": (
        lambda p: jnp.where(p["n"][:, None] >= COUNTS, 0.0, -jnp.inf).sum() - p["n"].sum() * p["rate"],
        {"rate": mcmc.positive(), "n": mcmc.integer(0, 12, 10)},
    ),
    "states that follow each other": (left_to_right, {"s": mcmc.integer(0, 2, 12)}),
    "so many of them": (lambda p: jnp.where(p["z"].sum() == 34, 0.0, -jnp.inf), {"z": mcmc.boolean(40)}),
    "all in one condition": (
        lambda p: jnp.where(((p["n"] > 7).all() & (p["n"][0] < p["n"][1])) & ~(p["n"].sum() > 110), 0.0, -jnp.inf),
        {"n": mcmc.integer(0, 20, 12)},
    ),
    "one of two sums": (
        lambda p: jnp.where((p["n"].sum() == 20) | (p["n"].sum() == 1170), 0.0, -jnp.inf),
        {"n": mcmc.integer(0, 60, 20)},
    ),
}


def starts(log_density, parameters):
    target = mcmc.Target(log_density, parameters)
    density = jax.jit(jax.vmap(lambda y: target.value(y, None)))
    with jax.enable_x64(True):
        return find_starts(
            target, None, np.arange(4), np.zeros(2, np.uint32), np.float64, lambda y: np.isfinite(density(y)), False
        )


@pytest.mark.parametrize("case", CASES)
def test_a_start_is_found_where_random_values_hit_none(case):
    log_density, parameters = CASES[case]
    found = starts(log_density, parameters)
    target = mcmc.Target(log_density, parameters)
    assert np.isfinite([float(target.value(jnp.asarray(y), None)) for y in found]).all()
    assert len(np.unique(found, axis=0)) > 1


def test_what_can_not_be_is_said():
    def log_density(p):
        return jnp.where(p["z"][:2].sum() != 3, -jnp.inf, 0.0)

    with pytest.raises(InitializationError, match="where in test_discrete_starts"):
        starts(log_density, {"z": mcmc.boolean(4)})


@pytest.mark.parametrize(
    ("log_density", "named"),
    [
        (lambda p: jnp.where(p["z"][3] & ~p["z"][3], 0.0, -jnp.inf), r"z\[3\];"),
        (lambda p: jnp.where(p["z"][1] & (p["z"].sum() == 3) & ~p["z"][:4].any(), 0.0, -jnp.inf), r"z\[1\]"),
        (lambda p: jnp.where((p["z"].sum() >= 5) & (p["z"].sum() < 3), 0.0, -jnp.inf), r"z\[\d\], z\[\d\]"),
    ],
)
def test_what_one_condition_asks_and_forbids_is_in_conflict(log_density, named):
    with pytest.raises(InitializationError, match=f"In conflict: {named}"):
        starts(log_density, {"z": mcmc.boolean(6)})


def test_values_in_conflict_are_named():
    seen = np.array([0, 0, 0, 2, 0, 1, 0, 0])

    def log_density(p):
        occupied = jnp.where((seen > 0) & ~p["z"], -jnp.inf, 0.0).sum()
        return occupied + jnp.where(p["z"][3] | (p["w"] > 4), -jnp.inf, 0.0) - 0.5 * p["a"] ** 2

    parameters = {"z": mcmc.boolean(8), "w": mcmc.integer(0, 5), "a": mcmc.real()}
    with pytest.raises(InitializationError, match=r"In conflict: z\[3\]; what one term asks") as caught:
        starts(log_density, parameters)
    assert "(8 values)" in str(caught.value)
