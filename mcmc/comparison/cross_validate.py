"""Cross-validation: how well the model predicts each fold when fitted without it: `cross_validate(target, folds)`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import DTypeLike

from mcmc.diagnostics.check import count_of, listed
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.verdict import diagnose
from mcmc.each.batch import Drawn
from mcmc.each.batches import each_batch
from mcmc.each.together import by_shape, chosen, together
from mcmc.each.verdict import judged
from mcmc.engine.processes import Processes
from mcmc.errors import ConvergenceWarning, WrongType, WrongValue, more
from mcmc.random.keys import run_words
from mcmc.settings import precision_of
from mcmc.target.data import as_arrays
from mcmc.target.predict import BATCH
from mcmc.target.prior import likelihood_terms
from mcmc.target.target import Target

if TYPE_CHECKING:
    import pandas


FOLDS = "Write [(training data, held-out data), ...], no indices: ({'y': y[~held]}, {'y': y[held]})."


class Scores(NamedTuple):
    """Of one fold, by outcome: log predictive densities and their Monte Carlo errors; and the error of their sum."""

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    of_sum: float


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What `cross_validate` found: `elpd`, its standard error, every value and the verdict on every fold."""

    elpd: float
    """Expected log pointwise predictive density, summed over all that was held out; more is better."""
    se: float
    """Its standard error: what other data of the same kind would give."""
    mcse: float
    """Its Monte Carlo error: what another seed would give."""
    pointwise: tuple[dict[str, np.ndarray], ...] = field(repr=False)
    """Log predictive densities, for each fold by the outcome's name in the shape of what was held out."""
    errors: tuple[dict[str, np.ndarray], ...] = field(repr=False)
    """Their Monte Carlo errors."""
    verdicts: tuple[Diagnosis, ...] = field(repr=False)
    """The diagnosis of each fold's run."""

    @property
    def ok(self) -> bool:
        """Whether the draws of every fold can be used."""
        return not self.failing

    @property
    def failing(self) -> tuple[int, ...]:
        """Folds whose draws failed their own diagnosis."""
        return tuple(i for i, verdict in enumerate(self.verdicts) if not verdict.ok)

    @cached_property
    def table(self) -> pandas.DataFrame:
        """One row a fold: its `elpd`, how many values were held out, and the verdict on its draws."""
        import pandas

        rows = [
            {
                "elpd": sum(float(x.sum()) for x in values.values()),
                "values": sum(x.size for x in values.values()),
                "ok": verdict.ok,
                "verdict": verdict.verdict,
            }
            for values, verdict in zip(self.pointwise, self.verdicts, strict=True)
        ]
        return pandas.DataFrame(rows).rename_axis("fold")

    def __str__(self) -> str:
        folds, values = len(self.pointwise), sum(x.size for fold in self.pointwise for x in fold.values())
        size = f"{count_of(folds, 'fold')}, {count_of(values, 'value')} held out"
        text = f"elpd {self.elpd:.1f}, standard error {self.se:.1f}, Monte Carlo error {self.mcse:.2g} ({size})."
        if self.ok:
            return text
        codes = sorted({check.code for k in self.failing for check in self.verdicts[k].failures})
        failing = f"  The draws of fold {listed(self.failing)} failed their diagnosis: see verdicts."
        return "\n".join([text, failing, more("cross_validation", *codes)])


