"""The posterior by sequential Monte Carlo in `sample`."""

import warnings

import numpy as np
import pytest
from evidence_laws import normal_normal, two_modes

import mcmc


def test_both_modes_have_their_shares_and_the_evidence_is_there():
    target, exact = two_modes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)  # islands differ in the modes' shares
        draws = mcmc.sample(target, mcmc.SMC(particles=256, steps=16), draws=200, seed=1, progress=False)
    x = draws["posterior"]["x"].values
    assert x.shape == (16, 200, 3)
    share = (x[..., 0] > 0).mean(1)
    assert abs(share.mean() - 0.8) < 5 * share.std(ddof=1) / 4
    assert abs(draws.attrs["log_evidence"] - exact) < 4 * draws.attrs["log_evidence_error"]
    assert draws["sample_stats"]["lp"].shape == (16, 200)


def test_draws_are_right_and_judged():
    target, _ = normal_normal()
    draws = mcmc.sample(target, mcmc.SMC(), seed=3, progress=False)
    assert mcmc.diagnose(draws).ok
    mu, y = draws["posterior"]["mu"].values, np.array([0.4, 1.3, 2.0, -0.5])
    precision = 1 / 4 + 4
    error = mu.mean(1).std(ddof=1) / 4
    assert abs(mu.mean() - y.sum() / precision) < 5 * error
    assert abs(mu.std() * precision**0.5 - 1) < 0.05


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"chains": 8}, "chains"),
        ({"warmup": 10}, "warmup"),
        ({"store": "x.zarr"}, "store"),
        ({"draws": 10**6}, "draws"),
    ],
)
def test_what_particles_have_no_use_for_is_refused(options, named):
    with pytest.raises(ValueError, match=named):
        mcmc.sample(normal_normal()[0], mcmc.SMC(particles=64, steps=4), progress=False, **options)


@pytest.mark.parametrize("particles", [3, 100])
def test_the_number_of_particles_is_checked_by_its_name(particles):
    with pytest.raises(ValueError, match="particles: got"):
        mcmc.sample(normal_normal()[0], mcmc.SMC(particles=particles), progress=False)


def test_a_target_without_a_prior_is_told_what_to_write():
    with pytest.raises(ValueError, match="log_prior"):
        mcmc.sample(mcmc.Target(lambda p: -(p["x"] ** 2), {"x": mcmc.real()}), mcmc.SMC(), progress=False)
