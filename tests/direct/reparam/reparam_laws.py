"""The reparameterised samplers of one number, each beside SciPy's account of its law, hard corners included."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats as st
from scipy.integrate import quad

from mcmc.direct import reparam
from mcmc.random import philox

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


@dataclass(frozen=True)
class Law:
    """A sampler, where to draw, and SciPy's distribution there; `unique`: the draw is a function of one uniform."""

    name: str
    sampler: Callable[..., Any]
    at: tuple[float, ...]
    scipy: Callable[..., Any]
    unique: bool = True

    def __repr__(self) -> str:
        return f"{self.name}{self.at}"

    def draw(self, *at: Any, n: int = 1, seed: int = 0) -> jax.Array:
        return self.sampler(key_of(seed), *(at or self.at), shape=(n,))


def key_of(seed: int) -> jax.Array:
    """In float64 a philox key, in float32 a threefry key, so that all samplers are tried with both."""
    wide = jnp.result_type(float) == jnp.float64
    return jax.random.key(seed, impl=philox.implementation if wide else "threefry2x32")


def _truncated(loc, scale, low, high):
    return st.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)


LOC_SCALE = {
    "uniform": (reparam.uniform, (2.0, 5.0), lambda a, b: st.uniform(a, b - a)),
    "normal": (reparam.normal, (1.0, 2.0), st.norm),
    "lognormal": (reparam.lognormal, (0.5, 0.7), lambda m, s: st.lognorm(s, scale=np.exp(m))),
    "exponential": (reparam.exponential, (3.0,), lambda r: st.expon(scale=1 / r)),
    "laplace": (reparam.laplace, (1.0, 2.0), st.laplace),
    "logistic": (reparam.logistic, (1.0, 2.0), st.logistic),
    "gumbel": (reparam.gumbel, (1.0, 2.0), st.gumbel_r),
    "cauchy": (reparam.cauchy, (1.0, 2.0), st.cauchy),
    "weibull": (reparam.weibull, (0.7, 2.0), lambda k, s: st.weibull_min(k, scale=s)),
    "pareto": (reparam.pareto, (0.7, 2.0), lambda b, s: st.pareto(b, scale=s)),
}
BASIC = [Law(name, *row) for name, row in LOC_SCALE.items()]

INF = float("inf")
ENDS = [(6.0, 7.0), (8.0, INF), (-INF, -8.0), (-7.0, -6.0), (30.0, INF), (100.0, 101.0), (3.0, 3.001), (0.0, INF)]
ENDS += [(-1.0, 1.0), (-0.1, 0.2), (-0.3, 0.2), (-3.0, 8.0), (-INF, 1.0), (-2.0, INF), (-INF, INF), (-8.0, 3.0)]
TRUNCATED = [Law("truncated_normal", reparam.truncated_normal, (0.0, 1.0, *ends), _truncated) for ends in ENDS]
TRUNCATED += [Law("truncated_normal", reparam.truncated_normal, (1.0, 0.5, 0.0, 3.0), _truncated)]

LOGGAMMA = [Law("loggamma", reparam.loggamma, (a,), st.loggamma) for a in (0.01, 0.3, 1.0, 2.5, 60.0, 1e4, 1e6)]
GAMMA = [Law("gamma", reparam.gamma, (a, 2.0), lambda a, r: st.gamma(a, scale=1 / r)) for a in (0.3, 1.0, 30.0, 1e6)]
GAMMA += [
    Law("chi_square", reparam.chi_square, (0.5,), st.chi2),
    Law("inverse_gamma", reparam.inverse_gamma, (5.5, 2.0), lambda a, s: st.invgamma(a, scale=s)),
]
INVERSE_GAUSSIAN = [
    Law("inverse_gaussian", reparam.inverse_gaussian, at, lambda m, c: st.invgauss(m / c, scale=c))
    for at in ((1.0, 1.0), (2.0, 0.05), (0.5, 4.0), (2.0, 1e4))
]
COMPOSED = [Law("student_t", reparam.student_t, (nu, 1.0, 2.0), st.t, unique=False) for nu in (0.5, 3.0, 9.0, 1e6)] + [
    Law("beta", reparam.beta, at, st.beta, unique=False)
    for at in ((2.0, 0.5), (0.3, 0.2), (1.0, 1.0), (30.0, 4.0), (1e6, 1e6))
]


