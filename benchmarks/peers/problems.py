"""The six problems, for every tool alike: data, log densities, starts, true moments. Needs NumPy alone.

A position is a flat vector (dim,) of unconstrained numbers. `log_density(name, xp)` is a function of a position
and the problem's data, in the arrays of `xp` (NumPy or `jax.numpy`); many positions (..., dim) give (...,) values.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

DIM = {"schools": 10, "logistic": 25, "normal": 100, "rosenbrock": 10, "line": 3, "funnel": 10}
TITLES = {
    "schools": "eight schools, non-centred, 10-d",
    "logistic": "logistic regression, 1000 x 25",
    "normal": "normal, 100-d, condition 10⁴",
    "rosenbrock": "Rosenbrock, 10-d",
    "line": "line fit with misjudged errors, 3-d",
    "funnel": "Neal's funnel, 10-d",
}
NAMES = tuple(DIM)
REFERENCE = Path(__file__).with_name("reference.json")
LINE_NEAR = (-1.0, 4.5, -0.7)  # slope, intercept, log fraction: where a least-squares fit would start
LINE_LOW, LINE_HIGH = (-5.0, 0.0, -10.0), (0.5, 10.0, 1.0)
ROSENBROCK_SCALE, FUNNEL_SCALE = 0.1, 3.0


def data(name):
    """The problem's arrays in float64, or None."""
    if name == "schools":  # Rubin 1981
        effects = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
        errors = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
        return {"y": np.array(effects), "sigma": np.array(errors)}
    if name == "logistic":  # equicorrelated features (0.5), the first column an intercept
        rng = np.random.default_rng(20240501)
        n, d = 1000, DIM[name]
        x = rng.standard_normal((n, d)) @ np.linalg.cholesky(0.5 * np.eye(d) + 0.5).T
        x[:, 0] = 1.0
        coefficients = 0.7 * rng.standard_normal(d)
        y = rng.random(n) < 1 / (1 + np.exp(-x @ coefficients))
        return {"x": x, "y": y.astype(float)}
    if name == "normal":
        rotation, variances = _normal_axes()
        return {"precision": (rotation / variances) @ rotation.T}
    if name == "line":  # the straight line of emcee's tutorial: errors underestimated by a fraction of the model
        rng = np.random.RandomState(123)  # the generator that made those data
        slope, intercept, fraction = -0.9594, 4.294, 0.534
        x = np.sort(10 * rng.rand(50))
        error = 0.1 + 0.5 * rng.rand(50)
        y = slope * x + intercept
        y += np.abs(fraction * y) * rng.randn(50)
        y += error * rng.randn(50)
        return {"x": x, "y": y, "error": error}
    return None


def _normal_axes():
    """Of the 100-d normal: the principal axes as columns, and the variances along them."""
    d = DIM["normal"]
    rotation, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((d, d)))
    return rotation, np.logspace(-2, 2, d)


def log_density(name, xp):
    """The problem's log density, `f(position, data)`, up to a constant."""
    return {
        "schools": _schools,
        "logistic": _logistic,
        "normal": _normal,
        "rosenbrock": _rosenbrock,
        "line": _line,
        "funnel": _funnel,
    }[name](xp)


def _schools(xp):
    def f(q, data):
        mu, log_tau, z = q[..., 0], q[..., 1], q[..., 2:]
        tau = xp.exp(log_tau)
        prior = -0.5 * (mu / 5) ** 2 - xp.log1p((tau / 5) ** 2) + log_tau - 0.5 * (z**2).sum(-1)
        misfit = (data["y"] - mu[..., None] - tau[..., None] * z) / data["sigma"]
        return prior - 0.5 * (misfit**2).sum(-1)

    return f


def _logistic(xp):
    def f(q, data):
        logits = q @ data["x"].T
        return (data["y"] * logits - xp.logaddexp(0.0, logits)).sum(-1) - 0.5 * (q**2).sum(-1)

    return f


def _normal(xp):
    def f(q, data):
        return -0.5 * ((q @ data["precision"]) * q).sum(-1)

    return f


def _rosenbrock(xp):
    def f(q, data):
        a, b = q[..., 0::2], q[..., 1::2]
        return -0.5 * ((a - 1) ** 2).sum(-1) - 0.5 * (((b - a**2) / ROSENBROCK_SCALE) ** 2).sum(-1)

    return f


def _line(xp):
    def f(q, data):
        slope, intercept, log_fraction = q[..., 0], q[..., 1], q[..., 2]
        model = slope[..., None] * data["x"] + intercept[..., None]
        variance = data["error"] ** 2 + model**2 * xp.exp(2 * log_fraction)[..., None]
        lp = -0.5 * ((data["y"] - model) ** 2 / variance + xp.log(variance)).sum(-1)
        inside = True
        for i in range(3):
            inside &= (q[..., i] > LINE_LOW[i]) & (q[..., i] < LINE_HIGH[i])
        return xp.where(inside, lp, -xp.inf)

    return f


def _funnel(xp):
    def f(q, data):
        v, z = q[..., 0], q[..., 1:]
        width = -0.5 * (DIM["funnel"] - 1) * v
        return -0.5 * (v / FUNNEL_SCALE) ** 2 + width - 0.5 * (z**2).sum(-1) * xp.exp(-v)

    return f


def starts(name, chains, seed):
    """Starts (chain, dim): uniform in (-2, 2), but near the least-squares fit for the line."""
    rng = np.random.default_rng(seed)
    if name == "line":
        return np.array(LINE_NEAR) + 0.05 * rng.standard_normal((chains, DIM[name]))
    return rng.uniform(-2, 2, (chains, DIM[name]))


def moments(name):
    """True means and standard deviations (dim,): in closed form, or from `reference.json`."""
    d = DIM[name]
    if name == "normal":
        rotation, variances = _normal_axes()
        return np.zeros(d), np.sqrt(((rotation * variances) * rotation).sum(1))
    if name == "rosenbrock":  # a ~ N(1, 1): mean of a² 2, variance of a² 6
        return np.tile([1.0, 2.0], d // 2), np.tile([1.0, np.sqrt(6 + ROSENBROCK_SCALE**2)], d // 2)
    if name == "funnel":  # z_i given v ~ N(0, exp(v)): variance exp(FUNNEL_SCALE² / 2)
        return np.zeros(d), np.r_[FUNNEL_SCALE, np.full(d - 1, np.exp(FUNNEL_SCALE**2 / 4))]
    found = json.loads(REFERENCE.read_text())[name]
    return np.array(found["mean"]), np.array(found["sd"])
