"""Comparison of two runs of one model, in Monte Carlo standard errors: `compare(a, b)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics import variances
from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.check import count_of, listed
from mcmc.diagnostics.columns import MANY_CHAINS
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.estimators import ess_from_chain_means, mcse_quantile_of, mcse_sd_of
from mcmc.diagnostics.evidence import Labels
from mcmc.diagnostics.inputs import Draws, Variable, groups_of, posterior_variables
from mcmc.diagnostics.ranks import sorted_quantile
from mcmc.diagnostics.verdict import diagnose_one
from mcmc.errors import WrongValue, more

if TYPE_CHECKING:
    import pandas

QUANTILES = (0.05, 0.5, 0.95)
TESTS = ("mean", "sd", "q05", "q50", "q95")
BLOCK = 8
HARMLESS = ("divergences", "constant")
"""Errors of a diagnosis that leave the Monte Carlo errors of what varies as they are."""
SOUND_RHAT = 1.05
"""R-hat up to which a run's Monte Carlo errors are trusted."""
MODELS = 'Give two runs of one model. Two models of the same data: mcmc.compare_models({"a": a, "b": b}).'


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found: `ok`, the table, and the names that only one run has; prints as text."""

    threshold: float
    """The z that no test of two runs of one target exceeds, with probability `1 - level` over all of them."""
    level: float
    """The probability of a false alarm, over all tests together."""
    labels: Sequence[str] = field(repr=False)
    """Names of the shared scalar parameters, in the order of `columns`."""
    columns: dict[str, np.ndarray] = field(repr=False)
    """The table as arrays, without pandas."""
    only_in_a: tuple[str, ...]
    """Scalar parameters that the second run lacks."""
    only_in_b: tuple[str, ...]
    """Scalar parameters that the first run lacks."""
    unsound: dict[str, tuple[str, ...]]
    """Errors of each run's own diagnosis (`"a"`, `"b"`), which make its Monte Carlo errors worthless."""

    @property
    def verdict(self) -> str:
        """`agree`; `differ`; or `undecided`, where no difference was found but a run fails its own diagnosis."""
        if self.differing:
            return "differ"
        return "undecided" if any(self.unsound.values()) else "agree"

    @property
    def ok(self) -> bool:
        """Whether the runs agree, and can be trusted to say so."""
        return self.verdict == "agree"

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """Scalar parameters with a test beyond the threshold, worst first."""
        worst = self.columns["z"]
        beyond = np.flatnonzero(~(worst <= self.threshold))
        order = beyond[np.argsort(-np.nan_to_num(worst[beyond], nan=np.inf), kind="stable")]
        return tuple(self.labels[int(i)] for i in order)

    @cached_property
    def table(self) -> pandas.DataFrame:
        """One row a shared scalar parameter: a `pandas.DataFrame`, nothing rounded."""
        import pandas

        return pandas.DataFrame(self.columns, index=pandas.Index(list(self.labels)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python that JSON can hold: what is NaN or infinite is None."""
        rows = [
            {"parameter": label, **{name: _plain(values[i]) for name, values in self.columns.items()}}
            for i, label in enumerate(self.labels)
        ]
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "level": self.level,
            "differing": list(self.differing),
            "only_in_a": list(self.only_in_a),
            "only_in_b": list(self.only_in_b),
            "unsound": {name: list(codes) for name, codes in self.unsound.items()},
            "table": rows,
        }

    def __str__(self) -> str:
        size = f"{count_of(len(self.labels), 'parameter')}, {count_of(5 * len(self.labels), 'test')}"
        worst = float(np.nan_to_num(self.columns["z"], nan=np.inf).max())
        found = f"largest |z| {worst:.1f}, threshold {self.threshold:.1f}"
        if self.verdict == "differ":
            lines = [f"The runs differ: {listed(self.differing)} ({size}; {found})."]
        elif self.verdict == "undecided":
            lines = [f"Undecided: no difference found, but the errors can't be trusted ({size}; {found})."]
        else:
            smallest = float(np.nanmax(self.columns["resolution"], initial=0.0))
            would = f"a mean off by {smallest:.2g} sd would have been detected everywhere"
            lines = [f"The runs agree ({size}; {found}); {would}."]
        for name, codes in self.unsound.items():
            if codes:
                lines.append(f"  run {name} fails its own diagnosis ({', '.join(codes)}): run it longer first.")
        for name, names in (("first", self.only_in_a), ("second", self.only_in_b)):
            if names:
                lines.append(f"  only in the {name} run: {listed(names)}")
        if self.only_in_a or self.only_in_b:
            lines.append(f"  {MODELS}")
        codes = [code for found in self.unsound.values() for code in found]
        lines += [] if self.ok else [more("comparison", *dict.fromkeys(codes))]
        return "\n".join(lines)


def compare(a: Draws, b: Draws, *, level: float = 0.01) -> Comparison:
    r"""Compare two runs of one model: means, sds and quantiles, each in Monte Carlo errors.

    .. math:: z = \frac{\bar x_a - \bar x_b}{\sqrt{\mathrm{MCSE}_a^2 + \mathrm{MCSE}_b^2}}

    and alike for the variances (of heavy tails the ratio of sds is no normal variable; a difference of variances in its
    own errors stays small). A quantile `q` of both runs' draws together is tested by the
    shares of each run's draws up to it, `z = (p_a - p_b) / sqrt(p (1 - p) (1 / ESS_a + 1 / ESS_b))`, which holds for
    heavy tails and for discrete parameters too. With 5 tests a parameter the threshold is that of all tests together
    (Bonferroni), so that equal runs are called different with probability `level` at most.

    Args:
        a: a run, as in `diagnose`.
        b: another run of the same model, with any kernel, length and number of chains.
        level: the probability of a false alarm, over all tests.

    Returns:
        A `Comparison`: `ok`, `verdict`, `table`, `differing`, `only_in_a`, `only_in_b`, `to_dict()`, `str()`. Columns
        of the table: `mean_a`, `mean_b`, `mean_diff`, `mean_error`; `sd_ratio` (a over b), `sd_ratio_error`;
        `q05_diff`, `q05_error` and so on for 50 and 95 %; `z_mean`, `z_sd`, `z_q05`, `z_q50`, `z_q95`; `z`, the
        largest of them in size; `resolution`, the difference of means, in sds, that would have been detected.

    Raises:
        TypeError, ValueError: as in `diagnose`; a level outside (0, 1); fewer than 4 draws; no shared parameter.

    Source: Vehtari et al. (2021), arXiv:1903.08008, for the Monte Carlo errors.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> a, b = ({"posterior": {"mu": rng.normal(size=(4, 1000))}} for _ in "ab")
        >>> compare(a, b).verdict
        'agree'
    """
    if not 0 < level < 1:
        raise WrongValue("level", level, "a probability in (0, 1)", "Leave it out for 0.01.")
    runs = {name: _variables(draws, name) for name, draws in (("a", a), ("b", b))}
    labels = {name: list(Labels(variables)) for name, variables in runs.items()}
    known = set(labels["b"])
    shared = [label for label in labels["a"] if label in known]
    if not shared:
        found = f"{listed(labels['a'])} in a, {listed(labels['b'])} in b"
        raise WrongValue("b", found, "a parameter that both have", MODELS)
    columns = _columns(runs["a"], runs["b"], shared)
    threshold = NormalDist().inv_cdf(1 - level / (2 * len(TESTS) * len(shared)))
    sd = columns.pop("sd")
    columns["resolution"] = threshold * columns["mean_error"] / np.where(sd > 0, sd, 1.0)
    both = set(shared)
    diagnoses = {"a": diagnose_one(a, rhat=SOUND_RHAT, quick=None), "b": diagnose_one(b, rhat=SOUND_RHAT, quick=None)}
    return Comparison(
        threshold=threshold,
        level=level,
        labels=shared,
        columns=columns,
        only_in_a=tuple(label for label in labels["a"] if label not in both),
        only_in_b=tuple(label for label in labels["b"] if label not in both),
        unsound={name: _errors(verdict) for name, verdict in diagnoses.items()},
    )


def _errors(verdict: Diagnosis) -> tuple[str, ...]:
    return tuple(check.code for check in verdict.failures if check.severity == "error" and check.code not in HARMLESS)


def _variables(draws: Any, name: str) -> list[Variable]:
    variables, _, n = posterior_variables(groups_of(draws)["posterior"])
    if n < 4:
        raise WrongValue(name, f"{n} draws a chain", "at least 4", "Draw more.")
    return variables


def _columns(a: list[Variable], b: list[Variable], shared: list[str]) -> dict[str, np.ndarray]:
    """The table's columns, for the shared labels in the order of run a; one variable of each run in memory."""
    out: dict[str, np.ndarray] = {}
    where = {label: i for i, label in enumerate(shared)}
    others = {label: (variable, i) for variable in b for i, label in enumerate(Labels([variable]))}
    for variable in a:
        names = list(Labels([variable]))
        pairs = [(i, *others[name]) for i, name in enumerate(names) if name in where]
        for start in range(0, len(pairs), BLOCK):
            part = pairs[start : start + BLOCK]
            x = _draws(variable, [i for i, _, _ in part])
            y = np.concatenate([_draws(other, [i]) for _, other, i in part])
            at = [where[names[i]] for i, _, _ in part]
            with np.errstate(all="ignore"):
                found = _both(x, y)
            for key, values in found.items():
                out.setdefault(key, np.full(len(shared), np.nan))[at] = values
    return out


def _draws(variable: Variable, columns: list[int]) -> np.ndarray:
    """Some scalar parameters of a variable, `(column, chain, draw)`; read element by element, so lazily."""
    event, parts = variable.event, []
    for column in columns:
        at = dict(zip(variable.array.dims[2:], np.unravel_index(column, event) if event else (), strict=True))
        parts.append(np.asarray(variable.array.isel(at).values, dtype=np.float64))
    return np.stack(parts)


def _both(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Estimates, errors and z of columns of both runs; what is not finite gives NaN, which counts as a difference."""
    bad = ~(np.isfinite(x).all(axis=(1, 2)) & np.isfinite(y).all(axis=(1, 2)))
    x, y = (np.where(bad[:, None, None], 0.0, z) for z in (x, y))
    (mean_a, sd_a, error_a, sd_error_a), (mean_b, sd_b, error_b, sd_error_b) = _moments(x), _moments(y)
    error = np.hypot(error_a, error_b)
    log_error = np.hypot(sd_error_a / sd_a, sd_error_b / sd_b)
    out = {"mean_a": mean_a, "mean_b": mean_b, "mean_diff": mean_a - mean_b, "mean_error": error}
    ratio = np.where((sd_a == 0) & (sd_b == 0), 1.0, sd_a / sd_b)
    out |= {"sd_ratio": ratio, "sd_ratio_error": ratio * log_error, "sd": np.maximum(sd_a, sd_b)}
    variance_error = 2 * np.hypot(sd_a * sd_error_a, sd_b * sd_error_b)
    z = {"mean": _z(mean_a - mean_b, error), "sd": _z(sd_a**2 - sd_b**2, variance_error)}
    pooled = np.concatenate([x.reshape(len(x), -1), y.reshape(len(y), -1)], axis=-1)
    for prob in QUANTILES:
        name = f"q{100 * prob:02.0f}"
        middle = np.quantile(pooled, prob, axis=-1)[:, None, None]
        (share_a, ess_a), (share_b, ess_b) = _share(x, middle), _share(y, middle)
        sizes = x[0].size, y[0].size
        share = (share_a * sizes[0] + share_b * sizes[1]) / sum(sizes)
        z[name] = _z(share_a - share_b, np.sqrt(share * (1 - share) * (1 / ess_a + 1 / ess_b)))
        (quantile_a, wide_a), (quantile_b, wide_b) = (_quantile(v, prob) for v in (x, y))
        out[f"{name}_diff"], out[f"{name}_error"] = quantile_a - quantile_b, np.hypot(wide_a, wide_b)
    out |= {f"z_{name}": values for name, values in z.items()}
    out["z"] = np.abs(np.stack(list(z.values()))).max(axis=0)
    return {name: np.where(bad, np.nan, values) for name, values in out.items()}


def _moments(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, sd and their Monte Carlo errors."""
    mean, sd = x.mean(axis=(1, 2)), x.std(axis=(1, 2), ddof=1)
    square = (x - mean[:, None, None]) ** 2
    return mean, sd, sd / np.sqrt(_ess(x)), np.where(sd > 0, mcse_sd_of(np, square, _ess(square)), 0.0)


def _ess(x: np.ndarray) -> np.ndarray:
    """ESS of the mean: of chains that are many and short from their means, as in the diagnosis."""
    chains, draws = x.shape[1:]
    if chains > MANY_CHAINS and chains >= draws:
        return ess_from_chain_means(np, x.mean(axis=-1), x.var(axis=(1, 2), ddof=1), draws)
    return ess_of(np, variances.split(np, x))


def _share(x: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of draws up to an edge, and its ESS."""
    below = (x <= edge).astype(np.float64)
    return below.mean(axis=(1, 2)), _ess(below)


def _quantile(x: np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    """A quantile and its Monte Carlo error."""
    ordered = np.sort(x.reshape(len(x), -1), axis=-1)
    quantile = sorted_quantile(ordered, prob)
    return quantile, mcse_quantile_of(np, ordered, _share(x, quantile[:, None, None])[1], prob)


def _z(difference: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Difference over error; equal numbers without error are 0 apart, unequal ones infinitely."""
    exact = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    return np.where(error > 0, difference / np.where(error > 0, error, 1.0), exact)


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
