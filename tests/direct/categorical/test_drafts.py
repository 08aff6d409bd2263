"""Speculative decoding: whatever was drafted, what comes out has the target's law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcmc.direct import categorical

N = 1_000_000
RNG = np.random.default_rng(3)
DRAFT, TARGET = jnp.array(RNG.normal(size=(2, 6))), jnp.array(RNG.normal(size=(3, 6)))


def drafted(n, key, **filters):
    q = categorical.probs(DRAFT, **filters)
    return categorical.sample(key, DRAFT, shape=(n, 2), **filters), jnp.broadcast_to(q, (n, 2, 6))


@pytest.mark.parametrize(
    ("of_draft", "of_target"),
    [({}, {}), ({"top_k": 3}, {"top_p": 0.9, "temperature": 0.8}), ({"temperature": 2.0}, {"min_p": 0.2})],
)
def test_tokens_have_the_targets_law(of_draft, of_target):
    drafts, q = drafted(N, jax.random.key(1), **of_draft)
    p = categorical.probs(TARGET, **of_target)
    tokens, accepted = categorical.accept_drafts(jax.random.key(2), drafts, q, jnp.broadcast_to(p, (N, 3, 6)))
    tokens, accepted, p = np.asarray(tokens), np.asarray(accepted), np.asarray(p, float)
    drafts = np.asarray(drafts)
    for place in range(3):
        there = accepted >= place
        counts, kept = np.bincount(tokens[there, place], minlength=6), p[place] > 0
        assert counts[~kept].sum() == 0
        expected = there.sum() * p[place][kept] / p[place].sum()
        assert stats.chisquare(counts[kept], expected).pvalue > 1e-4
    assert np.all(tokens[np.arange(3) > accepted[:, None]] == -1)
    kept = np.arange(2) < accepted[:, None]
    np.testing.assert_array_equal(tokens[:, :2][kept], drafts[kept])
    overlap = np.minimum(np.asarray(q[0, 0]), p[0]).sum()  # the acceptance rate of the first
    assert abs(np.mean(accepted >= 1) - overlap) < 5 * np.sqrt(overlap * (1 - overlap) / N)


def test_equal_laws_accept_every_draft():
    drafts, q = drafted(10_000, jax.random.key(4))
    p = jnp.concatenate([q, q[:, :1]], 1)
    _, accepted = categorical.accept_drafts(jax.random.key(5), drafts, q, p)
    assert int(accepted.min()) == 2


def test_a_key_a_row_and_compiled():
    drafts, q = drafted(5, jax.random.key(6))
    p = jnp.broadcast_to(categorical.probs(TARGET), (5, 3, 6))
    keys = jax.random.split(jax.random.key(7), 5)
    tokens, accepted = jax.jit(categorical.accept_drafts)(keys, drafts, q, p)
    for i in range(5):
        one = categorical.accept_drafts(keys[i], drafts[i], q[i], p[i])
        np.testing.assert_array_equal(one[0], tokens[i])
        assert int(one[1]) == int(accepted[i])


def test_no_draft_is_a_draw():
    tokens, accepted = categorical.accept_drafts(
        jax.random.key(0), jnp.zeros(0, int), jnp.zeros((0, 2)), jnp.array([[0.0, 1.0]])
    )
    assert (tokens.tolist(), int(accepted)) == ([1], 0)


@pytest.mark.parametrize(
    ("drafts", "q", "p", "error", "text"),
    [
        ([0.5], [[1, 1]], [[1, 1], [1, 1]], TypeError, "drafts: got dtype"),
        ([0], [[1, 1]], [[1, 1]], ValueError, r"target_probs: got shape \(1, 2\); expected \(2, 'tokens'\)"),
        ([0], [[1, 1, 1]], [[1, 1], [1, 1]], ValueError, "draft_probs: got shape"),
        ([2], [[1, 1]], [[1, 1], [1, 1]], ValueError, "drafts: got 2 to 2; expected 0 to 1"),
        ([0], [[1, -1]], [[1, 1], [1, 1]], ValueError, "draft_probs: got -1"),
        ([0], [[1, 1]], [[1, np.nan], [1, 1]], ValueError, "target_probs: got nan"),
    ],
)
def test_arguments(drafts, q, p, error, text):
    with pytest.raises(error, match=text):
        categorical.accept_drafts(jax.random.key(0), jnp.array(drafts), jnp.array(q, float), jnp.array(p, float))
