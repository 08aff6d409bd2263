"""Mixture draws with exact gradients in weights and components: of normals, and of any laws of one number."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import log_ndtr
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    POSITIVE,
    Call,
    Condition,
    batch_shape,
    both,
    check,
    common_shape,
    exponential_noise,
    float_dtype,
    full_shape,
    one_if,
    real_array,
    single_key,
)
from mcmc.direct.reparam.implicit import implicit
from mcmc.errors import WrongType, WrongValue
from mcmc.random import draws as random

LOGITS = Condition(lambda x: x < np.inf, "numbers below infinity, −∞ for no weight", "Check for a NaN upstream.")


def normal_mixture(
    key: jax.Array,
    logits: ArrayLike,
    locs: ArrayLike,
    scales: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Draws of a mixture of normals: p(x) = Σₖ wₖ N(x; locₖ, scaleₖ²), with w = softmax(logits).

    The gradient is that of the mixture's distribution function F: dx/dθ = −(∂F/∂θ) / p. Differentiating through
    the component that was drawn would lose the weights.

    Args:
        key: one JAX key, of any implementation.
        logits: (..., k), unnormalised.
        locs: (..., k), the means.
        scales: (..., k), positive.
        shape: the full shape of the result, without k; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument outside its range, all logits of a mixture −∞, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: Graves 2016, Stochastic backpropagation through mixture density distributions; Figurnov, Mohamed & Mnih
        2018.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> locs, scales = jnp.array([-1.0, 1.0]), jnp.array([0.5, 0.5])
        >>> mean = lambda l: reparam.normal_mixture(jax.random.key(0), l, locs, scales, shape=(100_000,)).mean()
        >>> [round(float(g), 1) for g in jax.grad(mean)(jnp.zeros(2))]
        [-0.5, 0.5]
    """
    values = {"logits": real_array("logits", logits), "locs": real_array("locs", locs)}
    values["scales"] = real_array("scales", scales)
    common = batch_shape(**values)
    if not common:
        raise WrongValue("logits", logits, "an array (..., k)", "For k = 1 take reparam.normal.")
    valid = _logits_valid(values["logits"])
    for name, condition in (("locs", FINITE), ("scales", POSITIVE)):
        valid = both(valid, _all(check(name, values[name], condition)))
    full = full_shape(shape, common[:-1])
    return Call(single_key(key), full, float_dtype(dtype, *values.values()), tuple(values.values()), valid).draw(_draw)


