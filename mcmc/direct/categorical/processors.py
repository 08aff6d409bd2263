"""What changes logits before a token is drawn: pure functions of logits and of the tokens before.

Each takes logits (..., tokens) and gives logits of that shape, so they compose with one another and with `sample`,
`probs`, `log_prob` and `filter_logits`. A history is (..., length) tokens, in order, -1 where there is none, before or
after. Parameters may be arrays over the batch. Masked logits (-inf) stay masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mcmc.direct.categorical.arguments import keys_of, traced
from mcmc.errors import WrongType, WrongValue

MOST_LOG = 80.0  # of a penalty


def repetition_penalty(logits: ArrayLike, history: ArrayLike, penalty: ArrayLike) -> jax.Array:
    """Divide positive logits of tokens that were there by the penalty, and multiply negative ones.

    Source: Keskar et al. 2019, CTRL.

    Example:
        >>> from mcmc.direct import categorical
        >>> categorical.repetition_penalty([2.0, -2.0, 1.0], [0, 1], 2.0).tolist()
        [1.0, -4.0, 1.0]
    """
    x, by = _logits(logits), _parameter("penalty", penalty, least=0.0)
    return jnp.where(counts(history, x) > 0, jnp.where(x > 0, x / by, x * by), x)


def presence_penalty(logits: ArrayLike, history: ArrayLike, penalty: ArrayLike) -> jax.Array:
    """Take the penalty off the logits of tokens that were there."""
    x = _logits(logits)
    return x - _parameter("penalty", penalty) * (counts(history, x) > 0)


def frequency_penalty(logits: ArrayLike, history: ArrayLike, penalty: ArrayLike) -> jax.Array:
    """Take the penalty off a token's logit as often as it was there."""
    x = _logits(logits)
    return x - _parameter("penalty", penalty) * counts(history, x).astype(x.dtype)


