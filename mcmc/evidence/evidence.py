"""The marginal likelihood of a model, with an error that holds and a verdict: `evidence(target)`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jax.typing import DTypeLike

from mcmc.engine.surroundings import check_surroundings
from mcmc.errors import WrongValue, more, warn
from mcmc.evidence.bridge import Estimate, bridge
from mcmc.evidence.laplace import laplace
from mcmc.evidence.moves import Mover, Sizes
from mcmc.evidence.nested import nested_passage
from mcmc.evidence.path import Evaluator, Path, Points
from mcmc.evidence.smc import Passage, tempered_passage
from mcmc.kernels.hmc import HMC
from mcmc.kernels.metropolis import RandomWalk
from mcmc.random import keys
from mcmc.settings import check_count, precision_of
from mcmc.storage import datatree
from mcmc.target.predict import add_predictions
from mcmc.target.predict_prior import drawn_by_chains, drawn_by_function
from mcmc.target.target import Target
from mcmc.version import __version__

if TYPE_CHECKING:
    import xarray

ISLANDS, LEVEL_THIN = 16, 8
MOST_DRAWS = 20_000
LARGEST_ERROR = 0.5
APART = 4.0
"""Errors by which the two estimates may differ."""
SLACK, FEWEST_EFFECTIVE = 0.02, 100


@dataclass(frozen=True, eq=False)
class Evidence:
    """What `evidence` found: the log marginal likelihood, its standard error and a verdict; prints as text."""

    log_evidence: float
    """log p(y), natural: the more precise of the two estimates where they agree, else that of the particles."""
    error: float
    """Its standard error, from how independent islands of particles differ."""
    smc: Estimate
    """By the particles' way from the prior."""
    bridge: Estimate
    """By bridge sampling from the posterior, which needs no prior draws."""
    draws: xarray.DataTree = field(repr=False)
    """A posterior sample: the final particles, one island a chain."""
    islands: np.ndarray = field(repr=False)
    """The particles' estimates by island."""
    levels: tuple[float, ...] = field(repr=False)
    """The temperatures, or log likelihoods, that were passed."""
    ess: float
    """How many independent draws the particles are worth: the least of all coordinates, from how islands differ."""
    reasons: tuple[str, ...]
    """Why it is not to be relied on; empty where it is."""

    @property
    def ok(self) -> bool:
        """Whether the error is small, both estimates agree, and the particles are worth enough draws."""
        return not self.reasons

    def __str__(self) -> str:
        ways = f"by particles through {len(self.levels) - 1} levels {self.smc}, by bridge sampling {self.bridge}"
        text = f"log evidence {self.log_evidence:.3f} ± {self.error:.2g} ({ways})."
        head = "Good: " if self.ok else "Use with care: "
        lines = [head + text, *(f"  {reason}" for reason in self.reasons)]
        return "\n".join(lines if self.ok else [*lines, more("evidence")])


