"""Pareto k of tails: heavy ones are found, lighter ones raise no alarm, and the fit is ArviZ's."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import mcmc
from mcmc.diagnostics.tails import generalised_pareto_k, pareto_k
from mcmc.storage import datatree

RNG = np.random.default_rng(7)
LAWS = {
    "normal": lambda n: RNG.normal(size=n),
    "laplace": lambda n: RNG.laplace(size=n),
    "student 5": lambda n: RNG.standard_t(5, size=n),
}


def k_of(x):
    return pareto_k(x, x.mean((1, 2)), x.std((1, 2)), np.full(len(x), float(x[0].size)))


@pytest.mark.parametrize("law", LAWS)
def test_lighter_tails_raise_no_alarm(law):
    assert not (k_of(LAWS[law]((100, 4, 1000))) >= 0.7).any()


def test_either_tail_is_found():
    x = np.abs(RNG.standard_cauchy(size=(20, 4, 2000)))
    k, mirrored = k_of(x), k_of(-x)
    np.testing.assert_allclose(k, mirrored)
    assert abs(k.mean() - 1) < 4 * 2 / np.sqrt(20 * 268)  # sd of one (1 + k) / sqrt(length)
    assert (k > 0.7).mean() > 0.9


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_the_fit_finds_k(k):
    excess = np.sort((RNG.uniform(size=4000) ** -k - 1) / k)
    assert generalised_pareto_k(excess) == pytest.approx(k, abs=4 * (1 + k) / np.sqrt(4000))


def test_a_rare_second_part_of_a_law_is_no_heavy_tail():
    rng, shape = np.random.default_rng(5), (1, 64, 320)
    x = np.where(rng.random(shape) < 0.04, rng.uniform(-0.9, 1.6, shape), rng.normal(-0.9, 0.2, shape))
    assert np.isnan(pareto_k(x, x.mean((1, 2)), x.std((1, 2)), np.array([1500.0])))[0]
    far = np.sort(np.partition(x.ravel(), -1586)[-1586:])
    assert generalised_pareto_k(far[1:] - far[0]) > 0.7


def test_what_is_bounded_has_a_mean_however_rare_its_far_values_are():
    rng = np.random.default_rng(2)
    far = rng.random((64, 320)) < 0.01
    rate = np.where(far, rng.uniform(0.05, 0.095, far.shape), rng.normal(0.02, 1e-4, far.shape))
    target = mcmc.Target(lambda p: 0.0 * p["rate"], {"rate": mcmc.interval(0.01, 0.1)})
    drawn = datatree.dataset({"rate": rate}, target)
    assert drawn["rate"].attrs["support"] == "bounded"
    told = {check.code: check for check in mcmc.diagnose(xarray.DataTree.from_dict({"posterior": drawn})).checks}
    assert told["heavy_tails"].passed is None
    free = xarray.DataTree.from_dict({"posterior": drawn.drop_attrs()})
    assert {check.code: check for check in mcmc.diagnose(free).checks}["heavy_tails"].failed


@pytest.mark.parametrize(
    ("log_density", "support", "k"),
    [
        (lambda p: -jnp.log1p(p["x"] ** 2), mcmc.real(), 1.0),
        (lambda p: -1.1 * jnp.sum(jnp.log1p((p["x"] - 5.0) ** 2 / 1.2)), mcmc.real(2, 2), 1 / 1.2),
        (lambda p: -2.25 * jnp.log(p["x"]) - 1 / p["x"], mcmc.positive(), 1 / 1.25),
        (lambda p: -2.0 * jnp.log1p(p["x"] ** 2 / 3), mcmc.real(), None),
        (lambda p: -jnp.abs(p["x"]), mcmc.real(), None),
        (lambda p: -0.5 * jnp.log(p["x"]) ** 2 - jnp.log(p["x"]), mcmc.positive(), None),
    ],
    ids=["Cauchy", "Student", "inverse gamma", "three moments", "Laplace", "lognormal"],
)
def test_a_power_in_the_density_is_known_where_chains_seldom_go(log_density, support, k):
    """Chains of a Cauchy law go out to some hundred in 48,000 draws, where a sample goes to 15,000."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        draws = mcmc.sample(
            mcmc.Target(log_density, {"x": support}), progress=False, until=mcmc.Converged(ess=400, max_draws=400)
        )
    check = mcmc.diagnose(draws)["heavy_tails"]
    if k is None:
        assert check.passed
    else:
        assert check.failed
        assert check.value >= k - 1e-3