def cross_validate(
    target: Target,
    folds: Sequence[tuple[Any, Any]],
    *,
    kernel: Any = None,
    chains: int = 64,
    draws: int = 100,
    warmup: int | None = None,
    seed: int | jax.Array = 0,
    dtype: DTypeLike | None = None,
    progress: bool = True,
) -> CrossValidation:
    r"""Fit the model without each fold, and sum how well it predicts what was held out.

    .. math:: \mathrm{elpd} = \sum_k \sum_{i \in k} \log \frac{1}{S} \sum_s p(y_i \mid \theta_s), \quad
        \theta_s \sim p(\theta \mid y_{-k})

    The runs of folds with training data of equal shapes go side by side in one compiled program, each with chains,
    step size and metric of its own; other shapes take a program each, which is said on stderr. Black boxes go one
    after the other.

    Args:
        target: with `data` and `log_likelihood`.
        folds: pairs (training data, held-out data), each in the form of the target's data; held-out data may have
            any shapes that its `log_likelihood` takes. For K folds: every row is held out once. To leave one group
            out: a fold a group; with a weight for every row in the data, which multiplies the log likelihood, folds of
            unequal size have equal shapes.
        kernel: as in `sample`.
        chains: of each fold.
        draws: kept, per chain.
        warmup: as in `sample`.
        seed: an int or a JAX key.
        dtype: as in `sample`.
        progress: say how far it is, on stderr.

    Returns:
        A `CrossValidation`: `elpd`, `se`, `mcse`, `pointwise`, `errors`, `verdicts`, `ok`, `table`, `str()`.

    Raises:
        ValueError, TypeError: a target without data or `log_likelihood`; folds that are no pairs, or fewer than two;
            data that are not in the target's form. SamplingError: as in `sample`.

    Source: Vehtari, Gelman & Gabry 2017, Statistics and Computing 27, arXiv:1507.04544.

    Example:
        >>> import jax, mcmc, numpy as np
        >>> y = np.random.default_rng(0).normal(size=20)
        >>> target = mcmc.Target(
        ...     None, {"mu": mcmc.real()}, data=y, log_prior=lambda p, y: -0.5 * p["mu"] ** 2,
        ...     log_likelihood=lambda p, y: {"y": jax.scipy.stats.norm.logpdf(y, p["mu"])})
        >>> folds = [(np.delete(y, held), y[held]) for held in np.split(np.arange(20), 4)]
        >>> found = cross_validate(target, folds, progress=False)
        >>> found.ok, len(found.pointwise)
        (True, 4)
    """
    pairs = _checked(target, folds)
    words = [np.random.SeedSequence([*map(int, run_words(seed)), k]).generate_state(2) for k in range(len(pairs))]
    asked = {"kernel": kernel, "chains": chains, "draws": draws, "warmup": warmup}
    say = _say if progress else _nothing
    scores: list[Any] = [None for _ in pairs]
    verdicts: list[Any] = [None for _ in pairs]
    with precision_of(dtype, None) as precision:
        fits, score = [target.with_data(training) for training, _ in pairs], _scorer(target, precision)
        apart = bool(target.host) or Processes.here().count > 1
        runs = _each_alone(fits, words, asked) if apart else _side_by_side(fits, words, asked, precision, say)
        for k, values, verdict in runs:
            scores[k], verdicts[k] = score(values, pairs[k][1]), verdict
    return _summed(scores, verdicts)


def _checked(target: Any, folds: Any) -> list[tuple[Any, Any]]:
    if not isinstance(target, Target) or target.data is None or target.log_likelihood is None:
        remedy = "Write log_likelihood(p, data) and pass data=."
        raise WrongValue("target", target, "a Target with data= and log_likelihood=", remedy)
    if not isinstance(folds, Iterable) or isinstance(folds, str):
        raise WrongType("folds", folds, "a list of pairs of data", FOLDS)
    pairs = list(folds)
    if len(pairs) < 2 or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise WrongValue("folds", pairs[:1] or pairs, "two pairs of data or more", FOLDS)
    if isinstance(target.data, dict):
        for k, part in enumerate(part for pair in pairs for part in pair):
            if not isinstance(part, Mapping):
                expected = f"data with the names that the target's have, {', '.join(target.data)}"
                raise WrongValue(f"folds[{k // 2}][{k % 2}]", part, expected, FOLDS)
    return [(training, held) for training, held in pairs]


def _summed(scores: list[Scores], verdicts: list[Diagnosis]) -> CrossValidation:
    pointwise, errors = tuple(fold.values for fold in scores), tuple(fold.errors for fold in scores)
    values = np.concatenate([x.ravel() for fold in pointwise for x in fold.values()])
    se = float(np.sqrt(values.size) * values.std(ddof=1)) if values.size > 1 else float("nan")
    mcse = float(np.sqrt(sum(fold.of_sum**2 for fold in scores)))
    return CrossValidation(float(values.sum()), se, mcse, pointwise, errors, tuple(verdicts))


# --- runs ---------------------------------------------------------------------------------------------------


