r"""Text drawn character by character from a small network, and what each filter keeps of the next character's law.

The network is trained in a minute on the reference texts that every Python ships (`pydoc_data.topics`): the last 16
characters, each a vector of 16 numbers, go through two layers of 256 to the logits of the next. Trained by Adam on

    -log p(next | last 16)

Then every filter of `mcmc.categorical` writes a text, all of them in one compiled program: one row a filter, each with
parameters of its own, and a key of its own. The picture shows the law of the next character where the network is sure
and where it is not, what each filter keeps of it, and how many characters each keeps along a text.

    python examples/characters.py --out pictures
"""

import argparse
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from mcmc import categorical, reparam

NAME = "characters"
SPAN, WIDTH, HIDDEN = 16, 16, 256  # characters seen, numbers of one, units of a layer
START = " the value of a "
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "epsilon_cutoff": 0.0}
OFF |= {"eta_cutoff": 0.0, "top_n_sigma": np.inf}
FILTERS = {
    "none": {},
    "T = 0.5": {"temperature": 0.5},
    "top-k 5": {"top_k": 5},
    "top-p 0.9": {"top_p": 0.9},
    "min-p 0.1": {"min_p": 0.1},
    "typical 0.9": {"typical_p": 0.9},
    "ε 0.02": {"epsilon_cutoff": 0.02},
    "η 0.02": {"eta_cutoff": 0.02},
    "top-nσ 1": {"top_n_sigma": 1.0},
}


def read():
    """The texts as one array of small numbers, and the characters that they stand for."""
    text = " ".join(" ".join(topics[name].lower().split()) for name in sorted(topics))
    letters = sorted(set(text) & set("abcdefghijklmnopqrstuvwxyz .,:;()'\"-_=*0123456789"))
    index = {letter: i for i, letter in enumerate(letters)}
    return np.array([index[letter] for letter in text if letter in index], np.int32), letters


TEXT, LETTERS = read()
TEST = len(TEXT) // 20  # the last twentieth is held out


def initial(key):
    """Weights: a vector for each character, then layers."""
    keys, sizes = jax.random.split(key, 4), (SPAN * WIDTH, HIDDEN, HIDDEN, len(LETTERS))
    layers = [
        (reparam.normal(k, 0.0, (2 / m) ** 0.5, shape=(m, n)), jnp.zeros(n))
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]
    return {"letters": reparam.normal(keys[3], shape=(len(LETTERS), WIDTH)), "layers": layers}


def logits_after(weights, last):
    """The logits of the next character, (..., letters), after the last ones, (..., SPAN)."""
    x = weights["letters"][last].reshape(*last.shape[:-1], -1)
    for w, b in weights["layers"][:-1]:
        x = jax.nn.silu(x @ w + b)
    return x @ weights["layers"][-1][0] + weights["layers"][-1][1]


def loss(weights, places, text):
    """Mean -log p of the characters after these places, in nats."""
    log_p = jax.nn.log_softmax(logits_after(weights, text[places[:, None] + np.arange(SPAN)]))
    return -jnp.mean(jnp.take_along_axis(log_p, text[places + SPAN][:, None], -1))


