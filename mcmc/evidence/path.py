"""The targets between prior and posterior, one for each level, as one compiled program with the level as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.engine.program_cache import MOST_PROGRAMS, Cache
from mcmc.target.prior import parts_at
from mcmc.target.target import Target
from mcmc.target.traced import Traced

BATCH = 1024

type Kind = Literal["tempered", "constrained"]


class Path(Target):
    r"""The target at a level s of the way from its prior to its posterior.

    `tempered`: log π_s(y) = log prior(y) + s log L(y), s from 0 to 1. `constrained`: the prior where log L(y) > s.
    What is recorded of a draw is its position, its log likelihood, and its log prior with the Jacobian.
    """

    inner: Target
    kind: Kind

    @classmethod
    def of(cls, target: Target, kind: Kind, level: float) -> Path:
        """The target between prior and posterior of one that knows both."""
        path = cls.__new__(cls)
        path.__dict__.update(target.__dict__, inner=target, kind=kind, derived=path._parts, dims={})
        path.data = {"inner": target.data, "level": np.float64(level)}
        path.programs = Cache(MOST_PROGRAMS)
        return path

    def _parts(self, position: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        """Log prior with the Jacobian, and log likelihood."""
        p, log_jacobian = self.constrain(position)
        prior, likelihood = parts_at(self.inner, p, data["inner"])
        return (prior + log_jacobian).astype(position.dtype), likelihood.astype(position.dtype)

    def value(self, position: jax.Array, data: Any) -> jax.Array:
        """Log π_s(y)."""
        prior, likelihood = self._parts(position, data)
        level = data["level"].astype(position.dtype)
        if self.kind == "constrained":
            return jnp.where(likelihood > level, prior, -jnp.inf)
        return prior + jnp.where(likelihood == -jnp.inf, -jnp.inf, level * likelihood)

    def recorded(self, position: jax.Array, data: Any) -> dict[str, jax.Array]:
        """The position and both parts of its log density."""
        prior, likelihood = self._parts(position, data)
        return {"position": position, "log_likelihood": likelihood, "log_prior": prior}

    def check_outputs(self, dtype: Any) -> None:
        """Nothing: the target itself was checked."""


@dataclass(frozen=True)
class Points:
    """Positions (..., dim) with their log likelihoods and log priors, Jacobian included (...)."""

    positions: np.ndarray
    log_likelihood: np.ndarray
    log_prior: np.ndarray

    @property
    def lps(self) -> np.ndarray:
        """Log densities of the posterior, unnormalised."""
        return self.log_prior + self.log_likelihood

    def take(self, *index: Any) -> Points:
        """The points at an index of the leading axes."""
        return Points(self.positions[index], self.log_likelihood[index], self.log_prior[index])

    @classmethod
    def split(cls, rows: np.ndarray) -> Points:
        """From rows (..., dim + 2) as they are recorded."""
        return cls(rows[..., :-2], rows[..., -2], rows[..., -1])


class Evaluator:
    """Both parts of the log density at any number of positions, by one program of 1024 rows."""

    def __init__(self, traced: Traced):
        def rows(arrays: tuple, positions: jax.Array) -> jax.Array:
            return jax.lax.map(partial(traced.record, arrays), positions, batch_size=min(256, BATCH))

        self.program, self.arrays = jax.jit(rows), traced.arrays

    def __call__(self, positions: np.ndarray) -> Points:
        """The points at positions (n, dim)."""
        n, dim = positions.shape
        padded = np.concatenate([positions, np.repeat(positions[:1], -n % BATCH, 0)])
        made = [np.asarray(self.program(self.arrays, part)) for part in padded.reshape(-1, BATCH, dim)]
        return Points.split(np.concatenate(made)[:n].astype(float))
