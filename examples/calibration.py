"""Is an analysis right? Eight schools on 200 data sets simulated from its own prior, and again with a mistake in it.

Values are drawn from the prior, data from the values, and the posterior of each data set is sampled: the values must
lie among the draws like one of them. The mistake is one that no single fit shows: the standard errors of the effects
are taken for variances.

    python examples/calibration.py --out pictures
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp

import mcmc

sigma = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])  # standard errors of the effects


def prior(key):
    """mu ~ N(0, 5), tau ~ HalfCauchy(0, 5), z ~ N(0, 1)."""
    a, b, c = jax.random.split(key, 3)
    return {"mu": 5 * jax.random.normal(a), "tau": 5 * jnp.abs(jax.random.cauchy(b)), "z": jax.random.normal(c, (8,))}


def simulate(key, p):
    """An effect for each school."""
    return p["mu"] + p["tau"] * p["z"] + sigma * jax.random.normal(key, (8,))


def log_density(p, y, errors=sigma):
    """The same model, as it will be fitted."""
    log_prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2) - 0.5 * jnp.sum(p["z"] ** 2)
    return log_prior - 0.5 * jnp.sum(((y - p["mu"] - p["tau"] * p["z"]) / errors) ** 2)


def mistaken(p, y):
    """The standard errors, taken for variances."""
    return log_density(p, y, jnp.sqrt(sigma))


def target_of(density):
    """The target, with any data in the right form."""
    return mcmc.Target(density, {"mu": mcmc.real(), "tau": mcmc.positive(), "z": mcmc.real(8)}, data=jnp.zeros(8))


def main(out: Path, simulations: int = 200) -> dict:
    """Calibrate both, save a picture of each; what was found and how long it took, by name."""
    out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, density in (("sbc", log_density), ("sbc_wrong", mistaken)):
        began = time.perf_counter()
        found = mcmc.sbc(prior, simulate, target_of(density), simulations=simulations, progress=False)
        results[name] = found, time.perf_counter() - began
        found.plot(out / f"{name}.png")
        print(found, f"\n  {results[name][1]:.0f} s")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("."))
    main(parser.parse_args().out)
