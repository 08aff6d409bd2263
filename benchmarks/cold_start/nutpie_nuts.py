"""Eight schools with nutpie: a PyMC model compiled by Numba, 4 chains, judged by ArviZ."""

from schools import SIGMA, Clock, Y, finish, settings

options = settings(chains=4, warmup=1000, draws=1000)
clock = Clock()

import numpy as np  # noqa: E402
import nutpie  # noqa: E402
import pymc as pm  # noqa: E402
from arviz_stats.base import array_stats  # noqa: E402

clock.lap("import")

with pm.Model() as model:
    mu = pm.Normal("mu", 0, 5)
    tau = pm.HalfCauchy("tau", 5)
    theta_trans = pm.Normal("theta_trans", 0, 1, shape=8)
    pm.Normal("y", mu + tau * theta_trans, np.array(SIGMA), observed=np.array(Y))
compiled = nutpie.compile_pymc_model(model)
clock.lap("compile")

trace = nutpie.sample(
    compiled,
    draws=options.draws,
    tune=options.warmup,
    chains=options.chains,
    seed=options.seed,
    progress_bar=False,
)
posterior = trace.posterior
mu, tau = posterior["mu"].values, posterior["tau"].values
draws = np.concatenate([mu[..., None], np.log(tau)[..., None], posterior["theta_trans"].values], -1)
clock.lap("warmup, sampling")

smallest = np.min(array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk"))
clock.lap("summary")

finish("nutpie", clock, [mu.mean(), tau.mean()], [mu.std(), tau.std()], smallest, lambda: draws, options)
