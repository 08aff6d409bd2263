r"""A variational autoencoder with a continuous and a categorical latent, on scikit-learn's 1,797 digits of 8 x 8.

An image x of counts 0 to 16 is explained by a kind c of 10 and a style z of 6 numbers. Each kind has a template and six
ways in which that bends, logits of the pixels:

    z ~ N(0, I)    c ~ uniform over 10    x | z, c ~ Binomial(16, sigmoid(template_c + bends_c z))

The encoders give q(c | x) = Categorical(logits) and q(z | x, c) = N(mu, sigma^2). Training maximises the bound

    log p(x) >= E[log p(x | z, c)] - E[KL(q(z | x, c) | p(z))] - KL(q(c | x) | p(c))

with the KL divergences in closed form and the expectation by one draw each: c relaxed by Gumbel-softmax, so that
gradients reach its encoder, and z = mu + sigma * noise. In the first half of training styles cost more than they do in
the bound, at first STRICT times as much: so kinds learn the shapes, and styles what is left. The bound that is reported
draws c from its exact law. Compared with the best model of independent pixels.

    python examples/vae.py --out pictures
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
from jax.scipy.special import gammaln
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from sklearn.datasets import load_digits

from mcmc import reparam

NAME = "vae"
IMAGES = load_digits().data.astype(np.float32)  # (1797, 64), counts 0 to 16
DIGITS = load_digits().target  # which the model never sees: for the picture alone
ORDER = np.random.default_rng(0).permutation(len(IMAGES))
TRAIN, TEST = IMAGES[ORDER[:1500]], IMAGES[ORDER[1500:]]
STYLES, KINDS, HIDDEN, TEMPERATURE, STRICT = 6, 10, 256, 0.5, 100.0


def layers(key, sizes):
    """Weights of a multilayer perceptron."""
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(reparam.normal(k, 0.0, (2 / m) ** 0.5, shape=(m, n)), jnp.zeros(n)) for k, m, n in pairs]


def perceptron(weights, x):
    """Its output."""
    for w, b in weights[:-1]:
        x = jax.nn.silu(x @ w + b)
    return x @ weights[-1][0] + weights[-1][1]


def kind_of(weights, x):
    """The logits of q(c | x)."""
    return perceptron(weights["kind"], x / 16)


def style_of(weights, x, c):
    """The mean and standard deviation of q(z | x, c)."""
    mu, scale = jnp.split(perceptron(weights["style"], jnp.concatenate([x / 16, c], -1)), 2, axis=-1)
    return mu, jax.nn.softplus(scale) + 1e-3


def decode(weights, z, c):
    """The logits of the pixels: the template of the kind, bent by the style in the ways of the kind."""
    return c @ weights["templates"] + jnp.einsum("...k,ksp,...s->...p", c, weights["bends"], z)


def log_likelihood(weights, x, z, c):
    """Binomial, of the pixels together."""
    logits = decode(weights, z, c)
    choose = gammaln(17.0) - gammaln(x + 1) - gammaln(17 - x)
    return jnp.sum(choose + x * jax.nn.log_sigmoid(logits) + (16 - x) * jax.nn.log_sigmoid(-logits), -1)


def bound(key, weights, x, temperature=None):
    """The evidence lower bound of each image: (expected log likelihood, KL of the style, KL of the kind).

    The kind is relaxed, or where no temperature is given drawn from its exact law.
    """
    style_key, kind_key = jax.random.split(key)
    logits = kind_of(weights, x)
    if temperature is None:
        c = jax.nn.one_hot(jnp.argmax(logits + reparam.gumbel(kind_key, shape=logits.shape), -1), KINDS)
    else:
        c = reparam.gumbel_softmax(kind_key, logits, temperature=temperature)
    mu, sigma = style_of(weights, x, c)
    z = reparam.normal(style_key, mu, sigma)
    kl_style = 0.5 * jnp.sum(mu**2 + sigma**2 - 1 - 2 * jnp.log(sigma), -1)
    q = jax.nn.softmax(logits)
    kl_kind = jnp.sum(q * (jax.nn.log_softmax(logits) + jnp.log(KINDS)), -1)
    return log_likelihood(weights, x, z, c), kl_style, kl_kind


def loss(weights, key, x, strictness):
    """Minus the mean bound, with a relaxed kind, and styles that cost `strictness` times their KL divergence."""
    expected, kl_style, kl_kind = bound(key, weights, x, TEMPERATURE)
    return -jnp.mean(expected - strictness * kl_style - kl_kind), -jnp.mean(expected - kl_style - kl_kind)


def fit(seed, epochs, batch=100):
    """Train by Adam, an epoch a compiled call; the weights and minus the bound of each epoch."""
    key, kind_key, style_key, template_key, bend_key = jax.random.split(jax.random.key(seed), 5)
    mean = (TRAIN.mean(0) + 0.1) / 16.2
    weights = {
        "kind": layers(kind_key, (64, HIDDEN, KINDS)),
        "style": layers(style_key, (64 + KINDS, HIDDEN, 2 * STYLES)),
        "templates": reparam.normal(template_key, np.log(mean / (1 - mean)), 0.5, shape=(KINDS, 64)),
        "bends": reparam.normal(bend_key, 0.0, 0.1, shape=(KINDS, STYLES, 64)),
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, epochs * len(TRAIN) // batch))

    @jax.jit
    def epoch(weights, state, key, data, strictness):
        def step(carry, i):
            weights, state = carry
            slope, value = jax.grad(loss, has_aux=True)(weights, jax.random.fold_in(key, i), rows[i], strictness)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(weights, updates), state), value

        rows = jax.random.permutation(key, data).reshape(-1, batch, 64)
        (weights, state), values = jax.lax.scan(step, (weights, state), jnp.arange(len(rows)))
        return weights, state, values.mean()

    state, losses = optimizer.init(weights), []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=epochs)
        for i in range(epochs):
            strictness = max(1.0, STRICT ** (1 - 2 * i / epochs))
            weights, state, value = epoch(weights, state, jax.random.fold_in(key, i), TRAIN, strictness)
            losses.append(float(value))
            progress.update(task, advance=1, description=f"training, bound {-losses[-1]:.1f}")
    return weights, losses


def exact_bound(key, weights, x, repeats=20):
    """The mean bound with the kind drawn from its exact law, not relaxed: (log likelihood, the two KLs)."""
    parts = jax.vmap(lambda key: bound(key, weights, x))(jax.random.split(key, repeats))
    return np.array([float(part.mean()) for part in parts])


def digits_of_kinds(weights):
    """How kinds are shared among the digits (kind, digit), their order, and how many images are of their kind's."""
    q = np.asarray(jax.nn.softmax(kind_of(weights, IMAGES)))
    joint = q.T @ np.eye(10)[DIGITS] / len(IMAGES)
    order = np.lexsort((-joint.max(1), joint.argmax(1)))
    return joint[order] / joint[order].sum(1, keepdims=True), order, joint.max(1).sum()


