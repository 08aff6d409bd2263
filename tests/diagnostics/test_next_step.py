"""The advice of a failed run, followed to the letter: the next run is good, or its diagnosis is truer."""

import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc


def peaks(places, weights):
    places, weights = np.array(places, float).reshape(len(places), -1), np.array(weights)
    dim = places.shape[1]

    def log_density(p):
        away = jnp.sum((p["x"].reshape(1, -1) - places) ** 2, 1)
        return jax.scipy.special.logsumexp(jnp.log(weights) - 0.5 * away)

    return mcmc.Target(log_density, {"x": mcmc.real(dim) if dim > 1 else mcmc.real()})


Y = np.random.default_rng(0).normal(size=60) + np.repeat([-2.0, 3.0], [20, 40])


def mixture(p):
    each = jnp.log(p["w"]) - 0.5 * (Y[:, None] - p["mu"]) ** 2
    return jax.scipy.special.logsumexp(each, axis=1).sum() - 0.02 * jnp.sum(p["mu"] ** 2)


def square(p):
    return -0.5 * jnp.sum(p["x"] ** 2)


def bent(p):
    return -0.5 * (p["x"] / 10) ** 2 - 10 * (p["y"] - p["x"] ** 2) ** 2


FUNNEL = mcmc.Target(
    lambda p: -0.5 * (p["v"] / 3) ** 2 - 0.5 * jnp.sum(p["x"] ** 2) * jnp.exp(-p["v"]) - 4.5 * p["v"],
    {"v": mcmc.real(), "x": mcmc.real(9)},
)
MIXTURE = mcmc.Target(mixture, {"mu": mcmc.real(2), "w": mcmc.simplex(2)})
BENT = mcmc.Target(bent, {"x": mcmc.real(), "y": mcmc.real()})
LOADED = np.outer([0.6, 1.5, -0.9, 0.8], np.random.default_rng(3).normal(size=8))
FACTOR = mcmc.Target(
    lambda p: (
        -5.0 * jnp.sum((LOADED - p["load"][:, None] * p["factor"]) ** 2)
        + square({"x": p["factor"]})
        - 0.5 * jnp.sum(p["load"] ** 2)
    ),
    {"load": mcmc.real(4), "factor": mcmc.real(8)},
)
NORMAL = mcmc.Target(square, {"x": mcmc.real(4)})
FAR = {"x": np.where(np.arange(64) % 16 == 0, 14.0, 0.0)}
CASES = {  # target, kernel, options, the check that leads, what its call has
    "two modes": (peaks([-5, 5], [0.3, 0.7]), None, {}, "modes", "Tempered"),
    "three modes in a plane": (peaks([[-6, 0], [6, 0], [0, 8]], [0.2, 0.3, 0.5]), None, {}, "modes", "Tempered"),
    "a mode without mass": (peaks([0, 14], [1 - 1e-14, 1e-14]), None, {"init": FAR}, "modes", "reseed=True"),
    "labels": (MIXTURE, None, {}, "label_switching", "mcmc.ordered(2)"),
    "signs": (FACTOR, None, {}, "label_switching", "restricted_to(lambda p: p["),
    "small steps": (NORMAL, mcmc.RandomWalk(step_size=0.02), {}, "nested_rhat", "until="),
    "small steps of few": (NORMAL, mcmc.RandomWalk(step_size=0.02), {"chains": 4}, "rhat", "until="),
    "large steps": (NORMAL, mcmc.HMC(step_size=50.0, num_steps=3), {}, "frozen_chain", "until="),
    "a funnel without a map": (FUNNEL, None, {"geometry": "affine"}, "divergences", "mcmc.sample(target)"),
    "bent without a map": (BENT, None, {"geometry": "affine"}, "slow_tails", "mcmc.sample(target)"),
}  # fmt: skip


