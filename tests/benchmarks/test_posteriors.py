"""The gallery of posteriors: finite log densities and gradients, right by independent accounts."""

import functools
import itertools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import integrate, stats

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from posteriors import POSTERIORS, ecology

rng = np.random.default_rng(20250101)
N = 12


def numbers(low, high, n=N):
    return rng.uniform(low, high, n).tolist()


def whole(low, high, n=N):
    return rng.integers(low, high + 1, n).tolist()


# --- data in posteriordb's format, small and made up -------------------------------------------------------

kids = {"N": N, "kid_score": whole(20, 140), "mom_hs": whole(0, 1), "mom_iq": numbers(70, 140), "mom_work": whole(1, 4)}
earnings = {"N": N, "earn": whole(200, 60_000), "height": whole(58, 77), "male": whole(0, 1)}
bushes = {name: numbers(0.4, 3.0) for name in ("diam1", "diam2", "canopy_height", "total_height", "weight")}
bushes |= {"N": N, "density": whole(1, 9), "group": whole(0, 1)}
voters = {name: whole(1, 7) for name in ("real_ideo", "partyid7", "educ1", "income", "gender")}
voters |= {"N": N, "race_adj": numbers(1, 2), "age_discrete": whole(1, 4)}
schools = {"J": 8, "y": [28, 8, -3, 7, -1, 1, 18, 12], "sigma": [15, 10, 16, 11, 9, 11, 10, 18]}
years = {"N": N, "x": list(range(1952, 1952 + N)), "y": numbers(5, 12), "xpred": 2016}
years |= {"pmualpha": 9.3, "psalpha": 100, "pmubeta": 0, "psbeta": 0.033}
pelts = {"N": 4, "ts": [0.25, 0.5, 0.75, 1.0], "y_init": [30, 4], "y": [[47, 6], [70, 10], [77, 35], [36, 59]]}
drives = {"N": 5, "K": 2, "u": numbers(0.1, 2, 5), "v": numbers(1, 30, 5), "alpha": [[4, 2], [2, 5]]}

BY_DATA = {
    "arK": {"K": 5, "T": 20, "y": numbers(-1, 1, 20)},
    "bball_drive_event_0": drives,
    "diamonds": {"N": N, "Y": numbers(6, 9), "K": 4, "X": np.c_[np.ones(N), rng.normal(3, 1, (N, 3))].tolist()},
    "earnings": earnings,
    "eight_schools": schools,
    "garch": {"T": N, "y": numbers(2, 8), "sigma1": 0.5},
    "gp_pois_regr": {"N": 5, "x": [-4, -2, 0, 2, 4], "y": numbers(0, 3, 5), "k": whole(0, 40, 5)},
    "hudson_lynx_hare": pelts,
    "kidiq": kids,
    "kidiq_with_mom_work": kids,
    "kilpisjarvi_mod": years,
    "low_dim_gauss_mix": {"N": N, "y": numbers(-4, 4)},
    "mesquite": bushes,
    "nes1972": voters,
    "nes1976": voters,
    "nes1980": voters,
    "sblrc": {"N": N, "D": 5, "X": rng.normal(size=(N, 5)).tolist(), "y": numbers(-3, 3)},
}


def data_of(name):
    return BY_DATA[name.split("-")[0]]


def array(data, name):
    return np.asarray(data[name], float)


ESTIMATES = {"hudson_lynx_hare-lotka_volterra": np.log([0.545, 0.028, 0.803, 0.024, 34.0, 5.9, 0.25, 0.25])}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@functools.cache
def evaluated(name):
    """At six positions: the parameters, the log density without the Jacobian's part, and the gradient with it."""
    target = POSTERIORS[name](data_of(name))
    centre, spread = (ESTIMATES[name], 0.2) if name in ESTIMATES else (0.0, 1.0)
    positions = centre + np.random.default_rng(1).uniform(-spread, spread, (6, target.dim))

    def one(position, data):
        value, gradient = jax.value_and_grad(target.value)(position, data)
        p, log_jacobian = target.constrain(position)
        return p, value - log_jacobian, gradient

    return jax.device_get(jax.jit(jax.vmap(one, in_axes=(0, None)))(positions, target.data))


def test_there_are_29():
    assert len(POSTERIORS) == 29
    assert all(make.__doc__ for make in POSTERIORS.values())


@pytest.mark.parametrize("name", POSTERIORS)
def test_log_density_and_gradient_are_finite(name):
    _, values, gradients = evaluated(name)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).max(0) > 0).all()  # every coordinate matters