def loss_without_the_kind(key, weights):
    """Log likelihood lost, in nats a held-out image, when the kind is another image's: what only the kind knows."""
    kinds = jax.nn.one_hot(jnp.argmax(kind_of(weights, TEST), -1), KINDS)
    mu, _ = style_of(weights, TEST, kinds)
    own, others = (log_likelihood(weights, TEST, mu, c) for c in (kinds, jax.random.permutation(key, kinds)))
    return float(jnp.mean(own - others))


def independent_pixels():
    """Held-out log likelihood when each pixel is binomial by itself."""
    p = (TRAIN.sum(0) + 1) / (16 * len(TRAIN) + 2)
    choose = gammaln(17.0) - gammaln(TEST + 1) - gammaln(17 - TEST)
    return float(jnp.mean(jnp.sum(choose + TEST * jnp.log(p) + (16 - TEST) * jnp.log1p(-p), -1)))


def tiles(images, rows):
    """Images (n, 64) in rows, with a margin."""
    padded = np.pad(np.asarray(images).reshape(rows, -1, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded.transpose(0, 2, 1, 3).reshape(10 * rows, -1)


def picture(key, weights, losses):
    """Held-out images over their reconstructions, the bound in training; new images, a row a kind; digits of kinds."""
    kinds = jax.nn.one_hot(jnp.argmax(kind_of(weights, TEST[:12]), -1), KINDS)
    again = jax.nn.sigmoid(decode(weights, style_of(weights, TEST[:12], kinds)[0], kinds))
    shares, order, _ = digits_of_kinds(weights)
    z = reparam.normal(key, shape=(KINDS, 12, STYLES)).at[:, 0].set(0.0)
    new = jax.nn.sigmoid(decode(weights, z, jnp.broadcast_to(jnp.eye(KINDS)[order][:, None], (KINDS, 12, KINDS))))
    fig = Figure(figsize=(12.4, 5.2), layout="constrained")
    left, middle, right = fig.subfigures(1, 3, width_ratios=(1, 1.15, 1))
    top, below, bottom = left.subplots(3, 1, height_ratios=(1, 1, 2.6))
    for ax, rows, title in ((top, TEST[:12] / 16, "held out"), (below, again, "reconstructed")):
        ax.imshow(tiles(rows, 1), cmap="gray_r")
        ax.set_title(title, fontsize=11)
        ax.axis("off")
    bottom.plot(np.arange(1, len(losses) + 1), -np.array(losses), color="#1f6fb4")
    bottom.set(xlabel="epoch", ylabel="bound, nats an image", ylim=(np.quantile(-np.array(losses), 0.03), None))
    bottom.grid(alpha=0.25)
    ax = middle.subplots()
    ax.imshow(tiles(new, KINDS), cmap="gray_r")
    ax.set_title("a row a kind: its template first,\nthen draws from the prior, each of its own style", fontsize=11)
    ax.axis("off")
    ax = right.subplots()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for kind, digit in np.argwhere(shares > 0.15):
        colour = "white" if shares[kind, digit] > 0.6 else "black"
        ax.text(digit, kind, f"{shares[kind, digit]:.0%}", ha="center", va="center", fontsize=7.5, color=colour)
    ax.set(xticks=range(10), yticks=[], xlabel="digit, as people read it", ylabel="kind, in the same rows")
    ax.set_title("what a kind is for: which digits\nits images are", fontsize=11)
    return fig


def run(out=".", seed=1, epochs=150):
    """Train, report, save the picture; returns the weights and the table."""
    weights, losses = fit(seed, epochs)
    key = jax.random.key(seed + 1)
    rows = {"training images": exact_bound(key, weights, TRAIN), "held-out images": exact_bound(key, weights, TEST)}
    table = pandas.DataFrame(rows, index=["log likelihood", "KL of style", "KL of kind"]).T
    table["bound"] = table["log likelihood"] - table["KL of style"] - table["KL of kind"]
    pixels = independent_pixels()
    print("Nats an image:", table.round(2).to_string(), f"independent pixels, held out: {pixels:.2f}", sep="\n")
    right = digits_of_kinds(weights)[2]
    print(f"images that are of the digit that most of their kind are: {right:.0%} (by chance: 10%)")
    lost = loss_without_the_kind(jax.random.key(seed + 2), weights)
    print(f"with another image's kind, held out: {lost:.1f} nats an image less likely, at the same style")
    gain = table.loc["held-out images", "bound"] - pixels
    print(f"{'Good' if gain > 30 else 'NOT GOOD'}: {gain:.0f} nats an image above independent pixels.")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(key, weights, losses).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return weights, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A variational autoencoder of digits")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