class Transformed:
    """The law of a rising function of a draw of SciPy's: its inverse and the derivative of that."""

    def __init__(self, law: Any, back: Callable, slope: Callable):
        self.law, self.back, self.slope = law, back, slope

    def cdf(self, x: Any) -> Any:
        return self.law.cdf(self.back(x))

    def sf(self, x: Any) -> Any:
        return self.law.sf(self.back(x))

    def pdf(self, x: Any) -> Any:
        return self.law.pdf(self.back(x)) * self.slope(x)

    def mean(self) -> float:
        return self._moment(1)

    def var(self) -> float:
        return self._moment(2) - self._moment(1) ** 2

    def _moment(self, power: int) -> float:
        """On (0, 1), by the distribution function, which has no poles."""
        return 1 - quad(lambda x: power * x ** (power - 1) * self.cdf(x), 0, 1, epsabs=1e-11, limit=200)[0]


class Reflected:
    """The law of 1 less a draw of SciPy's."""

    def __init__(self, law: Any):
        self.law = law

    def cdf(self, x: Any) -> Any:
        return self.law.sf(1 - x)

    def sf(self, x: Any) -> Any:
        return self.law.cdf(1 - x)

    def pdf(self, x: Any) -> Any:
        return self.law.pdf(1 - x)

    def mean(self) -> float:
        return 1 - self.law.mean()

    def var(self) -> float:
        return self.law.var()


class Half:
    """The law of the absolute value of a symmetric draw of SciPy's."""

    def __init__(self, law: Any):
        self.law = law

    def cdf(self, x: Any) -> Any:
        return 1 - self.sf(x)

    def sf(self, x: Any) -> Any:
        return 2 * self.law.sf(x)

    def pdf(self, x: Any) -> Any:
        return 2 * self.law.pdf(x)


def _logit(law: Any) -> Transformed:
    return Transformed(law, lambda x: np.log(x / (1 - x)), lambda x: 1 / (x * (1 - x)))


def _kumaraswamy(a, b):
    return Transformed(st.beta(1, b), lambda x: x**a, lambda x: a * x ** (a - 1))


def _continuous_bernoulli(logits):
    falling = st.truncexpon(abs(logits), scale=1 / abs(logits))
    return falling if logits < 0 else Reflected(falling)


def _triangular(low, mode, high):
    return st.triang((mode - low) / (high - low), low, high - low)


