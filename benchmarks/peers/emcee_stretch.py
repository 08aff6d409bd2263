"""emcee: the stretch move with a vectorised log density in NumPy; counts are evaluations of the log density."""

import time

import numpy as np
import problems
from child import Run, main


def build(problem, options):
    import emcee

    dim, data = problems.DIM[problem], problems.data(problem)
    f = problems.log_density(problem, np)
    walkers = max(options.chains, 256) if dim > 32 else options.chains  # at least twice the dimension

    def density(q):
        return np.nan_to_num(f(q, data), nan=-np.inf)

    def run(seed):
        np.random.seed(seed)  # noqa: NPY002  (what emcee draws from)
        sampler = emcee.EnsembleSampler(walkers, dim, density, vectorize=True)
        began = time.perf_counter()
        state = sampler.run_mcmc(problems.starts(problem, walkers, seed), options.warmup)
        sampler.reset()
        between = time.perf_counter()
        sampler.run_mcmc(state, options.draws)
        draws = sampler.get_chain().swapaxes(0, 1)
        ended = time.perf_counter()
        counts = options.draws * walkers, options.warmup * walkers
        note = f"acceptance {sampler.acceptance_fraction.mean():.2f}; counts log densities"
        return Run(draws, between - began, ended - between, *counts, None, note=note)

    return run


if __name__ == "__main__":
    main(build, chains=64, warmup=2000, draws=5000)
