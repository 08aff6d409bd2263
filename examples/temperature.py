r"""What temperature, top-k and top-p do to the next word, and to the text that comes of it.

The language model is as small as one can be: counts of words in the reference texts that every Python ships
(`pydoc_data.topics`, what `help("LAMBDA")` shows). After two words u v,

    logit(w) = log(count(u v w) + A q(w | v))    q(w | v) = (count(v w) + A count(w) / N) / (count(v) + A)

for each word w of the vocabulary: what was seen after the two words, then after the last, then anywhere, each a prior
of weight A for the one before. Temperature T divides the logits; top-k keeps the k likeliest words, top-p the smallest
set with probability p. The picture shows the law of one word at five temperatures, how entropy grows with T, and what
the two cut-offs keep; the text below it is drawn word by word, one row a setting, each with a key of its own.

    python examples/temperature.py --out pictures
"""

import argparse
import re
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from mcmc.direct import categorical

NAME = "temperature"
START = ("can", "be")
PRIOR = 2.0
TEMPERATURES = (0.01, 0.5, 1.0, 2.0, np.inf)
SETTINGS = {  # of the rows of text
    "T = 0": {"temperature": 0.0},
    "T = 0.5": {"temperature": 0.5},
    "T = 1": {"temperature": 1.0},
    "T = 1, top-k 10": {"temperature": 1.0, "top_k": 10},
    "T = 1, top-p 0.6": {"temperature": 1.0, "top_p": 0.6},
    "T = 2": {"temperature": 2.0},
}


def count_words():
    """The vocabulary, likeliest first, and the counts of runs of one, two and three words."""
    words = re.findall(r"[a-z]+|[.,:;]", " ".join(topics[name] for name in sorted(topics)).lower())
    runs = [Counter(zip(*(words[i:] for i in range(n)), strict=False)) for n in (1, 2, 3)]
    return [word for (word,), _ in runs[0].most_common()], runs


VOCABULARY, RUNS = count_words()
INDEX = {word: i for i, word in enumerate(VOCABULARY)}
SINGLE = np.array([RUNS[0][word,] for word in VOCABULARY], float)
PAIRS = {word: {} for word in VOCABULARY}
TRIPLES = {pair: {} for pair in RUNS[1]}
for (first, second), times in RUNS[1].items():
    PAIRS[first][INDEX[second]] = times
for (*pair, third), times in RUNS[2].items():
    TRIPLES[tuple(pair)][INDEX[third]] = times


def logits_after(first, second):
    """The logits of the word after two words, (vocabulary,)."""
    below = SINGLE / SINGLE.sum()
    for seen in (PAIRS[second], TRIPLES.get((first, second), {})):
        counts = np.zeros(len(VOCABULARY))
        counts[list(seen)] = list(seen.values())
        below = (counts + PRIOR * below) / (counts.sum() + PRIOR)
    return np.log(below).astype(np.float32)


def write(key, length=28):
    """Texts of so many words, one a setting: each step draws all rows at once, each row with its own parameters."""
    size = len(VOCABULARY)
    given = {
        "temperature": np.array([s["temperature"] for s in SETTINGS.values()]),
        "top_k": np.array([s.get("top_k", size) for s in SETTINGS.values()]),
        "top_p": np.array([s.get("top_p", 1.0) for s in SETTINGS.values()]),
    }
    texts = [list(START) for _ in SETTINGS]
    for step in range(length):
        logits = jnp.stack([logits_after(*text[-2:]) for text in texts])
        keys = jax.random.split(jax.random.fold_in(key, step), len(texts))
        for text, index in zip(texts, np.asarray(categorical.sample(keys, logits, **given)), strict=True):
            text.append(VOCABULARY[index])
    return {name: re.sub(r" ([.,:;])", r"\1", " ".join(text)) for name, text in zip(SETTINGS, texts, strict=True)}


