r"""Which digit is it? A multilayer perceptron and a convolutional network, each trained, and each with its posterior.

1,797 handwritten digits of 8 x 8 that scikit-learn ships (Alpaydin & Kaynak 1998): 300 to learn from, 1,497 held out.
A convolution with filters of size F, stride S and padding P makes of a side of I pixels one of

    O = floor((I - F + 2 P) / S) + 1,

checked here against the shapes that come out. Three answers of each network: trained (Adam on the log loss, nothing
else), with the most probable weights under a normal prior, and the posterior's, whose probabilities are means over
draws: of all 194 weights of the perceptron; of the 250 of the convolutional network's last layer, on its trained
features. The prior is wide, because digits are legible: logits have standard deviations of about 15 and more, so that
before any data some digit is nearly certain. Needs scikit-learn.

    python examples/mlp_vs_cnn.py --out pictures
"""

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import mcmc

NAME = "mlp_vs_cnn"
INPUTS, HIDDEN = 12, 8
LAYERS = ((8, 3, 1, 1), (12, 3, 2, 1), (6, 3, 1, 0))  # filters, their size, stride, padding
SIZES = ((8, 3, 1, 1), (8, 3, 2, 1), (4, 3, 1, 0), (8, 2, 2, 0), (8, 5, 3, 2), (28, 5, 1, 0), (224, 7, 2, 3))
RECORDED = 50
BINS = np.linspace(0, 1, 11)
COLOURS = {"trained": "#c8501e", "most probable": "0.45", "posterior": "#1f6fb4"}


def load():
    """Images (image, 8, 8) in [0, 1] and digits, to learn from and held out."""
    bunch: Any = load_digits()
    parts = train_test_split(bunch.images / 16, bunch.target, train_size=300, random_state=0, stratify=bunch.target)
    x, x_new, y, y_new = (np.asarray(part) for part in parts)
    return x, y, x_new, y_new


X, Y, X_NEW, Y_NEW = load()
CENTRE = X.reshape(len(X), -1).mean(0)
AXES = np.linalg.svd(X.reshape(len(X), -1) - CENTRE, full_matrices=False)[2]


def components(x):
    """The first principal components of images, (INPUTS, image), with mean square 1 over those to learn from."""
    axes = AXES[:INPUTS]
    scale = np.sqrt(np.mean(((X.reshape(len(X), -1) - CENTRE) @ axes.T) ** 2))
    return axes @ (x.reshape(len(x), -1) - CENTRE).T / scale


# --- the networks: logits (digit, image), images last so that the arithmetic runs along them ----------------


def output_size(size, filter_size, stride, padding):
    """The side of a convolution's output: how many places a filter has on the padded side."""
    if filter_size > size + 2 * padding:
        raise ValueError(f"filter_size is {filter_size}; expected at most {size + 2 * padding}, the padded side")
    return (size - filter_size + 2 * padding) // stride + 1


def convolve(x, kernel, stride, padding):
    """Images (image, channel, I, I) by filters (filter, channel, F, F): (image, filter, O, O)."""
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), [(padding, padding)] * 2)


def maps(p, x):
    """The feature maps of every convolution, for images (image, I, I)."""
    found = [x[:, None]]
    for i, (_, _, stride, padding) in enumerate(LAYERS):
        found.append(jnp.tanh(convolve(found[-1], p[f"filters{i}"], stride, padding) + p[f"bias{i}"][:, None, None]))
    return found[1:]


def features(p, x):
    """What the last layer sees, (feature, image)."""
    return maps(p, x)[-1].reshape(len(x), -1).T


def last_layer(p, x):
    """Logits of features (feature, image); weights in units of their prior's standard deviation."""
    return 15 * (p["w"] @ x / math.sqrt(x.shape[0]) + p["b"][:, None])


def cnn(p, x):
    """Logits of images: convolutions, then one dense layer."""
    return last_layer(p, features(p, x))


def mlp(p, x):
    """Logits of components (INPUTS, image), weights in units of their prior's standard deviation."""
    hidden = jnp.tanh(2 * (p["w1"] @ x / math.sqrt(INPUTS) + p["b1"][:, None]))
    return 15 * (p["w2"] @ hidden / math.sqrt(HIDDEN) + p["b2"][:, None])


def log_likelihood(logits, y):
    """The log probability of digits y, summed over images."""
    return jnp.sum(jnp.take_along_axis(logits, y[None], axis=0)) - jnp.sum(jax.nn.logsumexp(logits, axis=0))