MORE = [
    Law("half_normal", reparam.half_normal, (2.0,), lambda s: st.halfnorm(scale=s)),
    Law("half_cauchy", reparam.half_cauchy, (2.0,), lambda s: st.halfcauchy(scale=s)),
    Law("kumaraswamy", reparam.kumaraswamy, (2.0, 3.0), _kumaraswamy),
    Law("kumaraswamy", reparam.kumaraswamy, (0.7, 0.5), _kumaraswamy),
    Law("generalized_pareto", reparam.generalized_pareto, (0.3, 2.0), lambda c, s: st.genpareto(c, scale=s)),
    Law("generalized_pareto", reparam.generalized_pareto, (-0.4, 2.0), lambda c, s: st.genpareto(c, scale=s)),
    Law("generalized_pareto", reparam.generalized_pareto, (1e-3, 1.0), lambda c, s: st.genpareto(c, scale=s)),
    Law("triangular", reparam.triangular, (1.0, 1.5, 4.0), _triangular),
    Law("logit_normal", reparam.logit_normal, (0.3, 0.8), lambda m, s: _logit(st.norm(m, s))),
    Law("relaxed_bernoulli", reparam.relaxed_bernoulli, (0.5, 0.7), lambda a, t: _logit(st.logistic(a / t, 1 / t))),
]
MORE += [
    Law("continuous_bernoulli", reparam.continuous_bernoulli, (a,), _continuous_bernoulli)
    for a in (0.02, 1.5, -4.0, 30.0)
]
SHAPED = [
    Law("generalized_normal", reparam.generalized_normal, (1.0, 2.0, b), lambda m, s, b: st.gennorm(b, m, s))
    for b in (0.8, 4.0)
]
SHAPED += [
    Law("half_student_t", reparam.half_student_t, (3.0, 2.0), lambda n, s: Half(st.t(n, scale=s)), unique=False),
    Law("fisher_snedecor", reparam.fisher_snedecor, (3.0, 5.0), st.f, unique=False),
]
VON_MISES = Law("von_mises", reparam.von_mises, (0.5, 2.0), st.vonmises)
LAWS = BASIC + TRUNCATED + LOGGAMMA + GAMMA + INVERSE_GAUSSIAN + COMPOSED + MORE + SHAPED


def kolmogorov(x, law) -> float:
    """√n sup |F − Fₙ| at the edges between floating numbers, from the smaller tail so that both keep precision."""
    x, counts = np.unique(np.asarray(x), return_counts=True)
    n, rank = counts.sum(), np.cumsum(counts)
    worst = 0.0
    for toward, seen in ((np.inf, rank), (-np.inf, rank - counts)):
        edge = (x.astype(float) + np.nextafter(x, x.dtype.type(toward)).astype(float)) / 2
        below = law.cdf(edge)
        apart = np.where(below < 0.5, below - seen / n, (n - seen) / n - law.sf(edge))
        worst = max(worst, np.abs(apart).max())
    return np.sqrt(n) * worst


def implicit_gradient(law: Law, x, i: int, step: float = 1e-5):
    """−(∂F/∂θᵢ) / p at x, from central differences of SciPy's smaller tail, to about 10⁻⁸."""
    if law.name == "truncated_normal":
        return _truncated_gradient(law.at, x)[i]

    def tail(change):
        at = [value + change if j == i else value for j, value in enumerate(law.at)]
        return np.where(left, law.scipy(*at).cdf(x), -law.scipy(*at).sf(x))

    left = law.scipy(*law.at).cdf(x) < 0.5
    h = step * max(abs(law.at[i]), 1e-3)
    slope = (8 * (tail(h) - tail(-h)) - (tail(2 * h) - tail(-2 * h))) / (12 * h)
    return -slope / law.scipy(*law.at).pdf(x)


def _truncated_gradient(at, x):
    """The same by quadrature of the scores on either side of x: SciPy's tails are too coarse to be differenced."""
    loc, scale, low, high = at
    a, b, z = (low - loc) / scale, (high - loc) / scale, (x - loc) / scale
    reach = [80 / (t + np.sqrt(t * t + 80)) for t in (max(a, 0.0), max(-b, 0.0))]

    def moments(start, end):
        t = start + (end - start) * (NODES[:, None] + 1) / 2
        level = WEIGHTS[:, None] * (end - start) / 2 * np.exp((z - t) * (z + t) / 2)
        return level.sum(0), (level * t).sum(0) / level.sum(0), (level * t * t).sum(0) / level.sum(0)

    left, left_mean, left_square = moments(max(a, min(b, 0.0) - reach[1]), z)
    right, right_mean, right_square = moments(z, min(b, max(a, 0.0) + reach[0]))
    below, above = left / (left + right), right / (left + right)
    return (
        below * right * (right_mean - left_mean),
        below * right * (right_square - left_square),
        above * np.exp((z - a) * (z + a) / 2),
        below * np.exp((z - b) * (z + b) / 2),
    )
