"""How many chains and draws, by what a gradient costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.kernels.effort import EFFORTS, LONG, VERY_LONG, Effort, effort_for, said
from mcmc.sampling.steps import plan_of
from mcmc.settings import Request, precision_of


def sizes(effort):
    return effort.chains, effort.warmup, effort.draws


def slow(turns):
    """A normal target with a loop of so many turns, which nobody runs here."""

    def log_density(p):
        x = jax.lax.scan(lambda c, _: (c * 0.999 + jnp.tanh(c) * 1e-3, None), p["x"], length=turns)[0]
        return -0.5 * x**2

    return mcmc.Target(log_density, {"x": mcmc.real()})


def settings(turns, **asked):
    with precision_of(None, None) as precision:
        plan = plan_of(Request(slow(turns), **asked), precision)
    return plan.settings.chains, plan.settings.warmup, plan.settings.draws


def test_cheap_gradients_get_64_chains_and_dear_ones_fewer():
    found = [sizes(effort_for(cost)) for cost in (1e-6, 6e-5, 2e-4, 1e-2)]
    assert found == [sizes(effort) for effort in EFFORTS]


@pytest.mark.parametrize("cost", [1e-7, 1e-5, 1e-4, 1e-3])
def test_the_effort_is_short_unless_none_is(cost):
    effort = effort_for(cost)
    assert effort.seconds <= (LONG if effort.draws > 5000 else VERY_LONG) or effort == Effort(32, 100, 2000, cost)
    assert effort.seconds == pytest.approx(12 * cost * (effort.chains * effort.warmup + effort.draws))


def test_more_draws_asked_for_never_mean_more_chains():
    chains = [effort_for(3e-5, draws=draws).chains for draws in (320, 3000, 30_000)]
    assert chains == [64, 32, 32]
    assert effort_for(5e-5, draws=1000).draws == 32 * 1000


def test_where_few_effective_draws_are_asked_for_warmup_counts_more():
    assert effort_for(3e-5).chains == 64
    assert effort_for(3e-5, ess=400).chains == 32
    assert effort_for(1e-6, ess=400).chains == 64


def test_a_run_takes_the_chains_that_its_gradient_is_worth():
    assert settings(10) == (64, 200, 320)
    assert settings(100_000) == (32, 100, 70)
    assert settings(100_000, chains=64)[0] == 64
    assert settings(100_000, init={"x": np.zeros(40)})[0] == 40
    assert settings(100_000, draws=500) == (32, 100, 500)
    assert settings(100_000, warmup=300)[1] == 300


def test_the_same_call_gives_the_same_numbers():
    assert settings(3000) == settings(3000)


def test_a_long_run_is_announced_with_its_length(capsys):
    assert said(effort_for(1e-7), cores=2) == ""
    text = said(effort_for(5e-3), cores=2)
    assert (
        text == "32 chains, because a gradient takes about 5 ms: about 3 minutes on this machine" or "minutes" in text
    )
    assert "64" not in said(effort_for(6e-5), cores=4)


def test_the_length_is_told_for_chains_of_the_users_choice_too():
    assert said(Effort(8, 200, 8 * 1000, 5e-3, asked=True), cores=2) == (
        "a gradient takes about 5 ms: about 5 minutes on this machine"
    )
    assert said(Effort(8, 200, 8 * 1000, 1e-7, asked=True), cores=2) == ""
