"""Time series: an autoregression, a GARCH model and a hidden Markov model."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import logsumexp
from jax.scipy.stats import cauchy, norm

import mcmc


def autoregression(data):
    """y_t ~ N(alpha + Σ_k beta_k·y_(t−k), sigma), t > K; alpha, beta ~ N(0, 10), sigma ~ HalfCauchy(0, 2.5)."""
    order, y = int(data["K"]), np.asarray(data["y"], float)
    lags = np.column_stack([y[order - k : len(y) - k] for k in range(1, order + 1)])

    def log_density(p, data):
        prior = norm.logpdf(p["alpha"], 0.0, 10.0) + norm.logpdf(p["beta"], 0.0, 10.0).sum()
        prior += cauchy.logpdf(p["sigma"], 0.0, 2.5)
        return prior + norm.logpdf(data["y"], p["alpha"] + data["lags"] @ p["beta"], p["sigma"]).sum()

    return mcmc.Target(
        log_density,
        {"alpha": mcmc.real(), "beta": mcmc.real(order), "sigma": mcmc.positive()},
        data={"y": y[order:], "lags": lags},
        dims={"beta": ["lag"], "lags": ["time", "lag"], "y": ["time"]},
        coords={"lag": list(range(1, order + 1))},
    )


def garch(data):
    """y_t ~ N(mu, s_t), s_t² = alpha0 + alpha1·(y_(t−1) − mu)² + beta1·s_(t−1)², s_1 given; beta1 < 1 − alpha1."""

    def log_density(p, data):
        def advance(variance, shock):
            variance = p["alpha0"] + p["alpha1"] * shock + p["beta1"] * variance
            return variance, variance

        first = data["sigma1"] ** 2
        _, rest = lax.scan(advance, first, (data["y"][:-1] - p["mu"]) ** 2)
        return norm.logpdf(data["y"], p["mu"], jnp.sqrt(jnp.append(first, rest))).sum()

    parameters = {
        "mu": mcmc.real(),
        "alpha0": mcmc.positive(),
        "alpha1": mcmc.interval(0.0, 1.0),
        "beta1": mcmc.interval(0.0, lambda p: 1 - p["alpha1"]),
    }
    arrays = {name: np.asarray(data[name], float) for name in ("y", "sigma1")}
    return mcmc.Target(log_density, parameters, data=arrays)


def hidden_markov_drives(data):
    """In hidden state k: u_t ~ Exponential(phi_k), v_t ~ Exponential(lambda_k); the states are summed out.

    From state k the chain goes on by theta_k ~ Dirichlet(alpha_k), and its first state has a flat weight of 1;
    phi_1, lambda_1 ~ N(0, 1), phi_2, lambda_2 ~ N(3, 1), each pair positive and in order.
    """

    def log_density(p, data):
        transition = jnp.stack([p["theta1"], p["theta2"]])
        prior = ((data["alpha"] - 1) * jnp.log(transition)).sum()
        prior += sum(norm.logpdf(p[name], jnp.array([0.0, 3.0]), 1.0).sum() for name in ("phi", "lambda"))
        emission = exponential(data["u"], p["phi"]) + exponential(data["v"], p["lambda"])
        return prior + forward(transition, emission)

    parameters = {
        "theta1": mcmc.simplex(2),
        "theta2": mcmc.simplex(2),
        "phi": mcmc.positive_ordered(2),
        "lambda": mcmc.positive_ordered(2),
    }
    arrays = {name: np.asarray(data[name], float) for name in ("u", "v", "alpha")}
    dims = {"theta1": ["to"], "theta2": ["to"], "phi": ["state"], "lambda": ["state"]}
    return mcmc.Target(log_density, parameters, data=arrays, dims=dims, coords={"state": [1, 2], "to": [1, 2]})


def exponential(x, rate):
    """Log density of Exponential(rate) for every x and rate: (time,), (state,) -> (time, state)."""
    return jnp.log(rate) - x[:, None] * rate


def forward(transition, emission):
    """Log density of a hidden Markov chain's observations, the states summed out by the forward algorithm.

    transition: (from, to) probabilities; emission: (time, state) log densities; a weight of 1 on each first state.
    """
    log_transition = jnp.log(transition)

    def advance(log_weight, emission):
        return logsumexp(log_weight[:, None] + log_transition, axis=0) + emission, None

    return logsumexp(lax.scan(advance, emission[0], emission[1:])[0])