def quietly(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return function(*args, progress=False, **options)


@cache
def first_run(case):
    target, kernel, options, _, _ = CASES[case]
    return quietly(mcmc.sample, target, kernel, **options)


@pytest.mark.parametrize("case", CASES)
def test_the_call_to_make_next_works(case):
    target, _, _, leads, has = CASES[case]
    draws = first_run(case)
    step = mcmc.diagnose(draws).next_step
    assert step is not None
    assert step["check"] == leads
    assert has in step["call"]
    for part in (step["seen"], step["cause"], step["call"]):
        assert "\n" not in part
    followed = eval(
        f"{step['call'].removesuffix(')')}, progress=False)", {"mcmc": mcmc, "target": target, "draws": draws}
    )
    assert mcmc.diagnose(followed).ok


@pytest.mark.parametrize(
    ("case", "places", "weights"),
    [
        ("two modes", [[-5], [5]], [0.3, 0.7]),
        ("three modes in a plane", [[-6, 0], [6, 0], [0, 8]], [0.2, 0.3, 0.5]),
    ],
)
def test_modes_are_listed_with_their_shares_log_densities_and_centres(case, places, weights):
    draws = first_run(case)
    check = mcmc.diagnose(draws)["modes"]
    assert len(check.groups) == len(places)
    assert sum(group["share"] for group in check.groups) == pytest.approx(1.0)
    expected = {round(float(np.ravel(at)[0])): np.log(w) for at, w in zip(places, weights, strict=True)}
    for group in check.groups:
        at, dim = next(iter(group["centre"].values())), np.size(places[0])
        level = expected[round(at)] - 0.5 * dim
        assert group["log_density"] == pytest.approx(level, abs=0.15)
    assert "next_step" in mcmc.diagnose(draws).to_dict()


def normal_groups(p):
    near = jnp.arange(8.0) - p["theta"]
    return -0.05 * jnp.sum(near**2) - 0.5 * jnp.sum(((p["theta"] - p["mu"]) / p["tau"]) ** 2) - 8 * jnp.log(p["tau"])


IMPROPER = {
    "flat": (lambda p: 0.0 * p["x"], {"x": mcmc.real()}, "x"),
    "a sum alone": (lambda p: -0.5 * (p["a"] + p["b"]) ** 2, {"a": mcmc.real(), "b": mcmc.real()}, "a, b"),
    "a parameter that is not used": (lambda p: -0.5 * p["a"] ** 2, {"a": mcmc.real(), "b": mcmc.real()}, "b"),
    "a sign slip": (lambda p: 0.5 * p["x"] ** 2, {"x": mcmc.real()}, "x"),
    "exp for log": (lambda p: jnp.exp(-0.5 * p["x"] ** 2), {"x": mcmc.real()}, "x"),
    "separable": (lambda p: -jnp.log1p(jnp.exp(-p["b"] * jnp.arange(1.0, 6.0))).sum(), {"b": mcmc.real()}, "b"),
    "Haldane": (lambda p: 9 * jnp.log(p["q"]) - jnp.log1p(-p["q"]), {"q": mcmc.interval(0.0, 1.0)}, "q"),
    "1 / tau of a hierarchy": (
        lambda p: normal_groups(p) - jnp.log(p["tau"]),
        {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(8)},
        "tau",
    ),
    "a heavy tail": (lambda p: -0.4 * jnp.log1p(p["x"] ** 2), {"x": mcmc.real()}, "x"),
    "two scales of one product": (
        lambda p: 4 * jnp.log(p["a"] * p["b"]) - p["a"] * p["b"],
        {"a": mcmc.positive(), "b": mcmc.positive()},
        "a, b",
    ),
    "a scale without data beside others": (
        lambda p: -jnp.log(p["s"]) - 0.5 * p["m"] ** 2,
        {"s": mcmc.positive(), "m": mcmc.real()},
        "s",
    ),
    "a scale without data": (lambda p: -jnp.log(p["s"]), {"s": mcmc.positive()}, "s"),
}


@pytest.mark.parametrize("case", IMPROPER)
def test_a_density_without_an_integral_is_called_so(case):
    log_density, parameters, where = IMPROPER[case]
    draws = quietly(mcmc.sample, mcmc.Target(log_density, parameters))
    step = mcmc.diagnose(draws).next_step
    assert step is not None
    assert step["check"] == "improper"
    assert f"Possibly not a proper density in {where}:" in step["cause"]
    assert step["call"] == ""


def test_a_hierarchy_with_a_proper_scale_is_not():
    parameters = {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(8)}
    draws = quietly(
        mcmc.sample, mcmc.Target(normal_groups, parameters), mcmc.HMC(), geometry="affine", warmup=50, draws=40
    )
    verdict = mcmc.diagnose(draws)
    assert not verdict.ok
    assert "improper" not in [check.code for check in verdict.checks]


def test_a_proper_density_with_heavy_tails_is_not():
    target = mcmc.Target(lambda p: -2.0 * jnp.log1p(jnp.abs(p["x"])), {"x": mcmc.real()})
    draws = quietly(mcmc.sample, target)
    assert "improper" not in [check.code for check in mcmc.diagnose(draws).checks]


def test_what_was_found_is_kept_in_a_store(tmp_path):
    target = CASES["two modes"][0]
    draws = quietly(mcmc.sample, target, store=tmp_path / "run.zarr")
    opened = mcmc.diagnose(mcmc.open(tmp_path / "run.zarr"))
    assert opened.next_step == mcmc.diagnose(draws).next_step
    assert "Tempered" in opened["modes"].call
