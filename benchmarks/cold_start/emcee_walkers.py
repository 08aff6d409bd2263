"""Eight schools with emcee: 64 walkers, a vectorised log density, stretch or differential-evolution moves."""

from schools import SIGMA, Clock, Y, finish, log_density, settings

options = settings(walkers=64, warmup=500, draws=3500, moves="stretch")
clock = Clock()

import emcee  # noqa: E402
import numpy as np  # noqa: E402

clock.lap("import")

density = log_density(np, np.array(Y), np.array(SIGMA))
moves = {
    "stretch": None,
    "de": [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],  # as its documentation suggests
}[options.moves]
np.random.seed(options.seed)  # noqa: NPY002  (what emcee draws from)
start = np.random.default_rng(options.seed).uniform(-2, 2, (options.walkers, 10))
sampler = emcee.EnsembleSampler(options.walkers, 10, density, vectorize=True, moves=moves)
state = sampler.run_mcmc(start, options.warmup)
sampler.reset()
clock.lap("warmup")
sampler.run_mcmc(state, options.draws)
draws = sampler.get_chain()
clock.lap("sampling")

smallest = options.walkers * options.draws / np.max(sampler.get_autocorr_time(quiet=True))
mu, tau = draws[..., 0], np.exp(draws[..., 1])
clock.lap("summary")

finish(
    "emcee",
    clock,
    [mu.mean(), tau.mean()],
    [mu.std(), tau.std()],
    smallest,
    lambda: draws.swapaxes(0, 1),
    options,
)
