"""The targets of benchmarks/geometry.py: quadrature agrees with a coarser one, and with the log densities."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mcmc

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import geometry_targets
from geometry_targets import PROBLEMS, mixture


def test_a_mixture_of_normals_by_quadrature():
    """x ~ N(0, s), y = 0.7 ~ N(x, 0.5) with s 1 or 2: Bayes by hand."""
    y, noise, scales = 0.7, 0.5, np.array([1.0, 2.0])
    found, on_scales = mixture(
        [(s,) for s in scales], [0.0, 0.0], np.ones(1),
        lambda s: (np.full((1, 1), s), np.array([y]), noise, np.full((1, 1), s)),
    )  # fmt: skip
    total = scales**2 + noise**2
    weight = np.exp(-0.5 * y**2 / total) / np.sqrt(total)
    weight /= weight.sum()
    mean, variance = y * scales**2 / total, noise**2 * scales**2 / total
    first = weight @ mean
    np.testing.assert_allclose(found[0], [first, np.sqrt(weight @ (variance + (mean - first) ** 2))], rtol=1e-12)
    np.testing.assert_allclose(on_scales[0, 0], weight @ scales, rtol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_log_densities_have_gradients_everywhere(name):
    problem = PROBLEMS[name]
    with jax.enable_x64(True):
        for seed in range(3):
            q = np.random.default_rng(seed).uniform(-2, 2, problem.dim)
            assert np.isfinite(jax.grad(problem.log_density)(q)).all()


@pytest.mark.parametrize("name", ["schools_centred", "groups_centred"])
@pytest.mark.slow
def test_draws_have_the_moments_of_the_quadrature(name):
    problem = PROBLEMS[name]
    mean, sd = problem.truth()
    target = mcmc.Target(lambda p: problem.log_density(p["x"]), {"x": mcmc.real(problem.dim)})
    x = mcmc.sample(target, progress=False)["posterior"]["x"].values
    assert np.all(np.abs(x.mean((0, 1)) - mean) < 5 * mcmc.mcse(x))
    assert np.all(np.abs(x.std((0, 1)) - sd) < 5 * mcmc.mcse(x, method="sd"))


def test_the_long_run_is_good_enough():
    import json

    kept = json.loads(geometry_targets.TRUTH.read_text())["sparse_logistic"]
    assert kept["rhat"] < 1.005
    assert min(kept["ess"], kept["square_ess"]) > 10_000
    mean, sd = PROBLEMS["sparse_logistic"].truth()
    assert mean.shape == sd.shape == (41,)