def test_new_data_are_another_posterior_by_the_same_program():
    target = POSTERIORS["earnings-logearn_height"](earnings)
    other = target.with_data(POSTERIORS["earnings-logearn_height"]({**earnings, "earn": whole(200, 60_000)}).data)
    function, position = jax.jit(target.value), np.array([0.1, 0.2, 0.3])
    first, second = function(position, target.data), function(position, other.data)
    assert first != second
    assert function._cache_size() == 1
    np.testing.assert_allclose(second, other.value(position, other.data))


# --- log densities by independent accounts, up to a constant -----------------------------------------------


def kidscore_momhs(p, data):
    mean = p["beta"][0] + p["beta"][1] * array(data, "mom_hs")
    scores = stats.norm(mean, p["sigma"]).logpdf(array(data, "kid_score")).sum()
    return scores + stats.halfcauchy(0, 2.5).logpdf(p["sigma"])


def kidscore_scaled(p, data):
    mean = p["beta"][0]
    scaled = [(array(data, n) - array(data, n).mean()) / (2 * array(data, n).std(ddof=1)) for n in ("mom_hs", "mom_iq")]
    mean = mean + p["beta"][1] * scaled[0] + p["beta"][2] * scaled[1] + p["beta"][3] * scaled[0] * scaled[1]
    return stats.norm(mean, p["sigma"]).logpdf(array(data, "kid_score")).sum()


def logmesquite_logva(p, data):
    area = array(data, "diam1") * array(data, "diam2")
    columns = [1, np.log(area * array(data, "canopy_height")), np.log(area), array(data, "group")]
    mean = sum(b * column for b, column in zip(p["beta"], columns, strict=True))
    return stats.norm(mean, p["sigma"]).logpdf(np.log(data["weight"])).sum()


def kilpisjarvi(p, data):
    mean = p["alpha"] + p["beta"] * array(data, "x")
    prior = stats.norm(9.3, 100).logpdf(p["alpha"]) + stats.norm(0, 0.033).logpdf(p["beta"])
    return prior + stats.norm(mean, p["sigma"]).logpdf(array(data, "y")).sum()


def diamonds(p, data):
    x = array(data, "X")[:, 1:]
    prior = (
        stats.norm().logpdf(p["b"]).sum()
        + stats.t(3, 8, 10).logpdf(p["Intercept"])
        + stats.t(3, 0, 10).logpdf(p["sigma"])
    )
    return prior + stats.norm(p["Intercept"] + (x - x.mean(0)) @ p["b"], p["sigma"]).logpdf(array(data, "Y")).sum()


def autoregression(p, data):
    y, total = array(data, "y"), stats.norm(0, 10).logpdf([p["alpha"], *p["beta"]]).sum()
    total += stats.halfcauchy(0, 2.5).logpdf(p["sigma"])
    for time in range(5, len(y)):
        mean = p["alpha"] + sum(p["beta"][k] * y[time - 1 - k] for k in range(5))
        total += stats.norm(mean, p["sigma"]).logpdf(y[time])
    return total


def garch(p, data):
    y, variance, total = array(data, "y"), 0.25, 0.0
    for time in range(len(y)):
        if time > 0:
            variance = p["alpha0"] + p["alpha1"] * (y[time - 1] - p["mu"]) ** 2 + p["beta1"] * variance
        total += stats.norm(p["mu"], variance**0.5).logpdf(y[time])
    return total


def hidden_markov_drives(p, data):
    """The sum over all 32 ways through the hidden states."""
    transition, total = np.array([p["theta1"], p["theta2"]]), 0.0
    for path in itertools.product((0, 1), repeat=5):
        weight = np.prod([transition[i, j] for i, j in itertools.pairwise(path)])
        for name, rate in (("u", p["phi"]), ("v", p["lambda"])):
            weight *= np.prod([stats.expon(scale=1 / rate[k]).pdf(x) for k, x in zip(path, data[name], strict=True)])
        total += weight
    prior = sum(stats.dirichlet(a).logpdf(row) for a, row in zip(data["alpha"], transition, strict=True))
    prior += sum(stats.norm([0, 3], 1).logpdf(p[name]).sum() for name in ("phi", "lambda"))
    return prior + np.log(total)


