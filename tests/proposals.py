"""Proposals for the tests of Metropolis–Hastings kernels, with their own log densities."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import stats
from jax.scipy.special import gammaln

tree = partial(jax.tree_util.register_dataclass)


@tree
@dataclass(frozen=True)
class Normal:
    """A multivariate normal, independent of everything."""

    loc: Any
    factor: Any

    def sample(self, key, shape=()):
        z = jax.random.normal(key, (*shape, *self.loc.shape), self.loc.dtype)
        return self.loc + z @ self.factor.T

    def log_prob(self, x):
        z = jax.scipy.linalg.solve_triangular(self.factor, x - self.loc, lower=True)
        return jnp.sum(stats.norm.logpdf(z)) - jnp.sum(jnp.log(jnp.diag(self.factor)))


@tree
@dataclass(frozen=True)
class Drift:
    """An autoregressive move towards `loc`: not symmetric, so a wrong ratio shows."""

    loc: Any
    keep: Any
    factor: Any

    def _step(self, given):
        return Normal(self.loc + self.keep * (given - self.loc), self.factor)

    def sample(self, key, given):
        return self._step(given).sample(key)

    def log_prob(self, to, given):
        return self._step(given).log_prob(to)


class LogNormalWalk:
    """x' = x exp(s z), s z normal: symmetric in log x, not in x."""

    def sample(self, key, given):
        return given * jnp.exp(0.8 * jax.random.normal(key, given.shape, given.dtype))

    def log_prob(self, to, given):
        return jnp.sum(stats.norm.logpdf(jnp.log(to), jnp.log(given), 0.8) - jnp.log(to))


class GammaWide:
    """Independent draws of Gamma(2, 1)."""

    def sample(self, key, shape=()):
        return jax.random.gamma(key, 2.0, shape)

    def log_prob(self, x):
        return jnp.log(x) - x


class DirichletNear:
    """A Dirichlet whose mean is between the present point and the centre."""

    def _concentration(self, given):
        return 10 * given + 1

    def sample(self, key, given):
        return jax.random.dirichlet(key, self._concentration(given), dtype=given.dtype)

    def log_prob(self, to, given):
        a = self._concentration(given)
        return jnp.sum((a - 1) * jnp.log(to)) + gammaln(jnp.sum(a)) - jnp.sum(gammaln(a))


class Flip:
    """Turn one spin, each as likely: symmetric, said so by its own density."""

    def sample(self, key, given):
        at = jax.random.randint(key, (), 0, given.size)
        return given ^ (jnp.arange(given.size) == at).reshape(given.shape)

    def log_prob(self, to, given):
        return jnp.where(jnp.sum(to != given) == 1, -np.log(to.size), -jnp.inf)


class Uneven:
    """One up with probability 0.7, one down with 0.3: off the ends it leaves the support."""

    def sample(self, key, given):
        return given + jnp.where(jax.random.bernoulli(key, 0.7), 1, -1).astype(given.dtype)

    def log_prob(self, to, given):
        return jnp.where(to > given, np.log(0.7), np.log(0.3))
