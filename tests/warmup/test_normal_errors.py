"""Poor proposals that leapfrog steps make on a normal target, against trajectories that are run."""

import numpy as np
import pytest

from mcmc.warmup.normal_errors import poor_share


@pytest.mark.parametrize(("step", "dim"), [(1.2, 3), (1.0, 25), (0.8, 64), (1.5, 1)])
def test_it_is_that_of_trajectories(step, dim):
    rng, n, length = np.random.default_rng(1), 20_000, np.pi / 2
    x, p = rng.normal(size=(2, n, dim))
    before = 0.5 * (x**2 + p**2).sum(1)
    counts = np.maximum(1, np.round(length * (0.5 + rng.uniform(size=n)) / step))
    for t in range(int(counts.max())):
        go = (t < counts)[:, None]
        half = p - 0.5 * step * x
        to = x + step * half
        x, p = np.where(go, to, x), np.where(go, half - 0.5 * step * to, p)
    poor = np.mean(0.5 * (x**2 + p**2).sum(1) - before > -np.log(0.05))
    assert poor_share(step, length, dim, 0.05) == pytest.approx(poor, abs=0.006)


def test_small_steps_make_none_and_unstable_ones_all():
    assert poor_share(0.3, 1.5, 10, 0.05) == 0.0
    assert poor_share(2.5, 1.5, 10, 0.05) == 1.0