def no_repeat_ngrams(logits: ArrayLike, history: ArrayLike, n: int) -> jax.Array:
    """Mask the tokens that would complete a run of n tokens that was there before.

    Example:
        >>> from mcmc.direct import categorical
        >>> categorical.no_repeat_ngrams([0.0, 0.0, 0.0], [1, 2, 0, 1], 2).tolist()
        [0.0, 0.0, -inf]
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise WrongValue("n", n, "a whole number from 1", "Give the length of the runs.")
    x = _logits(logits)
    h = _aligned(history, x)
    again = h >= 0
    for k in range(1, n):
        last = h[..., -k : h.shape[-1] - k + 1] if k <= h.shape[-1] else jnp.full((*h.shape[:-1], 1), -1)
        again = again & (_before(h, k) == last) & (last >= 0)
    return jnp.where(_scattered(again.astype(jnp.int32), h, x) > 0, -jnp.inf, x)


def logit_bias(logits: ArrayLike, bias: ArrayLike | Mapping[int, float]) -> jax.Array:
    """Add a bias: an array that broadcasts to the logits, or a dict by token; -inf forbids a token."""
    x = _logits(logits)
    if isinstance(bias, Mapping):
        tokens = _tokens("bias", list(bias), x.shape[-1])
        bias = jnp.zeros(x.shape[-1], x.dtype).at[tokens].set(jnp.asarray(list(bias.values()), x.dtype))
    return jnp.where(x == -jnp.inf, x, x + jnp.asarray(bias, x.dtype))


def allowed_tokens(logits: ArrayLike, mask: ArrayLike) -> jax.Array:
    """Mask the tokens that are not allowed: token i is where bit i mod 32 of word i // 32 is set.

    Args:
        logits: (..., tokens).
        mask: (..., words), 32-bit integers, as grammar engines give them.
    """
    x, words = _logits(logits), jnp.asarray(mask)
    size = x.shape[-1]
    if words.dtype not in (jnp.int32, jnp.uint32) or words.ndim < 1 or words.shape[-1] != -(-size // 32):
        expected = f"32-bit integers, {-(-size // 32)} words for {size} tokens"
        raise WrongValue("mask", f"{words.dtype} of shape {words.shape}", expected, "Pack 32 tokens a word.")
    at = np.arange(size)
    bits = (words.astype(jnp.uint32)[..., at // 32] >> (at % 32).astype(np.uint32)) & np.uint32(1)
    return jnp.where(bits == 1, x, -jnp.inf)


def min_length(logits: ArrayLike, history: ArrayLike, least: ArrayLike, stop: ArrayLike) -> jax.Array:
    """Mask the tokens that end a text (`stop`) while fewer than `least` tokens are there."""
    x, h = _logits(logits), jnp.asarray(history)
    short = jnp.sum(h >= 0, -1, keepdims=True) < _parameter("least", least, least=0.0)
    ends = jnp.zeros(x.shape[-1], bool).at[_tokens("stop", stop, x.shape[-1])].set(True)
    return jnp.where(short & ends, -jnp.inf, x)


def guidance(logits: ArrayLike, unconditional: ArrayLike, scale: ArrayLike) -> jax.Array:
    """Log u + scale (log c - log u), c and u the laws with and without the prompt: 1 is c, more moves away from u.

    Source: Sanchez et al. 2023, Stay on topic with classifier-free guidance.
    """
    x, other = _logits(logits), _logits(unconditional)
    c, u = jax.nn.log_softmax(x, -1), jax.nn.log_softmax(other, -1)
    kept = jnp.isfinite(x)
    u = jnp.where(kept & jnp.isfinite(u), u, c)
    moved = jnp.where(kept, u, 0) + _parameter("scale", scale) * jnp.where(kept, c - u, 0)
    return jnp.where(kept, moved, x)


def dry(
    logits: ArrayLike,
    history: ArrayLike,
    multiplier: ArrayLike,
    base: ArrayLike = 1.75,
    allowed_length: int = 2,
    breakers: ArrayLike = (),
    longest: int = 50,
) -> jax.Array:
    """Take multiplier · base^(m − allowed_length) off a token that would repeat a run of m tokens and itself.

    m is the length of the longest end of the history that stood before that token earlier, from `allowed_length` on and
    up to `longest`; no run goes over a token in `breakers`, and nothing is taken off these.

    Source: p-e-w 2024, DRY ("don't repeat yourself"), as in llama.cpp.
    """
    x = _logits(logits)
    h = _aligned(history, x)
    broken = jnp.zeros(x.shape[-1], bool).at[_tokens("breakers", breakers, x.shape[-1])].set(True)
    length = _repeated(h, broken, min(longest, h.shape[-1] - 1))
    m = _scattered(length, h, x)
    by = _parameter("base", base, least=1.0)
    most = jnp.where(by > 1, MOST_LOG / jnp.log(jnp.maximum(by, 1 + 1e-6)), 0.0)  # a power that floats hold
    power = by ** jnp.minimum((m - allowed_length).astype(x.dtype), most)
    off = jnp.where((m >= allowed_length) & ~broken, _parameter("multiplier", multiplier, least=0.0) * power, 0.0)
    return x - off.astype(x.dtype)


def xtc(key: jax.Array, logits: ArrayLike, threshold: ArrayLike, probability: ArrayLike) -> jax.Array:
    """With this probability mask all tokens of probability `threshold` or more but the least likely of these.

    One decision a row, with one key or one a row; above a threshold of one half nothing is masked.

    Source: p-e-w 2024, XTC ("exclude top choices").
    """
    x = _logits(logits)
    p = jax.nn.softmax(x, -1)
    top = p >= _parameter("threshold", threshold, least=0.0)
    least = jnp.min(jnp.where(top, p, jnp.inf), -1, keepdims=True)
    last = top & (p == least)
    first_of_last = last & (jnp.cumsum(last, -1) == 1)
    now = _uniform(key, x.shape[:-1])[..., None] < _parameter("probability", probability, least=0.0)
    return jnp.where(now & top & ~first_of_last, -jnp.inf, x)


def mirostat(logits: ArrayLike, mu: ArrayLike) -> jax.Array:
    """Mask the tokens whose surprise -log2 p is above mu, but for the likeliest: version 2.

    Draw from what it gives, then move mu by `mirostat_update`; start with mu = 2 tau.

    Source: Basu et al. 2021, Mirostat: a neural text decoding algorithm that directly controls perplexity.
    """
    x = _logits(logits)
    surprise = -jax.nn.log_softmax(x, -1) / np.log(2)
    kept = (surprise <= _parameter("mu", mu)) | (jnp.arange(x.shape[-1]) == jnp.argmax(x, -1)[..., None])
    return jnp.where(kept, x, -jnp.inf)


def mirostat_update(mu: ArrayLike, logits: ArrayLike, token: ArrayLike, tau: ArrayLike, eta: ArrayLike) -> jax.Array:
    """The next mu: mu - eta (s - tau), s the surprise in bits of the token drawn from what `mirostat` gave."""
    log_p = jax.nn.log_softmax(_logits(logits), -1)
    surprise = -jnp.take_along_axis(log_p, jnp.asarray(token)[..., None], -1)[..., 0] / np.log(2)
    return jnp.asarray(mu) - jnp.asarray(eta) * (surprise - jnp.asarray(tau))


# --- helpers ----------------------------------------------------------------------------------------------


def counts(history: ArrayLike, x: jax.Array) -> jax.Array:
    """How often each token is in the history, (..., tokens)."""
    h = _history(history, x)
    ones = (h >= 0).astype(jnp.int32)
    flat = h.reshape(-1, h.shape[-1]), ones.reshape(-1, h.shape[-1])
    made = jax.vmap(lambda at, n: jnp.zeros(x.shape[-1], jnp.int32).at[jnp.maximum(at, 0)].add(n))(*flat)
    return made.reshape(*h.shape[:-1], x.shape[-1])


def _uniform(key: Any, batch: tuple[int, ...]) -> jax.Array:
    """Uniforms of the batch's shape, of one key or of one a row."""
    key = keys_of(key, batch)
    if not key.shape:
        return jax.random.uniform(key, batch)
    return jax.vmap(jax.random.uniform)(key.reshape(-1)).reshape(batch)


