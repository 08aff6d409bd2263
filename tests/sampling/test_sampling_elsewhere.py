"""A mode that no chain reached is found by climbs from far outside; tails, poles and negligible modes are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.errors import ConvergenceWarning


def peaks(centres, weights, dim=1):
    at, log_weights = jnp.asarray(centres, float)[:, None], jnp.log(jnp.asarray(weights))
    return mcmc.Target(
        lambda p: jax.scipy.special.logsumexp(log_weights - 2 * jnp.sum((p["x"] - at) ** 2, -1)), {"x": mcmc.real(dim)}
    )


def checked(target, **options):
    draws = mcmc.sample(target, progress=False, **options)
    return draws, mcmc.diagnose(draws)


@pytest.mark.parametrize(("weights", "dim"), [([1.0, 1.0, 1.0], 1), ([0.04, 1.0, 0.04], 1), ([1.0, 1.0], 3)])
def test_a_mode_that_no_chain_reached_is_told_and_the_call_reaches_it(weights, dim):
    target = peaks([-10.0, 0.0, 10.0][: len(weights)] if dim == 1 else [0.0, 20.0], weights, dim)
    with pytest.warns(ConvergenceWarning, match="no chain was where climbs from far outside end"):
        draws, verdict = checked(target)
    check = verdict["elsewhere"]
    assert verdict.failures == (check,)
    assert 0.01 <= check.value <= 1.0 * weights[0] / weights[1] + 1e-6  # a lower bound of the other mode's mass
    assert verdict.next_step["call"] == check.call
    if dim == 1:
        found = eval(check.call, {"mcmc": mcmc, "target": target, "draws": draws})
        assert mcmc.diagnose(found).ok
        x = found.posterior["x"].values
        shares = [np.mean(np.abs(x - at) < 5) for at in (-10, 0, 10)]
        error = (0.25 / float(mcmc.ess(found)["x"].min())) ** 0.5
        assert np.abs(np.array(shares) - np.array(weights) / sum(weights)).max() < 4 * error


def test_few_chains_are_told_too():
    with pytest.warns(ConvergenceWarning, match="no chain was where climbs from far outside end"):
        _, verdict = checked(peaks([-10.0, 0.0, 10.0], [1.0, 1.0, 1.0]), chains=4, seed=1)
    assert verdict["elsewhere"].value > 0.2


def test_in_many_dimensions_too():
    def log_density(p):
        first = jnp.array([-0.5 * p["x"][0] ** 2, -0.5 * (p["x"][0] - 40.0) ** 2])
        return jax.scipy.special.logsumexp(first) - 0.5 * jnp.sum(p["x"][1:] ** 2)

    with pytest.warns(ConvergenceWarning, match="no chain was where climbs from far outside end"):
        _, verdict = checked(mcmc.Target(log_density, {"x": mcmc.real(200)}))
    assert verdict["elsewhere"].value > 0.05


@pytest.mark.parametrize("kernel", [mcmc.DifferentialEvolution(), mcmc.RandomWalk()])
def test_kernels_without_gradients_are_told_by_differences(kernel):
    with pytest.warns(ConvergenceWarning, match="no chain was where climbs from far outside end"):
        _, verdict = checked(peaks([0.0, 20.0], [1.0, 1.0], 2), kernel=kernel, draws=600)
    assert verdict["elsewhere"].value > 0.2
    assert "Tempered" in verdict["elsewhere"].call


def test_where_nothing_is_sought_it_is_said():
    def normal(p):
        return -0.5 * p["x"] ** 2

    calls = []
    black_box = mcmc.Target.black_box(lambda p: calls.append(1) or normal(p), {"x": mcmc.real()})
    draws, verdict = checked(black_box, until=mcmc.Converged(ess=400))
    assert verdict["elsewhere"].passed is None
    assert "a black box is not called for a verdict" in str(verdict)
    before = len(calls)
    mcmc.diagnose(draws)
    assert len(calls) == before


def coupled(step, weight):
    """A value z = 1 that goes with x about `step`, with `weight` times the mass of z = 0 with x about 0."""
    return mcmc.Target(
        lambda p: -5.0 * (p["x"] - step * p["z"]) ** 2 + jnp.log(weight) * p["z"],
        {"x": mcmc.real(), "z": mcmc.boolean()},
    )


def test_a_discrete_value_that_needs_others_to_change_with_it_is_told():
    with pytest.warns(ConvergenceWarning, match="no draw has z = 1, which has at least"):
        _, verdict = checked(coupled(10.0, 0.5))
    assert verdict.failures == (verdict["elsewhere"],)
    assert 0.1 < verdict["elsewhere"].value <= 0.5
    assert "sum it out" in verdict["elsewhere"].advice


@pytest.mark.parametrize(
    "target",
    [
        coupled(10.0, 1e-4),
        coupled(0.5, 1.0),
        mcmc.Target(
            lambda p: -0.5 * p["x"] ** 2 + jnp.where(p["z"][0], 0.0, -jnp.inf), {"x": mcmc.real(), "z": mcmc.boolean(2)}
        ),
    ],
    ids=["negligible", "visited", "forbidden"],
)
def test_no_discrete_value_is_told_where_none_is_missed(target):
    _, verdict = checked(target)
    assert verdict.ok
    assert "elsewhere" not in {check.code for check in verdict.checks}


@pytest.mark.parametrize(
    "target",
    [
        peaks([0.0, 10.0], [0.9995, 0.0005]),
        mcmc.Target(lambda p: -2 * jnp.sum(jnp.log1p(p["x"] ** 2 / 3)), {"x": mcmc.real(3)}),
        mcmc.Target(lambda p: -0.9 * jnp.log(p["x"]) - p["x"], {"x": mcmc.positive()}),
    ],
    ids=["negligible", "heavy tails", "pole"],
)
def test_nothing_is_told_where_there_is_nothing(target):
    _, verdict = checked(target)
    assert verdict.ok
    assert "elsewhere" not in {check.code for check in verdict.checks}
