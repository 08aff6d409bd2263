"""Log densities of unconstrained vectors whose conditional laws are known, for fits from gradients."""

import jax
import jax.numpy as jnp
import numpy as np

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SE = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def normal(x, mean, log_sd):
    return -0.5 * ((x - mean) * jnp.exp(-log_sd)) ** 2 - log_sd


def funnel(power):
    """v, and eight coordinates of standard deviation exp(power v)."""
    return lambda q: -0.5 * (q[0] / 3) ** 2 + jnp.sum(normal(q[1:], 0.0, power * q[0]))


def _half_normal(log_tau):
    return -0.5 * (jnp.exp(log_tau) / 5) ** 2 + log_tau, log_tau


def _half_cauchy(log_tau):
    return -jnp.log1p((jnp.exp(log_tau) / 5) ** 2) + log_tau, log_tau


def _uniform(logit):
    both = jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)
    return both, jnp.log(10.0) + jax.nn.log_sigmoid(logit)


def schools(prior):
    """mu, tau on the scale of its prior, and the eight schools, centred."""

    def log_density(q):
        mu, theta = q[0], q[2:]
        lp, log_tau = prior(q[1])
        data = jnp.sum(-0.5 * ((Y - theta) / SE) ** 2)
        return lp - 0.5 * (mu / 5) ** 2 + jnp.sum(normal(theta, mu, log_tau)) + data

    return log_density


def nested(q):
    """mu, the log deviations within and between five groups, their means, and four members each."""
    mu, within, between, group, theta = q[0], q[1], q[2], q[3:8], q[8:].reshape(5, 4)
    prior = -0.5 * (mu**2 + within**2 + between**2)
    return prior + jnp.sum(normal(group, mu, between)) + jnp.sum(normal(theta, group[:, None], within))


def horseshoe(q):
    """A log scale for all, one for each of six weights, and the weights with data."""
    whole, own, weight = q[0], q[1:7], q[7:]
    data = -0.5 * jnp.sum((weight - jnp.array([0.0, 0, 3, 0, -2, 0])) ** 2)
    return -0.5 * whole**2 - 0.5 * jnp.sum(own**2) + jnp.sum(normal(weight, 0.0, whole + own)) + data


def random_walk(q):
    """A log deviation and nine steps of a walk."""
    return -0.5 * q[0] ** 2 - 0.5 * q[1] ** 2 + jnp.sum(normal(q[2:], q[1:-1], q[0]))


def noisy_walk(q):
    """The same, seen with noise."""
    return random_walk(q) - 0.5 * jnp.sum(((q[1:] - jnp.linspace(-1, 1, q.size - 1)) / 0.5) ** 2)


PRECISION = np.linalg.inv(0.1 * np.eye(5) + 0.9)
_rng = np.random.default_rng(5)
X = _rng.normal(size=(40, 6))
SEEN = (_rng.random(40) < 1 / (1 + np.exp(-X @ np.ones(6)))).astype(float)


def correlated(q):
    return -0.5 * q @ PRECISION @ q


def logistic(q):
    return jnp.sum(SEEN * (X @ q) - jnp.logaddexp(0.0, X @ q)) - 0.5 * jnp.sum(q**2)


SCHOOLS = {"half-normal": _half_normal, "half-Cauchy": _half_cauchy, "uniform": _uniform}
EXACT = {  # log density, its coordinates, those that have a conditional normal law
    "funnel sd exp(v/2)": (funnel(0.5), 9, range(1, 9)),
    "funnel sd exp(v)": (funnel(1.0), 9, range(1, 9)),
    "funnel precision exp(v)": (funnel(-0.5), 9, range(1, 9)),
    **{f"schools, {name} tau": (schools(prior), 10, [0, *range(2, 10)]) for name, prior in SCHOOLS.items()},
    "nested": (nested, 28, range(3, 28)),
    "horseshoe": (horseshoe, 13, range(7, 13)),
}