def _logits(logits: Any) -> jax.Array:
    x = jnp.asarray(logits)
    if x.ndim < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        remedy = "Pass unnormalised log probabilities, tokens last."
        raise WrongType("logits", f"{x.dtype} of shape {x.shape}", "real numbers (..., tokens)", remedy)
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def _history(history: Any, x: jax.Array) -> jax.Array:
    h = jnp.asarray(history)
    h = h if h.size else h.astype(jnp.int32)  # [] is of floats
    if not jnp.issubdtype(h.dtype, jnp.integer) or h.ndim < 1:
        remedy = "Pass the tokens before, -1 where there is none."
        raise WrongType("history", f"{h.dtype} of shape {h.shape}", "integers (..., length)", remedy)
    if not traced(h) and h.size and (int(h.max()) >= x.shape[-1] or int(h.min()) < -1):
        remedy = "Fill up with -1."
        raise WrongValue("history", f"{int(h.min())} to {int(h.max())}", f"-1 to {x.shape[-1] - 1}", remedy)
    if not h.shape[-1]:  # nothing was there yet
        h = jnp.full((*h.shape[:-1], 1), -1, h.dtype)
    shape = jnp.broadcast_shapes(h.shape[:-1], x.shape[:-1])
    return jnp.broadcast_to(h, (*shape, h.shape[-1])).astype(jnp.int32)


def _aligned(history: Any, x: jax.Array) -> jax.Array:
    """The history with its last token at the end."""
    h = _history(history, x)
    flat = h.reshape(-1, h.shape[-1])
    after = jnp.argmax(flat[:, ::-1] >= 0, -1)
    return jax.vmap(jnp.roll)(flat, after).reshape(h.shape)


def _before(h: jax.Array, k: int) -> jax.Array:
    """At each place the token k places before, -1 where there is none."""
    none = jnp.full((*h.shape[:-1], min(k, h.shape[-1])), -1, h.dtype)
    return jnp.concatenate([none, h[..., : max(h.shape[-1] - k, 0)]], -1)


@partial(jax.jit, static_argnames="most")
def _repeated(h: jax.Array, broken: jax.Array, most: int) -> jax.Array:
    """At each place how many tokens before it are those at the end of the history, up to `most`."""
    place = jnp.arange(h.shape[-1])

    def longer(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        run, length = carry
        last = jnp.take(h, h.shape[-1] - k, axis=-1)[..., None]
        before = jnp.where(place >= k, jnp.take(h, jnp.maximum(place - k, 0), axis=-1), -1)
        run = run & (before == last) & (last >= 0) & ~broken[jnp.maximum(last, 0)]
        return run, length + run

    start = h >= 0, jnp.zeros(h.shape, jnp.int32)
    return jax.lax.fori_loop(1, most + 1, longer, start)[1]


def _scattered(values: jax.Array, h: jax.Array, x: jax.Array) -> jax.Array:
    """The greatest value at the places of each token, (..., tokens); 0 where it is nowhere."""
    flat = values.reshape(-1, h.shape[-1]), h.reshape(-1, h.shape[-1])
    valued = jnp.where(flat[1] >= 0, flat[0], 0)
    made = jax.vmap(lambda v, at: jnp.zeros(x.shape[-1], v.dtype).at[jnp.maximum(at, 0)].max(v))(valued, flat[1])
    return made.reshape(*h.shape[:-1], x.shape[-1])


def _parameter(name: str, value: Any, least: float = -np.inf) -> jax.Array:
    """A number, or an array over the batch with an axis for the tokens."""
    given = jnp.asarray(value)
    if not traced(given) and not bool(jnp.all(given >= least)):
        raise WrongValue(name, np.asarray(value).ravel()[0].item(), f"at least {least:g}", f"Give another {name}.")
    return given[..., None] if given.ndim else given


def _tokens(name: str, tokens: Any, size: int) -> np.ndarray:
    at = np.atleast_1d(np.asarray(tokens, int))
    if at.size and not (at.min() >= 0 and at.max() < size):
        raise WrongValue(name, at.tolist(), f"tokens from 0 to {size - 1}", "Pass indices of tokens.")
    return at
