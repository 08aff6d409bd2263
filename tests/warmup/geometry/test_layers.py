"""Which laws make a layer: parents that have laws themselves are given up where little is lost."""

import numpy as np
import pytest

from mcmc.warmup.geometry.conditional_forms import Form, Rows, fit_forms
from mcmc.warmup.geometry.conditional_layer import ConditionalLayer
from mcmc.warmup.geometry.layers import divergence, find_layers, layer_of
from mcmc.warmup.geometry.noncentring import Laws


@pytest.mark.parametrize(("slope", "together"), [(0.2, True), (3.0, False)])
def test_a_parent_that_explains_little_is_mapped_with_its_child(slope, together):
    """x1 and x2 are scaled by x0, x2 is moved by x1; gradients have noise, so that no law holds exactly."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(1200, 3))
    precision, left = np.exp(-2 * y[:, 0]), y[:, 2] - slope * y[:, 1]
    noise = 0.6 * rng.normal(size=(1200, 3)) * np.exp(-y[:, :1])
    g = (
        np.stack([-y[:, 0], -precision * y[:, 1] + slope * left, -(precision + 1) * y[:, 2] + slope * y[:, 1]], 1)
        + noise
    )
    rows, which = Rows.of(y, g), np.array([1, 2])
    term = (((0, -2.0),),)
    forms = [Form(term), Form(term, (1,))]
    after = fit_forms(rows, which, forms).divergence
    _, mapped = layer_of(Laws(which, forms, after + 1.0, after), rows)
    assert (sorted(mapped.tolist()) == [1, 2]) == together


def regression(seed, n=60, d=15):
    """Positions and gradients of weights, each scaled by one scale of all and one of its own, seen by a regression.

    log scales y0 and y1..d are half-Cauchy as logs, weights follow; the noise of the data is known.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    data = x[:, :3] @ np.array([2.0, -1.5, 1.0]) + rng.normal(size=n)
    y = np.concatenate([rng.normal(-3, 0.6, (1200, 1)), rng.normal(0, 1.2, (1200, d)), np.zeros((1200, d))], 1)
    for row in y:
        precision = x.T @ x + np.diag(np.exp(-2 * (row[0] + row[1 : d + 1])))
        root = np.linalg.cholesky(np.linalg.inv(precision))
        row[d + 1 :] = np.linalg.solve(precision, x.T @ data) + root @ rng.normal(size=d)
    weights, log_scale = y[:, d + 1 :], y[:, :1] + y[:, 1 : d + 1]
    scaled = weights**2 * np.exp(-2 * log_scale)
    of_scales = scaled - 1 - np.tanh(y[:, 1 : d + 1])
    of_weights = (data - weights @ x.T) @ x - weights * np.exp(-2 * log_scale)
    return y, np.concatenate([(scaled - 1).sum(1, keepdims=True) - np.tanh(y[:, :1]), of_scales, of_weights], 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_with_means_of_their_own_share_the_terms_of_their_scales(seed):
    """A horseshoe: no two weights have the same parents of the mean, all have their own scale and the common one."""
    y, g = regression(seed)
    with np.errstate(all="ignore"):
        layers, history = find_layers(y, g)
    found = {}
    for layer in layers:
        if isinstance(layer, ConditionalLayer):
            parents = layer.parents.tolist()
            for i, m in np.argwhere(layer.exponents.any(2)):
                powers = {parents[k]: layer.exponents[i, m, k] for k in np.flatnonzero(layer.exponents[i, m])}
                found.setdefault(int(i), []).append(powers)
    small = range(16 + 3, 31)  # the weights whose scales matter
    assert sum({0: -2.0, i - 15: -2.0} in found.get(i, []) for i in small) >= len(small) - 2
    assert history[-1] < 0.4 * history[0]


def test_a_mean_that_hangs_a_little_on_what_scales_it_does_without():
    """Far in the neck a mean linear in the log scale would grow without bound."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(1200, 3))
    precision = 1 + np.exp(2 * y[:, :1])
    g = -precision * y[:, 1:] + 0.1 * y[:, :1] + 0.5 * rng.normal(size=(1200, 2)) * np.sqrt(precision)
    rows, which = Rows.of(y, np.concatenate([-y[:, :1], g], 1)), np.array([1, 2])
    forms = [Form((((0, 2.0),),), (0,))] * 2
    after = fit_forms(rows, which, forms).divergence
    layer, mapped = layer_of(Laws(which, forms, after + 1.0, after), rows)
    assert mapped.tolist() == [1, 2]
    assert not layer.slopes.any()


def test_chains_that_do_not_move_have_an_infinite_divergence():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, 3)) * [1, 1, 0]
    assert divergence(y, rng.normal(size=(60, 3))) == np.inf
