"""Slice samplers: the interval, the law where steps would be hard to tune, and a latent Gaussian process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME
from runs import draw, follows, resume, same, target_of

import mcmc
from mcmc.kernels.slice import shrink, stepped_out


def normal(t):
    return -0.5 * t**2


@pytest.mark.parametrize(("most", "end", "count"), [(16, -3.5, 4), (2, -2.5, 3), (0, -0.5, 1)])
def test_an_end_is_stepped_out_until_it_lies_below_the_level(most, end, count):
    """Above the level of -4 lie places within √8 = 2.83."""
    got = stepped_out(jnp.float32(-0.5), jnp.float32(-1.0), jnp.int32(most), jnp.float32(-4.0), normal)
    assert (float(got[0]), int(got[1])) == (end, count)


def test_an_interval_shrinks_to_each_place_below_the_level():
    made = shrink(jnp.array([0.0, 0.999, 0.5]), -4.0, 4.0, jnp.float32(-0.5), normal)
    assert int(made.count) == 3
    assert float(made.low) == float(made.place)
    assert float(made.high) == pytest.approx(4 * 0.998, rel=1e-3)
    assert abs(float(made.place)) < 0.01
    never = shrink(jnp.full(5, 0.999), -4.0, 4.0, jnp.float32(1.0), normal)
    assert int(never.count) == 5
    assert not float(never.lp) > 1.0


@pytest.mark.parametrize("law", ["gamma", "student_t", "banana"])
def test_a_slice_draws_laws_with_edges_and_tails(law):
    draws = draw(target_of(law), mcmc.Slice(), chains=32, draws=1500, warmup=200, superchains=0, seed=2)
    follows(draws, BY_NAME[law])
    assert (draws["sample_stats"]["acceptance_rate"].values == 1).all()


def test_a_poor_width_costs_evaluations_not_draws():
    settings = {"chains": 16, "draws": 1000, "warmup": 100, "superchains": 0, "seed": 1}
    target = target_of("correlated_normal")
    runs = [draw(target, mcmc.Slice(width=width), **settings) for width in (0.3, 2.5, 60.0)]
    steps = [run["sample_stats"]["n_steps"].values.mean() for run in runs]
    assert steps[1] < min(steps[0], steps[2])
    for run in runs[1:]:
        follows(run, BY_NAME["correlated_normal"])


# --- elliptical -----------------------------------------------------------------------------------------

TIMES = np.linspace(0, 1, 30)
COVARIANCE = np.exp(-0.5 * (TIMES[:, None] - TIMES) ** 2 / 0.2**2) + 1e-6 * np.eye(30)
Y = np.sin(6 * TIMES) + 0.3 * np.random.default_rng(0).normal(size=30)


@pytest.fixture(scope="module")
def process():
    """A latent Gaussian process with normal errors, whose posterior is known."""
    factor = np.linalg.cholesky(COVARIANCE)

    def log_density(p):
        z = jax.scipy.linalg.solve_triangular(factor, p["f"], lower=True)
        return -0.5 * jnp.sum(z**2) - 0.5 * jnp.sum((Y - p["f"]) ** 2) / 0.09

    gain = COVARIANCE @ np.linalg.inv(COVARIANCE + 0.09 * np.eye(30))
    return mcmc.Target(log_density, {"f": mcmc.real(30)}), gain @ Y, np.diag(COVARIANCE - gain @ COVARIANCE) ** 0.5


def test_a_latent_process_is_right_and_nothing_is_tuned(process):
    target, mean, sd = process
    draws = draw(target, mcmc.EllipticalSlice(COVARIANCE), chains=32, draws=2000, warmup=300, superchains=0, seed=1)
    f = draws["posterior"]["f"].values
    error = np.asarray(mcmc.mcse(f))
    assert (np.abs(f.mean((0, 1)) - mean) < 5 * error).all()
    assert (np.abs(f.std((0, 1)) / sd - 1) < 5 * np.sqrt(2 / mcmc.ess((f - mean) ** 2, "mean"))).all()
    assert (draws["sample_stats"]["acceptance_rate"].values == 1).all()


@pytest.mark.parametrize("kernel", [mcmc.EllipticalSlice(COVARIANCE), mcmc.Slice()], ids=["elliptical", "slice"])
def test_resumed_draws_are_those_of_an_unbroken_run(process, kernel):
    settings = {"chains": 8, "warmup": 30, "superchains": 0, "seed": 4}
    part = draw(process[0], kernel, draws=6, **settings)
    same(draw(process[0], kernel, draws=10, **settings), resume(process[0], part, 4))


@pytest.mark.parametrize("wrong", [-1.0, np.ones((3, 3)), np.zeros(30)])
def test_a_prior_that_is_no_covariance_is_refused(process, wrong):
    with pytest.raises(ValueError, match="metric"):
        mcmc.sample(process[0], mcmc.EllipticalSlice(wrong), progress=False)
