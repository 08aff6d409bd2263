"""Targets whose moments are known: the shared list on which every sampler is tested.

`LAWS` is the list and `BY_NAME` the same by name. Densities are unnormalised where that is simpler; means and
standard deviations are exact (closed forms, enumeration or quadrature), and tests/test_laws.py checks each by
an independent account. `funnel_hard` has `hard=True`: no kernel without a reparametrisation is expected
to get it right, but every run is expected to say so.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from scipy.integrate import quad

from mcmc.target.support import Support, boolean, circular, integer, interval, ordered, positive, real, simplex


@dataclass(frozen=True)
class Law:
    """A target: its log density, its parameters' supports, and the exact mean and sd of every parameter."""

    name: str
    log_density: Callable[[dict[str, Any]], Any]
    parameters: dict[str, Support]
    mean: dict[str, np.ndarray]
    sd: dict[str, np.ndarray]
    covariance: dict[str, np.ndarray] = field(default_factory=dict)  # where known, by parameter
    discrete: bool = False
    hard: bool = False

    def __repr__(self) -> str:
        return self.name


# --- normals and the like -----------------------------------------------------------------------------


def _like(constant: np.ndarray, x: Any) -> Any:
    """The constant in the dtype of x, so that a log density stays in it."""
    return jnp.asarray(constant, x.dtype)


LOC, SCALE = np.array([1.0, -2.0, 0.5]), np.array([0.1, 1.0, 10.0])


def _normal(p):
    x = p["x"]
    return -0.5 * jnp.sum(((x - _like(LOC, x)) / _like(SCALE, x)) ** 2)


normal = Law("normal", _normal, {"x": real(3)}, {"x": LOC}, {"x": SCALE}, {"x": np.diag(SCALE**2)})

CORRELATED_LOC = np.array([0.0, 1.0, 2.0, -1.0, -2.0])
CORRELATED = 0.1 * np.eye(5) + 0.9
CORRELATED_PRECISION = 10 * (np.eye(5) - 0.9 / 4.6)


def _correlated(p):
    x = p["x"] - _like(CORRELATED_LOC, p["x"])
    return -0.5 * jnp.sum(x * (_like(CORRELATED_PRECISION, x) @ x))


correlated_normal = Law(
    "correlated_normal",
    _correlated,
    {"x": real(5)},
    {"x": CORRELATED_LOC},
    {"x": np.ones(5)},
    {"x": CORRELATED},
)

NU = 7.0


def _student_t(p):
    return -0.5 * (NU + 2) * jnp.log1p(jnp.sum(p["x"] ** 2) / NU)


student_t = Law(
    "student_t",
    _student_t,
    {"x": real(2)},
    {"x": np.zeros(2)},
    {"x": np.full(2, math.sqrt(NU / (NU - 2)))},
    {"x": NU / (NU - 2) * np.eye(2)},
)


def _mixture(p):
    left, right = -0.5 * (p["x"] + 1.5) ** 2, -0.5 * (p["x"] - 1.5) ** 2
    return jnp.logaddexp(math.log(0.3) + left, math.log(0.7) + right)


mixture = Law("mixture", _mixture, {"x": real()}, {"x": np.array(0.6)}, {"x": np.array(1.7)})


# --- awkward shapes -----------------------------------------------------------------------------------


def _funnel(scale: float):
    def log_density(p):
        v, x = p["v"], p["x"]
        return -0.5 * (v / scale) ** 2 - 0.5 * jnp.sum(x**2) * jnp.exp(-v) - 0.5 * x.size * v

    return log_density


def _funnel_law(name: str, scale: float, n: int, hard: bool = False) -> Law:
    sd = {"v": np.array(scale), "x": np.full(n, math.exp(scale**2 / 4))}  # E x^2 = E exp(v)
    return Law(
        name,
        _funnel(scale),
        {"v": real(), "x": real(n)},
        {"v": np.array(0.0), "x": np.zeros(n)},
        sd,
        hard=hard,
    )


funnel = _funnel_law("funnel", 1.0, 2)
funnel_hard = _funnel_law("funnel_hard", 3.0, 9, hard=True)

BEND = 0.5


def _banana(p):
    return -0.5 * (p["x1"] - 1) ** 2 - 0.5 * ((p["x2"] - p["x1"] ** 2) / BEND) ** 2


banana = Law(
    "banana",
    _banana,
    {"x1": real(), "x2": real()},
    {"x1": np.array(1.0), "x2": np.array(2.0)},  # E x1^2 = 1 + 1
    {"x1": np.array(1.0), "x2": np.array(math.sqrt(6 + BEND**2))},  # var x1^2 = 2 + 4
)


# --- constrained --------------------------------------------------------------------------------------