def target_of(net, p, x, x_new):
    """The posterior of weights of the shapes of p: prior N(0, 1), in its own units, and the digits' probabilities."""

    def log_density(p, data):
        log_prior = -0.5 * sum(jnp.sum(w**2) for w in p.values())
        return log_prior + log_likelihood(net(p, data["x"]), data["y"])

    def derived(p, data):  # what the network says of held-out images, whatever weights say it
        log_p = jax.nn.log_softmax(net(p, data["x_new"]), axis=0)
        log_p = jnp.take_along_axis(log_p, data["y_new"][None], axis=0)[0]
        return {"log_loss": -jnp.mean(log_p), "p_true": jnp.exp(log_p[:RECORDED])}

    data = {"x": np.asarray(x), "y": Y, "x_new": np.asarray(x_new), "y_new": Y_NEW}
    return mcmc.Target(log_density, {name: mcmc.real(*w.shape) for name, w in p.items()}, data, derived)


# --- point estimates --------------------------------------------------------------------------------------


def start(key, shapes):
    """Small random weights, of variance 1 / inputs; biases 0."""
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    return {
        name: jax.random.normal(keys[name], shape) / math.sqrt(math.prod(shape[1:]))
        if len(shape) > 1
        else jnp.zeros(shape)
        for name, shape in shapes.items()
    }


def mlp_shapes():
    """Shapes of the perceptron's weights."""
    return {"w1": (HIDDEN, INPUTS), "b1": (HIDDEN,), "w2": (10, HIDDEN), "b2": (10,)}


def cnn_shapes():
    """Shapes of filters, biases and the last layer, from the sizes that the formula gives."""
    shapes, channels, size = {}, 1, X.shape[1]
    for i, (filters, filter_size, stride, padding) in enumerate(LAYERS):
        shapes |= {f"filters{i}": (filters, channels, filter_size, filter_size), f"bias{i}": (filters,)}
        channels, size = filters, output_size(size, filter_size, stride, padding)
    return shapes | {"w": (10, channels * size**2), "b": (10,)}


def train(loss, p, steps, rate, title, progress):
    """Minimise loss(p) by Adam (Kingma & Ba 2015), the rate falling to 0 along a half cosine."""

    def step(i, carry):
        p, mean, square = carry
        g = jax.grad(loss)(p)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, square, g)
        size = 0.5 * rate * (1 + jnp.cos(jnp.pi * i / steps)) / (1 - 0.9 ** (i + 1.0))
        root = 1 / (1 - 0.999 ** (i + 1.0))
        p = jax.tree.map(lambda p, m, s: p - size * m / (jnp.sqrt(s * root) + 1e-8), p, mean, square)
        return p, mean, square

    several = jax.jit(lambda first, last, carry: jax.lax.fori_loop(first, last, step, carry))
    zero = jax.tree.map(jnp.zeros_like, p)
    carry, edges = (p, zero, zero), np.linspace(0, steps, 21).astype(int)
    rounds = itertools.pairwise(edges)
    for first, last in track(rounds, title, 20, console=Console(stderr=True), disable=not progress):
        carry = jax.block_until_ready(several(first, last, carry))
    return carry[0]


def most_probable(net, p, x, title, progress, steps=2000):
    """The mode of the posterior that `target_of` makes, as far as Adam gets from p."""

    def loss(p):
        return (0.5 * sum(jnp.sum(w**2) for w in p.values()) - log_likelihood(net(p, x), Y)) / len(Y)

    return train(loss, p, steps, 0.02, title, progress)


# --- posteriors and scores --------------------------------------------------------------------------------


def probabilities(net, p, x):
    """The probability of each digit, (image, digit)."""
    return np.asarray(jax.nn.softmax(net(p, x), axis=0).T, float)


def mean_probabilities(net, draws, names, x):
    """The same, averaged over the draws of each chain: (chain, image, digit)."""
    mean = jax.jit(lambda p: jnp.mean(jax.vmap(lambda p: jax.nn.softmax(net(p, x), axis=0).T)(p), axis=0))
    posterior = draws["posterior"]
    chains = range(posterior.sizes["chain"])
    return np.stack([np.asarray(mean({n: posterior[n].values[c] for n in names}), float) for c in chains])


def functions_only(draws):
    """The draws without the weights: what is left can be judged where weights may be exchanged."""
    tree = draws.copy()
    tree["posterior"] = draws["posterior"].to_dataset()[["log_loss", "p_true"]]
    return tree


def log_losses(p):
    """The log loss of each held-out image."""
    return -np.log(np.maximum(p[np.arange(len(Y_NEW)), Y_NEW], 1e-30))