def two_normals(p, data):
    y, each = array(data, "y"), [stats.norm(m, s) for m, s in zip(p["mu"], p["sigma"], strict=True)]
    prior = stats.halfnorm(0, 2).logpdf(p["sigma"]).sum() + stats.norm(0, 2).logpdf(p["mu"]).sum()
    prior += stats.beta(5, 5).logpdf(p["theta"])
    return prior + np.log(p["theta"] * each[0].pdf(y) + (1 - p["theta"]) * each[1].pdf(y)).sum()


def poisson_gaussian_process(p, data):
    x = array(data, "x")
    covariance = p["alpha"] ** 2 * np.exp(-((x[:, None] - x) ** 2) / (2 * p["rho"] ** 2)) + 1e-10 * np.eye(5)
    f = np.linalg.cholesky(covariance) @ p["f_tilde"]
    prior = stats.gamma(25, scale=0.25).logpdf(p["rho"]) + stats.halfnorm(0, 2).logpdf(p["alpha"])
    return prior + stats.norm().logpdf(p["f_tilde"]).sum() + stats.poisson(np.exp(f)).logpmf(data["k"]).sum()


def lotka_volterra(p, data):
    def rate(_, z):
        a, b, c, d = p["theta"]
        return [(a - b * z[1]) * z[0], (-c + d * z[0]) * z[1]]

    path = integrate.solve_ivp(rate, (0, 1), p["z_init"], t_eval=data["ts"], rtol=1e-11, atol=1e-11).y.T
    total = stats.norm([1, 0.05, 1, 0.05], [0.5, 0.05, 0.5, 0.05]).logpdf(p["theta"]).sum()
    total += (
        stats.lognorm(1, scale=10).logpdf(p["z_init"]).sum()
        + stats.lognorm(1, scale=np.exp(-1)).logpdf(p["sigma"]).sum()
    )
    for observed, z in zip([data["y_init"], *data["y"]], [p["z_init"], *path], strict=True):
        total += stats.lognorm(p["sigma"], scale=z).logpdf(observed).sum()
    return total


INDEPENDENT = {
    "kidiq-kidscore_momhs": kidscore_momhs,
    "kidiq_with_mom_work-kidscore_interaction_z": kidscore_scaled,
    "mesquite-logmesquite_logva": logmesquite_logva,
    "kilpisjarvi_mod-kilpisjarvi": kilpisjarvi,
    "diamonds-diamonds": diamonds,
    "arK-arK": autoregression,
    "garch-garch11": garch,
    "bball_drive_event_0-hmm_drive_0": hidden_markov_drives,
    "low_dim_gauss_mix-low_dim_gauss_mix": two_normals,
    "gp_pois_regr-gp_pois_regr": poisson_gaussian_process,
    "hudson_lynx_hare-lotka_volterra": lotka_volterra,
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_log_density_by_an_independent_account(name):
    p, values, _ = evaluated(name)
    rows = [jax.tree.map(lambda x, i=i: x[i], p) for i in range(len(values))]
    expected = np.array([INDEPENDENT[name](row, data_of(name)) for row in rows])
    constants = values - expected
    np.testing.assert_allclose(constants, constants[0], rtol=0, atol=1e-6)


def test_both_eight_schools_are_one_posterior():
    centered, noncentered = (
        POSTERIORS[f"eight_schools-eight_schools_{form}"](schools) for form in ("centered", "noncentered")
    )
    constants = []
    for seed in range(3):
        p, _ = noncentered.constrain(jax.numpy.asarray(np.random.default_rng(seed).normal(size=10)))
        q = {"mu": p["mu"], "tau": p["tau"], **noncentered.derived(p, noncentered.data)}
        one, other = noncentered.log_density(p, noncentered.data), centered.log_density(q, centered.data)
        constants.append(float(one - other - 8 * np.log(p["tau"])))
    np.testing.assert_allclose(constants, constants[0], atol=1e-9)


def test_lotka_volterra_follows_the_differential_equation():
    """At estimates from the pelts, over the 20 years of them: populations to 1e-6."""
    theta, start, times = np.array([0.545, 0.028, 0.803, 0.024]), np.log([34.0, 5.9]), np.arange(1.0, 21)

    def rate(_, log_z):
        u, v = np.exp(log_z)
        return [theta[0] - theta[1] * v, -theta[2] + theta[3] * u]

    exact = integrate.solve_ivp(rate, (0, 20), start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12).y.T
    np.testing.assert_allclose(ecology.log_populations(theta, start, times), exact, rtol=0, atol=1e-6)
