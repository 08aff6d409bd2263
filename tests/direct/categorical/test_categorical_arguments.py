"""Bad arguments are errors that name the argument, before anything runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.direct import categorical

KEY = jax.random.key(0)
X = jnp.zeros((2, 3, 5))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"top_p": 1.5}, ValueError, "top_p: got 1.5; expected a number from 0 to 1"),
        ({"top_p": -0.1}, ValueError, "top_p: got -0.1"),
        ({"min_p": np.nan}, ValueError, "min_p: got nan"),
        ({"typical_p": 2}, ValueError, "typical_p: got 2"),
        ({"epsilon_cutoff": -1e-9}, ValueError, "epsilon_cutoff: got -1e-09"),
        ({"eta_cutoff": 1.1}, ValueError, "eta_cutoff: got 1.1"),
        ({"top_n_sigma": -2.0}, ValueError, "top_n_sigma: got -2.0"),
        ({"top_k": -2}, ValueError, "top_k: got -2; expected an integer not below 1"),
        ({"top_k": 2, "filters": ("top_p",)}, ValueError, "filters: got .*expected top_k in it too"),
        ({"filters": ("top_q",)}, ValueError, "filters: got 'top_q'"),
        ({"filters": ("top_k", "top_k")}, ValueError, "filters: got 'top_k'.*each once"),
        ({"filters": ("top_k",), "order": "joint"}, ValueError, "order: got 'joint'"),
        ({"top_k": 2.0}, TypeError, "top_k: got dtype float64"),
        ({"temperature": -1.0}, ValueError, "temperature: got -1.0; expected a number not below 0"),
        ({"temperature": "hot"}, TypeError, "temperature: got dtype"),
        ({"top_p": [0.5, 0.5]}, ValueError, r"top_p: got shape \(2,\)"),
        ({"top_p": np.full((2, 3, 1), 0.5)}, ValueError, "top_p: got shape"),
        ({"order": "both"}, ValueError, "order: got 'both'"),
        ({"axis": 3}, ValueError, "axis: got 3"),
        ({"shape": (5,)}, ValueError, r"shape: got \(5,\)"),
        ({"shape": (3, 2)}, ValueError, "shape: got "),
    ],
)
def test_bad_arguments_of_sample(arguments, kind, message):
    with pytest.raises(kind, match=message):
        categorical.sample(KEY, X, **arguments)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: categorical.sample(KEY, 1.0), ValueError, "logits: got a scalar"),
        (lambda: categorical.sample(KEY, jnp.zeros((3, 0))), ValueError, "logits: got shape"),
        (lambda: categorical.sample(KEY, jnp.zeros(3, complex)), TypeError, "logits: got dtype complex64"),
        (lambda: categorical.sample(KEY, jnp.zeros(3, bool)), TypeError, "logits: got dtype bool"),
        (lambda: categorical.sample(jax.random.split(KEY, 3), X), ValueError, r"key: got shape \(3,\)"),
        (lambda: categorical.sample(jnp.zeros(2), X), TypeError, "key: got dtype float32"),
        (lambda: categorical.probs(X, top_q=0.5), TypeError, "top_q: got "),
        (lambda: categorical.log_prob(jnp.zeros((3, 2), int), X), ValueError, "index: got shape"),
        (lambda: categorical.log_prob(jnp.full((2, 3), 5), X), ValueError, "index: got 5; expected 0 to 4"),
        (lambda: categorical.log_prob(jnp.zeros((2, 3)), X), TypeError, "index: got dtype float32"),
        (lambda: categorical.relaxed_log_prob(jnp.ones(4) / 4, jnp.zeros(3), 1.0), ValueError, "x: got shape"),
    ],
)
def test_bad_arguments_of_the_others(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_parameters_broadcast_over_the_batch():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)), jnp.float32)
    k = np.array([1, 2, 3])
    for given, full in (
        (k, np.tile(k, (2, 1))),
        (k[:2, None], np.tile(k[:2, None], (1, 3))),
        ([[2]], np.full((2, 3), 2)),
    ):
        kept = np.asarray(categorical.probs(x, top_k=given) > 0).sum(-1)
        np.testing.assert_array_equal(kept, full)


def test_logits_of_integers_lists_and_legacy_keys():
    assert int(categorical.argmax([1, 5, 2])) == 1
    assert categorical.probs([0, 0]).dtype == jnp.float32
    old = categorical.sample(jax.random.PRNGKey(3), [0.0, 1.0], shape=(20,))
    np.testing.assert_array_equal(old, categorical.sample(jax.random.key(3), [0.0, 1.0], shape=(20,)))


def test_constants_inside_a_compiled_function():
    x = jnp.array([0.0, -jnp.inf])
    f = jax.jit(lambda y: y + categorical.sample(KEY, x) + categorical.argmax(x) + categorical.probs(x, top_p=0.5)[0])
    assert float(f(1.0)) == 2.0
    g = jax.jit(lambda y: y + categorical.sample_without_replacement(KEY, x, 1)[0])
    assert float(g(1.0)) == 1.0
