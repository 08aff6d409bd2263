"""Exchangeable components are found by the log density, and only they; ordering leaves one labelling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.target.ordering import label_switching
from mcmc.target.symmetry import exchangeable

Y = np.random.default_rng(0).normal(size=30) + np.repeat([-2.0, 3.0], 15)


def mixture(weights, means, scales, y=Y):
    each = jnp.log(weights) - 0.5 * ((y[:, None] - means) / scales) ** 2 - jnp.log(scales)
    return jax.scipy.special.logsumexp(each, axis=1).sum() - 0.5 * jnp.sum(means**2) - jnp.sum(scales)


def pair(*values):
    return jnp.stack(values)


REAL, POSITIVE = mcmc.real(), mcmc.positive()
CASES = {
    "vectors jointly": (
        lambda p: mixture(p["w"], p["mu"], p["s"]) - 0.5 * p["beta"][0] ** 2,
        {"beta": mcmc.real(2), "mu": mcmc.real(2), "s": mcmc.positive(2), "w": mcmc.simplex(2)},
        ("mu", "s", "w"),
    ),
    "a share of one of two": (
        lambda p: mixture(pair(p["w"], 1 - p["w"]), p["mu"], 1.0),
        {"mu": mcmc.real(2), "w": mcmc.interval(0.0, 1.0)},
        ("mu", "w"),
    ),
    "scalars by name": (
        lambda p: mixture(pair(0.5, 0.5), pair(p["mu1"], p["mu2"]), pair(p["s_low"], p["s_high"])),
        {"mu1": REAL, "s_low": POSITIVE, "mu2": REAL, "s_high": POSITIVE},
        ("mu1", "mu2", "s_low", "s_high"),
    ),
    "rows of matrices and covariances": (
        lambda p: jnp.sum((p["at"][:, 0] - p["cov"][:, 0, 1]) ** 2) - jnp.sum(p["at"] ** 2),
        {"at": mcmc.real(3, 2), "cov": mcmc.cov_matrix(2, shape=(3,))},
        ("at", "cov"),
    ),
    "both axes of a transition matrix": (
        lambda p: -jnp.sum(jnp.diag(p["p"]) * p["mu"] ** 2),
        {"p": mcmc.simplex(3, shape=(3,)), "mu": mcmc.real(3)},
        ("p", "mu"),
    ),
    "labels of data": (
        lambda p: mixture(jnp.eye(2)[p["z"].astype(int)] + 1e-3, p["mu"], 1.0),
        {"mu": mcmc.real(2), "z": mcmc.integer(0, 1, 30)},
        ("mu", "z"),
    ),
    "none": (lambda p: -0.5 * jnp.sum((p["theta"] - jnp.arange(3.0)) ** 2), {"theta": mcmc.real(3)}, None),
    "a prior that tells them apart": (
        lambda p: mixture(pair(0.5, 0.5), p["mu"], 1.0) - p["mu"][0],
        {"mu": mcmc.real(2)},
        None,
    ),
    "ordered already": (lambda p: mixture(pair(0.5, 0.5), p["mu"], 1.0), {"mu": mcmc.ordered(2)}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_can_be_exchanged(case):
    log_density, parameters, names = CASES[case]
    target = mcmc.Target(log_density, parameters)
    with jax.enable_x64(True):
        at = np.random.default_rng(1).normal(size=(8, target.dim))
        for leaf in target.leaves:
            if leaf.support.discrete:
                at[:, leaf.start : leaf.stop] = at[:, leaf.start : leaf.stop] > 0
        density = jax.jit(jax.vmap(lambda y: target.value(y, ())))
        found = exchangeable(target, at, lambda z: np.asarray(density(z)), {n for n in target.names if n != "beta"})
    assert (None if found is None else found.names) == names


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("vectors jointly", 'with_parameters({"mu": mcmc.ordered(2)})'),
        ("scalars by name", 'with_parameters({"mu2": mcmc.lower(lambda p: p["mu1"])})'),
        ("rows of matrices and covariances", '(p["at"][1:, 0] > p["at"][:-1, 0]).all()'),
    ],
)
def test_the_call_orders_what_tells_components_best_apart(case, says):
    log_density, parameters, names = CASES[case]
    target = mcmc.Target(log_density, parameters)
    rng = np.random.default_rng(2)
    n = 3 if "rows" in case else 2
    labels = np.stack([np.roll(np.arange(n), c) for c in range(4)])
    middle = 10.0 * labels[:, None, :] + rng.normal(size=(4, 50, n))
    near = 1 + 0.1 * rng.random((4, 50, n))
    draws = {
        "mu": middle, "s": near, "w": near / near.sum(2, keepdims=True), "at": np.stack([middle, near], 3),
        "mu1": middle[..., 0], "mu2": middle[..., 1], "s_low": near[..., 0], "s_high": near[..., 1],
    }  # fmt: skip
    leaves = {leaf.name: leaf for leaf in target.leaves}
    from mcmc.target.symmetry import Exchange, Part

    if case == "scalars by name":
        parts = (Part((leaves["mu1"], leaves["mu2"])), Part((leaves["s_low"], leaves["s_high"])))
    else:
        parts = tuple(Part((leaves[name],), axes=(0,)) for name in names)
    found = label_switching(target, Exchange(parts, n, tuple(range(n))), draws)
    assert found is not None
    assert says in found["call"]
    assert found["before"] > 1.5
    assert found["after"] < 1.05
    inner = found["call"].removeprefix("mcmc.sample(").removesuffix(")")
    restricted = eval(inner, {"mcmc": mcmc, "target": target})
    assert restricted.dim == target.dim
    draws |= {"mu": near, "at": np.stack([near, near], 3), "mu1": near[..., 0], "mu2": near[..., 1]}
    assert label_switching(target, Exchange(parts, n, tuple(range(n))), draws) is None


def test_a_target_with_other_supports_or_a_rule():
    target = mcmc.Target(lambda p, y: -0.5 * ((p["a"] - y) ** 2).sum(), {"a": mcmc.real(2)}, data=np.zeros(2))
    ordered = target.with_parameters({"a": mcmc.ordered(2)})
    assert ordered.parameters["a"].name == "ordered"
    assert target.parameters["a"].name == "real"
    for wrong, says in (({"b": mcmc.real()}, "names among a"), ({"a": mcmc.ordered(3)}, "shape")):
        with pytest.raises(ValueError, match=says):
            target.with_parameters(wrong)
    rule = target.restricted_to(lambda p: p["a"][0] < p["a"][1])
    assert rule.log_density({"a": jnp.array([0.0, 1.0])}, np.zeros(2)) == -0.5
    assert rule.log_density({"a": jnp.array([1.0, 0.0])}, np.zeros(2)) == -np.inf


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_black_box_with_a_rule(vectorized):
    target = mcmc.Target.black_box(lambda p: -0.5 * (p["a"] ** 2).sum(-1), {"a": mcmc.real(2)}, vectorized=vectorized)
    rule = target.restricted_to(lambda p: p["a"][0] < p["a"][1])
    assert rule.host is not None
    at = np.array([[0.0, 1.0], [1.0, 0.0]])
    found = rule.host.fn({"a": at}) if vectorized else [rule.host.fn({"a": x}) for x in at]
    assert list(found) == [-0.5, -np.inf]
