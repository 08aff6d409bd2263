"""One-dimensional densities with known distribution functions: the shared list for samplers without a chain.

`DENSITIES` is the list, easy ones first, and `BY_NAME` the same by name. Log densities are unnormalised, elementwise
and in jax.numpy; `cdf`, `sf` (1 - cdf, with its own relative precision) and `icdf` are in NumPy and float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy import stats

INF = math.inf


@dataclass(frozen=True)
class Density:
    """A log density on a support, and what is known of it; `breaks` are its jumps and kinks."""

    name: str
    log_density: Callable
    support: tuple[float, float]
    cdf: Callable
    icdf: Callable | None
    breaks: tuple[float, ...] = ()
    log_concave: bool = True
    bounded: bool = True
    sf: Callable | None = None


def of(name, log_density, law, support=None, **more):
    """A density whose law is one of SciPy's."""
    low, high = support or law.support()
    return Density(name, log_density, (float(low), float(high)), law.cdf, law.ppf, sf=law.sf, **more)


def normal(x, loc=0.0, scale=1.0):
    return -0.5 * ((x - loc) / scale) ** 2


def gamma(a):
    return lambda x: (a - 1) * jnp.log(x) - x


def beta(a, b):
    return lambda x: (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x)


def student(df):
    """In a form that does not overflow where x² does."""
    return lambda x: -(df + 1) * (jnp.log(jnp.hypot(x, math.sqrt(df))))


def truncated(loc, low, high):
    """A normal of scale 1 on [low, high], by tails."""
    law = stats.truncnorm(low - loc, high - loc, loc=loc)
    return of(f"normal({loc:g}, 1) on [{low:g}, {high:g}]", lambda x: normal(x, loc), law, (low, high))


def mixture(name, parts, **more):
    """Two normals, given as (weight, loc, scale)."""

    def log_density(x):
        return jnp.logaddexp(*(math.log(w / s) + normal(x, m, s) for w, m, s in parts))

    def of_all(kind):
        return lambda x: sum(w * getattr(stats.norm, kind)(x, m, s) for w, m, s in parts)

    return Density(name, log_density, (-INF, INF), of_all("cdf"), None, log_concave=False, sf=of_all("sf"), **more)


STEPS = np.array([0.0, 1.0, 1.5, 4.0]), np.array([1.0, 5.0, 0.1])  # edges and heights
GAP = np.array([0.0, 1.0, 3.0, 4.0]), np.array([2.0, 0.0, 1.0])


def staircase(name, edges, heights):
    knots = np.concatenate([[0.0], np.cumsum(np.diff(edges) * heights)])
    knots /= knots[-1]
    logs = [math.log(h) if h else -INF for h in heights]

    def log_density(x):
        value = jnp.full_like(x, logs[-1])
        for edge, log in reversed(list(zip(edges[1:-1], logs, strict=False))):
            value = jnp.where(x < edge, log, value)
        return value

    return Density(
        name,
        log_density,
        (float(edges[0]), float(edges[-1])),
        lambda x: np.interp(x, edges, knots),
        None,
        breaks=tuple(edges[1:-1].tolist()),
        log_concave=False,
    )


def wave(x):
    """Integral of 1 + 0.9 sin(40 x) from 0, over that to 2π."""
    return (x + 0.9 * (1 - np.cos(40 * x)) / 40) / (2 * np.pi)


def two_sided_maxwell(x):
    return stats.norm.cdf(x) - x * stats.norm.pdf(x)


