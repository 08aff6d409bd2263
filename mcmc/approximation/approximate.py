"""Quick answers with a verdict: the mode, Laplace's approximation or Pathfinder: `approximate(target)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jax.typing import DTypeLike

from mcmc.approximation.density import Density
from mcmc.approximation.moved import moved_away
from mcmc.approximation.normals import Mixture, along_paths, at_mode, mode
from mcmc.approximation.weights import GOOD_K, Weights, smoothed
from mcmc.engine.surroundings import check_surroundings
from mcmc.errors import WrongType, WrongValue, warn, with_address
from mcmc.random import keys
from mcmc.settings import check_count, precision_of
from mcmc.storage import datatree
from mcmc.target.predict import add_predictions
from mcmc.target.target import Target
from mcmc.version import __version__
from mcmc.warmup.starts import find_starts

if TYPE_CHECKING:
    import xarray

PATHS, PROPOSALS, CHECKED = 16, 4, 256
"""Paths; weighted draws for each that is kept; draws from which chains start."""

type Method = Literal["map", "laplace", "pathfinder"]


def approximate(
    target: Target,
    method: Method = "pathfinder",
    *,
    chains: int = 64,
    draws: int = 16,
    seed: int | jax.Array = 0,
    dtype: DTypeLike | None = None,
) -> xarray.DataTree:
    r"""An answer in seconds, with a verdict on whether it is good enough to report, and a start for `sample`.

    Draws of a normal law q in unconstrained space are weighed, and drawn again by their weights:

    .. math:: w_i = \pi(y_i) / q(y_i), \quad y_i \sim q

    The Pareto k of the weights says whether that corrects q: from 0.7 on it does not, and the draws are not good
    enough to report. Weights see nothing where q has no draws: 256 draws are the starts of short chains, and where
    these move away, further than chance does, the draws are not good enough either. A quarter of q is twice as wide,
    to find mass that it would leave out.

    `pathfinder`: q is the mixture of the best normal laws along 16 paths of L-BFGS, by their mean of log π − log q.
    `laplace`: q has the mode of the unconstrained density, Jacobian included, and the curvature there. `map`: the mode
    of the log density as it is written, one point and no posterior.

    Args:
        target: a `Target` with a gradient and continuous parameters.
        method: `"pathfinder"`, `"laplace"` or `"map"`.
        chains: independent draws come back in so many chains, so that `mcmc.sample(target, init=...)` takes them.
        draws: for each.
        seed: an int or a JAX key.
        dtype: as in `sample`.

    Returns:
        A DataTree by ArviZ's schema: `posterior`, `sample_stats`, what the target predicts, and `approximation`: the
        weighted draws' `log_weight`, `lp`, `log_q`, and the attributes `method`, `pareto_k`, `ess`, `good`, `verdict`.
        `mcmc.diagnose` reads them as its check `approximation`.

    Raises:
        ValueError, TypeError: another method, discrete parameters, a black box, counts out of range.
        InitializationError: no finite start. SamplingError: no path on which the density curves downwards.

    Warns:
        ConvergenceWarning: with the verdict, where it is not good enough to report. A `map` is never one.

    Source: Zhang, Carpenter, Gelman & Vehtari 2022 (Pathfinder); Tierney & Kadane 1986 (Laplace); Vehtari et al. 2024
    (Pareto k).

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> quick = approximate(target)
        >>> quick["approximation"].attrs["good"], quick["posterior"]["x"].shape
        (1, (64, 16))
        >>> draws = mcmc.sample(target, init=quick, progress=False)
    """
    _check(target, method)
    check_count("chains", chains, 1)
    check_count("draws", draws, 1)
    check_surroundings(seed, target.data)
    words = keys.run_words(seed)
    rng = np.random.default_rng([*map(int, words), 2])
    with precision_of(dtype, None) as precision:
        density = Density(target, precision, jacobian=method != "map")
        groups = np.arange(PATHS)
        starts = find_starts(target, None, groups, words, precision, lambda y: np.isfinite(density(y)[0]))
        if method == "map":
            at, _ = mode(starts, density)
            return _reported(target, density, at[None, None], None, {"method": method, **_of_mode(density, at)})
        q, wrong = _normal(density, starts, method, rng)
        proposed = q.sample(PROPOSALS * chains * draws, rng)
        lps, log_q = density(proposed)[0], q.log_prob(proposed)
        weights = smoothed(lps, log_q)
        chosen = weights.resample(chains * draws, rng)
        positions = proposed[chosen].reshape(chains, draws, -1)
        if weights.pareto_k < GOOD_K and not wrong:
            starts = proposed[weights.resample(CHECKED, rng)]
            wrong = moved_away(target, starts.astype(precision), words)
        facts = {"method": method, **_verdict(weights, wrong)}
        return _reported(target, density, positions, (weights.log_weights, lps, log_q), facts)


def _check(target: Any, method: Any) -> None:
    if method not in ("map", "laplace", "pathfinder"):
        remedy = "Leave it out for Pathfinder."
        raise WrongValue("method", method, '"map", "laplace" or "pathfinder"', remedy)
    if not isinstance(target, Target):
        raise WrongType("target", target, "an mcmc.Target", "Wrap the log density in one.")
    if target.host or target.discrete:
        found = "a black box" if target.host else f"discrete {', '.join(target.discrete)}"
        raise WrongValue("target", found, "a log density with a gradient", "Use mcmc.sample.")


def _normal(density: Density, starts: np.ndarray, method: str, rng: np.random.Generator) -> tuple[Mixture, str]:
    """The normal law, and what is wrong with it; where the mode has none, that of the paths to it."""
    if method == "pathfinder":
        return along_paths(starts, density, rng), ""
    q, _, wrong = at_mode(mode(starts, density)[0], density, density.hessian)
    return (q, "") if q is not None else (along_paths(starts, density, rng), f"The density has no mode: {wrong}")


def _verdict(weights: Weights, wrong: str) -> dict[str, Any]:
    """Whether the draws are good enough to report, and why not."""
    good = weights.pareto_k < GOOD_K and not wrong
    said = f"Pareto k {weights.pareto_k:.2f}, worth {weights.ess:.0f} independent draws"
    reason = f"{wrong}; {said}" if wrong else said
    text = f"Good enough to report: {reason}." if good else f"Not good enough to report: {reason}. Use mcmc.sample."
    return {"pareto_k": weights.pareto_k, "ess": weights.ess, "good": int(good), "verdict": text}


def _of_mode(density: Density, at: np.ndarray) -> dict[str, Any]:
    """What there is to say of a mode: it is a point, and whether it is one."""
    _, _, wrong = at_mode(at, density, density.hessian)
    found = f"No mode was found: {wrong}" if wrong else "A mode is a point: it says nothing of uncertainty"
    return {"good": 0, "is_mode": int(not wrong), "verdict": f"Not good enough to report. {found}."}


def _reported(
    target: Target, density: Density, positions: np.ndarray, weighed: tuple | None, facts: dict[str, Any]
) -> xarray.DataTree:
    import xarray

    lead = positions.shape[:2]
    flat = density.recorded(positions.reshape(-1, target.dim))
    columns = density.traced.columns
    named = {c.name: flat[:, c.start : c.stop].reshape(*lead, *c.shape).astype(c.dtype) for c in columns}
    lps = density(positions.reshape(-1, target.dim))[0].reshape(lead)
    groups = {"posterior": datatree.dataset(named, target), "sample_stats": datatree.dataset({"lp": lps}, None)}
    arrays: dict[str, np.ndarray] = (
        {} if weighed is None else dict(zip(("log_weight", "lp", "log_q"), weighed, strict=True))
    )
    groups["approximation"] = datatree.dataset(arrays, None, ("proposal",))
    groups["approximation"].attrs = facts
    tree = xarray.DataTree.from_dict(groups | datatree.data_of(target))
    add_predictions(tree, target)
    tree.attrs = {"inference_library": "mcmc", "inference_library_version": __version__, **facts}
    if not facts["good"]:
        warn(with_address(f"mcmc.approximate: {facts['verdict']}", "approximation"))
    return tree
