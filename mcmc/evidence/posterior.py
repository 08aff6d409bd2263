"""The posterior by sequential Monte Carlo, as `sample` gives it: `mcmc.sample(target, mcmc.SMC())`."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.verdict import diagnose
from mcmc.errors import ConvergenceWarning, WrongValue, warn
from mcmc.evidence.evidence import ISLANDS, evidence
from mcmc.kernels.smc import SMC
from mcmc.settings import Request, check_count

if TYPE_CHECKING:
    import xarray

TAKEN = "target", "kernel", "draws", "seed"


def sample_by_smc(asked: Request, dtype: Any, progress: Any) -> xarray.DataTree:
    """The particles of a passage from prior to posterior, an island a chain, with a verdict.

    Raises:
        ValueError: an argument that particles have no use for, more draws than there are particles.
    """
    kernel = asked.kernel
    assert isinstance(kernel, SMC)
    for field in dataclasses.fields(Request):
        value = getattr(asked, field.name)
        if field.name not in TAKEN and value is not field.default and value != field.default:
            remedy = "Leave it out; SMC(particles=, steps=) say how many there are."
            raise WrongValue(field.name, value, "nothing, with kernel=mcmc.SMC()", remedy)
    check_count("particles", kernel.particles, 4 * ISLANDS)
    if kernel.particles % ISLANDS:
        raise WrongValue("particles", kernel.particles, f"a multiple of {ISLANDS}, the islands", "Use particles=512.")
    settings = {"kernel": kernel.kernel, "chains": kernel.particles, "steps": kernel.steps, "path": kernel.path}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = evidence(asked.target, **settings, seed=asked.seed, dtype=dtype, progress=bool(progress))  # type: ignore[arg-type]
    tree = found.draws
    if asked.draws is not None:
        there = tree["posterior"].sizes["draw"]
        check_count("draws", asked.draws, 1)
        if asked.draws > there:
            raise WrongValue("draws", asked.draws, f"at most {there} an island", "Use more particles or steps.")
        kept = np.linspace(0, there - 1, asked.draws).astype(int)
        tree = tree.map_over_datasets(lambda d: d.isel(draw=kept) if "draw" in d.dims else d)
        tree.attrs = found.draws.attrs
    diagnosis = diagnose(tree)
    for reason in (*found.reasons, *(() if diagnosis.ok else (str(diagnosis),))):
        warn(reason)
    return tree
