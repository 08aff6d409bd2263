"""A typed script of a user's; `reveal_type` is for the type checker alone."""

from typing import TYPE_CHECKING, reveal_type

import jax
import jax.numpy as jnp

import mcmc
from mcmc import InverseCDF, Target, categorical, diagnose, interval, positive, real, reparam, sample, simplex


def log_density(p: dict[str, jax.Array]) -> jax.Array:
    """The log density of a small model."""
    z = (p["x"] - p["share"]) / p["scale"]
    return -0.5 * jnp.sum(z**2) - jnp.log(p["scale"]) - p["scale"] + jnp.sum(jnp.log(p["weights"]))


def standard_normal(x: jax.Array) -> jax.Array:
    """A log density in one dimension."""
    return -0.5 * x**2


def main() -> bool:
    """Draw, judge, and draw without chains."""
    supports = {"x": real(2), "scale": positive(), "share": interval(0.0, 1.0), "weights": simplex(3)}
    target = Target(log_density, supports)
    draws = sample(target, mcmc.NUTS(max_tree_depth=6), chains=16, draws=20, warmup=50, seed=1, progress=False)
    more = mcmc.resume(target, draws, 10, progress=False)
    verdict = diagnose(more, ess=100)
    key = jax.random.key(0)
    normal = InverseCDF.fit(standard_normal, (-jnp.inf, jnp.inf))
    x = normal.sample(key, (3,))
    tokens = categorical.sample(key, jnp.zeros((2, 5)), temperature=0.7, top_p=0.9)
    rates = reparam.gamma(key, 2.0, shape=(3,))
    walk = mcmc.Gibbs({"x": mcmc.HMC(step_size=0.1), "scale": mcmc.RandomWalk()})
    if TYPE_CHECKING:
        reveal_type(mcmc.sample(target))
        reveal_type(verdict)
        reveal_type(x)
        reveal_type(tokens)
        reveal_type(rates)
        reveal_type(normal)
        reveal_type(walk)
    return verdict.ok and bool(jnp.isfinite(x.sum() + rates.sum() + tokens.sum()))


if __name__ == "__main__":
    print(main())