def _side_by_side(fits: list[Target], words: list, asked: dict, dtype: Any, say: Callable) -> Iterator[tuple]:
    """Every fold's draws by parameter (chain, draw, ...) and its diagnosis; folds of one shape by one program."""
    shapes = by_shape([fit.data for fit in fits], dtype)
    if len(shapes) > 1:
        say(f"the training data of {len(fits)} folds have {len(shapes)} shapes, each with a program of its own")
    for members in shapes.values():
        yield from _one_shape(members, fits, words, asked, dtype)
        say(f"{len(members)} of {len(fits)} folds")


def _one_shape(members: list[int], fits: list[Target], words: list, asked: dict, dtype: Any) -> Iterator[tuple]:
    first = fits[members[0]]
    traced = first.trace(dtype)
    kernel, settings, _ = chosen(first, traced, asked, dtype)
    shared = together(first, traced, kernel, settings, dtype)
    data = shared.stacked([jax.tree.leaves(as_arrays(fits[k].data, dtype)) for k in members])

    def use(which: np.ndarray, drawn: Drawn) -> list[tuple]:
        drawn.raise_failure()
        named, verdicts = judged(shared, drawn, len(which))
        each = [{name: x[row] for name, x in named.items()} for row in range(len(which))]
        return list(zip([members[i] for i in which], each, verdicts, strict=True))

    for found in each_batch(shared, data, np.stack([words[k] for k in members]), use):
        yield from found


def _each_alone(fits: list[Target], words: list, asked: dict) -> Iterator[tuple]:
    """By `mcmc.sample`, one fold after the other."""
    from mcmc.sampling.main import sample

    for k, fit in enumerate(fits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            tree = sample(fit._copy(predictive=None), seed=jax.numpy.asarray(words[k]), progress=False, **asked)
        posterior = tree["posterior"].to_dataset()
        yield k, {name: posterior[name].values for name in fit.names}, diagnose(tree)


# --- scores --------------------------------------------------------------------------------------------------


def _scorer(target: Target, dtype: Any) -> Callable[[dict[str, np.ndarray], Any], Scores]:
    """The log predictive densities of held-out data; compiled once for each of their shapes."""
    log_likelihood = target.log_likelihood
    assert log_likelihood is not None

    @jax.jit
    def by_chain(p: Any, data: Any) -> dict:
        def one(p: Any) -> dict:
            return likelihood_terms(target._call("log_likelihood", log_likelihood, p, data))

        chains, n = jax.tree.leaves(p)[0].shape[:2]
        flat = jax.tree.map(lambda x: x.reshape(chains * n, *x.shape[2:]), p)
        terms = jax.lax.map(one, flat, batch_size=min(BATCH, chains * n))
        per_chain = {name: x.reshape(chains, n, *x.shape[1:]) for name, x in terms.items()}
        return {name: logsumexp(x, axis=1) - np.log(n) for name, x in per_chain.items()}

    def score(values: dict[str, np.ndarray], held: Any) -> Scores:
        p = target.nest([values[name] for name in target.names])
        found = by_chain(p, as_arrays(target.with_data(held).data, dtype))
        return _scores({name: np.asarray(x, float) for name, x in found.items()})

    return score


def _scores(log_means: dict[str, np.ndarray]) -> Scores:
    """Logs of the means over chains of (chain, ...), and their Monte Carlo errors from how the chains differ.

    Values held out together are predicted by the same draws, so that their errors go together: the error of the sum is
    that of the chains' sums.
    """
    values, errors, sums = {}, {}, 0.0
    for name, logs in log_means.items():
        top = logs.max(0)
        weights = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = weights.mean(0)
            values[name], relative = top + np.log(mean), weights / mean
        errors[name] = _error(relative)
        sums = sums + relative.reshape(len(logs), -1).sum(1)
    return Scores(values, errors, float(_error(np.asarray(sums))))


def _error(by_chain: np.ndarray) -> np.ndarray:
    """The standard error of the mean over chains (chain, ...)."""
    return by_chain.std(0, ddof=1) / np.sqrt(len(by_chain))


def _say(text: str) -> None:
    print(f"cross_validate: {text}", file=sys.stderr)


def _nothing(text: str) -> None:
    pass
