"""Log evidence beside dynesty and jaxns: error times the square root of seconds, on laws whose evidence is known.

    python benchmarks/evidence.py --seeds 10 --out evidence.json
    python benchmarks/evidence.py --spread --seeds 50   # whether the stated errors hold

Each tool runs each law at several seeds with its defaults, compiled before the clock starts where it compiles; the
figure is the root mean square error times √seconds, which does not depend on how long a tool runs. Seconds are of the
processor, all threads together, so that other work beside does not count; their median. dynesty and jaxns are optional:
`pip install dynesty jaxns`; what is absent is left out, and said.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import mcmc

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evidence"))
import evidence_laws


def uniform_to_prior(name: str) -> Callable[[np.ndarray], dict] | None:
    """Points of the unit cube to parameters, for the laws whose prior is that easily drawn by quantiles."""
    from scipy import stats

    table: dict[str, Callable[[np.ndarray], dict]] = {
        "normal_normal": lambda u: {"mu": 2.0 * stats.norm.ppf(u[0])},
        "beta_binomial": lambda u: {"p": stats.beta.ppf(u[0], 2.0, 3.0)},
        "regression": lambda u: {"b": stats.norm.ppf(u)},
        "two_modes": lambda u: {"x": 20.0 * u - 10.0},
        "eight_shells": lambda u: {"x": evidence_laws.SIDE * (u - 0.5)},
        "spike_and_slab": lambda u: {"x": u - 0.5},
        "eight_schools": lambda u: {
            "mu": 5 * stats.norm.ppf(u[0]),
            "tau": stats.halfcauchy.ppf(u[1], scale=5),
            "z": stats.norm.ppf(u[2:]),
        },
    }
    return table.get(name)


type Run = Callable[[int], tuple[float, float]]


def ours(name: str, target: mcmc.Target) -> Run:
    """`mcmc.evidence` by its defaults; by levels where temperatures can't see the spike."""
    path = "levels" if name == "spike_and_slab" else "temperatures"

    def run(seed: int) -> tuple[float, float]:
        found = mcmc.evidence(target, path=path, seed=seed, progress=False)
        return found.log_evidence, found.error

    return run


def by_dynesty(name: str, target: mcmc.Target) -> Run:
    """Its static sampler with its defaults."""
    import dynesty

    transform = uniform_to_prior(name)
    log_likelihood = jax.jit(lambda p: sum(x.sum() for x in target.log_likelihood(*with_data(p, target)).values()))

    def run(seed: int) -> tuple[float, float]:
        sampler = dynesty.NestedSampler(
            lambda x: float(log_likelihood(target.nest(split(x, target)))),
            lambda u: np.concatenate([np.ravel(transform(u)[n]) for n in target.names]),
            target.dim,
            rstate=np.random.default_rng(seed),
        )
        sampler.run_nested(print_progress=False)
        return float(sampler.results.logz[-1]), float(sampler.results.logzerr[-1])

    return run


def by_jaxns(name: str, target: mcmc.Target) -> Run:
    """Its default nested sampler, over the unit cube of each law's prior."""
    import tensorflow_probability.substrates.jax as tfp
    from jaxns.core import NestedSampler
    from jaxns.model import Model
    from jaxns.priors import Prior

    transform = jax_transforms()[name]

    def log_likelihood() -> jax.Array:
        uniform = tfp.distributions.Uniform(np.zeros(target.dim, np.float32), np.ones(target.dim, np.float32))
        p = transform(Prior(uniform, name="u").realise())
        return sum(x.sum() for x in target.log_likelihood(*with_data(p, target)).values())

    sampler = NestedSampler(model=Model(prior_model=log_likelihood))

    def run(seed: int) -> tuple[float, float]:
        found = sampler.run(key=jax.random.PRNGKey(seed)).to_result().trim()
        return float(found.log_Z_mean), float(found.log_Z_uncert)

    return run


def jax_transforms() -> dict[str, Callable]:
    """The same quantiles in JAX."""
    from tensorflow_probability.substrates.jax.math import betaincinv

    ppf, tan = jax.scipy.stats.norm.ppf, jax.numpy.tan
    return {
        "beta_binomial": lambda u: {"p": betaincinv(2.0, 3.0, u[0])},
        "normal_normal": lambda u: {"mu": 2.0 * ppf(u[0])},
        "regression": lambda u: {"b": ppf(u)},
        "two_modes": lambda u: {"x": 20.0 * u - 10.0},
        "eight_shells": lambda u: {"x": evidence_laws.SIDE * (u - 0.5)},
        "spike_and_slab": lambda u: {"x": u - 0.5},
        "eight_schools": lambda u: {"mu": 5 * ppf(u[0]), "tau": 5 * tan(0.5 * np.pi * u[1]), "z": ppf(u[2:])},
    }


