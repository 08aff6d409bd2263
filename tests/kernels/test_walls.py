"""Walls, where the log density falls to −inf, and jumps: the law, the way back, warmup, the check."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw
from scipy import stats

import mcmc
from mcmc.kernels.hmc import HMC, HMCState
from mcmc.kernels.metric import Metric
from mcmc.kernels.nuts import NUTS
from mcmc.kernels.walls import jump, leapfrog_at_walls


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


# --- the law: six half normals, two normals cut to (−1, 0.5), two with a jump of 2 at 0.3 ----------------------------

DIM, CHAINS, ROUNDS, JUMP, AT = 10, 4000, 25, 2.0, 0.3
CUT = stats.truncnorm(-1.0, 0.5)
MASS_ABOVE = stats.norm.sf(AT) / (stats.norm.sf(AT) + np.exp(-JUMP) * stats.norm.cdf(AT))


def walled(x):
    inside = jnp.all(x[:6] > 0) & jnp.all((x[6:8] > -1) & (x[6:8] < 0.5))
    return jnp.where(inside, -0.5 * jnp.sum(x**2) - JUMP * jnp.sum(x[8:] < AT), -jnp.inf)


def jumped(rng, n):
    """Draws of the normal with a jump, by inversion."""
    u, above = rng.uniform(size=(2, n))
    low = stats.norm.cdf(AT)
    return np.where(above < MASS_ABOVE, stats.norm.ppf(low + u * (1 - low)), stats.norm.ppf(u * low))


def jumped_cdf(x):
    low = np.exp(-JUMP) * stats.norm.cdf(np.minimum(x, AT)) + np.maximum(stats.norm.cdf(x) - stats.norm.cdf(AT), 0)
    return low / (stats.norm.sf(AT) + np.exp(-JUMP) * stats.norm.cdf(AT))


def exact(n):
    rng = np.random.default_rng(6)
    parts = [np.abs(rng.normal(size=(n, 6))), CUT.rvs((n, 2), random_state=rng), jumped(rng, n), jumped(rng, n)]
    return np.column_stack(parts)


METRIC = Metric(0.7 * np.eye(DIM) + 0.15 * np.tril(np.random.default_rng(3).normal(size=(DIM, DIM))))
NONE = np.array([[-np.inf], [np.inf]]) + np.zeros(DIM)
RIGHT = np.array([[0.0] * 6 + [-1.0] * 2 + [-np.inf] * 2, [np.inf] * 6 + [0.5] * 2 + [np.inf] * 2])
WRONG = RIGHT + np.array([[0.1] * 10, [-0.2] * 10])  # within the support: many chains begin beyond
WRONG[1, :3] = 1.5
KERNELS = {
    "hmc": HMC(0.3, METRIC, num_steps=5, ends=NONE),
    "hmc with ends": HMC(0.3, METRIC, num_steps=5, ends=RIGHT),
    "hmc with wrong ends": HMC(0.3, METRIC, num_steps=5, ends=WRONG),
    "nuts": NUTS(0.3, METRIC, max_tree_depth=3),
}


@jax.jit  # of the kernel as an argument: one program for all ends
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def run(kernel, key, y):
    def one(state, key):
        state, info = kernel.step(key, state, walled)
        return state, (info.accepted, info.diverging, info.rates)

    return jax.lax.scan(one, kernel.init(y, walled), jax.random.split(key, ROUNDS))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_chains_that_start_in_the_law_stay_in_it(kernel):
    start = exact(CHAINS)
    state, (accepted, diverging, rates) = run(kernel, jax.random.split(jax.random.key(2), CHAINS), start)
    x = np.asarray(state.position)
    assert np.asarray(accepted).mean() > 0.3
    assert not np.asarray(diverging).any()
    assert 0.1 < np.asarray(rates)[..., -1].mean() < 0.9  # many steps met walls
    assert np.corrcoef(x[:, 0], start[:, 0])[0, 1] < 0.8
    pvalues = [stats.kstest(column, "halfnorm").pvalue for column in x[:, :6].T]
    pvalues += [stats.kstest(column, CUT.cdf).pvalue for column in x[:, 6:8].T]
    pvalues.append(stats.kstest(np.sum(x[:, :6] ** 2, 1), stats.chi2(6).cdf).pvalue)
    pvalues += [stats.kstest(column, jumped_cdf).pvalue for column in x[:, 8:].T]
    assert min(pvalues) > 1e-3


# --- the trajectory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [NONE, RIGHT])
def test_a_trajectory_that_turns_at_walls_and_jumps_is_reversible(ends):
    n, level_above = 200, 1.0
    rng, value_and_grad = np.random.default_rng(4), jax.value_and_grad(walled)

    @jax.jit
    @jax.vmap
    def there_and_back(y, u):
        level = 0.5 * jnp.sum(u**2) - walled(y) + level_above
        end, v, walls = leapfrog_at_walls(
            HMCState(y, *value_and_grad(y)), u, METRIC, 0.2, 9, value_and_grad, level, ends
        )
        back, w, _ = leapfrog_at_walls(end, -v, METRIC, 0.2, 9, value_and_grad, level, ends)
        return end.position, 0.5 * jnp.sum(v**2) - end.lp <= level, walls.met, back.position, -w

    y, u = exact(n), rng.normal(size=(n, DIM))
    end, kept, met, back, w = map(np.asarray, there_and_back(y, u))
    assert (met > 0).mean() > 0.5
    assert kept.mean() > 0.5
    assert np.isfinite(jax.vmap(walled)(end)).all()
    np.testing.assert_allclose(back[kept], y[kept], atol=1e-9)
    np.testing.assert_allclose(w[kept], u[kept], atol=1e-9)


@pytest.mark.parametrize("sharpness", [1.0, 30.0, 1e4])
def test_curvature_is_no_jump(sharpness):
    """However sharply a concave log density curves in a step; a jump of 5 on top of it is one, from both sides."""
    x, y = np.random.default_rng(2).normal(size=(2, 1000))
    f = jax.vmap(lambda x: -jnp.logaddexp(sharpness * x, -sharpness * x) - 0.5 * sharpness * x**2)
    slope = jax.vmap(jax.grad(lambda x: f(x[None])[0]))
    gained, before, after = f(y) - f(x), slope(x) * (y - x), slope(y) * (y - x)
    np.testing.assert_array_equal(jump(gained, before, after), 0.0)
    mild = np.abs(before - after) < 1.0
    np.testing.assert_allclose(jump(gained - 5.0, before, after)[mild], -5.0, atol=1.0)
    np.testing.assert_allclose(jump(5.0 - gained, -after, -before)[mild], 5.0, atol=1.0)
    assert np.isneginf(jump(jnp.float64(-jnp.inf), jnp.float64(1.0), jnp.float64(jnp.nan)))


# --- warmup and the verdict -------------------------------------------------------------------------------------------

TARGET = mcmc.Target(
    lambda p, d: jnp.where(
        jnp.all((p["x"] > d["low"]) & (p["x"] < d["high"])) & (p["scale"] < d["most"]),
        -0.5 * jnp.sum(p["x"] ** 2) - jnp.where(p["x"][0] > d["at"], 0.0, d["jump"]) - p["scale"],
        -jnp.inf,
    ),
    {"x": mcmc.real(3), "scale": mcmc.positive()},
    data={"low": -np.inf, "high": np.inf, "most": np.inf, "at": 0.0, "jump": 0.0},
)
CASES = {
    "none": {},
    "walls": {"low": -1.0},
    "box": {"low": -1.0, "high": 0.5, "most": 2.0},
    "jump": {"jump": 5.0},
    "jump away from the mode": {"jump": 5.0, "at": -1.0},
}


@functools.cache
def default(case, kernel=None):
    target = TARGET.with_data({**TARGET.data, **CASES[case]})
    return draw(target, kernel and kernel(), chains=64, draws=200, seed=3)


def mean_of(case):
    """The mean of x[0]."""
    d = {**TARGET.data, **CASES[case]}
    x = np.linspace(max(float(d["low"]), -9), min(float(d["high"]), 9), 400_001)
    weight = np.exp(-0.5 * x**2 - np.where(x > d["at"], 0.0, d["jump"]))
    return np.sum(x * weight) / np.sum(weight)


@pytest.mark.parametrize(("case", "kernel"), [(c, None) for c in CASES] + [("walls", NUTS), ("jump", NUTS)])
def test_walls_and_jumps_neither_shorten_steps_nor_diverge(case, kernel):
    draws = default(case, kernel)
    assert draws.sample_stats["step_size"].values.max() > 0.3
    assert draws.sample_stats["n_steps"].values.mean() < 10
    assert not draws.sample_stats["diverging"].values.any()
    x = draws.posterior["x"].values[..., 0]
    assert abs(x.mean() - mean_of(case)) < 4 * x.std() / np.sqrt(mcmc.ess(x, "mean"))
    assert mcmc.ess(x, "mean") > 1000
    assert kernel is NUTS or not mcmc.diagnose(draws).failures  # so few draws of NUTS are too few between walls


@pytest.mark.parametrize(
    ("case", "kernel", "supports"),
    [
        ("walls", None, '{"x": mcmc.lower(-1.0, shape=(3,))}'),
        ("walls", NUTS, '{"x": mcmc.lower(-1.0, shape=(3,))}'),
        ("box", None, '{"x": mcmc.interval(-1.0, 0.5, shape=(3,)), "scale": mcmc.interval(0.0, 2.0)}'),
    ],
)
def test_the_verdict_names_the_support_to_declare(case, kernel, supports):
    found = mcmc.diagnose(default(case, kernel))["wall"]
    assert found.severity == "info"
    assert supports in found.advice
    assert "x[1] below -1" in found.message
    assert {"x[0]", "x[1]", "x[2]"} <= set(found.parameters)


@pytest.mark.parametrize("case", ["none", "jump"])
def test_where_there_is_no_wall_the_verdict_names_none(case):
    """Nor at the end of a support that is declared, as the scale's."""
    assert "wall" not in {check.code for check in mcmc.diagnose(default(case)).checks}


def test_a_wall_that_is_no_end_of_one_parameter_is_said():
    target = mcmc.Target(lambda p: jnp.where(jnp.sum(p["x"] ** 2) < 1, 0.0, -jnp.inf), {"x": mcmc.real(2)})
    draws = draw(target, seed=1, draws=100)
    assert "several parameters" in mcmc.diagnose(draws)["wall"].message


def test_what_was_found_goes_with_the_run_and_into_the_next_step():
    target = TARGET.with_data({**TARGET.data, **CASES["walls"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        draws = mcmc.resume(target, default("walls"), 20, progress=False)
    verdict = mcmc.diagnose(draws, ess=1e6)
    assert verdict["wall"].parameters
    assert "mcmc.lower(-1.0" in (verdict.next_step or {})["call"]
