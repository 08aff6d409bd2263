"""Bridge sampling of densities whose integrals are known, from independent draws."""

import numpy as np
import pytest
from scipy import stats

from mcmc.evidence.bridge import bridge


def skew(rng, chains, draws, dim):
    """Draws of a skew law, exp-gamma in every coordinate, and its log density without the constant."""
    x = np.log(rng.gamma(3.0, size=(chains, draws, dim)))
    return x, lambda y: (3 * y - np.exp(y)).sum(-1)


@pytest.mark.parametrize("chains", [4, 16])
def test_the_integral_is_right_and_the_error_is_the_spread(chains):
    exact, found = 3 * np.log(2.0), []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, log_density = skew(rng, chains, 2000 // chains, 3)
        found.append(bridge(x, log_density(x), log_density, rng))
    values, errors = np.array([(f.log_evidence, f.error) for f in found]).T
    ratio = np.sqrt((errors**2).mean()) / values.std(ddof=1)
    assert 1 / 1.5 < ratio < 1.5
    assert abs(values.mean() - exact) < 4 * values.std(ddof=1) / np.sqrt(30)


def test_particles_drawn_several_times_are_not_fitted_too_well():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, log_density = skew(rng, 16, 60, 10)
        x = np.stack([chain[rng.integers(60, size=480)] for chain in x])  # as resampling leaves them
        found.append(bridge(x, log_density(x), log_density, rng))
    off, errors = np.array([(f.log_evidence - 10 * np.log(2.0), f.error) for f in found]).T
    assert abs(off.mean()) < 4 * off.std(ddof=1) / np.sqrt(20)
    assert (np.abs(off) < 3.5 * errors).all()
    assert 1 / 1.6 < np.sqrt((errors**2).mean()) / off.std(ddof=1) < 1.6


def test_a_normal_law_is_exact():
    rng = np.random.default_rng(1)
    x = rng.normal(3.0, 2.0, (8, 200, 1))
    found = bridge(x, stats.norm.logpdf(x[..., 0], 3, 2) + 7.0, lambda y: stats.norm.logpdf(y[:, 0], 3, 2) + 7.0, rng)
    assert found.log_evidence == pytest.approx(7.0, abs=1e-2)


def test_too_few_draws_give_no_answer():
    rng = np.random.default_rng(1)
    x, log_density = skew(rng, 4, 10, 3)
    found = bridge(x, log_density(x), log_density, rng)
    assert np.isnan(found.log_evidence)
    assert found.error == np.inf
