"""Where chains start: groups, candidates, retries, discrete parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.warmup.starts import ATTEMPTS, find_starts, superchains_of

SEED = np.array([1, 2], np.uint32)
DTYPE = np.dtype("float64")


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def starts(target, groups, accept=lambda y: np.ones(len(y), bool), init=None, seed=SEED):
    return find_starts(target, init, np.asarray(groups), seed, DTYPE, accept)


PLAIN = mcmc.Target(lambda p: -jnp.sum(p["x"] ** 2), {"x": mcmc.real(3)})


def test_a_start_depends_on_the_seed_and_the_group_alone():
    many = starts(PLAIN, range(40))
    np.testing.assert_array_equal(starts(PLAIN, range(5)), many[:5])
    np.testing.assert_array_equal(starts(PLAIN, np.arange(40) % 7), many[np.arange(40) % 7])
    assert np.all(starts(PLAIN, range(5), seed=np.array([1, 3], np.uint32)) != many[:5])


def test_starts_are_spread_uniformly():
    at = starts(PLAIN, range(3000))
    assert np.all(np.abs(at) < 2)
    assert np.abs(at.mean(0)).max() < 5 * np.sqrt(4 / 3 / 3000)
    assert np.abs(at.var(0) - 4 / 3).max() < 0.1


def test_only_starts_that_are_not_finite_are_tried_again():
    asked = []

    def accept(y):
        asked.append(y.copy())
        return y[:, 0] > 0

    found = starts(PLAIN, range(20), accept)
    assert np.all(found[:, 0] > 0)
    good = asked[0][:, 0] > 0
    np.testing.assert_array_equal(found[good], asked[0][good])
    assert 1 < len(asked) < ATTEMPTS


def test_a_group_moves_together():
    """Where one chain of a group is not finite, the whole group gets another start."""
    groups, calls = np.arange(8) % 4, []

    def accept(y):
        calls.append(y.copy())
        fine = np.ones(8, bool)
        fine[5] = len(calls) > 1
        return fine

    found = starts(PLAIN, groups, accept)
    np.testing.assert_array_equal(found[:4], found[4:])
    assert np.all(found[1] != calls[0][1])
    np.testing.assert_array_equal(found[0], calls[0][0])


def test_no_finite_start_is_an_error_after_all_attempts():
    with pytest.raises(mcmc.InitializationError, match=f"{ATTEMPTS} attempts, for 2 of 6 chains, in chain 3"):
        starts(PLAIN, range(6), lambda y: np.array([1, 1, 1, 0, 1, 0], bool))


def test_chains_that_find_no_start_begin_between_those_that_others_found():
    def inside(y):
        return np.all(y > 0, 1)

    at = starts(mcmc.Target(lambda p: -jnp.sum(p["x"] ** 2), {"x": mcmc.real(9)}), range(16), inside)
    assert np.all(inside(at))
    assert len(np.unique(at, axis=0)) > 2


@pytest.mark.parametrize("wall", [1e3, -3e4])
def test_a_wall_beyond_all_near_starts_is_passed_by_far_ones(wall):
    target = mcmc.Target(lambda p: -p["s"], {"x": mcmc.real(), "s": mcmc.positive()})
    inside = lambda y: (np.sign(wall) * y[:, 0] > abs(wall)) & (np.abs(y[:, 1]) < 700)  # noqa: E731
    at = starts(target, range(16), inside)
    assert inside(at).all()
    assert len(np.unique(at[:, 0])) > 1


def test_nowhere_finite_says_that_starts_were_tried_far_out_and_shows_a_near_one():
    target = mcmc.Target(lambda p: jnp.where(p["x"] > jnp.inf, 0.0, -jnp.inf), {"x": mcmc.real()})
    with pytest.raises(mcmc.InitializationError, match=r"tried far out too.*mcmc\.lower") as caught:
        starts(target, range(4), lambda y: np.zeros(len(y), bool))
    assert abs(caught.value.position["x"]) < 300


@pytest.mark.parametrize(
    ("support", "low", "high"),
    [
        (mcmc.integer(3, 7), 3, 7),
        (mcmc.integer(-2, -2), -2, -2),
        (mcmc.integer(5), 5, 15),
        (mcmc.integer(None, 5), -5, 5),
        (mcmc.boolean(), 0, 1),
        (mcmc.integer([0, 10], [1, 12]), 0, 12),
    ],
    ids=repr,
)
def test_discrete_parameters_start_inside_on_whole_numbers(support, low, high):
    target = mcmc.Target(lambda p: 0.0, {"n": support, "x": mcmc.real()})
    at = starts(target, range(200))
    n = at[:, :-1]
    np.testing.assert_array_equal(n, np.round(n))
    assert n.min() == low
    assert n.max() == high
    for row in at[:20]:
        assert np.isfinite(float(target.value(jnp.asarray(row), None)))


def test_an_integer_whose_bound_is_a_function_starts_inside():
    target = mcmc.Target(
        lambda p: 0.0, {"n": mcmc.integer(20, 30), "m": mcmc.integer(lambda p: p["n"], lambda p: p["n"] + 3)}
    )

    def accept(y):
        return np.array([np.isfinite(float(target.value(jnp.asarray(row), None))) for row in y])

    at = starts(target, range(5), accept)
    assert np.all((at[:, 1] >= at[:, 0]) & (at[:, 1] <= at[:, 0] + 3))


@pytest.mark.parametrize("bad", [True, "a", -3, 9, 1, [0, 1], np.zeros(8), [[0] * 8]])
def test_groups_that_are_none(bad):
    with pytest.raises(ValueError, match="superchains"):
        superchains_of(8, bad)


def test_groups_are_numbered_from_zero():
    assert superchains_of(4, [7, 7, 3, 3]).tolist() == [1, 1, 0, 0]
    assert superchains_of(5, 2).tolist() == [0, 1, 0, 1, 0]
    assert superchains_of(5, 0) is None
    assert superchains_of(16, None) is None
    assert superchains_of(17, None).tolist() == [*range(16), 0]


def test_a_narrow_support_far_away_is_found_in_wider_boxes():
    found = starts(PLAIN, np.arange(64), lambda y: ((y[:, :2] > 10) & (y[:, :2] < 14)).all(1))
    assert ((found[:, :2] > 10) & (found[:, :2] < 14)).all()