def fit(seed, steps, batch=256, part=100):
    """Train by Adam, a hundred steps a compiled call; the weights."""
    key, weights = jax.random.key(seed), initial(jax.random.key(seed + 1))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    state, train = optimizer.init(weights), jnp.asarray(TEXT[:-TEST])

    @jax.jit
    def some(weights, state, key, text):
        def step(carry, key):
            weights, state = carry
            places = jax.random.randint(key, (batch,), 0, len(text) - SPAN)
            value, slope = jax.value_and_grad(loss)(weights, places, text)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(weights, updates), state), value

        (weights, state), values = jax.lax.scan(step, (weights, state), jax.random.split(key, part))
        return weights, state, values.mean()

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=steps // part)
        for i in range(steps // part):
            weights, state, value = some(weights, state, jax.random.fold_in(key, i), train)
            progress.update(task, advance=1, description=f"training, {float(value):.2f} nats a character")
    return weights


def settings():
    """The filters' parameters, (filter,) each: what a filter does not use is off."""
    return {name: np.array([given.get(name, off) for given in FILTERS.values()]) for name, off in OFF.items()}


@partial(jax.jit, static_argnames="length")
def write(key, weights, start, length):
    """Texts (filter, length) after a start (SPAN,); how many characters each step kept, and if it drew one of them."""

    def step(last, key):
        logits = logits_after(weights, last)
        index = categorical.sample(jax.random.split(key, len(FILTERS)), logits, **settings())
        kept = categorical.filter_logits(logits, **settings()) > -jnp.inf
        own = jnp.take_along_axis(kept, index[:, None], 1)[:, 0]
        return jnp.concatenate([last[:, 1:], index[:, None]], 1), (index, jnp.sum(kept, -1), own)

    begin = jnp.broadcast_to(start, (len(FILTERS), SPAN))
    return [a.T for a in jax.lax.scan(step, begin, jax.random.split(key, length))[1]]


def coded(text):
    """The last SPAN characters as small numbers."""
    return np.array([LETTERS.index(letter) for letter in text[-SPAN:]], np.int32)


def kept_of(weights, text):
    """The law of the next character, likeliest first, and which of them each filter keeps (filter, letter)."""
    logits = logits_after(weights, coded(text))
    order = np.argsort(-np.asarray(logits), kind="stable")
    many = jnp.broadcast_to(logits, (len(FILTERS), len(LETTERS)))
    kept = np.asarray(categorical.filter_logits(many, **settings()) > -jnp.inf)
    return np.asarray(jax.nn.softmax(logits))[order], kept[:, order], [LETTERS[i] for i in order]


def picture(weights, counts):
    """Above, two laws and what each filter keeps of them; below, how many each keeps along its text."""
    fig = Figure(figsize=(11, 7.4), layout="constrained")
    top, bottom = fig.subfigures(2, 1, height_ratios=(1.9, 1))
    columns = top.subplots(2, 2, height_ratios=(1, 1.5))
    for (law, marks), text in zip(columns.T, ("the following fun", " the value of a "), strict=True):
        p, kept, names = kept_of(weights, text)
        shown = np.arange(18)
        law.bar(shown, p[shown], color="#1f6fb4")
        law.set(xticks=[], ylabel="probability", title=f"after “{text}”", xlim=(-0.6, 17.6))
        marks.imshow(np.where(kept[:, shown], 0.75, 0.0), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        marks.set_xticks(shown, ["␣" if names[i] == " " else names[i] for i in shown])
        marks.set_yticks(range(len(FILTERS)), list(FILTERS))
        marks.tick_params(labelsize=8.5)
    ax = bottom.subplots()
    image = ax.imshow(counts[2:], cmap="Blues", vmin=1, vmax=20, aspect="auto", interpolation="none")
    ax.set_yticks(range(len(counts) - 2), list(FILTERS)[2:])
    ax.set(xlabel="character of its text", title="how many characters each filter keeps, along the text that it writes")
    ax.tick_params(labelsize=8.5)
    bottom.colorbar(image, ax=ax, pad=0.01)
    return fig


def run(out=".", seed=1, steps=4000, length=160):
    """Train, write, report, save the picture; returns the texts and the table."""
    weights = fit(seed, steps)
    held_out, places = jnp.asarray(TEXT[-TEST:]), np.arange(0, TEST - SPAN - 1, 7)
    nats = float(loss(weights, places, held_out))
    counts = np.bincount(TEXT[:-TEST], minlength=len(LETTERS)) + 1.0
    alone = float(-np.mean(np.log(counts / counts.sum())[TEXT[-TEST:]]))
    index, kept, own = jax.device_get(write(jax.random.key(seed + 2), weights, coded(START), length))
    texts = {name: START + "".join(LETTERS[i] for i in row) for name, row in zip(FILTERS, index, strict=True)}
    table = pandas.DataFrame({"kept, mean": kept.mean(1), "kept, most": kept.max(1)}, index=list(FILTERS))
    print(f"held out: {nats:.2f} nats a character; by the characters' frequencies alone {alone:.2f}\n")
    print(table.round(1).to_string())
    print(*(f"\n{name}:\n  {text}" for name, text in texts.items()), sep="")
    good = nats < alone - 0.8 and bool(np.all(own))
    print("\nGood: the network has learnt, and every filter drew what it keeps." if good else "\nNOT GOOD")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(weights, kept).savefig(Path(out) / f"{NAME}.png", dpi=75)
    return texts, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Text by characters")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
