"""NumPyro: NUTS, 4 chains in parallel on 4 host devices, or many chains vectorised.

The log density is given as `potential_fn`, which spares it tracing a model: its fast form. Every `MCMC.run` compiles
anew (0.22), so what JAX reports as tracing and compiling is taken off its seconds.
"""

import time

import numpy as np
import problems
from child import CompileClock, Run, host_devices, jax_problem, main

FEW_CHAINS = 64  # up to which warmup is collected, to count its gradients


def build(problem, options):
    parallel = options.chains <= 4 and options.device == "cpu"
    if parallel:
        host_devices(options.chains)
    jax, jnp, f = jax_problem(problem, options)
    from numpyro.infer import MCMC, NUTS

    clock = CompileClock(jax)
    mcmc = MCMC(
        NUTS(potential_fn=lambda q: -f(q)),
        num_warmup=options.warmup,
        num_samples=options.draws,
        num_chains=options.chains,
        chain_method="parallel" if parallel else "vectorized",
        progress_bar=False,
    )

    def run(seed):
        key = jax.random.PRNGKey(seed)
        starts = jnp.asarray(problems.starts(problem, options.chains, seed))
        if options.once:
            mcmc.run(key, init_params=starts)
            return Run(np.asarray(mcmc.get_samples(group_by_chain=True)), 0, 0, None, None, None)
        kept = {"collect_warmup": True, "extra_fields": ("num_steps",)} if options.chains <= FEW_CHAINS else {}
        began = time.perf_counter()
        mcmc.warmup(key, init_params=starts, **kept)
        jax.block_until_ready(mcmc.post_warmup_state)
        warm = int(np.sum(mcmc.get_extra_fields()["num_steps"])) if kept else None
        between = time.perf_counter()
        mcmc.run(mcmc.post_warmup_state.rng_key, extra_fields=("num_steps", "diverging"))
        draws = np.asarray(mcmc.get_samples(group_by_chain=True))
        ended = time.perf_counter()
        extra = mcmc.get_extra_fields()
        compiling = clock.between(began, between), clock.between(between, ended)
        return Run(
            draws,
            between - began - compiling[0],
            ended - between - compiling[1],
            int(np.sum(extra["num_steps"])),
            warm,
            int(np.sum(extra["diverging"])),
            note=f"compiles in every run, {sum(compiling):.1f} s taken off",
        )

    return run


if __name__ == "__main__":
    main(build, chains=4, warmup=1000, draws=1000)
