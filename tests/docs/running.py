"""Pages of the documentation, run at small size."""

import functools
import importlib.util
import warnings
from pathlib import Path

import mcmc

DOCS = Path(__file__).parents[2] / "docs"
SMALL = {"chains": 32, "warmup": 120, "draws": 100}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load(DOCS / "pages.py")
SAMPLE, EVIDENCE = mcmc.sample, mcmc.evidence


def small_sample(target, kernel=None, **settings):
    """`mcmc.sample` with few chains and draws, where the page does not say how many; a verdict is no matter."""
    settings.pop("until", None)
    if not isinstance(kernel, mcmc.SMC):
        settings = SMALL | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return SAMPLE(target, kernel, **{**settings, "progress": False})


@functools.cache
def program(name, *replacements):
    """The names that a page defines, run with smaller runs and other texts in its code (pairs old, new)."""
    page = DOCS / name
    code = pages.blocks(page)
    for old, new in replacements:
        assert any(old in block for block in code), f"{name} has no {old}"
        code = [block.replace(old, new) for block in code]
    before = pages.blocks
    mcmc.sample, mcmc.evidence = small_sample, functools.partial(EVIDENCE, chains=128, steps=12, progress=False)
    pages.blocks = lambda _: code
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
            return pages.run(page)
    finally:
        mcmc.sample, mcmc.evidence, pages.blocks = SAMPLE, EVIDENCE, before


def flat(draws, name):
    x = draws.posterior[name].values
    return x.reshape(-1, *x.shape[2:])


def same_mean(draws, name, mean, sd, errors=5.0):
    """The mean and sd of a scalar parameter within Monte Carlo errors of an answer found in another way."""
    x = draws.posterior[name].values.astype(float)
    assert mcmc.mcse(x) < 0.2 * sd, "the run says nothing"
    assert abs(x.mean() - mean) < errors * mcmc.mcse(x), (name, x.mean(), mean)
    assert abs(x.std() - sd) < errors * mcmc.mcse(x, method="sd"), (name, x.std(), sd)
