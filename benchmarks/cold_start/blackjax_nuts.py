"""Eight schools with BlackJAX: NUTS after window adaptation, 4 chains under vmap, as documented."""

from schools import SIGMA, Clock, Y, finish, log_density, settings

options = settings(chains=4, warmup=1000, draws=1000)
clock = Clock()

import blackjax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

clock.lap("import")

density = log_density(jnp, jnp.asarray(Y), jnp.asarray(SIGMA))
start = jnp.asarray(np.random.default_rng(options.seed).uniform(-2, 2, (options.chains, 10)))
tuning = blackjax.window_adaptation(
    blackjax.nuts,
    density,
    adaptation_info_fn=lambda state, info, adaptation: None,
)


@jax.jit
def run(keys, start):
    def one(key, start):
        warm, cold = jax.random.split(key)
        (state, tuned), _ = tuning.run(warm, start, num_steps=options.warmup)
        step = blackjax.nuts(density, **tuned).step

        def body(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(body, state, jax.random.split(cold, options.draws))[1]

    return jax.vmap(one)(keys, start)


draws = np.asarray(run(jax.random.split(jax.random.key(options.seed), options.chains), start))
clock.lap("compile, warmup, sampling")

smallest = float(np.min(jax.jit(blackjax.ess)(draws)))
mu, tau = draws[..., 0], np.exp(draws[..., 1])
clock.lap("summary")

finish("blackjax", clock, [mu.mean(), tau.mean()], [mu.std(), tau.std()], smallest, lambda: draws, options)
