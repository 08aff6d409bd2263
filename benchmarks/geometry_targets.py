"""Hierarchies as flat log densities in jax.numpy, with their true moments: by quadrature, or by a long run.

Positions are unconstrained, Jacobians of log scales included. Given its scales, a hierarchy of normals is a linear
normal model: means and variances of the rest are exact, and a grid over the scales gives the moments.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid

TRUTH = Path(__file__).parent / "geometry_truth.json"


@dataclass(frozen=True)
class Problem:
    """A log density of a position (dim,), its true means and sds (dim,), and the coordinates whose moments count."""

    name: str
    dim: int
    log_density: Callable
    truth: Callable
    judged: tuple[int, ...] | None = None


def normal(x, mean, sd):
    """The log density of normals, summed, without its constant."""
    return jnp.sum(-0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) * jnp.ones_like(x))


# --- a funnel -----------------------------------------------------------------------------------------------------


def funnel(q):
    """Neal 2003: v ~ N(0, 3), nine x ~ N(0, exp(v / 2))."""
    return normal(q[0], 0.0, 3.0) + normal(q[1:], 0.0, jnp.exp(q[0] / 2))


def funnel_truth():
    """Closed forms; the sd of x, √E exp v, is no measure of an average of draws: v is judged."""
    return np.zeros(10), np.array([3.0, *[np.exp(9 / 4)] * 9])


# --- eight schools ------------------------------------------------------------------------------------------------

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(q):
    """Rubin 1981, centred: mu ~ N(0, 5), tau ~ HalfCauchy(5), theta ~ N(mu, tau), y ~ N(theta, sigma)."""
    mu, tau, theta = q[0], jnp.exp(q[1]), q[2:]
    prior = normal(mu, 0.0, 5.0) - jnp.log1p((tau / 5) ** 2) + q[1]
    return prior + normal(theta, mu, tau) + normal(jnp.asarray(EFFECT), theta, ERROR)


def schools_truth():
    """Sums over log tau; mu and the schools are normal given it."""
    scales, log_prior = [], []
    for log_tau in np.linspace(-14, 6, 1001):
        scales.append((log_tau,))
        log_prior.append(log_tau - np.log1p((np.exp(log_tau) / 5) ** 2))

    def given(log_tau):
        to_theta = np.hstack([np.ones((8, 1)), np.exp(log_tau) * np.eye(8)])
        return to_theta / ERROR[:, None], EFFECT / ERROR, 1.0, np.vstack([np.eye(1, 9), to_theta])

    (mu, *theta), log_tau = mixture(scales, log_prior, np.array([5.0] + [1.0] * 8), given)
    return np.array([mu, *log_tau, *theta]).T


# --- a regression whose intercept varies by group -----------------------------------------------------------------

GROUPS = 40
_RNG = np.random.default_rng(15)
GROUP = np.repeat(np.arange(GROUPS), _RNG.integers(1, 6, GROUPS))
FLOOR = _RNG.integers(0, 2, len(GROUP)).astype(float)
LEVEL = 1.3 + 0.25 * _RNG.standard_normal(GROUPS)
OUTCOME = LEVEL[GROUP] - 0.6 * FLOOR + 0.75 * _RNG.standard_normal(len(GROUP))


def groups_centred(q):
    """mu, slope ~ N(0, 5), tau, sigma ~ HalfNormal(1), levels ~ N(mu, tau), outcome ~ N(level + slope x, sigma)."""
    return _groups_prior(q) + normal(q[4:], q[0], jnp.exp(q[2])) + _groups_likelihood(q, q[4:])


def groups_noncentred(q):
    """The same with levels mu + tau z, z ~ N(0, 1)."""
    return _groups_prior(q) + normal(q[4:], 0.0, 1.0) + _groups_likelihood(q, q[0] + jnp.exp(q[2]) * q[4:])


def _groups_prior(q):
    return normal(q[:2], 0.0, 5.0) + jnp.sum(q[2:4] - 0.5 * jnp.exp(2 * q[2:4]))


def _groups_likelihood(q, level):
    return normal(jnp.asarray(OUTCOME), level[GROUP] + q[1] * FLOOR, jnp.exp(q[3]))


def groups_truth(centred):
    """Sums over log tau and log sigma; the rest is normal given them."""
    scales = [(t, s) for t in np.linspace(-12, 1.2, 133) for s in np.linspace(-0.8, 0.3, 41)]
    log_prior = [t + s - 0.5 * (np.exp(2 * t) + np.exp(2 * s)) for t, s in scales]
    member = np.eye(GROUPS)[GROUP]

    def given(log_tau, log_sigma):
        tau = np.exp(log_tau) if centred else 1.0
        wanted = np.eye(2 + GROUPS)
        if centred:
            wanted[2:, 0], wanted[2:, 2:] = 1.0, tau * np.eye(GROUPS)
        design = np.hstack([np.ones((len(GROUP), 1)), FLOOR[:, None], np.exp(log_tau) * member])
        return design, OUTCOME, np.exp(log_sigma), wanted

    (mu, slope, *levels), both = mixture(scales, log_prior, np.array([5.0, 5.0] + [1.0] * GROUPS), given)
    return np.array([mu, slope, *both, *levels]).T


# --- a Brownian path whose scales are unknown ---------------------------------------------------------------------

STEPS = 30
SEEN = np.r_[0:10, 20:30]
PATH = np.cumsum(0.1 * _RNG.standard_normal(STEPS))
NOISY = PATH[SEEN] + 0.15 * _RNG.standard_normal(len(SEEN))


def brownian(q):
    """Log scales of steps and of noise ~ N(0, 2), path a random walk, seen with noise but for its middle third."""
    step, noise, path = jnp.exp(q[0]), jnp.exp(q[1]), q[2:]
    walk = normal(path[1:], path[:-1], step) + normal(path[0], 0.0, step)
    return normal(q[:2], 0.0, 2.0) + walk + normal(jnp.asarray(NOISY), path[SEEN], noise)


def brownian_truth():
    """Sums over both log scales; the path is normal given them."""
    scales = [(a, b) for a in np.linspace(-10, 1, 111) for b in np.linspace(-9, 1, 101)]
    log_prior = [-(a**2 + b**2) / 8 for a, b in scales]

    def given(log_step, log_noise):
        path = np.exp(log_step) * np.tril(np.ones((STEPS, STEPS)))
        return path[SEEN], NOISY, np.exp(log_noise), path

    path, both = mixture(scales, log_prior, np.ones(STEPS), given)
    return np.array([*both, *path]).T


# --- a logistic regression with few weights that count ------------------------------------------------------------

WEIGHTS = 20
FEATURES = _RNG.standard_normal((300, WEIGHTS))
FEATURES /= FEATURES.std(0)
ACTIVE = np.array([1.5, -1.0, 0.8] + [0.0] * (WEIGHTS - 3))
LABEL = (_RNG.random(300) < 1 / (1 + np.exp(-FEATURES @ ACTIVE))).astype(float)


def sparse_logistic(q):
    """Weights z · local · overall, z ~ N(0, 1), both kinds of scales ~ Gamma(1/2, 1/2) (Carpenter & Hoffman 2020)."""
    z, log_scales = q[:WEIGHTS], q[WEIGHTS:]
    logits = jnp.asarray(FEATURES) @ (z * jnp.exp(log_scales[:-1] + log_scales[-1]))
    prior = normal(z, 0.0, 1.0) + jnp.sum(0.5 * log_scales - 0.5 * jnp.exp(log_scales))
    return prior + jnp.sum(log_sigmoid(jnp.where(LABEL > 0, logits, -logits)))


def long_run(name):
    """Moments that a long run of NUTS gave: `python benchmarks/geometry.py --truth`."""
    kept = json.loads(TRUTH.read_text())[name]
    return np.array(kept["mean"]), np.array(kept["sd"])


# --- all of them --------------------------------------------------------------------------------------------------


def mixture(scales, log_prior, prior_sd, given):
    """Means and sds of T u, and of the scales (k, scale), for u ~ N(0, prior_sd), y ~ N(X u, noise) given scales.

    `given(*scales)` is (X, y, noise, T); the scales lie on an even grid, of log density `log_prior` (k,).
    """
    log_weights, firsts, variances = [], [], []
    for at, lp in zip(scales, log_prior, strict=True):
        design, y, noise, wanted = given(*at)
        design = design * prior_sd / noise
        y = y / noise
        precision = np.eye(len(prior_sd)) + design.T @ design
        both = np.linalg.solve(precision, np.column_stack([design.T @ y, (wanted * prior_sd).T]))
        mean, spread = both[:, 0], both[:, 1:]
        fit = y @ (design @ mean) - y @ y
        log_weights.append(lp + 0.5 * fit - 0.5 * np.linalg.slogdet(precision)[1] - len(y) * np.log(noise))
        firsts.append((wanted * prior_sd) @ mean)
        variances.append(np.sum((wanted * prior_sd).T * spread, 0))
    weights = np.exp(np.array(log_weights) - np.max(log_weights))
    weights /= weights.sum()
    scales = np.array(scales)
    return _moments(weights, np.array(firsts), np.array(variances)), _moments(weights, scales, 0 * scales)


def _moments(weights, means, variances):
    mean = weights @ means
    return np.array([mean, np.sqrt(weights @ (variances + (means - mean) ** 2))]).T


PROBLEMS = {
    p.name: p
    for p in (
        Problem("funnel", 10, funnel, funnel_truth, judged=(0,)),
        Problem("schools_centred", 10, schools, schools_truth),
        Problem("groups_centred", 4 + GROUPS, groups_centred, lambda: groups_truth(True)),
        Problem("groups_noncentred", 4 + GROUPS, groups_noncentred, lambda: groups_truth(False)),
        Problem("brownian", 2 + STEPS, brownian, brownian_truth),
        Problem("sparse_logistic", 2 * WEIGHTS + 1, sparse_logistic, lambda: long_run("sparse_logistic")),
    )
}
