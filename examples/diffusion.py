r"""Diffusion on scikit-learn's digits of 8 x 8: images out of noise by a chain of reparameterised Gaussian draws.

Noise is added to an image x_0 in T steps, q(x_t | x_0) = N(sqrt(a_t) x_0, 1 - a_t), until nothing is left of it. A
network learns to tell image and noise apart in x_t; with its estimate, ancestral sampling goes back step by step:

    x_T ~ N(0, 1)        x_{t-1} = mean(x_t, t) + sigma_t z,    z ~ N(0, 1)

Each step is `reparam.normal`, so an image is a differentiable function of everything in its chain. Shown here: the
derivative of the mean ink of the images in the size of the noise, beside a difference of two runs with the same keys.
The images are compared with held-out ones by the energy distance, beside draws of a normal distribution with the
training images' mean and covariance.

    python examples/diffusion.py --out pictures
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from mcmc import reparam

NAME = "diffusion"
IMAGES = load_digits().data.astype(np.float32) / 8 - 1  # (1797, 64), from -1 to 1
ORDER = np.random.default_rng(0).permutation(len(IMAGES))
TRAIN, TEST = IMAGES[ORDER[:1300]], IMAGES[ORDER[1300:]]
STEPS, HIDDEN = 100, 320
# a_t falls as a squared cosine (Nichol & Dhariwal 2021); A[t] for t = 0 .. STEPS, A[0] = 1
A = np.cos(np.pi / 2 * np.linspace(0, 0.995, STEPS + 1)) ** 2
A = (A / A[0]).astype(np.float32)
ALPHA = A[1:] / A[:-1]


def layers(key, sizes):
    """Weights of a multilayer perceptron."""
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(reparam.normal(k, 0.0, (2 / m) ** 0.5, shape=(m, n)), jnp.zeros(n)) for k, m, n in pairs]


def velocity(weights, x, t):
    """The network's estimate of sqrt(a_t) noise - sqrt(1 - a_t) image in x_t (Salimans & Ho 2022)."""
    waves = t[..., None] / STEPS * 2.0 ** jnp.arange(6) * np.pi
    h = jnp.concatenate([x, jnp.sin(waves), jnp.cos(waves)], -1)
    for w, b in weights[:-1]:
        new = jax.nn.silu(h @ w + b)
        h = new + h if h.shape == new.shape else new
    return h @ weights[-1][0] + weights[-1][1]


def loss(weights, key, x):
    """Mean squared error at random times."""
    time_key, noise_key = jax.random.split(key)
    t = jax.random.randint(time_key, x.shape[:1], 1, STEPS + 1)
    a = jnp.asarray(A)[t][:, None]
    noise = reparam.normal(noise_key, shape=x.shape)
    keep, add = jnp.sqrt(a), jnp.sqrt(1 - a)
    return jnp.mean((velocity(weights, keep * x + add * noise, t) - (keep * noise - add * x)) ** 2)


def ancestral(key, weights, n, temperature=1.0):
    """The chain from noise to n images, all its states: (STEPS + 1, n, 64)."""

    def step(x, t):
        a, alpha = jnp.asarray(A), jnp.asarray(ALPHA)[t - 1]
        clean = jnp.sqrt(a[t]) * x - jnp.sqrt(1 - a[t]) * velocity(weights, x, jnp.full(n, t))
        clean = jnp.clip(clean, -1, 1)
        mean = (jnp.sqrt(a[t - 1]) * (1 - alpha) * clean + jnp.sqrt(alpha) * (1 - a[t - 1]) * x) / (1 - a[t])
        sigma = jnp.where(t > 1, jnp.sqrt(1 - alpha), 0.0)  # the last step adds no noise (Ho, Jain & Abbeel 2020)
        x = reparam.normal(jax.random.fold_in(key, t), mean, temperature * sigma)
        return x, x

    start = reparam.normal(jax.random.fold_in(key, 0), shape=(n, 64))
    _, states = jax.lax.scan(step, start, jnp.arange(STEPS, 0, -1))
    return jnp.concatenate([start[None], states])


