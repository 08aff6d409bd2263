"""Philox against its published vectors, uniforms and normals against their laws, independence of keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcmc.random import draws as random
from mcmc.random import keys, philox

ONES = 0xFFFFFFFF
VECTORS = [  # Random123, kat_vectors: philox4x32 10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
WORDS = np.array([123, 456], np.uint32)
BATCH = 100_000


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def key(chain=0, draw=0):
    return keys.draw_key(WORDS, chain, draw)


# --- the generator ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "cipher_key", "expected"), VECTORS)
@pytest.mark.parametrize("where", ["numpy", "jax", "jax, 32 bits"])
def test_known_answers(counter, cipher_key, expected, where):
    with jax.enable_x64(where != "jax, 32 bits"):
        array = np.array if where == "numpy" else jnp.array
        words = philox.philox(*([array([x], np.uint32) for x in part] for part in (cipher_key, counter)))
        assert tuple(int(w[0]) for w in words) == expected


def test_the_words_of_a_stream():
    found = philox.stream_bits(jax.random.key_data(key(3, 5)), 32, (7,), stream=9)
    expected = [
        philox.philox([np.array([w], np.uint32) for w in WORDS], [np.array([w], np.uint32) for w in (i, 9, 3, 5)])[0][0]
        for i in range(7)
    ]
    assert np.asarray(found).tolist() == expected


def enciphered(many, stream, chain=3, draw=5):
    """The four words of so many blocks, by NumPy."""
    words = [np.full(many, w, np.uint32) for w in (*WORDS, stream, chain, draw)]
    return philox.philox(words[:2], [np.arange(many, dtype=np.uint32), *words[2:]])


@pytest.mark.parametrize("shape", [(1024,), (1025,), (33, 41), (7, 11, 31), (100_003,)])
@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_many_numbers_use_all_words_of_a_block(width, shape):
    size = np.prod(shape)
    blocks = -(-size // (2 if width == 64 else 4))
    words = enciphered(blocks, 9)
    if width == 64:
        words = [a.astype(np.uint64) << np.uint64(32) | b for a, b in (words[:2], words[2:])]
    expected = np.concatenate(words)[:size].astype(f"uint{width}").reshape(shape)
    found = philox.stream_bits(jax.random.key_data(key(3, 5)), width, shape, stream=9)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_blocks_by_either_lowering_and_without_double_precision():
    data = jax.random.key_data(key(3, 5))
    lanes = philox.pairs(data, 3001, 9)
    plain = jax.jit(lambda data: philox._pairs(*data, shape=(3001,), stream=9))(data)
    expected = [a.astype(np.uint64) << np.uint64(32) | b for a, b in np.split(np.stack(enciphered(3001, 9)), 2)]
    for found in (lanes, plain):
        np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    with jax.enable_x64(False):
        narrow = philox.stream_bits(data, 32, (4 * 3001,), stream=9)
    np.testing.assert_array_equal(narrow, np.concatenate(enciphered(3001, 9)))


def test_streams_and_keys_of_many_numbers_share_none():
    data = [jax.random.key_data(key(c, t)) for c, t in ((0, 0), (1, 0), (0, 1))]
    found = [philox.stream_bits(d, 64, (5000,), stream) for d in data for stream in (4, 5, 6)]
    assert np.unique(np.concatenate(found)).size == 9 * 5000


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_jax_random_works_on_these_keys(width):
    bits = np.asarray(jax.random.bits(key(), (BATCH,), f"uint{width}"))
    assert bits.dtype == np.dtype(f"uint{width}")
    share = np.unpackbits(bits.view(np.uint8).reshape(BATCH, -1), axis=1).mean(0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(BATCH)
    children = jax.random.key_data(jax.random.split(key(), 1000))
    assert np.unique(np.asarray(children), axis=0).shape == (1000, 4)


def test_an_ordinary_seed_and_fold_in():
    first = jax.random.key(5, impl=philox.implementation)
    data = jax.jit(jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(first, i))))(np.arange(100))
    assert np.unique(np.asarray(data), axis=0).shape == (100, 4)
    np.testing.assert_array_equal(jax.random.key_data(jax.random.fold_in(first, 7)), data[7])


@pytest.mark.parametrize("seed", [0, 1, -1, 2**32, 2**63 - 1, np.int32(7)])
def test_words_of_a_seed(seed):
    words = keys.run_words(seed)
    assert (words.shape, words.dtype) == ((2,), np.uint32)
    others = [keys.run_words(s) for s in (2, 3, 2**33, 2**40)]
    assert all(np.any(words != other) for other in others)


@pytest.mark.parametrize("seed", [1.5, "1", True, None])
def test_a_seed_of_another_kind(seed):
    with pytest.raises(TypeError, match="seed"):
        keys.run_words(seed)


def test_keys_of_chains_and_draws_differ():
    c, t = np.meshgrid(np.arange(50), np.arange(50))
    data = jax.jit(jax.vmap(lambda c, t: jax.random.key_data(keys.draw_key(WORDS, c, t))))(c.ravel(), t.ravel())
    assert np.unique(np.asarray(data), axis=0).shape[0] == 2500


# --- laws ---------------------------------------------------------------------------------------------


@functools.cache
def program(function, dtype, stream):
    return jax.jit(lambda k: function(k, (BATCH,), dtype, stream=stream))


def many(function, dtype, stream=0, key=key()):
    return np.asarray(program(function, dtype, stream)(key))


FUNCTIONS = {"normal": random.normal, "symmetric_normal": random.symmetric_normal}
each_normal = pytest.mark.parametrize("name", FUNCTIONS)


@each_dtype
def test_uniforms_follow_their_law_and_are_never_0_or_1(dtype):
    u = many(random.uniform_open, dtype)
    assert u.dtype == dtype
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-4


class Words:
    """Stands for the bits, so that the extreme words come."""

    def __init__(self, value):
        self.value = value

    def __call__(self, key, width, shape=(), stream=0):
        return jnp.full(shape, self.value & (2**width - 1), f"uint{width}")


@each_dtype
@pytest.mark.parametrize("word", [0, 2**64 - 1], ids=["zeros", "ones"])
@pytest.mark.parametrize("function", [random.uniform_open, random.normal, random.symmetric_normal])
def test_the_extreme_words(function, word, dtype, monkeypatch):
    monkeypatch.setattr(random, "bits", Words(word))
    x = np.asarray(function(key(), (3,), dtype))
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    if function is random.uniform_open:
        assert np.all((x > 0) & (x < 1))
        assert np.all(np.isfinite(np.log(x)) & np.isfinite(np.log1p(-x)))
    elif dtype == np.float64 and function is random.normal:
        assert np.all(np.abs(x) > 8)


@each_dtype
@each_normal
def test_normals_follow_their_law(name, dtype):
    x = many(FUNCTIONS[name], dtype)
    assert x.dtype == dtype
    assert stats.kstest(x.astype(float), "norm").pvalue > 1e-4
    assert abs(x.mean()) < 5 / np.sqrt(BATCH)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / BATCH)
    assert abs((x.astype(float) ** 4).mean() - 3) < 5 * np.sqrt(96 / BATCH)


@each_dtype
@each_normal
def test_normals_have_their_tails(name, dtype):
    f = jax.jit(lambda k: FUNCTIONS[name](k, (2_000_000,), dtype))
    x = np.abs(np.asarray(f(key(1, 1))))
    for z in (3.0, 4.0, 4.8):
        expected = x.size * 2 * stats.norm.sf(z)
        assert abs((x > z).sum() - expected) < 5 * np.sqrt(expected)


def test_every_magnitude_of_the_float32_normal_is_exact():
    """The map from bits to a normal against the inverse normal distribution, both signs, tail included."""
    k = np.unique(np.concatenate([np.arange(2000), np.geomspace(2000, 2**31 - 1, 4000), 2**31 - 1 - np.arange(2000)]))
    k = k.astype(np.uint32)
    expected = stats.norm.isf((2**31 - 1 - k.astype(float) + 0.5) / 2**32)
    for sign in (0, 1):
        found = np.asarray(random._normal_of_bits(jnp.asarray(k << np.uint32(1) | np.uint32(sign))))
        np.testing.assert_allclose((-1) ** sign * found, expected, rtol=5e-6)


@each_normal
def test_the_float32_normal_is_exactly_symmetric(name):
    bits = np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32)
    a, b = (np.asarray(random._normal_of_bits(jnp.asarray(x))) for x in (bits, bits ^ np.uint32(1)))
    np.testing.assert_array_equal(a, -b)


# --- independence -------------------------------------------------------------------------------------


def correlated(a, b):
    return abs(np.corrcoef(a, b)[0, 1]) > 5 / np.sqrt(len(a))


@each_dtype
def test_streams_are_independent(dtype):
    x = [many(random.normal, dtype, stream) for stream in range(4)]
    assert not any(correlated(x[i], x[j]) for i in range(4) for j in range(i))
    assert correlated(x[0], x[0] + x[1])


@each_dtype
@pytest.mark.parametrize("ordinary", [False, True], ids=["philox", "threefry"])
def test_the_accept_uniform_is_independent_of_the_proposal(dtype, ordinary):
    k = jax.random.key(0) if ordinary else key()
    assert not correlated(many(random.normal, dtype, 0, k), many(random.uniform_open, dtype, 1, k))


@pytest.mark.parametrize(("chain", "draw"), [(1, 0), (0, 1), (1, 1), (2**16, 0), (0, 2**31)])
def test_neighbouring_keys_are_independent(chain, draw):
    a, b = (many(random.normal, np.float64, 0, k) for k in (key(), key(chain, draw)))
    assert not correlated(a, b)
    assert not correlated(np.abs(a), np.abs(b))


def test_one_number_a_key_along_chains_and_draws():
    """What the engine uses: the first numbers of neighbouring keys, as a series."""
    at = jnp.arange(BATCH)
    for series in (
        jax.jit(jax.vmap(lambda i: random.normal(keys.draw_key(WORDS, i, 0))))(at),
        jax.jit(jax.vmap(lambda i: random.normal(keys.draw_key(WORDS, 0, i))))(at),
    ):
        x = np.asarray(series)
        assert stats.kstest(x, "norm").pvalue > 1e-4
        assert not any(correlated(x[lag:], x[:-lag]) for lag in (1, 2, 3, 8, 64))


@each_dtype
@pytest.mark.parametrize("name", ["uniform_open", "normal", "symmetric_normal"])
def test_vmap_is_a_loop_bit_for_bit(name, dtype):
    function = jax.jit(lambda c, t: getattr(random, name)(keys.draw_key(WORDS, c, t), (3,), dtype))
    chains = np.arange(37, dtype=np.uint32)
    together = np.asarray(jax.jit(jax.vmap(function, (0, None)))(chains, np.uint32(9)))
    alone = np.stack([function(c, np.uint32(9)) for c in chains])
    np.testing.assert_array_equal(together, alone)
    nested = jax.jit(jax.vmap(jax.vmap(function, (None, 0)), (0, None)))(chains, np.arange(8, 11, dtype=np.uint32))
    np.testing.assert_array_equal(np.asarray(nested)[:, 1], alone)


@each_dtype
def test_vmap_is_a_loop_for_many_numbers(dtype):
    def draws(c):
        return random.uniform_open(keys.draw_key(WORDS, c, np.uint32(2)), (3, 501), dtype)

    chains = np.arange(5, dtype=np.uint32)
    together = jax.jit(jax.vmap(draws))(chains)
    np.testing.assert_array_equal(together, np.stack([jax.jit(draws)(c) for c in chains]))


def test_a_longer_shape_begins_with_the_shorter_up_to_a_thousand():
    np.testing.assert_array_equal(random.normal(key(), (10,))[:4], random.normal(key(), (4,)))