def with_data(p: dict, target: mcmc.Target) -> tuple:
    """The arguments of the target's functions."""
    return (p,) if target.data is None else (p, target.data)


def split(x: np.ndarray, target: mcmc.Target) -> list[np.ndarray]:
    """A flat vector as the parameters' values."""
    sizes = np.cumsum([int(np.prod(leaf.support.shape)) for leaf in target.leaves])[:-1]
    parts = np.split(x, sizes)
    return [part.reshape(leaf.support.shape) for part, leaf in zip(parts, target.leaves, strict=True)]


TOOLS = {"mcmc": ours, "dynesty": by_dynesty, "jaxns": by_jaxns}
LAWS = {**evidence_laws.LAWS, "spike_and_slab": evidence_laws.spike_and_slab}


def measured(tool: str, name: str, seeds: int) -> dict:
    """Root mean square error, stated error, seconds of the processor and their figure; the first run is not timed."""
    target, exact = LAWS[name]()
    run = TOOLS[tool](name, target)
    run(10_000)
    found, seconds = [], []
    for seed in range(seeds):
        began = time.process_time()
        found.append(run(seed))
        seconds.append(time.process_time() - began)
    values, errors = np.array(found).T
    rmse, middle = float(np.sqrt(((values - exact) ** 2).mean())), float(np.median(seconds))
    stated = float(np.sqrt((errors**2).mean()))
    return {"rmse": rmse, "stated": stated, "seconds": middle, "rmse_root_seconds": rmse * middle**0.5}


def spread(name: str, seeds: int, first: int = 0) -> dict:
    """Over seeds: bias, spread, stated error and the largest error in stated ones, by both ways and as reported."""
    target, exact = LAWS[name]()
    found = [mcmc.evidence(target, seed=seed, progress=False) for seed in range(first, first + seeds)]
    row: dict = {"exact": float(exact), "seeds": seeds, "ok": float(np.mean([f.ok for f in found]))}
    for way, of in (("particles", lambda f: f.smc), ("bridge", lambda f: f.bridge), ("reported", lambda f: f)):
        values, errors = np.array([(of(f).log_evidence - exact, of(f).error) for f in found]).T
        row[way] = in_stated_errors(values, errors)
    return row


def in_stated_errors(values: np.ndarray, errors: np.ndarray) -> dict:
    """What errors (seed,) are beside those stated."""
    ratios, spread, stated = np.abs(values / errors), float(values.std(ddof=1)), float(np.sqrt((errors**2).mean()))
    numbers = {"bias": float(values.mean()), "spread": spread, "stated": stated, "ratio": stated / spread}
    return numbers | {"largest": float(ratios.max()), "beyond_3": int((ratios > 3).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed of --spread")
    parser.add_argument("--laws", nargs="*", default=list(LAWS))
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--spread", action="store_true", help="our own errors over seeds beside those stated")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.spread:
        rows = {name: spread(name, asked.seeds, asked.first) for name in asked.laws}
        for name, row in rows.items():
            print(f"{name:<16}" + "".join(f"{k} {v:<10.3g}" for k, v in row["reported"].items()))
        if asked.out:
            asked.out.write_text(json.dumps(rows, indent=2))
        return
    table: dict[str, dict] = {}
    absent = [tool for tool in asked.tools if tool != "mcmc" and importlib.util.find_spec(tool) is None]
    for tool in absent:
        print(f"{tool} is not installed: left out", file=sys.stderr)
    print(f"{'law':<16}{'tool':<10}{'rmse':>10}{'stated':>10}{'seconds':>10}{'rmse √s':>10}")
    for name in asked.laws:
        for tool in asked.tools:
            if tool in absent:
                continue
            row = measured(tool, name, asked.seeds)
            table.setdefault(name, {})[tool] = row
            print(f"{name:<16}{tool:<10}" + "".join(f"{x:>10.4g}" for x in row.values()), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