def describe(logits):
    """How many words each law keeps, its entropy, and the probability of its likeliest word."""
    laws = {f"T = {t:g}": {"temperature": t} for t in (0.0, *TEMPERATURES)}
    laws |= {
        "top-k 10": {"top_k": 10},
        "top-p 0.6": {"top_p": 0.6},
        "T = 2, top-p 0.6": {"temperature": 2.0, "top_p": 0.6},
    }
    rows = {}
    for name, law in laws.items():
        kept = int(jnp.sum(categorical.filter_logits(logits, **law) > -jnp.inf))
        likeliest = float(jnp.max(categorical.probs(logits, **law)))
        rows[name] = [kept, float(categorical.entropy(logits, **law)), likeliest]
    return pandas.DataFrame(rows, index=["words kept", "entropy", "likeliest"]).T.astype({"words kept": int})


def check(key, logits, draws=200_000, **law):
    """The p-value of a chi-square test of draws against the law, rare words together."""
    p = np.asarray(categorical.probs(logits, **law), float)
    counts = np.bincount(np.asarray(categorical.sample(key, logits, shape=(draws,), **law)), minlength=p.size)
    often = p * draws >= 20
    found = np.append(counts[often], counts[~often].sum())
    expected = np.append(p[often], p[~often].sum()) * draws
    found, expected = found[expected > 0], expected[expected > 0]
    return stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue


def picture(logits):
    """Above the law of the likeliest words at five temperatures; below entropy, and what the cut-offs keep."""
    fig = Figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = fig.subfigures(2, 1, height_ratios=(1, 1))
    shown = np.argsort(-logits, kind="stable")[:12]
    names = [VOCABULARY[i] for i in shown]
    for ax, t in zip(top.subplots(1, len(TEMPERATURES), sharey=True), TEMPERATURES, strict=True):
        ax.barh(names, np.asarray(categorical.probs(logits, temperature=t))[shown], color="#1f6fb4")
        ax.set(title="T = ∞" if np.isinf(t) else f"T = {t:g}", xlabel="probability")
        ax.tick_params(axis="x", labelsize=8)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.invert_yaxis() if t == TEMPERATURES[0] else None
    left, right = bottom.subplots(1, 2)
    t = np.geomspace(0.02, 50, 60).astype(np.float32)
    many = jnp.broadcast_to(logits, (t.size, logits.size))
    left.semilogx(t, categorical.entropy(many, temperature=t), color="#1f6fb4", lw=2, label="all words")
    left.semilogx(t, categorical.entropy(many, temperature=t, top_k=10), color="#c8501e", lw=2, label="top-k 10")
    left.semilogx(t, categorical.entropy(many, temperature=t, top_p=0.6), color="#3a8f5c", lw=2, label="top-p 0.6")
    left.axhline(np.log(logits.size), color="0.6", ls="--", lw=1)
    left.set(xlabel="temperature", ylabel="entropy, nats", title="the dashed line: uniform over the vocabulary")
    p = np.sort(np.asarray(categorical.probs(logits)))[::-1]
    rank = np.arange(1, p.size + 1)
    right.loglog(rank, p, color="0.35", lw=2, label="probability, T = 1")
    kept = int(jnp.sum(categorical.probs(logits, top_p=0.6) > 0))
    right.axvline(10, color="#c8501e", lw=2, label="top-k 10 keeps 10")
    right.axvline(kept, color="#3a8f5c", lw=2, label=f"top-p 0.6 keeps {kept}")
    right.set(xlabel="rank of the word", ylabel="probability", title=f"the word after “{' '.join(START)}”")
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=9)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return fig


def run(out=".", seed=1):
    """Describe, write, check, save the picture; returns the texts and the table."""
    key = jax.random.key(seed)
    logits = logits_after(*START)
    print(f"{len(VOCABULARY):,} words, {int(SINGLE.sum()):,} in all; the word after {' '.join(START)!r}:")
    table = describe(logits)
    print(table.round({"entropy": 2, "likeliest": 3}).to_string(), "\n")
    texts = write(key)
    for name, text in texts.items():
        print(f"{name:>17}  {text}")
    values = [check(key, logits, **law) for law in ({}, {"temperature": 2.0}, {"top_k": 10}, {"top_p": 0.6})]
    good = min(values) > 1e-3
    print(f"\n{'Good' if good else 'NOT good'}: 4 x 200,000 draws against their laws, least p-value {min(values):.2f}.")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(logits).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return texts, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Temperature, top-k and top-p on the next word")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