def evidence(
    target: Target,
    *,
    path: Literal["temperatures", "levels"] | None = None,
    draws: xarray.DataTree | None = None,
    kernel: Any = None,
    chains: int = 512,
    steps: int = 24,
    seed: int | jax.Array = 0,
    dtype: DTypeLike | None = None,
    progress: bool = True,
) -> Evidence:
    r"""The log marginal likelihood of a model, log p(y) = log ∫ p(θ) p(y | θ) dθ, and a posterior sample.

    Particles drawn from the prior are carried to the posterior by sequential Monte Carlo: temperatures are chosen so
    that half of the particles stay effective, and at each the chains of a kernel, tuned from the particles, move them.
    Sixteen islands of particles know of no other, so the error is how far they differ. Bridge sampling from the final
    particles, or from `draws`, gives the same number by another way, and each checks the other.

    The likelihood must be normalised: with all its constants. The prior too, or the two ways differ by its constant,
    which is said.

    Args:
        target: one that knows its prior, `mcmc.Target(None, parameters, log_prior=f, log_likelihood=g, prior=h)`, or a
            model from NumPyro or PyMC. Without `prior` particles start from MCMC on the prior.
        path: `"temperatures"`, L^β from prior to posterior; `"levels"`, nested sampling by the same particles: the
            prior where L exceeds a level. Temperatures are more precise; levels also find a narrow mode whose mass
            shows at temperatures near 1 only, as long as it can be reached uphill, but take many more levels. None:
            temperatures, and then levels where the highest mode above the particles has mass that they lack.
        draws: posterior draws, as from `mcmc.sample`, that bridge sampling is to use; None: the particles.
        kernel: `mcmc.HMC()` or `mcmc.RandomWalk()`; None: HMC at acceptance rate 0.8, or for levels a random walk.
        chains: rows that move together, in 16 islands.
        steps: of the kernel, at each temperature; every state on the way is a particle. For levels eight times as
            many, of which every eighth is one.
        seed: an int or a JAX key.
        dtype: as in `sample`.
        progress: say how far it is, on stderr.

    Returns:
        An `Evidence`: `log_evidence` and `error` (natural logs), `ok`, `reasons`, `draws` (a DataTree), `smc` and
        `bridge`.

    Raises:
        ValueError, TypeError: a target that does not know its prior, discrete parameters, another kernel, numbers out
            of range. SamplingError: a likelihood that is zero at every draw of the prior.

    Warns:
        ConvergenceWarning: with the reasons, where it is not to be relied on.

    Source: Del Moral, Doucet & Jasra 2006; Dau & Chopin 2022 (arXiv:2011.02328); Meng & Wong 1996; Gronau et al. 2017
    (arXiv:1703.05984).

    Example:
        >>> import jax, mcmc
        >>> normal = jax.scipy.stats.norm.logpdf
        >>> target = mcmc.Target(
        ...     None, {"mu": mcmc.real()}, data={"y": 1.0}, log_prior=lambda p, d: normal(p["mu"]),
        ...     log_likelihood=lambda p, d: {"y": normal(d["y"], p["mu"])},
        ...     prior=lambda key, d: {"mu": jax.random.normal(key)})
        >>> found = evidence(target, progress=False)  # exactly log N(1; 0, √2) = −1.5155
        >>> abs(found.log_evidence + 1.5155) < 4 * found.error
        True
    """
    asked = {"draws": draws, "kernel": kernel, "chains": chains, "steps": steps, "seed": seed, "dtype": dtype}
    kernel = _checked(target, kernel, chains, steps, path)
    check_surroundings(seed, target.data)
    words = keys.run_words(seed)
    rng = np.random.default_rng([*map(int, words), 1])
    with precision_of(dtype, None) as precision:
        between = Path.of(target, "constrained" if path == "levels" else "tempered", 0.0)
        thin = LEVEL_THIN if path == "levels" else 1
        mover = Mover(between, kernel, Sizes(ISLANDS, chains // ISLANDS, steps, thin), words, precision)
        evaluate = Evaluator(mover.traced)
        prior = _from_prior(target, evaluate, chains * steps, words, precision)
        passage = (nested_passage if path == "levels" else tempered_passage)(prior, mover, rng)
        _say(progress, f"{len(passage.levels) - 1} {path or 'temperatures'}, {mover.gradients:,} gradients")
        tree = _tree(target, passage, mover, precision)
        points = passage.points if draws is None else _points_of(target, draws, evaluate, precision)
        checked = bridge(points.positions, points.lps, lambda y: evaluate(y.astype(precision)).lps, rng)
        beside = laplace(target, passage.points.positions.reshape(-1, target.dim), precision, rng)
    if path is None and _lacks(passage, beside):
        _say(progress, f"the highest mode has mass {beside} that particles lack: again, through levels")
        return evidence(target, path="levels", progress=progress, **asked)
    return _judged(passage, tree, checked, beside)


def _checked(target: Any, kernel: Any, chains: int, steps: int, path: str | None) -> Any:
    if path not in (None, "temperatures", "levels"):
        raise WrongValue("path", path, '"temperatures" or "levels"', "Leave it out for temperatures.")
    if not isinstance(target, Target) or target.log_prior is None or target.log_likelihood is None:
        remedy = "Write mcmc.Target(None, parameters, log_prior=f, log_likelihood=g, prior=h)."
        raise WrongValue("target", target, "a Target that knows its prior and its likelihood", remedy)
    if target.discrete:
        remedy = "Sum them out of the likelihood."
        raise WrongValue("target", f"discrete {', '.join(target.discrete)}", "continuous parameters", remedy)
    if kernel is None:
        kernel = RandomWalk() if path == "levels" else HMC(target_acceptance=0.8, max_steps=64)
    if not all(hasattr(kernel, name) for name in ("metric", "step_size", "target_rate")):
        raise WrongValue("kernel", kernel, "one with a step size and a metric", "Use mcmc.HMC() or RandomWalk().")
    check_count("steps", steps, 2)
    check_count("chains", chains, 4 * ISLANDS)
    if chains % ISLANDS:
        raise WrongValue("chains", chains, f"a multiple of {ISLANDS}, the islands", "Use chains=512.")
    return kernel


def _from_prior(target: Target, evaluate: Evaluator, n: int, words: np.ndarray, dtype: Any) -> Points:
    """So many points of the prior, (island, particle)."""
    if target.prior is not None:
        named = drawn_by_function(target, n, words, dtype)
    else:
        named, _ = drawn_by_chains(target, n, words)
    points = evaluate(_positions(target, [named[name][0] for name in target.names], dtype))
    if not np.isfinite(points.positions).all():
        found = "draws of the prior on the edge of their supports"
        raise WrongValue("prior", found, "draws inside the supports", "Mend the prior or the supports.")
    if bad := int(np.isnan(points.log_likelihood).sum()):
        remedy = "Return -jnp.inf where the data are impossible, and guard what divides by zero or overflows."
        raise WrongValue("log_likelihood", f"NaN at {bad} of {n} draws of the prior", "numbers", remedy)
    shape = (ISLANDS, n // ISLANDS)
    return Points(*(x.reshape(*shape, *x.shape[1:]) for x in vars(points).values()))


def _positions(target: Target, values: list[np.ndarray], dtype: Any) -> np.ndarray:
    """Positions (n, dim) of values by parameter (n, ...)."""
    p = target.nest(values)
    return np.asarray(jax.jit(lambda p: jax.lax.map(partial(target.unconstrain, dtype=dtype), p, batch_size=256))(p))


def _points_of(target: Target, draws: xarray.DataTree, evaluate: Evaluator, dtype: Any) -> Points:
    """Draws from elsewhere as points (chain, draw)."""
    p = datatree.draws_of(draws, target)
    lead = jax.tree.leaves(p)[0].shape[:2]
    flat = [np.asarray(draws["posterior"][n]).reshape(-1, *draws["posterior"][n].shape[2:]) for n in target.names]
    points = evaluate(_positions(target, flat, dtype))
    return Points(*(x.reshape(*lead, *x.shape[1:]) for x in vars(points).values()))


def _tree(target: Target, passage: Passage, mover: Mover, dtype: Any) -> xarray.DataTree:
    """The final particles by ArviZ's schema, one island a chain."""
    import xarray

    points, traced = passage.points, target.trace(dtype)
    every = -(-points.lps.size // MOST_DRAWS)
    positions, lps = points.positions[:, ::every], points.lps[:, ::every]
    rows = jax.jit(lambda a, y: jax.lax.map(partial(traced.record, a), y, batch_size=256))
    flat = np.asarray(rows(traced.arrays, positions.reshape(-1, target.dim).astype(dtype))).reshape(*lps.shape, -1)
    named = {c.name: flat[..., c.start : c.stop].reshape(*lps.shape, *c.shape).astype(c.dtype) for c in traced.columns}
    groups = {"posterior": datatree.dataset(named, target), "sample_stats": datatree.dataset({"lp": lps}, None)}
    tree = xarray.DataTree.from_dict(groups | datatree.data_of(target))
    add_predictions(tree, target)
    tree.attrs = {
        "inference_library": "mcmc",
        "inference_library_version": __version__,
        "kernel": f"SMC by {type(mover.plan.kernel).__name__}",
        "levels": len(passage.levels) - 1,
        "gradients": mover.gradients,
    }
    return tree


def _lacks(passage: Passage, beside: Estimate | None) -> bool:
    """Whether the mass at the highest mode is more than all that the particles found."""
    if beside is None:
        return False
    return beside.log_evidence - passage.log_evidence > APART * np.hypot(passage.error, beside.error) + SLACK


def _judged(passage: Passage, tree: xarray.DataTree, checked: Estimate, beside: Estimate | None) -> Evidence:
    """The evidence with the reasons against it, if any."""
    smc, reasons = Estimate(passage.log_evidence, passage.error), []
    effective = effective_particles(passage.points.positions)
    if not effective >= FEWEST_EFFECTIVE:
        reasons.append(f"The particles are worth {effective:.0f} independent draws: use more chains or steps.")
    if not smc.error < LARGEST_ERROR:
        reasons.append(f"The islands differ by a standard error of {smc.error:.2g}: use more chains or steps.")
    apart, allowed = checked.log_evidence - smc.log_evidence, APART * np.hypot(smc.error, checked.error) + SLACK
    if np.isfinite(apart) and abs(apart) > allowed:
        reasons.append(
            f"Bridge sampling gives {abs(apart):.3g} {'more' if apart > 0 else 'less'}, beyond {allowed:.2g}: "
            "log_prior may lack its constants, prior= may draw from another law, or a mode was lost: use more chains."
        )
    if _lacks(passage, beside):
        reasons.append(
            f"The highest mode alone has log evidence {beside}, by importance sampling: the particles lost a narrow "
            'mode. Use path="levels", with more chains if that was it.'
        )
    best = checked if checked.error < smc.error and not reasons else smc
    tree.attrs |= {"log_evidence": best.log_evidence, "log_evidence_error": best.error}
    tree.attrs["log_evidence_ok"] = int(not reasons)
    found = Evidence(
        best.log_evidence,
        best.error,
        smc,
        checked,
        tree,
        passage.log_evidences,
        passage.levels,
        effective,
        tuple(reasons),
    )
    if reasons:
        warn(str(found))
    return found


def effective_particles(positions: np.ndarray) -> float:
    """The least of var / var of the mean over coordinates, the mean's from the islands' (island, particle, dim)."""
    means, spread = positions.mean(1), positions.var((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((spread / (means.var(0, ddof=1) / len(means))).min())


def _say(progress: bool, text: str) -> None:
    if progress:
        print(f"evidence: {text}", file=sys.stderr)
