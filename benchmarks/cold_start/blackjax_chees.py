"""Eight schools with BlackJAX: ChEES HMC on 64 chains with a diagonal metric, its quickest here."""

from schools import SIGMA, Clock, Y, finish, log_density, settings

options = settings(chains=64, warmup=500, draws=300)
clock = Clock()

import blackjax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

clock.lap("import")

density = log_density(jnp, jnp.asarray(Y), jnp.asarray(SIGMA))
start = jnp.asarray(np.random.default_rng(options.seed).uniform(-2, 2, (options.chains, 10)))
tuning = blackjax.chees_adaptation(
    density,
    options.chains,
    adaptation_info_fn=lambda state, info, adaptation: None,
    mass_matrix_estimation="diagonal",
)


@jax.jit
def run(key, start):
    warm, cold = jax.random.split(key)
    (state, tuned), _ = tuning.run(warm, start, 0.1, optax.adam(0.025), num_steps=options.warmup)
    step = jax.vmap(blackjax.dynamic_hmc(density, **tuned).step)

    def body(state, key):
        state, _ = step(jax.random.split(key, options.chains), state)
        return state, state.position

    return jax.lax.scan(body, state, jax.random.split(cold, options.draws))[1]


draws = np.asarray(run(jax.random.key(options.seed), start)).swapaxes(0, 1)
clock.lap("compile, warmup, sampling")

smallest = float(np.min(jax.jit(blackjax.ess)(draws)))
mu, tau = draws[..., 0], np.exp(draws[..., 1])
clock.lap("summary")

finish("blackjax", clock, [mu.mean(), tau.mean()], [mu.std(), tau.std()], smallest, lambda: draws, options)
