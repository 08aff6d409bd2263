"""Log probabilities as people have them: in JAX, NumPy or SciPy, of floats or of integers, or of one number.

They are evaluated on the host, in float64, whatever the flags.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.front_door import one_number
from mcmc.errors import SamplingError, WrongType, WrongValue
from mcmc.user_code import explaining

BATCH = 2**16
TRIED = 3  # values of the trial
FALLEN = 800.0  # nats below the highest, where the walk of a slow function ends
ENOUGH = 4  # values as low, one after the other
REFUSED = TypeError, ValueError, IndexError


class LogPmf:
    """Log f of arrays of whole numbers; SamplingError where it is NaN or +inf, but for `vanished`.

    Attributes:
        slow: whether it takes one number at a time.
        vanished: the points outside of which NaN and +inf are overflow of the function's own arithmetic.
    """

    def __init__(self, function: Callable, params: tuple, near: np.ndarray):
        self.function = (lambda k: function(k, *params)) if params else function
        self.vanished = -np.inf, np.inf
        self.given = function
        with _on_host(function):
            self.values = self._form(near[:TRIED])
        self.slow = self.values == self._each

    def __call__(self, k: np.ndarray) -> np.ndarray:
        """The log probabilities."""
        out = self.raw(k)
        bad = np.isnan(out) | (out == np.inf)
        if bad.any():
            vanished = bad & ((k < self.vanished[0]) | (k > self.vanished[1]))
            out = np.where(vanished, -np.inf, out)
            if (bad & ~vanished).any():
                at, value = k[bad & ~vanished][0], out[bad & ~vanished][0]
                text = f"log_pmf: got {value} at k = {at:.0f}; expected a finite number or -inf."
                raise SamplingError(f"{text} Give a support without it, or -inf there.", position={"k": float(at)})
        return out

    def raw(self, k: np.ndarray) -> np.ndarray:
        """The same, NaN and +inf as they are."""
        k = np.asarray(k, np.float64)
        if not k.size:
            return k
        with _on_host(self.given):
            return self.values(k)

    def outward(self, k: np.ndarray) -> np.ndarray:
        """`raw` of values in the order of their distance; a slow one ends where the law has fallen out of sight."""
        if not self.slow:
            return self.raw(k)
        out, best, fallen = np.full(k.shape, -np.inf), -np.inf, 0
        for i, one in enumerate(k):
            value = out[i] = self.raw(np.array([one]))[0]
            if -np.inf < value < np.inf:
                best = max(best, value)
            fallen = 0 if value > best - FALLEN or value == -np.inf or best == -np.inf else fallen + 1
            if fallen == ENOUGH:
                break
        return out

    def _form(self, near: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """How the function takes values: floats or integers in arrays, one of JAX's at a time, or one of Python's."""
        with warnings.catch_warnings():  # outside the support, perhaps
            warnings.simplefilter("ignore")
            for way in (self._floats, self._integers):
                try:
                    way(near)
                except REFUSED as error:
                    if "log_pmf:" in str(error):
                        raise
                else:
                    return way
            mapped = self._mapped()
            if mapped is None:
                self._each(near)
        return mapped or self._each

    def _floats(self, k: np.ndarray) -> np.ndarray:
        return self._in_batches(self.function, k)

    def _integers(self, k: np.ndarray) -> np.ndarray:
        return self._in_batches(self.function, k.astype(np.int64))

    def _mapped(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """For a function of one number that JAX can trace: with `lax.cond`, say."""
        for kind in (np.float64, np.int64):
            try:
                shape = jax.eval_shape(lambda k: self.function(k), jax.ShapeDtypeStruct((), kind)).shape
            except Exception:
                continue
            if shape == ():
                mapped = jax.jit(jax.vmap(lambda k: self.function(k)))
                return lambda k, kind=kind: self._in_batches(mapped, k.astype(kind))
        return None

    def _each(self, k: np.ndarray) -> np.ndarray:
        return np.array([one_number(self.function, int(one), "log_pmf") for one in k])

    @staticmethod
    def _in_batches(function: Callable, k: np.ndarray) -> np.ndarray:
        """Of few sizes, so that JAX compiles few programs."""
        padded = np.concatenate([k, np.full(-len(k) % min(BATCH, 1 << len(k).bit_length()), k[-1])])
        given = np.asarray(function(padded))
        if given.shape != padded.shape:
            remedy = "Write it elementwise: an array of values in, an array of that shape out."
            raise WrongValue("log_pmf", f"shape {given.shape} for {padded.shape}", "the values' shape", remedy)
        if not (jnp.issubdtype(given.dtype, jnp.floating) or jnp.issubdtype(given.dtype, jnp.integer)):
            raise WrongType("log_pmf", f"values of type {given.dtype}", "real numbers", "Return log f(k).")
        return given.astype(np.float64)[: len(k)]


@contextmanager
def _on_host(function: Callable) -> Iterator[None]:
    cpu = jax.local_devices(backend="cpu")[0]
    with (
        jax.ensure_compile_time_eval(),
        jax.enable_x64(True),
        jax.default_device(cpu),
        np.errstate(all="ignore"),
        explaining("log_pmf", function, "Discrete"),
    ):
        yield
