"""Stopping when done: precise enough, never by luck, and bit for bit the draws of a fixed length."""

import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import mcmc
from mcmc.engine.stopping import FIRST_CHECK, GROWTH, MARGIN

SCALES = jnp.arange(1.0, 4.0)
TARGET = mcmc.Target(lambda p: -0.5 * jnp.sum((p["x"] / SCALES) ** 2), {"x": mcmc.real(3)})


def quiet(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return function(*args, progress=False, **options)


def test_checks_lie_geometrically_and_end_at_the_most():
    until = mcmc.Converged(max_draws=1000)
    checks = list(until.checks(0))
    assert checks[0] == FIRST_CHECK
    assert checks[-1] == 1000
    assert all(b / a <= GROWTH + 0.01 for a, b in itertools.pairwise(checks))
    assert list(until.checks(500)) == [draws for draws in checks if draws > 500]
    assert list(until.checks(2000)) == [2000]
    assert list(mcmc.Converged(max_draws=7).checks(0)) == [7]


@pytest.mark.parametrize(("kernel", "chains"), [(None, None), (mcmc.RandomWalk(), 4), (mcmc.Stretch(), 32)])
def test_the_draws_are_those_of_a_fixed_length_and_precise(kernel, chains):
    draws = quiet(mcmc.sample, TARGET, kernel, chains=chains, until=mcmc.Converged(ess=600), seed=3)
    assert draws.attrs["stopped"] == "converged"
    x = draws.posterior["x"].values
    assert mcmc.ess(x).min() >= MARGIN * 600
    assert mcmc.ess(x, method="tail").min() >= MARGIN * 600
    assert mcmc.diagnose(draws, ess=600).ok
    fixed = quiet(mcmc.sample, TARGET, kernel, chains=chains, draws=x.shape[1], seed=3)
    assert np.array_equal(fixed.posterior["x"].values, x)
    error = np.abs(x.mean((0, 1))) / np.asarray(SCALES)
    assert (error < 5 / np.sqrt(600)).all()


def test_more_precision_takes_more_draws():
    lengths = [
        quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=until).posterior.sizes["draw"]
        for until in (mcmc.Converged(ess=100, rhat=1.05), mcmc.Converged(ess=1000), mcmc.Converged(ess=1000, mcse=0.02))
    ]
    assert lengths[0] < lengths[1] < lengths[2]


def test_a_monte_carlo_error_that_was_asked_for_is_reached():
    draws = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=8, until=mcmc.Converged(mcse=0.025))
    x = draws.posterior["x"].values
    assert (mcmc.mcse(x) / x.std((0, 1)) <= 0.0255).all()


def test_the_budget_of_draws_ends_a_run_and_resume_goes_on_to_the_end():
    until = mcmc.Converged(ess=800)
    short = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=mcmc.Converged(ess=800, max_draws=150))
    assert (short.attrs["stopped"], short.posterior.sizes["draw"]) == ("max_draws", 150)
    assert not mcmc.diagnose(short).ok
    whole = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=until)
    more = quiet(mcmc.resume, TARGET, short, until=until)
    assert more.attrs["stopped"] == "converged"
    assert np.array_equal(more.posterior["x"].values, whole.posterior["x"].values)


def test_the_budget_of_seconds_ends_a_run():
    until = mcmc.Converged(ess=1e9, max_draws=10**6, max_seconds=0.3)
    draws = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=until)
    assert draws.attrs["stopped"] == "max_seconds"
    assert 0 < draws.posterior.sizes["draw"] < 10**6
    assert draws.attrs["sampling_time"] < 5


def test_what_does_not_fit_in_memory_ends_a_run_with_what_there_is(monkeypatch):
    def full(chains, draws, *rest):
        if draws > FIRST_CHECK:
            raise mcmc.MemoryLimitError("draws: too many")

    monkeypatch.setattr("mcmc.sampling.steps.check_memory", full)
    draws = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=mcmc.Converged(ess=1e6))
    assert (draws.attrs["stopped"], draws.posterior.sizes["draw"]) == ("memory", FIRST_CHECK)


def test_chains_in_two_modes_never_count_as_converged():
    two = mcmc.Target(lambda p: jnp.logaddexp(-0.5 * (p["x"] - 15) ** 2, -0.5 * (p["x"] + 15) ** 2), {"x": mcmc.real()})
    start = {"x": np.array([-15.0, -15.0, 15.0, 15.0])}
    draws = quiet(mcmc.sample, two, mcmc.NUTS(), init=start, warmup=200, until=mcmc.Converged(max_draws=800))
    assert draws.attrs["stopped"] == "max_draws"


def test_an_interrupted_run_goes_on_until_it_is_done():
    until = mcmc.Converged(ess=800)
    seen = []

    def interrupt(update):
        seen.append(update)
        if update.phase == "sampling" and update.done >= 140:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        part = mcmc.sample(TARGET, mcmc.RandomWalk(), chains=4, until=until, progress=interrupt)
    assert part.attrs["status"] == "interrupted"
    more = quiet(mcmc.resume, TARGET, part)
    assert more.attrs["stopped"] == "converged"
    whole = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=until)
    assert np.array_equal(more.posterior["x"].values, whole.posterior["x"].values)


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_has_converged_is_finished(stored, tmp_path):
    store = tmp_path / "run.zarr" if stored else None
    draws = quiet(mcmc.sample, TARGET, mcmc.RandomWalk(), chains=4, until=mcmc.Converged(ess=300), store=store)
    again = quiet(mcmc.resume, TARGET, store or draws)
    assert np.array_equal(again.posterior["x"].values, draws.posterior["x"].values)
    if store:
        assert mcmc.open(store).attrs["stopped"] == "converged"


def test_direct_draws_stop_too():
    class Normal:
        def sample(self, key, shape=()):
            import jax

            return jax.random.normal(key, shape)

    draws = quiet(mcmc.sample, Normal(), chains=4, until=mcmc.Converged(ess=2000))
    assert draws.attrs["stopped"] == "converged"
    assert isinstance(draws, xarray.DataTree)
    assert draws.posterior.sizes["draw"] <= 1100


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"ess": 0}, "ess"),
        ({"ess": np.nan}, "ess"),
        ({"rhat": 1.0}, "rhat"),
        ({"mcse": -1}, "mcse"),
        ({"max_draws": 2.5}, "max_draws"),
        ({"max_seconds": 0}, "max_seconds"),
    ],
)
def test_bad_numbers_are_refused_by_name(options, name):
    with pytest.raises(ValueError, match=name):
        mcmc.Converged(**options)


def test_until_is_a_converged_and_not_beside_draws():
    with pytest.raises(TypeError, match="until"):
        mcmc.sample(TARGET, until=400, progress=False)
    with pytest.raises(ValueError, match="draws"):
        mcmc.sample(TARGET, until=mcmc.Converged(), draws=100, progress=False)
