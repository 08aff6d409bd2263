"""Angles whose mass straddles ±π: circular mean and sd, and no false alarm of the checks."""

import numpy as np
import pytest
import xarray as xr

import mcmc
from mcmc.diagnostics.circular import about_mean, circular_sd, mean_direction


def straddling(seed=0, concentration=20.0):
    x = np.random.default_rng(seed).vonmises(0.0, concentration, (4, 500)) + np.pi
    return (x + np.pi) % (2 * np.pi) - np.pi


def test_summary_has_the_circular_mean_and_sd_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = straddling()
    tree = {"posterior": xr.Dataset({"a": (("chain", "draw"), x, {"support": "circular"})})}
    row = mcmc.summary(tree).loc["a"]
    assert row["sd"] == pytest.approx(stats.circstd(x, high=np.pi, low=-np.pi), rel=1e-9)
    assert np.cos(row["mean"] - stats.circmean(x, high=np.pi, low=-np.pi)) == pytest.approx(1.0)
    assert row["r_hat"] < 1.02
    assert row["ess_bulk"] > 1500
    assert -np.pi <= row["eti90_ub"] < row["eti90_lb"] < np.pi  # the interval crosses the cut


def test_draws_about_their_mean_are_the_same_angles_without_a_jump():
    x = straddling()[:, :, None]
    turned = about_mean(x)
    np.testing.assert_allclose(np.cos(turned), np.cos(x), atol=1e-12)
    assert np.ptp(turned) < 4.0 < np.ptp(x)
    assert abs(np.abs(mean_direction(x)).item() - np.pi) < 0.1
    assert circular_sd(x).item() < 0.3


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_sample_says_which_parameters_are_angles(tmp_path):
    import jax.numpy as jnp

    target = mcmc.Target(lambda p: jnp.cos(p["a"]) - p["x"] ** 2, {"a": mcmc.circular(), "x": mcmc.real()})
    draws = mcmc.sample(target, chains=4, draws=8, warmup=8, progress=False, store=tmp_path / "run.zarr")
    assert draws.posterior["a"].attrs["support"] == "circular"
    assert "support" not in draws.posterior["x"].attrs
