"""Moments that have no closed form, into `reference.json`: `python benchmarks/peers/reference.py`, one or two minutes.

- schools: quadrature over (mu, log tau); given those, each effect is normal.
- line: quadrature over a grid around the mode that leaves out less than 1e-6 of the density at its edge.
- logistic: importance sampling, 2 million draws of a Student t around the mode, with its ESS.
"""

from __future__ import annotations

import json

import numpy as np
import problems


def main():
    found = {"schools": schools(), "line": line(), "logistic": logistic()}
    problems.REFERENCE.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {problems.REFERENCE.name}")


def schools(points=(1201, 3001)):
    """Means and sds of mu, log tau and the eight standardised effects."""
    data = problems.data("schools")
    mu = np.linspace(-25, 35, points[0])[:, None]
    log_tau = np.linspace(-14, 6, points[1])[None]
    tau = np.exp(log_tau)
    log_weight = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) + log_tau
    for y, sigma in zip(data["y"], data["sigma"], strict=True):
        variance = sigma**2 + tau**2
        log_weight = log_weight - 0.5 * (y - mu) ** 2 / variance - 0.5 * np.log(variance)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    firsts, seconds = [mu, log_tau], [mu**2, log_tau**2]
    for y, sigma in zip(data["y"], data["sigma"], strict=True):
        variance = 1 / (1 + (tau / sigma) ** 2)
        mean = variance * tau * (y - mu) / sigma**2
        firsts.append(mean)
        seconds.append(variance + mean**2)
    mean = np.array([(weight * g).sum() for g in firsts])
    square = np.array([(weight * g).sum() for g in seconds])
    how = f"quadrature over mu and log tau, {points[0]} x {points[1]} points"
    return result(how, mean, square)


def line(points=141):
    """Means and sds of slope, intercept and log fraction."""
    f, data = problems.log_density("line", np), problems.data("line")
    low, high = (-1.7, 2.0, -1.7), (-0.5, 7.0, 0.7)
    axes = [np.linspace(a, b, points) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    lp = np.stack([f(plane, data) for plane in grid])
    weight = np.exp(lp - lp.max())
    edge = max(np.take(weight, end, axis).max() for axis in range(3) for end in (0, -1))
    weight /= weight.sum()
    mean = np.einsum("abc,abcd->d", weight, grid)
    square = np.einsum("abc,abcd->d", weight, grid**2)
    how = f"quadrature, {points}³ points, largest relative density at the edge {edge:.1g}"
    return result(how, mean, square)


def logistic(rounds=100, size=20_000, degrees=30.0):
    """Means and sds of the 25 coefficients."""
    f, data = problems.log_density("logistic", np), problems.data("logistic")
    mode, factor = laplace(data)
    d, rng, at_mode = len(mode), np.random.default_rng(0), f(mode, data)
    total = squared = first = second = 0.0
    for _ in range(rounds):
        z = rng.standard_normal((size, d)) / np.sqrt(rng.chisquare(degrees, (size, 1)) / degrees)
        q = mode + z @ factor.T
        log_proposal = -0.5 * (degrees + d) * np.log1p((z**2).sum(1) / degrees)
        weight = np.exp(f(q, data) - at_mode - log_proposal)
        total, squared = total + weight.sum(), squared + (weight**2).sum()
        first, second = first + weight @ q, second + weight @ q**2
    how = f"importance sampling, {rounds * size:,} draws of a Student t, ESS {total**2 / squared:,.0f}"
    return result(how, first / total, second / total)


def laplace(data, rounds=50):
    """The mode by Newton's method, and a factor of the inverse curvature there."""
    mode = np.zeros(data["x"].shape[1])
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-data["x"] @ mode))
        curvature = (data["x"].T * (chance * (1 - chance))) @ data["x"] + np.eye(len(mode))
        mode = mode + np.linalg.solve(curvature, data["x"].T @ (data["y"] - chance) - mode)
    return mode, np.linalg.cholesky(np.linalg.inv(curvature))


def result(how, mean, square):
    return {"how": how, "mean": mean.tolist(), "sd": np.sqrt(square - mean**2).tolist()}


if __name__ == "__main__":
    main()
