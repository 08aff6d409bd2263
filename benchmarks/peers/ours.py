"""mcmc as the README shows it: `mcmc.sample(target)`, or with another kernel.

The seconds are the run's own `warmup_time` and `sampling_time`; `call` is the whole of `mcmc.sample`, which also
traces, finds starts, makes the tree and diagnoses.
"""

import time
import warnings

import numpy as np
import problems
from child import Run, check_device, main

FEW_CHAINS = 256  # up to which warmup is recorded, in a run that is not timed, to count its gradients


def build(problem, options):
    import jax
    import jax.numpy as jnp

    import mcmc

    check_device(jax, options.device)
    warnings.simplefilter("ignore", mcmc.ConvergenceWarning)  # the verdict goes into the note
    target = make_target(problem, jnp, mcmc)
    asked = {"kernel": kernel_of(mcmc, options.kernel), "dtype": options.dtype, "progress": False}
    asked |= {name: getattr(options, name) for name in ("chains", "draws", "warmup") if getattr(options, name)}

    def run(seed):
        init = {}
        if problem == "line":  # where every tool starts; elsewhere the default starts are the others'
            init = {"init": {"x": problems.starts(problem, options.chains or 64, seed)}}
        start = time.perf_counter()
        tree = mcmc.sample(target, seed=seed, **asked, **init)
        call = time.perf_counter() - start
        draws = tree["posterior"]["x"].values
        facts = (draws, tree.attrs["warmup_time"], tree.attrs["sampling_time"])
        if options.once:
            return Run(*facts, None, None, None)
        stats, warm = tree["sample_stats"], None
        if draws.shape[0] <= FEW_CHAINS:
            again = mcmc.sample(target, seed=seed, save_warmup=True, **asked, **init)
            warm = total(again["warmup_sample_stats"], "n_steps")
        verdict = "verdict ok" if mcmc.diagnose(tree).ok else "verdict not ok"
        note = f"{tree.attrs['kernel'].split('(')[0]}, {verdict}"
        return Run(*facts, total(stats, "n_steps"), warm, total(stats, "diverging"), call, note)

    return run


def make_target(problem, jnp, mcmc):
    """The flat position as one parameter, `x`."""
    f, data = problems.log_density(problem, jnp), problems.data(problem)
    parameters = {"x": mcmc.real(problems.DIM[problem])}
    if data is None:
        return mcmc.Target(lambda p: f(p["x"], None), parameters)
    return mcmc.Target(lambda p, data: f(p["x"], data), parameters, data=data)


def kernel_of(mcmc, text):
    """`"NUTS"` or `"HMC:target_acceptance=0.8,length=2"`; an empty text is the default, None."""
    if not text:
        return None
    name, _, fields = text.partition(":")
    return getattr(mcmc, name)(**{k: float(v) for k, v in (part.split("=") for part in fields.split(",") if part)})


def total(stats, name):
    """The sum of a statistic over all draws of all chains, or None where there is none."""
    return int(np.sum(stats[name].values, dtype=np.int64)) if name in stats else None


if __name__ == "__main__":
    main(build, chains=None, draws=None, warmup=None, kernel="")
