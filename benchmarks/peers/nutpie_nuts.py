"""nutpie: NUTS on a PyMC model compiled by Numba, 4 chains, diagonal or low-rank metric; always float64.

It warms up and samples in one call, whose seconds are shared out by gradients. Its starts are jittered by one
around a point, except for the line, where that puts chains outside the prior or into another basin.
"""

import time

import numpy as np
import problems
from child import Run, main


def build(problem, options):
    import nutpie

    still = {"jitter_rvs": set()} if problem == "line" else {}
    compiled = nutpie.compile_pymc_model(pymc_model(problem), **still)

    def run(seed):
        began = time.perf_counter()
        trace = nutpie.sample(
            compiled,
            draws=options.draws,
            tune=options.warmup,
            chains=options.chains,
            seed=seed,
            progress_bar=False,
            adaptation=options.adaptation,
        )
        draws = np.asarray(trace["posterior"]["x"].values)
        seconds = time.perf_counter() - began
        steps = int(np.sum(trace["sample_stats"]["n_steps"].values))
        warm = int(np.sum(trace["warmup_sample_stats"]["n_steps"].values))
        diverging = int(np.sum(trace["sample_stats"]["diverging"].values))
        share = steps / (steps + warm)
        parts = seconds * (1 - share), seconds * share
        return Run(draws, *parts, steps, warm, diverging, note="seconds shared out by gradients")

    return run


def pymc_model(problem):
    """The flat position as one parameter, `x`, its log density as a potential."""
    import pymc

    with pymc.Model() as model:
        start = problems.starts(problem, 1, 0)[0]
        x = pymc.Flat("x", shape=problems.DIM[problem], initval=start)
        pymc.Potential("lp", log_density(problem, x))
    return model


def log_density(problem, x):
    """`problems.log_density` in PyTensor."""
    import pytensor.tensor as pt

    data = problems.data(problem)
    if problem == "schools":
        tau, z = pt.exp(x[1]), x[2:]
        prior = -0.5 * (x[0] / 5) ** 2 - pt.log1p((tau / 5) ** 2) + x[1] - 0.5 * (z**2).sum()
        return prior - 0.5 * (((data["y"] - x[0] - tau * z) / data["sigma"]) ** 2).sum()
    if problem == "logistic":
        logits = pt.dot(data["x"], x)
        return (data["y"] * logits - pt.softplus(logits)).sum() - 0.5 * (x**2).sum()
    if problem == "normal":
        return -0.5 * (pt.dot(data["precision"], x) * x).sum()
    if problem == "rosenbrock":
        a, b = x[0::2], x[1::2]
        return -0.5 * ((a - 1) ** 2).sum() - 0.5 * (((b - a**2) / problems.ROSENBROCK_SCALE) ** 2).sum()
    if problem == "funnel":
        v, z = x[0], x[1:]
        width = -0.5 * (problems.DIM["funnel"] - 1) * v
        return -0.5 * (v / problems.FUNNEL_SCALE) ** 2 + width - 0.5 * (z**2).sum() * pt.exp(-v)
    model = x[0] * data["x"] + x[1]
    variance = data["error"] ** 2 + model**2 * pt.exp(2 * x[2])
    lp = -0.5 * ((data["y"] - model) ** 2 / variance + pt.log(variance)).sum()
    inside = pt.all(x > np.array(problems.LINE_LOW)) & pt.all(x < np.array(problems.LINE_HIGH))
    return pt.switch(inside, lp, -np.inf)


if __name__ == "__main__":
    main(build, chains=4, warmup=1000, draws=1000, adaptation="diag")
