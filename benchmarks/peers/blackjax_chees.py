"""BlackJAX: ChEES HMC with its ensemble-estimated diagonal metric, whitened criterion and length floor."""

from typing import NamedTuple

import numpy as np
import problems
from child import Run, jax_problem, main, timed

STEP_SIZE, LEARNING_RATE = 0.1, 0.025


class Steps(NamedTuple):
    """What is kept of an iteration of warmup."""

    count: object


def build(problem, options):
    jax, jnp, f = jax_problem(problem, options)
    import blackjax
    import optax

    chains = options.chains
    tuning = blackjax.chees_adaptation(
        f,
        chains,
        adaptation_info_fn=lambda state, info, adaptation: Steps(info.num_integration_steps),
        mass_matrix_estimation="diagonal",
    )
    functions = {}  # what the adaptation returns beside arrays, kept from the trace of warmup for that of sampling

    @jax.jit
    def warmup(key, starts):
        optimiser = optax.adam(LEARNING_RATE)
        sizes = {"num_steps": options.warmup, "max_sampling_steps": options.draws}
        (states, tuned), info = tuning.run(key, starts, STEP_SIZE, optimiser, **sizes)
        functions.update({name: tuned.pop(name) for name in list(tuned) if callable(tuned[name])})
        return states, tuned, info.count

    @jax.jit
    def sampling(key, states, tuned):
        step = jax.vmap(blackjax.dynamic_hmc(f, **functions, **tuned).step)

        def body(states, key):
            states, info = step(jax.random.split(key, chains), states)
            return states, (states.position, info.num_integration_steps, info.is_divergent)

        return jax.lax.scan(body, states, jax.random.split(key, options.draws))[1]

    def run(seed):
        warm, cold = jax.random.split(jax.random.key(seed))
        starts = jnp.asarray(problems.starts(problem, chains, seed))
        (states, tuned, warm_steps), warm_seconds = timed(jax, warmup, warm, starts)
        made, seconds = timed(jax, sampling, cold, states, tuned)
        draws, steps, diverging = map(np.asarray, made)
        gradients = int(steps.sum(dtype=np.int64)), int(np.sum(warm_steps, dtype=np.int64))
        note = f"step {float(tuned['step_size']):.2g}"
        return Run(draws.swapaxes(0, 1), warm_seconds, seconds, *gradients, int(diverging.sum()), note=note)

    return run


if __name__ == "__main__":
    main(build, chains=64, warmup=500, draws=500)
