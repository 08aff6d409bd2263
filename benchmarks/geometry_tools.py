"""One run of each tool on a flat log density: draws (chain, draw, dim), gradients with warmup's, divergences."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

import mcmc

CHAINS = 4


@dataclass
class Run:
    """Draws (chain, draw, dim), gradients of all chains and of warmup, divergences, whether the verdict is ok."""

    draws: np.ndarray
    gradients: int
    divergences: int | None
    ok: bool
    geometry: str = ""


def ours(problem, seed, size, geometry):
    """`mcmc.sample(target)` as it is; `size` 1 is its default."""
    target = mcmc.Target(lambda p: problem.log_density(p["x"]), {"x": mcmc.real(problem.dim)})
    asked = {} if size == 1 else {"draws": int(320 * size), "warmup": int(200 * size)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = mcmc.sample(target, seed=seed, geometry=geometry, save_warmup=True, progress=False, **asked)
    stats = [tree[group]["n_steps"].values for group in ("sample_stats", "warmup_sample_stats")]
    return Run(
        tree["posterior"]["x"].values,
        int(sum(s.sum(dtype=np.int64) for s in stats)),
        int(tree["sample_stats"]["diverging"].sum()),
        mcmc.diagnose(tree).ok,
        tree.attrs["geometry"],
    )


def numpyro_nuts(problem, seed, size, target_acceptance=0.8):
    """NUTS with a diagonal metric, 4 chains of 1000 draws after 1000."""
    from numpyro.infer import MCMC, NUTS

    n = int(1000 * size)
    with jax.enable_x64(True):
        kernel = NUTS(potential_fn=lambda q: -problem.log_density(q), target_accept_prob=target_acceptance)
        run = MCMC(
            kernel, num_warmup=min(n, 1000), num_samples=n, num_chains=CHAINS,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        run.warmup(
            jax.random.PRNGKey(seed), init_params=starts(problem, seed),
            collect_warmup=True, extra_fields=("num_steps",),
        )  # fmt: skip
        warm = int(np.sum(run.get_extra_fields()["num_steps"]))
        run.run(run.post_warmup_state.rng_key, extra_fields=("num_steps", "diverging"))
        extra = run.get_extra_fields(group_by_chain=True)
        draws = np.asarray(run.get_samples(group_by_chain=True))
    return judged(draws, warm + int(np.sum(extra["num_steps"])), np.asarray(extra["diverging"]))


def blackjax_nuts(problem, seed, size):
    """NUTS after window adaptation, 4 chains of 1000 draws after 1000."""
    import blackjax

    n = int(1000 * size)
    with jax.enable_x64(True):
        tuning = blackjax.window_adaptation(
            blackjax.nuts, problem.log_density,
            adaptation_info_fn=lambda state, info, adaptation: info.num_integration_steps,
        )  # fmt: skip

        @jax.jit
        def one(key, start):
            first, second = jax.random.split(key)
            (state, tuned), warm = tuning.run(first, start, num_steps=n)
            step = blackjax.nuts(problem.log_density, tuned["step_size"], tuned["inverse_mass_matrix"]).step

            def body(state, key):
                state, info = step(key, state)
                return state, (state.position, info.num_integration_steps, info.is_divergent)

            return jnp.sum(warm), jax.lax.scan(body, state, jax.random.split(second, n))[1]

        keys = jax.random.split(jax.random.key(seed), CHAINS)
        made = [jax.device_get(one(key, start)) for key, start in zip(keys, starts(problem, seed), strict=True)]
    draws, steps, diverging = (np.stack([kept[i] for _, kept in made]) for i in range(3))
    return judged(draws, int(steps.sum() + sum(warm for warm, _ in made)), diverging)


def nutpie_low_rank(problem, seed, size):
    """nutpie's NUTS with a low-rank metric, 4 chains of 1000 draws after 1000."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    n, evaluate = int(1000 * size), value_and_gradient(problem)

    def logp():
        return lambda x: evaluate(x)

    def expand(seed1, seed2, chain):
        return lambda x: {"x": x}

    model = from_pyfunc(problem.dim, logp, expand, [np.dtype(np.float64)], [(problem.dim,)], ["x"])
    tree = nutpie.sample(
        model, draws=n, tune=n, chains=CHAINS, cores=1, seed=seed, progress_bar=False, adaptation="low_rank"
    )
    steps = [tree[group]["n_steps"].values.sum() for group in ("sample_stats", "warmup_sample_stats")]
    return judged(tree["posterior"]["x"].values, int(sum(steps)), tree["sample_stats"]["diverging"].values)


def walnutpie(problem, seed, size):
    """walnutpie's adaptive WALNUTS, 4 chains of 1000 draws after at most 1000."""
    import walnutpie

    n, evaluate, calls = int(1000 * size), value_and_gradient(problem), itertools.count()

    def logp(x):
        next(calls)
        return evaluate(x)

    with jax.enable_x64(True):
        first = np.asarray(starts(problem, seed))
    made = walnutpie.walnuts_pyfunc(
        logp, inits=first, num_chains=CHAINS, seed=seed,
        min_warmup_iter=min(50, n), max_warmup_iter=n, min_sampling_iter=n, max_sampling_iter=n,
    )  # fmt: skip
    draws = np.stack([np.asarray(chain) for chain in made])
    return judged(draws, next(calls), None)


def value_and_gradient(problem):
    """The log density and its gradient as a Python function of a NumPy position."""
    with jax.enable_x64(True):
        compiled = jax.jit(jax.value_and_grad(problem.log_density)).lower(jnp.zeros(problem.dim)).compile()

    def evaluate(x):
        with jax.enable_x64(True):  # of this thread
            value, gradient = compiled(np.array(x, np.float64))
            return float(value), np.asarray(gradient)

    return evaluate


def starts(problem, seed):
    """Where the chains of the others start, as ours do: uniform in (-2, 2)."""
    return jnp.asarray(np.random.default_rng([seed, 7]).uniform(-2, 2, (CHAINS, problem.dim)))


def judged(draws, gradients, diverging):
    """A run of another tool under the same verdict."""
    groups = {"posterior": xarray.Dataset({"x": (("chain", "draw", "i"), draws)})}
    if diverging is not None:
        groups["sample_stats"] = xarray.Dataset({"diverging": (("chain", "draw"), diverging)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ok = mcmc.diagnose(groups).ok
    return Run(draws, gradients, None if diverging is None else int(diverging.sum()), ok)


TOOLS: dict[str, tuple[str, Any]] = {
    "mcmc, auto": ("mcmc", lambda *a: ours(*a, geometry="auto")),
    "mcmc, affine": ("mcmc", lambda *a: ours(*a, geometry="affine")),
    "numpyro: NUTS": ("numpyro", numpyro_nuts),
    "blackjax: NUTS": ("blackjax", blackjax_nuts),
    "nutpie: NUTS, low rank": ("nutpie", nutpie_low_rank),
    "walnutpie: WALNUTS": ("walnutpie", walnutpie),
}
