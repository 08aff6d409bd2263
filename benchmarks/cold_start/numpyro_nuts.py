"""Eight schools with NumPyro: NUTS, 4 chains in parallel on 4 host devices, no progress bar.

The log density is given as `potential_fn`, which spares it tracing a model: its fast form.
"""

from schools import SIGMA, Clock, Y, finish, log_density, settings

options = settings(chains=4, warmup=1000, draws=1000)
clock = Clock()

import numpyro  # noqa: E402

numpyro.set_host_device_count(options.chains)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from numpyro.diagnostics import summary  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402

clock.lap("import")

density = log_density(jnp, jnp.asarray(Y), jnp.asarray(SIGMA))
start = np.random.default_rng(options.seed).uniform(-2, 2, (options.chains, 10))
mcmc = MCMC(
    NUTS(potential_fn=lambda q: -density(q)),
    num_warmup=options.warmup,
    num_samples=options.draws,
    num_chains=options.chains,
    chain_method="parallel",
    progress_bar=False,
)
mcmc.run(jax.random.PRNGKey(options.seed), init_params=jnp.asarray(start))
draws = np.asarray(mcmc.get_samples(group_by_chain=True))
clock.lap("compile, warmup, sampling")

smallest = min(summary({"q": draws})["q"]["n_eff"])
mu, tau = draws[..., 0], np.exp(draws[..., 1])
clock.lap("summary")

finish("numpyro", clock, [mu.mean(), tau.mean()], [mu.std(), tau.std()], smallest, lambda: draws, options)