def reliability(p, bins=BINS):
    """By confidence, the probability of the likeliest digit: images, mean confidence, share that is right."""
    confidence, right = p.max(1), p.argmax(1) == Y_NEW
    bin_of = np.clip(np.digitize(confidence, bins) - 1, 0, len(bins) - 2)
    frame = pandas.DataFrame({"confidence": confidence, "right": right.astype(float), "bin": bin_of})
    table = frame.groupby("bin").mean()
    table.insert(0, "images", frame.groupby("bin").size())
    table.index = pandas.Index([f"{bins[i]:g} to {bins[i + 1]:g}" for i in table.index], name=None)
    return table


def scores(p):
    """Accuracy, log loss, Brier score and expected calibration error (10 bins) on the held-out images."""
    table = reliability(p)
    error = np.average(np.abs(table["confidence"] - table["right"]), weights=table["images"])
    brier = np.mean(np.sum((p - np.eye(10)[Y_NEW]) ** 2, axis=1))
    accuracy = np.mean(p.argmax(1) == Y_NEW)
    return {"accuracy": accuracy, "log loss": log_losses(p).mean(), "Brier score": brier, "calibration error": error}


def monte_carlo_error(p):
    """The standard error of the mean probabilities' log loss, by leaving out one chain at a time."""
    n, total = len(p), p.sum(0)
    left = np.array([log_losses((total - chain) / (n - 1)).mean() for chain in p])
    return math.sqrt((n - 1) * left.var())


def gain(p, other):
    """How much less log loss p has than other, and the standard error of that over images."""
    difference = log_losses(other) - log_losses(p)
    return difference.mean(), difference.std() / math.sqrt(len(difference))


def sizes():
    """The formula beside the shape of a real convolution."""
    rows = []
    for size, filter_size, stride, padding in SIZES:
        out = convolve(jnp.zeros((1, 1, size, size)), jnp.zeros((1, 1, filter_size, filter_size)), stride, padding)
        formula = output_size(size, filter_size, stride, padding)
        if out.shape != (1, 1, formula, formula):
            raise ValueError(f"the formula says {formula}, the convolution {out.shape}")
        rows.append([size, filter_size, stride, padding, formula, out.shape[-1]])
    return pandas.DataFrame(rows, columns=["I", "F", "S", "P", "formula", "found"])


# --- the picture ------------------------------------------------------------------------------------------


def _layers(figure, p):
    """One held-out digit and the mean of each layer's maps of it, under the formula of their size."""
    shown = [X_NEW[0], *(np.asarray(m[0].mean(0)) for m in maps(p, X_NEW[:1]))]
    titles, size = [f"image\n{X.shape[1]} x {X.shape[1]}"], X.shape[1]
    for filters, filter_size, stride, padding in LAYERS:
        out = output_size(size, filter_size, stride, padding)
        inside = f"({size} − {filter_size} + 2·{padding}) / {stride}"
        inside = f"⌊{inside}⌋" if (size - filter_size + 2 * padding) % stride else inside
        titles.append(f"{filters} filters of {filter_size} x {filter_size}\n{inside} + 1 = {out}")
        size = out
    for ax, values, title in zip(figure.subplots(1, len(shown)), shown, titles, strict=True):
        side = len(values)
        ax.imshow(values, cmap="gray_r", extent=(0, side, 0, side))
        ax.set(xlim=(-0.1, 8.1), ylim=(-0.1, 8.1))
        ax.plot([0, side, side, 0, 0], [0, 0, side, side, 0], color="0.6", lw=1, clip_on=False)
        ax.set_axis_off()
        ax.set_title(title, fontsize=9)


def _reliability(ax, found, title):
    ax.plot([0, 1], [0, 1], color="0.7", lw=1)
    for name, p in found.items():
        table = reliability(p)
        table = table[table["images"] >= 10]
        label = f"{name}: log loss {log_losses(p).mean():.2f}"
        ax.plot(table["confidence"], table["right"], "o-", ms=4, color=COLOURS[name], label=label)
    ax.set(xlabel="confidence", ylabel="share that is right", title=title, xlim=(0.15, 1.02), ylim=(0, 1.05))
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _wrong(figure, found):
    """Images that the trained network gets wrong, the surest first, and what both say of them."""
    trained, posterior = found["trained"], found["posterior"]
    order = np.argsort(-trained.max(1) * (trained.argmax(1) != Y_NEW))[:6]
    axes = figure.subplots(2, len(order), sharey="row", gridspec_kw={"height_ratios": (1, 1.1)})
    digits = np.arange(10)
    for (top, bottom), i in zip(axes.T, order, strict=True):
        top.imshow(X_NEW[i], cmap="gray_r")
        top.set_axis_off()
        top.set_title(f"in truth {Y_NEW[i]}", fontsize=9)
        bottom.bar(digits - 0.2, trained[i], 0.4, color=COLOURS["trained"])
        bottom.bar(digits + 0.2, posterior[i], 0.4, color=COLOURS["posterior"])
        bottom.set_xticks(digits)
        bottom.tick_params(labelsize=7)
        bottom.spines[["top", "right"]].set_visible(False)
    axes[1, 0].set_ylabel("probability", fontsize=8)


