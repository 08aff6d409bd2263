"""Logits processors, beside plain Python, alone and before filters; rows that are sharded over devices."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mcmc.direct import categorical as c

V = 12
RNG = np.random.default_rng(8)
LOGITS = RNG.normal(size=(3, V)).astype(np.float32)
TEXTS = [[1, 2, 3, 1, 2], [5, 5, 5, 5], [7]]
HISTORY = np.array([[1, 2, 3, 1, 2, -1], [-1, -1, 5, 5, 5, 5], [-1, 7, -1, -1, -1, -1]])


def each(function):
    """A reference row by row: `function(logits, text)` changes a copy of the logits."""
    out = []
    for row, text in zip(LOGITS, TEXTS, strict=True):
        row = row.astype(float).copy()
        function(row, text)
        out.append(row)
    return np.array(out)


def same(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5)


def test_penalties():
    def repetition(row, text):
        for t in set(text):
            row[t] = row[t] / 1.3 if row[t] > 0 else row[t] * 1.3

    def presence(row, text):
        row[list(set(text))] -= 0.4

    def frequency(row, text):
        for t in text:
            row[t] -= 0.4

    same(c.repetition_penalty(LOGITS, HISTORY, 1.3), each(repetition))
    same(c.presence_penalty(LOGITS, HISTORY, 0.4), each(presence))
    same(c.frequency_penalty(LOGITS, HISTORY, 0.4), each(frequency))
    by_row = c.frequency_penalty(LOGITS, HISTORY, np.array([0.0, 0.4, 0.0], np.float32))
    same(by_row, np.stack([LOGITS[0], each(frequency)[1], LOGITS[2]]))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_no_repeated_runs(n):
    def banned(row, text):
        end = text[len(text) - n + 1 :] if n <= len(text) else None
        for i in range(len(text) - n + 1):
            if text[i : i + n - 1] == end:
                row[text[i + n - 1]] = -np.inf

    same(c.no_repeat_ngrams(LOGITS, HISTORY, n), each(banned))


def test_bias_masks_and_lengths():
    biased = LOGITS.copy()
    biased[:, 3] += 2
    biased[:, 4] = -np.inf
    same(c.logit_bias(LOGITS, {3: 2.0, 4: -np.inf}), biased)
    allowed = RNG.random((3, 70)) < 0.4
    allowed[:, 69] = True
    words = np.zeros((3, 3), np.uint32)
    for row, at in np.argwhere(allowed):
        words[row, at // 32] |= np.uint32(1 << (at % 32))
    wide = RNG.normal(size=(3, 70)).astype(np.float32)
    same(c.allowed_tokens(wide, words), np.where(allowed, wide, -np.inf))
    same(c.allowed_tokens(wide, words.view(np.int32)), np.where(allowed, wide, -np.inf))

    def short(row, text):
        if len(text) < 5:
            row[[0, 11]] = -np.inf

    same(c.min_length(LOGITS, HISTORY, 5, [0, 11]), each(short))


def test_guidance():
    other = RNG.normal(size=(3, V)).astype(np.float32)
    a, b = special.log_softmax(LOGITS, -1), special.log_softmax(other, -1)
    same(c.guidance(LOGITS, other, 1.5), b + 1.5 * (a - b))
    same(c.probs(c.guidance(LOGITS, other, 1.0)), special.softmax(LOGITS, -1))
    masked = LOGITS.copy()
    masked[:, 2] = -np.inf
    assert np.all(np.asarray(c.guidance(masked, other, 2.0))[:, 2] == -np.inf)
    assert np.isfinite(np.asarray(c.guidance(LOGITS, masked, 2.0))).all()


@pytest.mark.parametrize("breakers", [[], [2], [5]])
def test_dry(breakers):
    def off(row, text):
        longest = {}
        for i in range(1, len(text)):
            m = 0
            while m < i and text[i - 1 - m] == text[-1 - m] and text[-1 - m] not in breakers:
                m += 1
            longest[text[i]] = max(longest.get(text[i], 0), m)
        for token, m in longest.items():
            if m >= 2 and token not in breakers:
                row[token] -= 0.8 * 1.75 ** (m - 2)

    same(c.dry(LOGITS, HISTORY, 0.8, breakers=breakers), each(off))


@pytest.mark.parametrize("history", [[], np.zeros((3, 0), int), np.full((3, 2), -1)])
def test_nothing_was_there_yet(history):
    for made in (
        c.repetition_penalty(LOGITS, history, 1.3),
        c.presence_penalty(LOGITS, history, 1.0),
        c.frequency_penalty(LOGITS, history, 1.0),
        c.no_repeat_ngrams(LOGITS, history, 2),
        c.dry(LOGITS, history, 1.0),
        c.min_length(LOGITS, history, 0, [1]),
    ):
        same(made, LOGITS)
    assert np.all(np.asarray(c.min_length(LOGITS, history, 1, [1]))[:, 1] == -np.inf)


def test_a_long_run_overflows_nothing():
    repeated = np.ones((2, 300), int)
    x = np.asarray(c.dry(LOGITS[:2], repeated, np.array([0.0, 1.0]), longest=400))
    same(x[0], LOGITS[0])
    assert np.isfinite(x).all()
    assert x[1, 1] < -1e30


def test_xtc_decides_a_row_by_its_own_key():
    logits = np.tile(np.log(np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float32)), (8, 1))
    keys = jax.random.split(jax.random.key(3), 8)
    together = c.xtc(keys, logits, 0.1, 0.5)
    same(together, np.stack([c.xtc(key, row, 0.1, 0.5) for key, row in zip(keys, logits, strict=True)]))


def test_xtc():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float32))
    same(c.xtc(jax.random.key(0), logits, 0.1, 1.0), [-np.inf, -np.inf, *logits[2:]])
    same(c.xtc(jax.random.key(0), logits, 0.1, 0.0), logits)
    same(c.xtc(jax.random.key(0), logits, 0.5, 1.0), logits)
    many = np.asarray(c.xtc(jax.random.key(1), np.tile(logits, (20_000, 1)), 0.1, 0.3))[:, 0] == -np.inf
    assert abs(many.mean() - 0.3) < 5 * np.sqrt(0.21 / 20_000)


def test_mirostat():
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    same(c.mirostat(logits, 2.5), [*logits[:2], -np.inf, -np.inf])
    same(c.mirostat(logits, 0.1), [logits[0], -np.inf, -np.inf, -np.inf])
    cut = c.mirostat(logits, 2.5)  # 2/3, 1/3
    np.testing.assert_allclose(c.mirostat_update(5.0, cut, 1, tau=3.0, eta=0.1), 5 - 0.1 * (np.log2(3) - 3), rtol=1e-6)
    wide, mu, bits = -np.log(np.arange(1, 2001, dtype=np.float32)), jnp.float32(6.0), []
    for i in range(400):  # the surprise is led to tau
        cut = c.mirostat(wide, mu)
        token = c.sample(jax.random.key(i), cut)
        bits.append(-float(c.log_prob(token, cut)) / np.log(2))
        mu = c.mirostat_update(mu, cut, token, tau=3.0, eta=0.1)
    assert abs(np.mean(bits[100:]) - 3.0) < 0.5


def test_they_compose_with_filters_and_agree():
    def processed(logits, history):
        x = c.repetition_penalty(logits, history, 1.2)
        return c.no_repeat_ngrams(c.frequency_penalty(x, history, 0.3), history, 3)

    settings = {"top_p": 0.8, "temperature": 0.7, "filters": ("top_p", "temperature")}
    x = jax.jit(processed)(LOGITS, HISTORY)
    same(x, processed(LOGITS, HISTORY))
    p = np.asarray(c.probs(x, **settings))
    draws = np.asarray(c.sample(jax.random.key(3), x, shape=(50_000, 3), **settings))
    same(np.exp(c.log_prob(draws[0], x, **settings)), p[range(3), draws[0]])
    for row in range(3):
        counts, kept = np.bincount(draws[:, row], minlength=V), p[row] > 0
        assert counts[~kept].sum() == 0
        expected = p[row][kept].astype(float)
        assert kept.sum() == 1 or stats.chisquare(counts[kept], 50_000 * expected / expected.sum()).pvalue > 1e-4
    assert np.all(np.asarray(x).dtype == np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: c.presence_penalty(LOGITS, [0.5], 1.0), TypeError, "history: got float"),
        (lambda: c.presence_penalty(LOGITS, [V], 1.0), ValueError, "history: got 12 to 12; expected -1 to 11"),
        (lambda: c.presence_penalty([1, 2], [0], 1.0), TypeError, "logits: got int"),
        (lambda: c.repetition_penalty(LOGITS, [0], -1.0), ValueError, "penalty: got -1.0; expected at least 0"),
        (lambda: c.no_repeat_ngrams(LOGITS, [0], 0), ValueError, "n: got 0"),
        (lambda: c.allowed_tokens(LOGITS, np.ones((3, V), bool)), ValueError, "mask: got bool"),
        (lambda: c.logit_bias(LOGITS, {40: 1.0}), ValueError, r"bias: got \[40\]"),
    ],
)
def test_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_rows_and_tokens_on_several_devices(kind):
    axes = (getattr(jax.sharding.AxisType, kind),)
    mesh = jax.make_mesh((4,), ("d",), axis_types=axes, devices=jax.devices()[:4])
    P, placed = jax.sharding.PartitionSpec, jax.sharding.NamedSharding
    x = jnp.asarray(3 * RNG.normal(size=(8, 1000)), jnp.float32)
    keys, settings = jax.random.split(jax.random.key(1), 8), {"top_p": 0.9, "top_k": 50, "typical_p": 0.9}
    expected = np.asarray(c.sample(keys, x, **settings))
    by_row = jax.device_put(keys, placed(mesh, P("d"))), jax.device_put(x, placed(mesh, P("d", None)))

    def draw(k, x):
        return c.sample(k, x, **settings)

    drawn = jax.jit(jax.shard_map(draw, mesh=mesh, out_specs=P("d"), in_specs=P("d")))
    np.testing.assert_array_equal(np.asarray(drawn(*by_row)), expected)
    for k in (keys, by_row[0]):  # as they are placed, without shard_map
        np.testing.assert_array_equal(np.asarray(c.sample(k, by_row[1], **settings)), expected)
    by_token = jax.device_put(x, placed(mesh, P(None, "d")))
    np.testing.assert_array_equal(np.asarray(jax.jit(draw)(keys, by_token)), expected)


def test_the_page_runs():
    page = (Path(__file__).parents[3] / "docs" / "categorical.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(first, names)
    assert names["index"].shape == names["batch"]
    assert names["order"].shape == (*names["batch"], 5)
    np.testing.assert_allclose(names["p"].sum(-1), 1, atol=1e-5)
    assert (np.take_along_axis(names["p"], names["index"][:, None], 1) > 0).all()
    for block in others:
        exec(block, names)
    part = page[page.index("## Before the filters") : page.index("## At the edges")]
    assert names["token"].shape == (2,)
    assert int(names["tokens"][int(names["accepted"])]) >= 0
    assert all(hasattr(c, name) for name in re.findall(r"`(\w+)`", part.split("|---|---|")[1].split("##")[0]))