EASY = (
    of("normal", normal, stats.norm()),
    of("normal(1e6, 1)", lambda x: normal(x, 1e6), stats.norm(1e6)),
    of("normal(-3e4, 200)", lambda x: normal(x, -3e4, 200.0), stats.norm(-3e4, 200)),
    of("normal, log density up by 5000", lambda x: normal(x) + 5000.0, stats.norm()),
    of("normal, log density down by 5000", lambda x: normal(x) - 5000.0, stats.norm()),
    of("half normal", normal, stats.halfnorm()),
    of("exponential", lambda x: -x, stats.expon()),
    Density(
        "exponential to the left of 3",
        lambda x: x,
        (-INF, 3.0),
        lambda x: np.exp(x - 3),
        lambda u: 3 + np.log(u),
        sf=lambda x: -np.expm1(x - 3),
    ),
    of("gamma(2.5)", gamma(2.5), stats.gamma(2.5)),
    of("gamma(2) of scale 1e-8", lambda x: jnp.log(x) - 1e8 * x, stats.gamma(2, scale=1e-8)),
    of("beta(2, 3)", beta(2.0, 3.0), stats.beta(2, 3)),
    of("uniform(2, 3)", jnp.zeros_like, stats.uniform(2, 1)),
    of("logistic", lambda x: -x - 2 * jnp.log1p(jnp.exp(-x)), stats.logistic()),
    of("gumbel", lambda x: -x - jnp.exp(-x), stats.gumbel_r()),
    of("generalised normal(4)", lambda x: -(x**4), stats.gennorm(4)),
    of(
        "von mises(20)", lambda x: 20.0 * (jnp.cos(x) - 1.0), stats.vonmises(20), (-math.pi, math.pi), log_concave=False
    ),
    truncated(0.0, -1.0, 2.0),
)
NASTY = (
    of("gamma(0.2)", gamma(0.2), stats.gamma(0.2), log_concave=False, bounded=False),
    of("beta(0.5, 0.5)", beta(0.5, 0.5), stats.beta(0.5, 0.5), log_concave=False, bounded=False),
    of("beta(0.7, 3)", beta(0.7, 3.0), stats.beta(0.7, 3), log_concave=False, bounded=False),
    of(
        "weibull(0.5)",
        lambda x: -0.5 * jnp.log(x) - jnp.sqrt(x),
        stats.weibull_min(0.5),
        log_concave=False,
        bounded=False,
    ),
    of("student t(1.5)", student(1.5), stats.t(1.5), log_concave=False),
    of("student t(0.5)", student(0.5), stats.t(0.5), log_concave=False),
    of("cauchy", lambda x: -jnp.log1p(x * x), stats.cauchy(), log_concave=False),
    of("lognormal(0, 2)", lambda x: -jnp.log(x) - jnp.log(x) ** 2 / 8, stats.lognorm(2), log_concave=False),
    of("levy", lambda x: -1.5 * jnp.log(x) - 0.5 / x, stats.levy(), log_concave=False),
    of("pareto(0.8)", lambda x: -1.8 * jnp.log(x), stats.pareto(0.8), log_concave=False),
    of("laplace", lambda x: -jnp.abs(x), stats.laplace(), breaks=(0.0,)),
    of(
        "generalised normal(0.5)",
        lambda x: -jnp.sqrt(jnp.abs(x)),
        stats.gennorm(0.5),
        breaks=(0.0,),
        log_concave=False,
    ),
    of("triangular", lambda x: jnp.log(jnp.where(x < 0.3, x / 0.3, (1 - x) / 0.7)), stats.triang(0.3), breaks=(0.3,)),
    of("normal(1, 1e-5)", lambda x: normal(x, 1.0, 1e-5), stats.norm(1, 1e-5)),
    truncated(0.0, 38.0, INF),
    mixture("two normals", [(0.3, -2.0, 0.5), (0.7, 2.0, 1.0)]),
    mixture("a mode of mass 0.001 thirty standard deviations away", [(0.999, 0.0, 1.0), (0.001, 30.0, 1.0)]),
    mixture("a spike on a plain", [(0.5, 0.0, 1.0), (0.5, 0.7, 1e-3)]),
    staircase("steps", *STEPS),
    staircase("gap", *GAP),
    Density("waves", lambda x: jnp.log1p(0.9 * jnp.sin(40 * x)), (0.0, 2 * math.pi), wave, None, log_concave=False),
    Density(
        "two-sided maxwell",
        lambda x: 2 * jnp.log(jnp.abs(x)) - 0.5 * x * x,
        (-INF, INF),
        two_sided_maxwell,
        None,
        log_concave=False,
        sf=lambda x: two_sided_maxwell(-x),
    ),
)
DENSITIES = list(EASY + NASTY)
BY_NAME = {density.name: density for density in DENSITIES}