def _dirichlet_moments(a):
    a = np.asarray(a, float)
    total = a.sum()
    mean = a / total
    return (
        mean,
        np.sqrt(mean * (1 - mean) / (total + 1)),
        (np.diag(mean) - np.outer(mean, mean)) / (total + 1),
    )


DIRICHLET = np.array([2.0, 3.0, 4.0])
_mean, _sd, _covariance = _dirichlet_moments(DIRICHLET)


def _dirichlet(p):
    return jnp.sum(_like(DIRICHLET - 1, p["x"]) * jnp.log(p["x"]))


dirichlet = Law("dirichlet", _dirichlet, {"x": simplex(3)}, {"x": _mean}, {"x": _sd}, {"x": _covariance})


def _gamma(p):
    return 2 * jnp.log(p["x"]) - 2 * p["x"]


gamma = Law("gamma", _gamma, {"x": positive()}, {"x": np.array(1.5)}, {"x": np.array(math.sqrt(3) / 2)})

BOUNDED = np.array([3.0, 2.0, 2.0])  # (alpha, beta, 1 - alpha - beta) is Dirichlet
_mean, _sd, _ = _dirichlet_moments(BOUNDED)


def _bounded(p):
    return 2 * jnp.log(p["alpha"]) + jnp.log(p["beta"]) + jnp.log1p(-p["alpha"] - p["beta"])


bounded = Law(
    "bounded",
    _bounded,
    {"alpha": interval(0.0, 1.0), "beta": interval(0.0, lambda p: 1 - p["alpha"])},
    {"alpha": _mean[0], "beta": _mean[1]},
    {"alpha": _sd[0], "beta": _sd[1]},
)


def _order_statistics(p):
    return -0.5 * jnp.sum(p["x"] ** 2)


_outer, _inner = 1 + math.sqrt(3) / (2 * math.pi) - 9 / (4 * math.pi), 1 - math.sqrt(3) / math.pi
order_statistics = Law(  # of three standard normals
    "order_statistics",
    _order_statistics,
    {"x": ordered(3)},
    {"x": np.array([-1.0, 0.0, 1.0]) * 3 / (2 * math.sqrt(math.pi))},
    {"x": np.sqrt([_outer, _inner, _outer])},
)

DIRECTION, CONCENTRATION = 0.5, 2.0


def _von_mises(p):
    return CONCENTRATION * jnp.cos(p["angle"] - DIRECTION)


def _angle_moment(power: int) -> float:
    """Of the angle as a number in [-pi, pi), not as a direction."""

    def weight(x: float) -> float:
        return math.exp(CONCENTRATION * math.cos(x - DIRECTION))

    def integral(power: int) -> float:
        return quad(lambda x: x**power * weight(x), -math.pi, math.pi, epsabs=1e-12, epsrel=1e-12)[0]

    return integral(power) / integral(0)


_angle = _angle_moment(1)
von_mises = Law(
    "von_mises",
    _von_mises,
    {"angle": circular()},
    {"angle": np.array(_angle)},
    {"angle": np.array(math.sqrt(_angle_moment(2) - _angle**2))},
)


# --- discrete -----------------------------------------------------------------------------------------


def _binomial(p):
    n = p["n"]
    return n * math.log(0.3) + (10 - n) * math.log(0.7) - gammaln(n + 1.0) - gammaln(11.0 - n)


binomial = Law(
    "binomial",
    _binomial,
    {"n": integer(0, 10)},
    {"n": np.array(3.0)},
    {"n": np.array(math.sqrt(2.1))},
    discrete=True,
)

COUPLING = 0.15
FIELD = np.array([[0.4, -0.2, 0.1], [0.0, 0.3, -0.5], [0.2, 0.0, -0.1]])


def _ising(p, xp=jnp):  # a 3 by 3 torus
    spin = 2 * xp.asarray(p["up"], float) - 1
    neighbours = xp.roll(spin, 1, -1) + xp.roll(spin, 1, -2)
    return xp.sum(COUPLING * spin * neighbours + FIELD * spin, axis=(-2, -1))


def _ising_law() -> Law:
    states = np.array(list(itertools.product([False, True], repeat=9))).reshape(-1, 3, 3)
    weights = np.exp(_ising({"up": states}, np))
    mean = np.tensordot(weights / weights.sum(), states.astype(float), 1)
    return Law(
        "ising",
        _ising,
        {"up": boolean(3, 3)},
        {"up": mean},
        {"up": np.sqrt(mean * (1 - mean))},
        discrete=True,
    )


ising = _ising_law()

LAWS = [
    normal,
    correlated_normal,
    student_t,
    mixture,
    funnel,
    funnel_hard,
    banana,
    dirichlet,
    gamma,
    bounded,
    order_statistics,
    von_mises,
    binomial,
    ising,
]
BY_NAME = {law.name: law for law in LAWS}