def fit(seed, epochs, batch=100, repeats=4):
    """Train by Adam, each image at several times an epoch; averaged weights."""
    key, layer_key = jax.random.split(jax.random.key(seed))
    weights = layers(layer_key, (64 + 12, HIDDEN, HIDDEN, HIDDEN, 64))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, repeats * epochs * len(TRAIN) // batch))

    @jax.jit
    def epoch(weights, average, state, key, data):
        def step(carry, i):
            weights, average, state = carry
            value, slope = jax.value_and_grad(loss)(weights, jax.random.fold_in(key, i), rows[i])
            updates, state = optimizer.update(slope, state)
            weights = optax.apply_updates(weights, updates)
            return (weights, optax.incremental_update(weights, average, 0.005), state), value

        rows = jax.random.permutation(key, jnp.tile(data, (repeats, 1))).reshape(-1, batch, 64)
        (weights, average, state), values = jax.lax.scan(step, (weights, average, state), jnp.arange(len(rows)))
        return weights, average, state, values.mean()

    state, average = optimizer.init(weights), weights
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=epochs)
        for i in range(epochs):
            weights, average, state, value = epoch(weights, average, state, jax.random.fold_in(key, i), TRAIN)
            progress.update(task, advance=1, description=f"training, squared error {value:.3f}")
    return average


def energy_distance(x, y):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|: zero if the laws are one (Székely & Rizzo 2004)."""
    within = [cdist(a, a).sum() / (len(a) * (len(a) - 1)) for a in (x, y)]
    return 2 * cdist(x, y).mean() - sum(within)


def gradients(key, weights, n=200):
    """d(mean ink)/d(temperature of the chain): by the chain's own gradient, and by a central difference."""
    ink = jax.jit(lambda temperature: jnp.mean(ancestral(key, weights, n, temperature)[-1]))
    return float(jax.jvp(ink, (1.0,), (1.0,))[1]), float(ink(1.005) - ink(0.995)) / 0.01


def picture(states):
    """Eight chains from noise to an image, a row each; beside them 64 images."""
    fig = Figure(figsize=(10, 5.2), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    shown = [0, 30, 50, 65, 75, 82, 88, 93, 97, 100]
    for ax, rows, title in (
        (left, np.asarray(states)[shown, :8].transpose(1, 0, 2), f"steps {', '.join(map(str, shown))} of {STEPS}"),
        (right, np.asarray(states)[-1, :80].reshape(8, 10, 64), "images"),
    ):
        padded = np.pad(rows.reshape(8, -1, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
        ax.imshow(padded.transpose(0, 2, 1, 3).reshape(80, -1), cmap="gray_r", vmin=-1, vmax=1)
        ax.set_title(title, fontsize=11)
        ax.axis("off")
    return fig


def run(out=".", seed=1, epochs=350):
    """Train, draw, compare, save the picture; returns the images and the table."""
    weights = fit(seed, epochs)
    key = jax.random.key(seed + 1)
    states = jax.jit(lambda key: ancestral(key, weights, len(TEST)))(key)
    covariance = np.cov(TRAIN.T) + 1e-4 * np.eye(64)
    normal = reparam.multivariate_normal(key, TRAIN.mean(0), covariance=covariance, shape=TEST.shape[:-1])
    rows = {"training images": TRAIN, "diffusion": states[-1], "normal distribution": jnp.clip(normal, -1, 1)}
    table = pandas.DataFrame({"energy distance": {k: energy_distance(np.asarray(v), TEST) for k, v in rows.items()}})
    print("To held-out images:", table.round(4).to_string(), sep="\n")
    by_gradient, by_difference = gradients(key, weights)
    print(f"d ink / d temperature: {by_gradient:.4f} by the chain's gradient, {by_difference:.4f} by a difference")
    better = table.loc["diffusion"].item() < 0.5 * table.loc["normal distribution"].item()
    print(f"{'Good' if better else 'NOT GOOD'}: at most half as far from held-out images as a normal distribution.")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(states).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return np.asarray(states[-1]), table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Diffusion on digits")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
