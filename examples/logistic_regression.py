r"""Which tumours are malignant? Logistic regression on the breast cancer data that scikit-learn ships.

569 tumours (Wolberg, Street & Mangasarian 1995), 30 measurements of the nuclei of their cells, standardised; 30 % are
held out. With x the measurements and y = 1 for a malignant tumour

    P(y = 1) = 1 / (1 + exp(-(intercept + x . weight))),     weight ~ N(0, 1),     intercept: flat

The most probable weights of this posterior are scikit-learn's L2-penalised fit with C = 1, to the last digit: that is
the check. What the draws add is how sure one may be, of each weight and of each new patient. Needs scikit-learn.

    python examples/logistic_regression.py --out pictures
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import mcmc

NAME = "logistic_regression"


def load():
    """Standardised measurements and labels, for training and held out, and the measurements' names."""
    bunch: Any = load_breast_cancer()
    malignant = (bunch.target == 0).astype(float)
    parts = train_test_split(bunch.data, malignant, test_size=0.3, random_state=0, stratify=malignant)
    x, x_new, y, y_new = (np.asarray(part) for part in parts)
    mean, sd = x.mean(0), x.std(0)
    return (x - mean) / sd, y, (x_new - mean) / sd, y_new, [str(name) for name in bunch.feature_names]


X, Y, X_NEW, Y_NEW, MEASUREMENTS = load()


def log_density(p, data):
    """N(0, 1) weights and Bernoulli labels."""
    logits = p["intercept"] + data["x"] @ p["weight"]
    return -0.5 * jnp.sum(p["weight"] ** 2) + jnp.sum(data["y"] * logits - jax.nn.softplus(logits))


target = mcmc.Target(
    log_density,
    {"intercept": mcmc.real(), "weight": mcmc.real(30)},
    data={"x": X, "y": Y},
    dims={"weight": ["measurement"], "x": ["tumour", "measurement"], "y": ["tumour"]},
    coords={"measurement": MEASUREMENTS},
)


def probabilities(draws, x):
    """The probability that each row of x is malignant, at every draw: (draw, tumour)."""
    weight = draws["posterior"]["weight"].values.reshape(-1, 30)
    return 1 / (1 + np.exp(-(draws["posterior"]["intercept"].values.reshape(-1, 1) + weight @ x.T)))


def scores(p, y):
    """Accuracy, mean log loss and Brier score of probabilities p for labels y."""
    log_loss = -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))
    return {"accuracy": np.mean((p > 0.5) == y), "log loss": log_loss, "Brier score": np.mean((p - y) ** 2)}


def compare(draws, fit):
    """Held-out scores of the posterior's mean probability, of scikit-learn's fit, and of no measurements at all."""
    rows = {
        "posterior": scores(probabilities(draws, X_NEW).mean(0), Y_NEW),
        "scikit-learn, C = 1": scores(fit.predict_proba(X_NEW)[:, 1], Y_NEW),
        "share of malignant": scores(np.full(len(Y_NEW), Y.mean()), Y_NEW),
    }
    return pandas.DataFrame(rows).T


def slope_at(fit):
    """The largest slope of the log density at scikit-learn's fit: 0 where that is its maximum."""
    with jax.enable_x64(True):
        p = {"intercept": jnp.asarray(fit.intercept_[0]), "weight": jnp.asarray(fit.coef_[0])}
        gradients = jax.grad(log_density)(p, {k: jnp.asarray(v) for k, v in target.data.items()})
        return max(float(jnp.max(jnp.abs(s))) for s in gradients.values())


def _weights(ax, draws, fit):
    weight = draws["posterior"]["weight"].values.reshape(-1, 30)
    order = np.argsort(np.abs(weight.mean(0)))
    low, middle, high = np.quantile(weight[:, order], (0.05, 0.5, 0.95), axis=0)
    rows = np.arange(30)
    ax.axvline(0, color="0.6", lw=1)
    ax.hlines(rows, low, high, color="#1f6fb4", lw=2.5, alpha=0.6, label="posterior, 90 %")
    ax.plot(middle, rows, "o", color="#1f6fb4", ms=5, label="posterior, median")
    ax.plot(fit.coef_[0][order], rows, "x", color="#c8501e", ms=6, label="scikit-learn")
    ax.set_yticks(rows, labels=[MEASUREMENTS[i] for i in order], fontsize=8)
    ax.set(xlabel="weight, for one standard deviation of the measurement", ylim=(-0.7, 29.7))
    ax.legend(frameon=False, loc="upper left", fontsize=9)


def _new_tumours(ax, draws):
    p = probabilities(draws, X_NEW)
    order = np.argsort(p.mean(0))
    low, high = np.quantile(p[:, order], (0.05, 0.95), axis=0)
    at, y = np.arange(len(order)), Y_NEW[order]
    colours = np.where(y == 1, "#c8501e", "#2a8f5b")
    ax.vlines(at, low, high, color=colours, lw=1.6, alpha=0.45)
    for label, value, colour in (("malignant", 1, "#c8501e"), ("benign", 0, "#2a8f5b")):
        ax.plot(at[y == value], p.mean(0)[order][y == value], "o", ms=3.5, color=colour, label=f"in truth {label}")
    ax.axhline(0.5, color="0.6", lw=1)
    ax.set(xlabel="held-out tumours, in order", ylabel="probability of malignant, mean and 90 %", ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="upper left", fontsize=9)


def picture(draws, fit):
    """Left the weights beside scikit-learn's, right the held-out tumours."""
    fig = Figure(figsize=(11, 6.2), layout="constrained")
    left, right = fig.subplots(1, 2)
    _weights(left, draws, fit)
    _new_tumours(right, draws)
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle("Malignant or benign: 398 tumours to learn from, 171 held out", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, seed=seed, **settings)
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    fit = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, Y)
    table = compare(draws, fit)
    print("\nOn the 171 held-out tumours:", table.round(4).to_string(), sep="\n")
    print(f"\nLargest slope of the log density at scikit-learn's fit: {slope_at(fit):.1e}")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws, fit).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Malignant or benign tumours")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
