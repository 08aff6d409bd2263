"""Simulation-based calibration: does a sampler draw from the posterior? `sbc(prior, simulate, target)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.calibration.datasets import data_sets, ranked
from mcmc.errors import WrongType, WrongValue, how_to_install, more
from mcmc.settings import precision_of

if TYPE_CHECKING:
    import jax
    from matplotlib.figure import Figure

    from mcmc.target.target import Target

BAND_SIMULATIONS = 2000


@dataclass(frozen=True, eq=False)
class Calibration:
    """What `sbc` found: ranks of true values among posterior draws, which are uniform for a right sampler."""

    labels: tuple[str, ...]
    """Names of the scalar parameters."""
    ranks: np.ndarray
    """`(simulation, parameter)`: how many of `of` draws lie below the value that made the data."""
    of: int
    """How many posterior draws a value is ranked among: ranks are 0 ... of."""
    level: float
    """The probability that a right sampler fails, over all parameters together."""
    p_values: np.ndarray = field(repr=False)
    """Of each parameter: how often uniform ranks leave the diagonal as far as these."""
    unconverged: int = 0
    """Simulations whose draws failed their own diagnosis."""

    @property
    def ok(self) -> bool:
        """Whether no parameter's ranks leave the band (Bonferroni over parameters)."""
        return bool((self.p_values >= self.level / len(self.labels)).all())

    @property
    def failing(self) -> tuple[str, ...]:
        """Parameters whose ranks are not uniform, worst first."""
        order = np.argsort(self.p_values, kind="stable")
        return tuple(self.labels[i] for i in order if self.p_values[i] < self.level / len(self.labels))

    def __str__(self) -> str:
        size = f"{len(self.ranks)} simulations, {len(self.labels)} parameters, ranks among {self.of} draws"
        note = f"\n  {self.unconverged} of the runs failed their own diagnosis." if self.unconverged else ""
        if self.ok:
            return f"Calibrated: every parameter's ranks are uniform ({size}; least p {self.p_values.min():.2g}).{note}"
        found = f"Not calibrated: {', '.join(self.failing)} ({size}; least p {self.p_values.min():.2g}).{note}"
        return f"{found}\n{more('calibration')}"

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw each parameter's rank ECDF less the diagonal, with its simultaneous band; a Matplotlib figure."""
        from matplotlib.figure import Figure

        points, low, high = rank_band(len(self.ranks), self.of, self.level / len(self.labels))
        figure = Figure(figsize=(3.2 * min(4, len(self.labels)), 2.6 * -(-len(self.labels) // 4)), layout="constrained")
        axes = figure.subplots(-(-len(self.labels) // 4), min(4, len(self.labels)), squeeze=False).ravel()
        for ax in axes[len(self.labels) :]:
            ax.set_axis_off()
        for i, (ax, name) in enumerate(zip(axes, self.labels, strict=False)):
            bad = name in self.failing
            ax.fill_between(points, low - points, high - points, step="post", color="#cccccc")
            ax.step(
                points, _ecdf(self.ranks[:, i], self.of) - points, where="post", color="#b3261e" if bad else "#1b4f7f"
            )
            ax.set_title(f"{name}{': not calibrated' if bad else ''}", fontsize=9)
            ax.set_xlabel("rank / draws", fontsize=8)
        for ax in axes[:: min(4, len(self.labels))]:
            ax.set_ylabel("share below, less expected", fontsize=8)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def sbc(
    prior: Callable[..., Any],
    simulate: Callable[[jax.Array, dict[str, Any]], Any] | tuple | Mapping[str, Any],
    target: Target | None = None,
    *,
    kernel: Any = None,
    simulations: int = 200,
    chains: int = 64,
    draws: int = 50,
    warmup: int | None = None,
    level: float = 0.01,
    seed: int = 0,
    progress: bool = True,
) -> Calibration:
    r"""Check a sampler against its own model: values from the prior, data from them, and their ranks in the posterior.

    .. math:: \theta \sim p(\theta), \quad y \sim p(y \mid \theta), \quad
        r = \sum_{l=1}^{L} 1[\theta_l < \theta], \quad \theta_l \sim p(\theta \mid y)

    Then `r` is uniform on `0 ... L`. The `L` draws are the last one of each chain, which are independent of each
    other, so no thinning is guessed. Ranks are judged by their empirical distribution function and a band that holds
    it as a whole with the probability asked for.

    Data sets are simulated, and sampled, side by side in one compiled program, in batches that bound the memory; each
    has its own chains, step size and metric. One after the other go a simulator that can't be compiled (the runs still
    go together), data sets of different shapes, and black boxes; where that is so, it is said on stderr.

    Args:
        prior: `prior(key)`, a dict of constrained parameters as `target` names and nests them; or a NumPyro model,
            with its arguments and nothing else: `mcmc.sbc(model, (x, y))`. Outcomes among them give the shapes, and
            are replaced by what the model simulates.
        simulate: `simulate(key, parameters)`, data in the form of `target`'s; a model's arguments, a tuple or a dict.
        target: a `Target` with `data`, whose log density is that of prior times likelihood.
        kernel: as in `sample`.
        simulations: how many data sets.
        chains: `L`, posterior draws that a value is ranked among.
        draws: kept, per chain, the last of which counts.
        warmup: as in `sample`.
        level: the probability that a right sampler fails, over all parameters.
        seed: the same seed gives the same result.
        progress: say how far it is, on stderr.

    Returns:
        A `Calibration`: `ok`, `ranks`, `p_values`, `failing`, `str()`, `plot(path)`.

    Raises:
        ValueError, TypeError: a target without data, names or shapes that are not the target's, values that are not
            finite, counts out of range.
        SamplingError: as in `sample`. What `prior` and `simulate` raise comes out as it is.

    Sources: Talts, Betancourt, Simpson, Vehtari, Gelman (2018), arXiv:1804.06788; for the band, Säilynoja, Bürkner,
    Vehtari (2022), Statistics and Computing 32, arXiv:2103.10522.

    Example:
        >>> import jax, mcmc
        >>> def log_density(p, y):
        ...     return -0.5 * p["mu"] ** 2 - 0.5 * (y - p["mu"]) ** 2
        >>> target = mcmc.Target(log_density, {"mu": mcmc.real()}, data=0.0)
        >>> found = sbc(lambda key: {"mu": jax.random.normal(key)},
        ...             lambda key, p: p["mu"] + jax.random.normal(key), target, simulations=10, progress=False)
        >>> found.ranks.shape
        (10, 1)
    """
    for name, value, least in (("simulations", simulations, 10), ("chains", chains, 10), ("draws", draws, 4)):
        if isinstance(value, bool) or not (isinstance(value, int) and value >= least):
            raise WrongValue(name, value, f"a whole number from {least}", "Leave it out for the default.")
    if not 0 < level < 1:
        raise WrongValue("level", level, "a probability in (0, 1)", "Leave it out for 0.01.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise WrongType("seed", seed, "a whole number", "Use seed=0.")
    if target is None:
        prior, simulate, target = _of_model(prior, simulate)
    elif not callable(simulate):
        raise WrongType("simulate", simulate, "a function of (key, parameters)", "Or leave the target out.")
    with precision_of(None, None) as dtype:
        sets = data_sets(prior, simulate, target, seed, simulations)
        asked = {"kernel": kernel, "chains": chains, "draws": draws, "warmup": warmup}
        found = list(ranked(sets, target, asked, dtype, _say if progress else _nothing))
    ranks = np.concatenate([rows for rows, _ in found])
    p_values = np.array([rank_p_value(column, chains) for column in ranks.T])
    return Calibration(sets.labels, ranks, chains, level, p_values, sum(failed for _, failed in found))


def rank_band(simulations: int, of: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in (0, 1) and the band that holds the whole ECDF of uniform ranks with probability `1 - level`.

    Example:
        >>> points, low, high = rank_band(100, 64, 0.05)
        >>> bool((low <= points).all() and (points <= high).all())
        True
    """
    from scipy.stats import binom

    points = _points(of)
    share = np.quantile(_reference(simulations, of), level)
    low = binom.ppf(share / 2, simulations, points) / simulations
    return points, low, binom.ppf(1 - share / 2, simulations, points) / simulations


def rank_p_value(ranks: np.ndarray, of: int) -> float:
    """How often uniform ranks leave the diagonal as far as these, at some point; at least 1 / 2001."""
    reference = _reference(len(ranks), of)
    return float((1 + (reference <= _least_tail(ranks[None], of)[0]).sum()) / (1 + len(reference)))


def _points(of: int) -> np.ndarray:
    return np.arange(1, of + 1) / (of + 1)


def _ecdf(ranks: np.ndarray, of: int) -> np.ndarray:
    """Share of the ranks below 1, 2, ..., of."""
    return np.searchsorted(np.sort(ranks), np.arange(1, of + 1), side="left") / len(ranks)


def _least_tail(ranks: np.ndarray, of: int) -> np.ndarray:
    """The smallest two-sided pointwise probability along the ECDF, for each row of ranks."""
    from scipy.stats import binom

    n, points = ranks.shape[1], _points(of)
    count = np.stack([_ecdf(row, of) * n for row in ranks]).round()
    tail = np.minimum(binom.cdf(count, n, points), binom.sf(count - 1, n, points))
    return (2 * tail).min(axis=1)


def _reference(simulations: int, of: int) -> np.ndarray:
    """`_least_tail` of uniform ranks, by simulation with a fixed seed."""
    rng = np.random.default_rng(0)
    return _least_tail(rng.integers(0, of + 1, size=(BAND_SIMULATIONS, simulations)), of)


def _say(text: str) -> None:
    import sys

    print(f"sbc: {text}", file=sys.stderr)


def _nothing(text: str) -> None:
    pass


def _of_model(model: Any, args: Any) -> tuple[Callable, Callable, Target]:
    """The three arguments of a NumPyro model on its arguments."""
    if callable(args):
        raise WrongType("target", None, "a Target, beside prior and simulate", "Pass the target too.")
    try:
        import numpyro  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        text = f"mcmc.sbc of a model needs numpyro, which is not installed. Install it: {how_to_install('numpyro')}."
        raise ImportError(text) from error
    from mcmc.models.numpyro_generative import generative

    return generative(model, args)
