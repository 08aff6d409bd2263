"""Normal approximations of a log density in unconstrained space: at its mode, and along paths to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcmc.errors import SamplingError
from mcmc.warmup.climb import Climb
from mcmc.warmup.normal_laws import Normals
from mcmc.warmup.pathfinder import NEGLIGIBLE, approximations

WIDE_SHARE, WIDTH = 0.25, 2.0
STEPS, NEWTON_STEPS = 1000, 20
FLAT = 1e-4
"""The largest whitened gradient at a mode: how many standard deviations the top may lie away."""

type Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Positions (n, dim) to log densities (n,) and gradients (n, dim)."""


@dataclass(frozen=True)
class Mixture:
    """Normal laws of equal shares: means (k, dim), lower triangles (k, dim, dim), each a quarter of it twice as wide.

    The wide part bounds the weights where the density's tails are a little heavier than the law's, and goes to look
    for mass that it leaves out, which no weight would tell of.
    """

    means: np.ndarray
    factors: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws (n, dim), as many of each law to one more or less."""
        which = np.arange(n) % len(self.means)
        scale = np.where(rng.uniform(size=(n, 1)) < WIDE_SHARE, WIDTH, 1.0)
        z = scale * rng.standard_normal((n, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", self.factors[which], z)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log densities (n,)."""
        from scipy.linalg import solve_triangular

        terms = []
        for mean, factor in zip(self.means, self.factors, strict=True):
            z = solve_triangular(factor, (x - mean).T, lower=True)
            square, dim = (z**2).sum(0), len(mean)
            narrow = np.log1p(-WIDE_SHARE) - 0.5 * square
            wide = np.log(WIDE_SHARE) - dim * np.log(WIDTH) - 0.5 * square / WIDTH**2
            terms.append(np.logaddexp(narrow, wide) - np.log(np.abs(np.diagonal(factor))).sum())
        return np.logaddexp.reduce(terms, 0) - np.log(len(terms)) - 0.5 * x.shape[1] * np.log(2 * np.pi)


def along_paths(starts: np.ndarray, evaluate: Evaluate, rng: np.random.Generator) -> Mixture:
    """The best normal law on the way of each path that ends where the mass is (Pathfinder)."""

    def alone(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lps, gradients = evaluate(positions[0])
        return lps[None], gradients[None]

    with np.errstate(all="ignore"):
        best = approximations(starts[None], alone, [rng])
    elbo = best.elbo[0]
    if not np.isfinite(elbo).any():
        raise SamplingError(
            "log_density: got no path along which it curves downwards; expected a bounded density. Check it for one."
        )
    good = np.isfinite(elbo) & (elbo > elbo.max() - NEGLIGIBLE)
    laws = Normals(*(part[0][good] for part in best.laws))
    return Mixture(laws.mean, laws.factors())


def mode(starts: np.ndarray, evaluate: Evaluate) -> tuple[np.ndarray, float]:
    """The highest place (dim,) that L-BFGS reaches from the starts, and the log density there."""
    with np.errstate(all="ignore"):
        climb = Climb(starts[None].astype(float), lambda y: tuple(x[None] for x in evaluate(y[0])))  # type: ignore[arg-type]
        for _ in range(STEPS):
            to = climb.next()
            lps, gradients = evaluate(to[0])
            climb.take(to, lps[None], gradients[None])
            if climb.done.all():
                break
    best = int(np.argmax(climb.lp[0]))
    return climb.at[0, best], float(climb.lp[0, best])


def at_mode(
    at: np.ndarray, evaluate: Evaluate, hessian: Callable[[np.ndarray], np.ndarray]
) -> tuple[Mixture | None, np.ndarray, str]:
    """The normal law of the mode's curvature, the mode after Newton's steps, and what is wrong with it, if anything."""
    for _ in range(NEWTON_STEPS):
        gradient, curvature = evaluate(at[None])[1][0], -hessian(at)
        try:
            factor = np.linalg.cholesky(0.5 * (curvature + curvature.T))
        except np.linalg.LinAlgError:
            return None, at, "it does not curve downwards in all directions there, so that it has no normal law"
        whitened = np.linalg.solve(factor, gradient)
        if np.linalg.norm(whitened) < FLAT:
            covariance = np.linalg.inv(curvature)
            return Mixture(at[None], np.linalg.cholesky(0.5 * (covariance + covariance.T))[None]), at, ""
        step = np.linalg.solve(factor.T, whitened)
        at = at + step / max(1.0, float(np.linalg.norm(whitened)))
    return None, at, "its gradient does not vanish anywhere near"
