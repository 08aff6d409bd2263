"""Layers of random numbers: what a map does must not hang on how it was found."""

import numpy as np

from mcmc.warmup.geometry.conditional_layer import ABSENT, ConditionalLayer
from mcmc.warmup.geometry.curve_layer import CurveLayer
from mcmc.warmup.geometry.joint_layer import JointLayer
from mcmc.warmup.geometry.tail_layer import TailLayer


def conditional(seed, dim, steep=0.2, count=2):
    """A layer of `count` parents whose other coordinates are mapped, by one to three terms, or left alone."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(dim)
    parents, others = np.sort(order[:count]), order[count:]
    mapped = others[: rng.integers(1, len(others) + 1)]
    terms, shape = 3, (dim, 3, count)
    exponents, slopes = np.zeros(shape), np.zeros(shape)
    offsets, log_kappa = np.zeros(shape[:2]), np.full(shape[:2], ABSENT)
    loc, scale = np.zeros(dim), np.ones(dim)
    log_kappa[:, 0] = 0.0
    for i in mapped:
        live = rng.integers(1, terms + 1)
        exponents[i, 1:] = rng.normal(0, steep, (terms - 1, count))
        slopes[i] = rng.normal(0, steep, (terms, count))
        offsets[i] = rng.normal(0, steep, terms)
        log_kappa[i, :live] = rng.normal(size=live)
        loc[i], scale[i] = rng.normal(0, steep), np.exp(rng.normal(0, steep))
    return ConditionalLayer(parents, rng.normal(0, steep, count), loc, scale, exponents, slopes, offsets, log_kappa)


def tails(seed, dim):
    """A layer with powers of 2/3 to 3/2 at some coordinates, 1 at others."""
    rng = np.random.default_rng(seed)
    numbers = np.stack([0.3 * rng.normal(size=dim), *1.5 ** rng.uniform(-1, 1, (3, dim))])
    numbers[:, rng.random(dim) < 0.3] = np.array([0.0, 1.0, 1.0, 1.0])[:, None]
    return TailLayer(*numbers)


def curve(seed, dim, bend=0.2):
    """A layer of two parents and their three products, with a limit or none, which moves some of the others."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(dim)
    parents, mapped = np.sort(order[:2]), order[2 : rng.integers(3, dim + 1)]
    slopes, bends = np.zeros((dim, 2)), np.zeros((dim, 3))
    slopes[mapped] = rng.normal(0, bend, (len(mapped), 2))
    bends[mapped] = rng.normal(0, bend, (len(mapped), 3))
    limit = rng.uniform(0.5, 3, 2) if seed % 2 else np.full(2, np.inf)
    return CurveLayer(parents, rng.normal(0, bend, 2), np.array([[0, 0], [0, 1], [1, 1]]), slopes, bends, limit)


def joint(seed, dim, steep=0.2):
    """A layer of two parents and two terms that maps three of the others together."""
    rng = np.random.default_rng(seed)
    order, roots = rng.permutation(dim), rng.normal(size=(2, 3, 3))
    matrices = roots @ roots.swapaxes(1, 2) + np.eye(3)
    exponents, beside = rng.normal(0, steep, (2, 3, 2)), rng.normal(0, steep, (2, 2))
    centre, loc, scale = rng.normal(0, steep, 2), rng.normal(0, steep, 3), np.exp(rng.normal(0, steep, 3))
    levels = rng.normal(size=(2, 3))
    return JointLayer(np.sort(order[:2]), centre, order[2:5], loc, scale, exponents, beside, matrices, levels)
