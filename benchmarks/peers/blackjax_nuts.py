"""BlackJAX: NUTS after window adaptation, 4 chains under vmap, as its documentation shows."""

import numpy as np
import problems
from child import Run, jax_problem, main, timed


def build(problem, options):
    jax, jnp, f = jax_problem(problem, options)
    import blackjax

    chains = options.chains
    tuning = blackjax.window_adaptation(
        blackjax.nuts, f, adaptation_info_fn=lambda state, info, adaptation: info.num_integration_steps
    )

    @jax.jit
    def warmup(keys, starts):
        def one(key, start):
            (state, tuned), steps = tuning.run(key, start, num_steps=options.warmup)
            return state, (tuned["step_size"], tuned["inverse_mass_matrix"]), steps

        return jax.vmap(one)(keys, starts)

    @jax.jit
    def sampling(keys, states, tuned):
        def one(key, state, tuned):
            step = blackjax.nuts(f, *tuned).step

            def body(state, key):
                state, info = step(key, state)
                return state, (state.position, info.num_integration_steps, info.is_divergent)

            return jax.lax.scan(body, state, jax.random.split(key, options.draws))[1]

        return jax.vmap(one)(keys, states, tuned)

    def run(seed):
        warm, cold = jax.random.split(jax.random.key(seed))
        starts = jnp.asarray(problems.starts(problem, chains, seed))
        (states, tuned, warm_steps), warm_seconds = timed(jax, warmup, jax.random.split(warm, chains), starts)
        made, seconds = timed(jax, sampling, jax.random.split(cold, chains), states, tuned)
        draws, steps, diverging = map(np.asarray, made)
        return Run(draws, warm_seconds, seconds, int(steps.sum()), int(np.sum(warm_steps)), int(diverging.sum()))

    return run


if __name__ == "__main__":
    main(build, chains=4, warmup=1000, draws=1000)