def picture(p, found):
    """Above the sizes of the layers, then reliability, then the digits that the trained perceptron gets wrong."""
    fig = Figure(figsize=(10, 10), layout="constrained")
    top, middle, bottom = fig.subfigures(3, 1, height_ratios=(1.05, 1.7, 1.5))
    _layers(top, p)
    for ax, (name, of) in zip(middle.subplots(1, 2), found.items(), strict=True):
        _reliability(ax, of, {"MLP": "Perceptron, all weights", "CNN": "Convolutions, last layer"}[name])
    _wrong(bottom, found["MLP"])
    bottom.suptitle("The perceptron's surest errors: trained (orange), posterior (blue)", fontsize=10)
    return fig


# --- the run ----------------------------------------------------------------------------------------------


def train_both(seed, steps, progress):
    """The trained networks: what is drawn of each, its trained weights, what it sees of the images."""

    def fitted(net, key, shapes, x, title):
        return train(lambda p: -log_likelihood(net(p, x), Y) / len(Y), start(key, shapes), steps, 0.02, title, progress)

    keys = jax.random.split(jax.random.key(seed))
    x, x_new = (jnp.asarray(components(images), jnp.float32) for images in (X, X_NEW))
    images, images_new = (jnp.asarray(images, jnp.float32) for images in (X, X_NEW))
    one = fitted(mlp, keys[0], mlp_shapes(), x, "MLP, trained")
    other = fitted(cnn, keys[1], cnn_shapes(), images, "CNN, trained")
    last = {name: other[name] for name in ("w", "b")}
    return other, {
        "MLP": (mlp, one, x, x_new),
        "CNN": (last_layer, last, features(other, images), features(other, images_new)),
    }


def fit(name, net, trained, x, x_new, seed, **settings):
    """Three sets of probabilities on the held-out images, the draws, and the Monte Carlo error of their log loss."""
    mode = most_probable(net, trained, x, f"{name}, most probable", settings["progress"])
    small = {weights: np.zeros(w.shape) for weights, w in trained.items()}  # sample() adds noise, by groups of chains
    draws = mcmc.sample(target_of(net, trained, x, x_new), seed=seed, **{"init": small, **settings})
    chains = mean_probabilities(net, draws, trained, x_new)
    found = {"trained": probabilities(net, trained, x_new), "most probable": probabilities(net, mode, x_new)}
    return found | {"posterior": chains.mean(0)}, draws, monte_carlo_error(chains)


def describe(name, found, draws, error):
    """What the posterior gains, how reliable it is, and the verdicts."""
    loss = log_losses(found["posterior"]).mean()
    print(f"\n{name}, posterior: log loss {loss:.4f} (Monte Carlo error {error:.4f}), over {len(Y_NEW):,} images")
    for other in ("trained", "most probable"):
        less, chance = gain(found["posterior"], found[other])
        print(f"  {abs(less):.3f} ± {chance:.3f} {'less' if less > 0 else 'MORE'} than {other}")
    tables = {kind: reliability(p, np.array([0, 0.5, 0.7, 0.9, 1])) for kind, p in found.items()}
    print(pandas.concat(tables, axis=1).round(3).to_string())
    print("\nVerdict on the weights and what they say:", mcmc.diagnose(draws).verdict, sep="\n")
    print(f"On what they say (the log loss, and {RECORDED} images' probabilities):")
    print(mcmc.diagnose(functions_only(draws)).verdict)


def run(out=".", seed=1, steps=600, **settings):
    """Train, draw, compare, save the picture; the draws by network, the table, and Monte Carlo errors of log losses."""
    settings = {"chains": 32, "draws": 100, "progress": True, **settings}
    print(sizes().to_string(index=False))
    filters, parts = train_both(seed, steps, settings["progress"])
    found, draws, errors = {}, {}, {}
    for name, part in parts.items():
        found[name], draws[name], errors[name] = fit(name, *part, seed, **settings)
    table = pandas.DataFrame({f"{net}, {kind}": scores(p) for net, of in found.items() for kind, p in of.items()}).T
    print(f"\nOn {len(Y_NEW):,} held-out images:", table.round(4).to_string(), sep="\n")
    for name in found:
        describe(name, found[name], draws[name], errors[name])
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(filters, found).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table, errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A perceptron and a convolutional network on digits")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
