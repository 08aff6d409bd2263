"""Helpers of tests that run a sampler: short runs, comparisons bit for bit, comparisons with a known law."""

import contextlib
import functools
import warnings

import jax
import numpy as np
from laws import BY_NAME

import mcmc

_compiled: list[str] = []


def _listen(event, _, **facts):
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(facts.get("fun_name", "?"))


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compilations():
    """The names of the programs that XLA compiles (or reads from the persistent cache) within."""
    start, names = len(_compiled), []
    try:
        yield names
    finally:
        names += _compiled[start:]


@contextlib.contextmanager
def unconverged():
    """Short runs are not converged, and say so; here that is no error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        yield


def draw(target, kernel=None, **settings):
    """`mcmc.sample` without a display, whatever the verdict."""
    with unconverged():
        return mcmc.sample(target, kernel, **{"progress": False, **settings})


def resume(target, draws, n=None, **settings):
    """`mcmc.resume` without a display, whatever the verdict."""
    with unconverged():
        return mcmc.resume(target, draws, n, **{"progress": False, **settings})


@functools.cache
def target_of(name):
    """One Target for each shared law, so that tests share its compiled programs."""
    law = BY_NAME[name]
    return mcmc.Target(law.log_density, law.parameters)


def same(one, other, chains=slice(None), draws=slice(None), groups=("posterior", "sample_stats")):
    """Assert equal bits of all recorded arrays, as far as `chains` and `draws` of the first go."""
    for group in groups:
        assert set(one[group].data_vars) == set(other[group].data_vars)
        for name in one[group].data_vars:
            a, b = one[group][name].values[chains, draws], other[group][name].values[chains, draws]
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=f"{group}/{name}")


def same_state(one, other):
    """Assert equal bits of two run states."""
    a, b = one["run_state"].to_dataset(), other["run_state"].to_dataset()
    assert set(a.data_vars) == set(b.data_vars)
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)
    assert a.attrs == b.attrs


def follows(draws, law, errors=5.0, rhat=1.05):
    """Assert the exact means and standard deviations within `errors` Monte Carlo standard errors."""
    for name in law.mean:
        x = draws["posterior"][name].values.astype(float)
        assert np.isfinite(x).all()
        assert np.max(mcmc.rhat(x)) < rhat, f"{name}: R-hat {mcmc.rhat(x)}"
        mean_error, sd_error = mcmc.mcse(x), mcmc.mcse(x, method="sd")
        assert np.all(mean_error < 0.25 * law.sd[name]), f"{name}: the run says nothing"
        off = np.abs(x.mean((0, 1)) - law.mean[name]) / mean_error
        assert np.all(off < errors), f"mean of {name}: {off} errors off"
        off = np.abs(x.std((0, 1)) - law.sd[name]) / sd_error
        assert np.all(off < errors), f"sd of {name}: {off} errors off"
