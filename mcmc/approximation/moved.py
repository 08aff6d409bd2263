"""Whether short chains that start at an approximation's draws move away from them: what weights can't see."""

from __future__ import annotations

import warnings
from statistics import NormalDist

import numpy as np

from mcmc.errors import ConvergenceWarning
from mcmc.kernels.hmc import HMC
from mcmc.sampling.run import sampled
from mcmc.settings import Request
from mcmc.target.prior import Joint
from mcmc.target.target import Target

WARMUP, DRAWS, LEVEL = 60, 60, 1e-3


def moved_away(target: Target, positions: np.ndarray, words: np.ndarray) -> str:
    """What the chains that begin at positions (chain, dim) moved to, further than chance does; nothing where they stay.

    Means, and mean squares about the starts' mean, of the positions at the start and over the second half of a short
    run of HMC: under the density both come from the same law.
    """
    values = target.values_at(positions)
    plain = target._copy(derived=None, predictive=None)
    if not isinstance(target.log_density, Joint):
        plain = plain._copy(log_likelihood=None, log_prior=None)
    init = target.nest([values[name] for name in target.names])
    asked = Request(plain, HMC(), init=init, seed=words, warmup=WARMUP, draws=DRAWS, superchains=0, geometry="affine")  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tree = sampled(asked)
    names, starts, ends = [], [], []
    for name in target.names:
        after = np.asarray(tree["posterior"][name], float)[:, DRAWS // 2 :]
        flat = values[name].astype(float).reshape(len(positions), -1)
        names += [name if flat.shape[1] == 1 else f"{name}[{i}]" for i in range(flat.shape[1])]
        starts.append(flat)
        ends.append(after.reshape(*after.shape[:2], -1))
    return _difference(names, np.concatenate(starts, 1), np.concatenate(ends, 2))


def _difference(names: list[str], before: np.ndarray, after: np.ndarray) -> str:
    """The largest shift of a mean or a spread, in words; of starts (chain, k) and draws (chain, draw, k)."""
    centre, chains = before.mean(0), len(before)
    largest = NormalDist().inv_cdf(1 - LEVEL / (4 * len(names)))
    for what, at, to in (
        ("mean", before, after.mean(1)),
        ("spread", np.abs(before - centre), np.abs(after - centre).mean(1)),
    ):
        spread = np.sqrt((at.var(0, ddof=1) + to.var(0, ddof=1)) / chains)
        z = np.abs(to.mean(0) - at.mean(0)) / np.where(spread > 0, spread, np.inf)
        if z.max() > largest:
            i = int(z.argmax())
            moved = (to.mean(0) - at.mean(0))[i] / max(before.std(0)[i], 1e-300)
            return (
                f"chains that start at the draws move away: the {what} of {names[i]} by {moved:.2g} sd, "
                f"{z[i]:.1f} errors"
            )
    return ""