def mixture(
    key: jax.Array,
    logits: ArrayLike,
    components: Any,
    *,
    shape: tuple[int, ...] | None = None,
) -> jax.Array:
    """Draws of a mixture of any laws of one number: p(x) = Σₖ wₖ pₖ(x), with w = softmax(logits).

    The gradient is that of the mixture's distribution function, dx/dθ = −Σₖ (∂wₖ/∂θ Fₖ + wₖ ∂Fₖ/∂θ) / p, in the
    logits and in whatever parameters the components were made with. Every component is drawn from, and one kept.

    Args:
        key: one JAX key, of any implementation.
        logits: (..., k), unnormalised.
        components: a sequence of k laws, or one law whose batch has k as its last axis, such as NumPyro's
            distributions: objects with `sample(key, shape)`, `cdf(x)` and `log_prob(x)`, elementwise, and perhaps
            `sf(x)`, one minus the cdf, precise in an upper tail. InverseCDF is one too.
        shape: the full shape of the result, without k; None: that of the logits and the components together.

    Raises:
        TypeError: components without these three, or of whole numbers. ValueError: an argument outside its range, all
            logits of a mixture −∞, a number of components that is not k, or a shape that doesn't fit. Where the logits
            are traced the draw is NaN instead.

    Source: Figurnov, Mohamed & Mnih 2018, Implicit reparameterization gradients.

    Example:
        >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
        >>> from mcmc import reparam
        >>> def mean(logits):
        ...     laws = [dist.Gamma(3.0, 1.0), dist.Normal(-1.0, 0.5)]
        ...     return reparam.mixture(jax.random.key(0), logits, laws, shape=(100_000,)).mean()
        >>> [round(float(g), 1) for g in jax.grad(mean)(jnp.zeros(2))]  # w (1 - w) (3 - (-1)), and minus that
        [1.0, -1.0]
    """
    logits = real_array("logits", logits)
    k = np.shape(logits)[-1] if np.ndim(logits) else 0
    if not k:
        raise WrongValue("logits", logits, "an array (..., k)", "For one law, draw from it.")
    valid = _logits_valid(logits)
    laws = _Laws(components, k)
    full = full_shape(shape, common_shape(logits=np.shape(logits)[:-1], components=laws.batch))
    draws = laws.sample(single_key(key), full)
    log_weights = jax.nn.log_softmax(jnp.asarray(logits, draws.dtype))
    noise = exponential_noise(jax.random.fold_in(single_key(key), k), draws.shape, draws.dtype, stream=1)
    chosen = jnp.argmax(lax.stop_gradient(log_weights) - jnp.log(noise), -1)[..., None]
    x = lax.stop_gradient(jnp.take_along_axis(draws, chosen, -1)[..., 0])
    left = lax.stop_gradient(jnp.sum(jnp.exp(log_weights) * laws.cdf(x, draws), -1) < 0.5)

    def cdf(x: jax.Array, log_weights: jax.Array) -> jax.Array:
        """F, or on the right of the median F − 1, which is precise there."""
        part = jnp.where(left[..., None], laws.cdf(x, draws), -laws.sf(x, draws))
        return jnp.sum(jnp.exp(log_weights) * part, -1)

    def log_prob(x: jax.Array, log_weights: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(log_weights + laws.log_prob(x, draws), -1)

    x = implicit(x, cdf, log_weights, log_prob=log_prob)
    return x if valid is None else x * one_if(valid, x.dtype)


class _Laws:
    """The components of a mixture, side by side in the last axis."""

    def __init__(self, components: Any, k: int):
        self.single = not isinstance(components, list | tuple)
        self.laws = [components] if self.single else list(components)
        for law in self.laws:
            missing = [name for name in ("sample", "cdf", "log_prob") if not callable(getattr(law, name, None))]
            if missing:
                expected = "laws with sample(key, shape), cdf(x) and log_prob(x)"
                remedy = "Take a sequence of NumPyro distributions, or one with a batch."
                raise WrongType("components", law, expected, remedy)
        drawn = [jax.eval_shape(lambda law=law: law.sample(jax.random.key(0), ())) for law in self.laws]
        if any(not jnp.issubdtype(one.dtype, jnp.floating) for one in drawn):
            remedy = "Of whole numbers a draw carries no gradient: draw the component, then from it."
            raise WrongType("components", "draws that are no floats", "laws of real numbers", remedy)
        shapes = [one.shape for one in drawn]
        if (shapes[0][-1:] != (k,)) if self.single else len(self.laws) != k:
            found = f"a batch of shape {shapes[0]}" if self.single else f"{len(self.laws)} laws"
            remedy = "Give as many logits as components."
            raise WrongValue("components", found, f"{k} of them, as logits has", remedy)
        self.shapes = [shapes[0][:-1]] if self.single else shapes
        self.batch = common_shape(**{f"components[{i}]": one for i, one in enumerate(self.shapes)})

    def sample(self, key: jax.Array, full: tuple[int, ...]) -> jax.Array:
        draws = []
        for i, (law, batch) in enumerate(zip(self.laws, self.shapes, strict=True)):
            ahead = len(full) - len(batch)
            if full[ahead:] != batch:
                remedy = "Broadcast its parameters, or use jax.vmap."
                raise WrongValue("components", f"a batch of shape {batch}", f"that of {full}'s end", remedy)
            draws.append(law.sample(random.threefry(jax.random.fold_in(key, i)), full[:ahead]))
        return lax.stop_gradient(draws[0] if self.single else jnp.stack(draws, -1))

    def cdf(self, x: jax.Array, inner: jax.Array) -> jax.Array:
        """Fₖ(x); `inner` are points where each is defined, that it is evaluated at where x is not."""
        return self._each(lambda law, x: law.cdf(x), x, inner, (0.0, 1.0))

    def sf(self, x: jax.Array, inner: jax.Array) -> jax.Array:
        return self._each(lambda law, x: law.sf(x) if hasattr(law, "sf") else 1 - law.cdf(x), x, inner, (1.0, 0.0))

    def log_prob(self, x: jax.Array, inner: jax.Array) -> jax.Array:
        return self._each(lambda law, x: law.log_prob(x), x, inner, (-np.inf, -np.inf))

    def _each(self, of: Any, x: jax.Array, inner: jax.Array, outside: tuple[float, float]) -> jax.Array:
        """A function of each law, and left and right of its support these two numbers."""
        parts = [(self.laws[0], x[..., None], inner)]
        if not self.single:
            parts = [(law, x, inner[..., i]) for i, law in enumerate(self.laws)]
        found = []
        for law, at, own in parts:
            within = law.support(at) if callable(getattr(law, "support", None)) else jnp.ones(at.shape, bool)
            value = of(law, jnp.where(within, at, own))
            found.append(jnp.where(within, value, jnp.where(at < own, *outside)))
        return found[0] if self.single else jnp.stack(found, -1)


def _logits_valid(logits: Any) -> Any:
    """Where the logits of a mixture are good, as `check` has it."""
    some = Condition(lambda x: (x > -np.inf).any(-1), "a finite logit in every mixture", "Give one component weight.")
    valid = check("logits", logits, LOGITS)
    return both(_all(valid), check("logits", logits, some)) if np.ndim(logits) else valid


def _all(valid: Any) -> Any:
    return valid if valid is None or not jnp.ndim(valid) else jnp.all(valid, -1)


def _draw(key: jax.Array, shape: tuple, dtype: Any, logits: jax.Array, locs: jax.Array, scales: jax.Array) -> jax.Array:
    wide = (*shape, jnp.broadcast_shapes(logits.shape, locs.shape, scales.shape)[-1])
    logits, locs, scales = (jnp.broadcast_to(a, wide) for a in (logits, locs, scales))
    chosen = jnp.argmax(logits - jnp.log(exponential_noise(key, wide, dtype, stream=1)), -1)[..., None]
    loc, scale = (jnp.take_along_axis(a, chosen, -1)[..., 0] for a in (locs, scales))
    x = lax.stop_gradient(lax.optimization_barrier(loc + scale * random.normal(key, shape, dtype)))
    return _with_gradient(x, jax.nn.log_softmax(logits), locs, scales)


@jax.custom_jvp
def _with_gradient(x: jax.Array, log_weights: jax.Array, locs: jax.Array, scales: jax.Array) -> jax.Array:
    return x


@_with_gradient.defjvp
def _with_gradient_jvp(primals: tuple, tangents: tuple) -> tuple:
    """With r the responsibilities: dx = Σ rₖ (dlocₖ + zₖ dscaleₖ) − Σ wₖ dlog wₖ (Φ(zₖ) − F) / p.

    On the right of the median Φ − F is taken as S − Sₖ, so that tails keep their precision.
    """
    x, log_weights, locs, scales = primals
    x = _with_gradient(x, log_weights, locs, scales)
    z = (x[..., None] - locs) / scales
    log_parts = log_weights - z * z / 2 - jnp.log(scales) - np.log(2 * np.pi) / 2
    log_p = jax.nn.logsumexp(log_parts, -1, keepdims=True)
    below, above = jnp.exp(log_weights + log_ndtr(z) - log_p), jnp.exp(log_weights + log_ndtr(-z) - log_p)
    left = jnp.sum(below, -1, keepdims=True) < jnp.sum(above, -1, keepdims=True)
    share = jnp.where(left, below, -above)
    share = share - jnp.exp(log_weights) * jnp.sum(share, -1, keepdims=True)
    moved = jnp.exp(log_parts - log_p) * (tangents[2] + z * tangents[3]) - share * tangents[1]
    return x, tangents[0] + jnp.sum(moved, -1)
