"""Where a run can't be made: inside a transformation of JAX, without compilation, in a forked process."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from mcmc.errors import SamplingError, WrongType, got

_used_by: list[int] = []  # the process in which JAX was first used by a run


def check_surroundings(*given: Any) -> None:
    """Raise where JAX could not run, or would hang; `given` are values from outside: a seed, data."""
    traced = isinstance(jax.device_put(np.float32(0)), Tracer) if not _forked() else False
    if traced or any(isinstance(x, Tracer) for x in jax.tree.leaves(given)):
        refuse_traced()
    if jax.config.jax_disable_jit:
        remedy = "Leave jax.disable_jit for this call; to look into a log density, call it: log_density(p)."
        raise RuntimeError(got("jax_disable_jit", True, "False, for a run is one compiled program", remedy))
    check_process()


def check_process() -> None:
    """Raise SamplingError in a process that was forked from one in which JAX had run; note where it runs."""
    if _forked():
        remedy = (
            'Start workers with multiprocessing.get_context("spawn") (ProcessPoolExecutor(mp_context=...)), or before '
            "the first run; better still, run more chains in one call."
        )
        shown = "a process forked from one that has sampled"
        raise SamplingError(got("process", shown, "a process of its own: JAX hangs after a fork", remedy))
    if not _used_by:
        _used_by.append(os.getpid())


def refuse_traced() -> None:
    """Raise TypeError: a run is asked for inside a transformation."""
    remedy = (
        "Call it outside. Many data sets or seeds: chains= more chains, mcmc.sbc, or a Python loop (target.with_data "
        "compiles once)."
    )
    expected = "a call outside of them: a run compiles its own program"
    raise WrongType("sample", "a call inside jax.jit, vmap, grad or scan", expected, remedy)


def _forked() -> bool:
    return bool(_used_by) and _used_by[0] != os.getpid()
