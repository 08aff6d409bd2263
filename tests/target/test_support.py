"""Every support: round trips, Jacobians, exact laws, dtypes, casts and errors."""

import doctest
import functools
import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.scipy.special import gammaln

from mcmc.target import support as s

CONTINUOUS = [
    s.real(),
    s.real(3, 2),
    s.positive(),
    s.positive(4),
    s.lower(-2.5, 3),
    s.lower([1.0, 100.0]),
    s.upper(7.0, shape=2),
    s.interval(-1.0, 3.0),
    s.interval(0.0, [1.0, 2.0, 50.0]),
    s.interval(-4.0, 0.0, 2, 2),
    s.ordered(1),
    s.ordered(4),
    s.ordered(3, shape=(2,)),
    s.positive_ordered(4),
    s.positive_ordered(2, shape=(3,)),
    s.simplex(2),
    s.simplex(5),
    s.simplex(3, shape=(2, 2)),
    s.cholesky_factor_corr(2),
    s.cholesky_factor_corr(4),
    s.cholesky_factor_corr(3, shape=(2,)),
    s.corr_matrix(2),
    s.corr_matrix(4),
    s.corr_matrix(3, shape=(2,)),
    s.cov_matrix(1),
    s.cov_matrix(3),
    s.cov_matrix(2, shape=(3,)),
]
EMBEDDED = [s.circular(), s.circular(3), s.unit_vector(2), s.unit_vector(4), s.unit_vector(3, shape=(2,))]
DISCRETE = [s.integer(0, 10), s.integer(-3, 4, 5), s.integer(), s.integer(2), s.boolean(), s.boolean(2, 3)]
ALL = CONTINUOUS + EMBEDDED + DISCRETE
KINDS = list({x.name: x for x in ALL if x.event == 0 or not x.batch}.values())  # one of each
SMOOTH = [x for x in KINDS if not x.discrete]
DTYPES = ["float32", "float64"]
each = functools.partial(pytest.mark.parametrize, "support", ids=repr)


def position(support, seed, dtype, scale=1.0):
    y = scale * np.random.default_rng(seed).normal(size=support.position_shape)
    if support.discrete:
        y = np.round(y) % 2 + (getattr(support, "a", None) or 0)
    return jnp.asarray(y, dtype)


def free(support, x):
    """The free coordinates of x, flat."""
    lower = {"cholesky_factor_corr": -1, "corr_matrix": -1, "cov_matrix": 0}
    if support.name == "simplex":
        x = x[..., :-1]
    if support.name in lower:
        rows, columns = np.tril_indices(support.k, lower[support.name])
        x = x[..., rows, columns]
    return x.ravel()


@functools.cache
def compiled(support):
    def both_ways(y):
        x, log_jacobian = support.constrain(y, {})
        return x, log_jacobian, support.unconstrain(x, {}), support.contains(x, {})

    return jax.jit(both_ways)


# --- round trips, Jacobians, dtypes -------------------------------------------------------------------


CASES = [(x, "float64") for x in ALL] + [(x, "float32") for x in KINDS]


@pytest.mark.parametrize(("support", "dtype"), CASES, ids=[f"{x}-{dtype}" for x, dtype in CASES])
def test_round_trip_shape_and_dtype(support, dtype):
    with jax.enable_x64(dtype == "float64"):
        y = position(support, 0, dtype)
        x, log_jacobian, back, contained = compiled(support)(y)
        assert x.shape == support.shape
        assert log_jacobian.shape == ()
        assert log_jacobian.dtype == dtype
        assert x.dtype == ({"integer": "int32", "boolean": "bool"}[support.name] if support.discrete else dtype)
        assert contained.dtype == bool
        assert contained
        assert back.shape == support.position_shape
        assert support.size == math.prod(support.position_shape)
        tolerance = 3e-11 if dtype == "float64" else 2e-3
        if support not in EMBEDDED:
            np.testing.assert_allclose(back, y, rtol=tolerance, atol=tolerance)
        again = compiled(support)(back.astype(dtype))[0]
        np.testing.assert_allclose(again, x, rtol=tolerance, atol=tolerance)


@each(argvalues=[s.interval(-1.0, 3.0, 3), s.lower(100.0, 3), s.simplex(4), s.ordered(4), s.corr_matrix(3)])
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_round_trip_wherever_a_position_may_be(support, data):
    values = st.floats(-6, 6, width=32)
    y = data.draw(hnp.arrays(np.float64, support.position_shape, elements=values))
    with jax.enable_x64(True):
        x, log_jacobian, back, contained = compiled(support)(y)
        again = compiled(support)(back)[0]
        assert contained
        assert np.isfinite(log_jacobian)
        np.testing.assert_allclose(again, x, rtol=1e-9, atol=1e-12)


@each(argvalues=[x for x in CONTINUOUS if not (x.event and x.batch)])
def test_log_jacobian_is_that_of_the_free_coordinates(support):
    with jax.enable_x64(True):
        y = position(support, 1, "float64")

        def flat(z):
            return free(support, support.constrain(z.reshape(y.shape), {})[0])

        _, expected = np.linalg.slogdet(jax.jit(jax.jacfwd(flat))(y.ravel()))
        np.testing.assert_allclose(compiled(support)(y)[1], expected, rtol=1e-10, atol=1e-10)


@each(argvalues=SMOOTH)
def test_float32_agrees_with_float64_gradients_too(support):
    @jax.value_and_grad
    def value_and_gradient(y):
        x, log_jacobian = support.constrain(y, {})
        return jnp.sum(jnp.sin(x)) + log_jacobian

    with jax.enable_x64(True):
        ys = jnp.stack([position(support, 2, "float32"), jnp.zeros(support.position_shape, "float32")])
        both = jax.vmap(lambda y: (value_and_gradient(y), value_and_gradient(y.astype("float64"))))
        (single, gradient), (double, exact) = jax.device_get(jax.jit(both)(ys))
    assert (single.dtype, gradient.dtype, exact.dtype) == ("float32", "float32", "float64")
    if support in EMBEDDED:  # at the origin: no probability, and a gradient of zero
        assert single[1] == double[1] == -np.inf
        single, double = single[0], double[0]
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, exact, rtol=2e-3, atol=2e-3)


@each(argvalues=KINDS)
def test_vmap_and_jit_give_the_loop(support):
    ys = jnp.stack([position(support, seed, "float32") for seed in range(3)])
    together = jax.vmap(compiled(support))(ys)
    for lane, y in enumerate(ys):
        for one, lanes in zip(compiled(support)(y), together):
            np.testing.assert_allclose(one, lanes[lane], rtol=1e-4, atol=1e-4)


BATCHED = [x for x in ALL if x.batch and not any(isinstance(getattr(x, end, 0), tuple) for end in "ab")]


@each(argvalues=BATCHED)
def test_a_batch_is_its_members(support):
    with jax.enable_x64(True):
        y = position(support, 3, "float64")
        x, log_jacobian, *_ = compiled(support)(y)
        event = support.shape[len(support.batch) :]
        one = type(support)(event, *(getattr(support, end) for end in "ab" if hasattr(support, end)))
        parts = [compiled(one)(member) for member in y.reshape(-1, *one.position_shape)]
        members = np.reshape(x, (-1, *event))
        np.testing.assert_allclose(members, [part[0] for part in parts], rtol=1e-12)
        np.testing.assert_allclose(log_jacobian, sum(part[1] for part in parts), rtol=1e-12)


# --- tails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [-60.0, -20.0, 20.0, 60.0])
@each(argvalues=[s.interval(1.0, 2.0), s.interval(-2.0, 1e4), s.interval(-1.0, 0.0), s.interval(0.0, 1.0)])
def test_interval_stays_inside_in_float32(support, y):
    _, log_jacobian, _, contained = compiled(support)(jnp.float32(y))
    assert contained
    assert np.isclose(log_jacobian, math.log(support.b - support.a) - abs(y), rtol=1e-6)
    derivative = compiled_derivative(support)(jnp.float32(y))
    np.testing.assert_allclose(derivative, (support.b - support.a) * math.exp(-abs(y)), rtol=1e-5)


@functools.cache
def compiled_derivative(support):
    return jax.jit(jax.grad(lambda y: support.constrain(y, {})[0]))


def test_interval_keeps_its_precision_toward_an_end_at_zero():
    for support, y in ((s.interval(0.0, 1.0), -50.0), (s.interval(-1.0, 0.0), 50.0)):
        x, _ = support.constrain(jnp.float32(y), {})
        np.testing.assert_allclose(abs(x), math.exp(-50), rtol=1e-5)
        np.testing.assert_allclose(support.unconstrain(x, {}), y, rtol=1e-6)


@pytest.mark.parametrize("support", [s.lower(100.0), s.upper(100.0), s.lower(-3.0)], ids=repr)
def test_one_sided_bounds_are_never_reached(support):
    x, log_jacobian = support.constrain(jnp.float32(-70.0), {})
    assert support.contains(x, {})
    assert log_jacobian == -70.0


def test_positive_clamps_nothing_and_equals_lower_zero():
    y = jnp.float32([-200.0, -80.0, 0.0, 50.0])
    for support in (s.positive(4), s.lower(0.0, 4)):
        x, log_jacobian = support.constrain(y, {})
        np.testing.assert_array_equal(x, jnp.exp(y))
        assert x[0] == 0
        assert log_jacobian == y.sum()
        assert not support.contains(x, {})


def test_correlations_near_one_keep_their_jacobian_and_inverse():
    with jax.enable_x64(True):
        y = jnp.float64([12.0, -10.0, 15.0])
        support = s.cholesky_factor_corr(3)
        x, log_jacobian = support.constrain(y, {})
        log_rest = np.log(1 / np.cosh(np.float64(y)) ** 2)
        np.testing.assert_allclose(log_jacobian, log_rest.sum() + 0.5 * log_rest[1], rtol=1e-12)
        np.testing.assert_allclose(support.unconstrain(x, {}), y, rtol=1e-12)


def test_simplex_far_out():
    y = jnp.float32([30.0, -20.0])
    x, log_jacobian = s.simplex(3).constrain(y, {})
    assert s.simplex(3).contains(x, {})
    np.testing.assert_allclose(s.simplex(3).unconstrain(x, {}), y, rtol=1e-5)
    np.testing.assert_allclose(log_jacobian, jnp.sum(jnp.log(x)) + 0.5 * math.log(3), rtol=1e-5)


@each(argvalues=[s.circular(), s.unit_vector(2), s.unit_vector(5)])
def test_embedded_at_extremes(support):
    k = support.size
    zero = jnp.zeros(k)
    x, log_law = support.constrain(zero, {})
    assert log_law == -jnp.inf
    assert support.contains(x, {})
    for radius in (1e-30, 1e30):  # squares leave float32's range
        x, log_law = support.constrain(radius * jnp.ones(k), {})
        assert support.contains(x, {})
        log_r = math.log(radius * math.sqrt(k))
        expected = -k * log_r - (log_r / 0.3) ** 2 / 2 - math.log(0.3 * math.sqrt(2 * math.pi))
        np.testing.assert_allclose(log_law, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_circular_wraps(dtype):
    with jax.enable_x64(dtype == "float64"):
        support = s.circular()
        minus, plus = (support.constrain(jnp.asarray([-1.0, e], dtype), {})[0] for e in (-0.0, 0.0))
        assert plus == minus == jnp.asarray(-math.pi, dtype)
        assert support.contains(plus, {})
        assert not support.contains(-plus, {})
        np.testing.assert_allclose(
            support.constrain(support.unconstrain(plus, {}), {})[0] % (2 * math.pi), math.pi, rtol=1e-6
        )


# --- bounds by function -------------------------------------------------------------------------------


def test_function_bounds_follow_the_parameters_before():
    support = s.interval(lambda p: p["a"], lambda p: 1 - p["b"], 2)
    p = {"a": jnp.float32([-1.0, 0.0]), "b": jnp.float32(0.5)}
    y = jnp.float32([0.3, -2.0])
    x, log_jacobian = support.constrain(y, p)
    fixed, expected = s.interval([-1.0, 0.0], 0.5).constrain(y, {})
    np.testing.assert_allclose(x, fixed, rtol=1e-6)
    np.testing.assert_allclose(log_jacobian, expected, rtol=1e-6)
    np.testing.assert_allclose(support.unconstrain(x, p), y, rtol=1e-5)
    assert support.contains(x, p)
    assert not support.contains(x + 2, p)
    xs, _ = jax.vmap(lambda a: support.constrain(y, {"a": a, "b": 0.5}))(jnp.zeros((3, 2)))
    assert xs.shape == (3, 2)
    assert xs.dtype == "float32"


def test_gradients_flow_through_function_bounds():
    def x(a):
        return s.lower(lambda p: p["a"]).constrain(0.0, {"a": a})[0]

    assert jax.grad(x)(0.0) == 1.0
    slope = jax.grad(lambda b: s.interval(0.0, lambda p: p["b"]).constrain(0.5, {"b": b})[1])(2.0)
    np.testing.assert_allclose(slope, 0.5, rtol=1e-6)


BAD = [(1.0, 0.0), (1.0, 1.0), (0.0, math.inf), (-math.inf, 0.0), (math.nan, 1.0), (-3e38, 3e38)]


@pytest.mark.parametrize(("a", "b"), BAD)
def test_bad_function_bounds_never_look_right(a, b):
    p = {"a": jnp.float32(a), "b": jnp.float32(b)}
    support = s.interval(lambda p: p["a"], lambda p: p["b"])
    for y in (-3.0, 0.0, 3.0):
        x, log_jacobian = support.constrain(jnp.float32(y), p)
        assert np.isnan(x)
        assert np.isnan(log_jacobian)
    for x in (-1.0, 0.0, 0.5, 1.0, math.nan):
        assert not support.contains(jnp.float32(x), p)


@pytest.mark.parametrize("bound", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("make", [s.lower, s.upper])
def test_bad_one_sided_function_bounds_never_look_right(make, bound):
    support = make(lambda p: p["a"])
    assert np.isnan(support.constrain(0.5, {"a": bound})[1])
    assert not support.contains(0.0, {"a": bound})


@pytest.mark.parametrize(("a", "b"), [(3, 2), (math.nan, 3), (-math.inf, 3), (0, math.inf)])
def test_bad_integer_function_bounds_never_look_right(a, b):
    support = s.integer(lambda p: p["a"], lambda p: p["b"])
    for y in (1.0, 2.0, 3.0):
        assert support.constrain(y, {"a": a, "b": b})[1] == -jnp.inf
        assert not support.contains(y, {"a": a, "b": b})


def test_function_bound_errors():
    with pytest.raises(ValueError, match=r"asks for parameter 'alpha', .* are \['beta'\]\. List"):
        s.lower(lambda p: p["alpha"]).constrain(0.0, {"beta": 1.0})
    with pytest.raises(ValueError, match=r"a must broadcast to shape \(2,\), got shape \(3,\)"):
        s.lower(lambda p: p["alpha"], 2).constrain(jnp.zeros(2), {"alpha": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"constrain: y must have shape \(2,\), got \(3,\)"):
        s.real(2).constrain(jnp.zeros(3), {})
    with pytest.raises(ValueError, match=r"contains: x must have shape \(3,\), got \(2,\)"):
        s.simplex(3).contains(jnp.zeros(2), {})
    with pytest.raises(ValueError, match=r"unconstrain: x must have shape \(\), got \(1,\)"):
        s.positive().unconstrain(jnp.ones(1), {})


# --- discrete -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_integer_casts_and_bounds(dtype):
    with jax.enable_x64(dtype == "float64"):
        support = s.integer(0, lambda p: p["n"], 5)
        y = jnp.asarray([-1.0, 0.0, 2.0, 3.0, 4.0], dtype)
        x, log_jacobian = support.constrain(y, {"n": jnp.int32(3)})
        assert x.dtype == "int32"
        assert x.tolist() == [0, 0, 2, 3, 3]
        assert log_jacobian == -jnp.inf
        inside, log_jacobian = support.constrain(y.at[jnp.array([0, 4])].set(1.0), {"n": 3})
        assert log_jacobian == 0
        assert support.contains(inside, {"n": 3})
        assert not support.contains(inside, {"n": 2})
        assert not support.contains(inside + 0.5, {"n": 3})
        assert jnp.issubdtype(support.unconstrain(inside, {"n": 3}).dtype, jnp.floating)
        assert s.integer().constrain(jnp.asarray(jnp.nan, dtype), {})[1] == -jnp.inf


def test_integers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"within ±16777216, as far as float32 counts exactly. Use float64"):
        s.integer(0, 2**25).constrain(jnp.float32(1.0), {})
    assert s.integer().constrain(jnp.float32(2.0**24 + 2), {})[1] == -jnp.inf
    with jax.enable_x64(True):
        x, log_jacobian = s.integer(0, 2**25).constrain(jnp.float64(2**25 - 1), {})
        assert (x, log_jacobian) == (2**25 - 1, 0)
        assert s.integer().constrain(jnp.float64(2.0**31 - 1), {})[0] == 2**31 - 1


def test_boolean_casts():
    support = s.boolean(4)
    x, log_jacobian = support.constrain(jnp.float32([0.0, 1.0, 0.9, 0.2]), {})
    assert x.tolist() == [False, True, True, False]
    assert log_jacobian == 0
    assert support.constrain(jnp.float32([0.0, 1.0, 2.0, 0.0]), {})[1] == -jnp.inf
    assert support.constrain(jnp.float32([0.0, 1.0, -1.0, 0.0]), {})[1] == -jnp.inf
    assert support.contains(x, {})
    assert not support.contains([0.0, 1.0, 0.5, 1.0], {})


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_restore(array):
    whole, flags, floats = (
        s.integer().restore(array([2.0, -3.0])),
        s.boolean(2).restore(array([0.0, 1.0])),
        array([1.5]),
    )
    assert (whole.dtype, whole.tolist()) == ("int32", [2, -3])
    assert (flags.dtype, flags.tolist()) == (bool, [False, True])
    assert s.boolean().restore(array([True])).tolist() == [True]
    assert s.positive(1).restore(floats) is floats
    assert isinstance(whole, jax.Array) == isinstance(floats, jax.Array) == isinstance(flags, jax.Array)


# --- membership ---------------------------------------------------------------------------------------

EYE = np.eye(2)
OUTSIDE = [
    (s.real(), math.inf),
    (s.positive(), 0.0),
    (s.positive(2), [1.0, -1.0]),
    (s.upper(1.0), 1.0),
    (s.interval(0.0, 1.0), 1.0),
    (s.ordered(3), [1.0, 1.0, 2.0]),
    (s.positive_ordered(2), [0.0, 1.0]),
    (s.simplex(2), [0.5, 0.6]),
    (s.simplex(3), [0.5, 0.5, 0.0]),
    (s.unit_vector(2), [0.6, 0.81]),
    (s.circular(), 3.2),
    (s.cholesky_factor_corr(2), [[1.0, 0.0], [0.6, 0.7]]),
    (s.cholesky_factor_corr(2), [[1.0, 0.0], [0.6, -0.8]]),
    (s.cholesky_factor_corr(2), [[0.8, 0.6], [0.6, 0.8]]),
    (s.corr_matrix(2), [[1.0, 0.5], [0.4, 1.0]]),
    (s.corr_matrix(2), [[1.0, 1.0], [1.0, 1.0]]),
    (s.corr_matrix(2), 2 * EYE),
    (s.cov_matrix(2), [[1.0, 2.0], [2.0, 1.0]]),
    (s.cov_matrix(2), [[1.0, 0.1], [0.0, 1.0]]),
    (s.cov_matrix(2), EYE * math.nan),
    (s.integer(0, 3), 4),
    (s.integer(0, 3), 1.5),
    (s.boolean(), 2),
]


@pytest.mark.parametrize(("support", "x"), OUTSIDE)
def test_points_off_the_support(support, x):
    assert not jax.jit(support.contains)(x, {})


def test_tolerances_follow_the_dtype():
    x = np.array([0.5, 0.5 + 1e-5])
    assert s.simplex(2).contains(np.float32(x), {})
    with jax.enable_x64(True):
        assert not s.simplex(2).contains(x, {})
        assert s.simplex(2).contains([0.5, 0.5 + 1e-9], {})


def test_scaled_covariance_is_contained():
    x = np.array([[4e-8, 1e-8], [1e-8, 4e-8]])
    assert s.cov_matrix(2).contains(x, {})
    assert s.cov_matrix(2).contains(1e15 * x, {})


# --- exact laws: the integral over positions of p(x(y)) exp(log_jacobian) is one -----------------------


def integral(support, log_p, ranges, n, statistic=None):
    """Trapezoidal sums over a grid of positions: exact for smooth functions that vanish outside."""
    axes = [np.linspace(*ends, n) for ends in ranges]
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, *support.position_shape)

    def term(y):
        x, log_jacobian = support.constrain(y, {})
        weight = jnp.exp(log_p(x) + log_jacobian)
        return weight if statistic is None else weight * statistic(x)

    return cell * jnp.sum(jax.jit(jax.vmap(term))(grid), 0)


def beta(x):
    return math.log(12 / 4) + jnp.log((x + 1) / 4) + 2 * jnp.log((3 - x) / 4)


def gamma(x):
    return 2 * jnp.log(x) - x - math.log(2)


def normal(x):
    return jnp.sum(-0.5 * x**2 - 0.5 * math.log(2 * math.pi))


def dirichlet(x):
    return math.lgamma(9) - math.lgamma(2) - math.lgamma(3) - math.lgamma(4) + jnp.log(x) @ jnp.array([1.0, 2, 3])


def von_mises(x):
    return 4 * jnp.cos(x - 0.5) - math.log(2 * math.pi * 11.301921952136330)  # I_0(4)


def von_mises_fisher(x):
    return 2 * x @ jnp.array([0.6, 0.0, 0.8]) + math.log(2 / (4 * math.pi * math.sinh(2)))


def log_lkj_normalizer(k, eta):  # Lewandowski, Kurowicka and Joe 2009, equation 16
    total = 0.0
    for j in range(1, k):
        b = eta + (k - j - 1) / 2
        log_beta = 2 * math.lgamma(b) - math.lgamma(2 * b)
        total += (k - j) * (log_beta + (2 * eta - 2 + k - j) * math.log(2))
    return total


def lkj(k, eta=2.0):
    return lambda x: (eta - 1) * jnp.linalg.slogdet(x)[1] - log_lkj_normalizer(k, eta)


def lkj_cholesky(k, eta=2.0):
    powers = k - np.arange(1.0, k + 1) + 2 * eta - 2
    return lambda x: powers[1:] @ jnp.log(jnp.diagonal(x))[1:] - log_lkj_normalizer(k, eta)


def wishart(x, nu=5.0):
    scale = jnp.array([[1.0, 0.3], [0.3, 0.5]])
    log_gamma = 0.5 * math.log(math.pi) + gammaln(nu / 2) + gammaln((nu - 1) / 2)
    log_normalizer = nu * math.log(2) + nu / 2 * jnp.linalg.slogdet(scale)[1] + log_gamma
    return (nu - 3) / 2 * jnp.linalg.slogdet(x)[1] - jnp.trace(jnp.linalg.solve(scale, x)) / 2 - log_normalizer


LAWS = [
    (s.real(), normal, [(-9, 9)], 100),
    (s.interval(-1.0, 3.0), beta, [(-24, 16)], 400),
    (s.positive(), gamma, [(-15, 5)], 400),
    (s.lower(2.5), lambda x: gamma(x - 2.5), [(-15, 5)], 400),
    (s.upper(-1.0), lambda x: gamma(-1.0 - x), [(-15, 5)], 400),
    (s.ordered(3), lambda x: math.log(6) + normal(x), [(-9, 5), (-30, 3), (-30, 3)], 80),
    (s.positive_ordered(2), lambda x: math.log(2) - jnp.sum(x), [(-32, 5), (-32, 5)], 400),
    (s.simplex(3), dirichlet, [(-25, 25), (-25, 25)], 300),
    (s.simplex(2, shape=(1,)), lambda x: math.log(6) + jnp.sum(jnp.log(x)), [(-20, 20)], 300),
    (s.circular(), von_mises, [(-8, 8), (-8, 8)], 600),
    (s.unit_vector(3), von_mises_fisher, [(-5, 5)] * 3, 120),
    (s.cholesky_factor_corr(2), lkj_cholesky(2), [(-12, 12)], 200),
    (s.cholesky_factor_corr(3), lkj_cholesky(3), [(-9, 9)] * 3, 70),
    (s.corr_matrix(2), lkj(2), [(-12, 12)], 200),
    (s.corr_matrix(3), lkj(3), [(-9, 9)] * 3, 70),
    (s.cov_matrix(2), wishart, [(-10, 3), (-9, 9), (-10, 3)], 90),
]


@pytest.mark.parametrize(("support", "log_p", "ranges", "n"), LAWS, ids=[repr(law[0]) for law in LAWS])
def test_a_known_law_integrates_to_one(support, log_p, ranges, n):
    with jax.enable_x64(True):
        np.testing.assert_allclose(integral(support, log_p, ranges, n), 1.0, rtol=1e-6)


def test_expectations_under_embedded_laws_are_exact():
    with jax.enable_x64(True):
        mean = integral(s.unit_vector(3), von_mises_fisher, [(-5, 5)] * 3, 120, lambda x: x)
        length = 1 / math.tanh(2) - 1 / 2
        np.testing.assert_allclose(mean, length * np.array([0.6, 0.0, 0.8]), atol=1e-6)
        mean = integral(s.circular(), von_mises, [(-8, 8)] * 2, 600, lambda x: jnp.exp(1j * x))
        length = jax.scipy.special.i1e(4.0) / jax.scipy.special.i0e(4.0)
        np.testing.assert_allclose(mean, length * np.exp(0.5j), atol=1e-6)


def test_a_law_under_a_function_bound_integrates_to_one():
    first, second = s.interval(0.0, 1.0), s.interval(0.0, lambda p: 1 - p["alpha"])

    def term(y):
        alpha, left = first.constrain(y[0], {})
        beta, right = second.constrain(y[1], {"alpha": alpha})
        return jnp.exp(dirichlet(jnp.array([alpha, beta, 1 - alpha - beta])) + left + right)

    with jax.enable_x64(True):
        axis = np.linspace(-24, 24, 300)
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        total = (axis[1] - axis[0]) ** 2 * jnp.sum(jax.jit(jax.vmap(term))(grid))
        np.testing.assert_allclose(total, 1.0, rtol=1e-6)


# --- construction -------------------------------------------------------------------------------------


def test_shapes_and_repr():
    assert s.positive(8).shape == (8,)
    assert s.real(3, 2) == s.real(shape=(3, 2))
    assert s.interval(0.0, 1.0, 3) == s.interval(0, 1, shape=3)
    assert s.lower(0.0, 4).shape == (4,)
    assert s.lower([0.0, 1.0]).shape == s.lower(jnp.array([0.0, 1.0])).shape == (2,)
    assert s.interval(np.zeros((2, 1)), np.ones(3)).shape == (2, 3)
    assert s.simplex(4, shape=(10,)).shape == (10, 4)
    assert s.simplex(4, shape=10).position_shape == (10, 3)
    assert s.corr_matrix(3, shape=(2,)).shape == (2, 3, 3)
    assert s.cov_matrix(3).position_shape == (6,)
    assert s.circular(2, 3).position_shape == (2, 3, 2)
    assert s.integer(0, 5, 2, 3).shape == (2, 3)
    assert repr(s.interval(0.0, 1.0, 3)) == "interval(0.0, 1.0, shape=(3,))"
    assert repr(s.integer(None, 3)) == "integer(None, 3)"
    assert "<lambda>" in repr(s.lower(lambda p: p["a"]))


@each(argvalues=ALL)
def test_descriptors_are_hashable_frozen_and_rebuild_from_their_repr(support):
    assert eval(repr(support), vars(s)) == support
    assert len({support, eval(repr(support), vars(s))}) == 1
    with pytest.raises(AttributeError):
        support.shape = (7,)


def test_supports_of_different_kinds_differ():
    assert s.positive() != s.lower(0.0)
    assert s.corr_matrix(3) != s.cholesky_factor_corr(3)
    assert s.real(3) != s.ordered(3)


ERRORS = [
    (
        lambda: s.interval(2, 1),
        ValueError,
        r"interval: a must lie below b everywhere; got a=2.0 and b=1.0. Exchange",
    ),
    (lambda: s.interval(0, 0), ValueError, r"a must lie below b"),
    (lambda: s.interval([0, 2], 1), ValueError, r"a must lie below b"),
    (
        lambda: s.interval(0, math.inf),
        ValueError,
        r"interval: b must be finite, got inf.*lower\(a\), positive\(\), or real\(\)",
    ),
    (lambda: s.interval(-math.inf, 0), ValueError, r"interval: a must be finite.*upper\(b\), or real\(\)"),
    (lambda: s.interval(math.nan, 1), ValueError, r"interval: a must be a number, got NaN"),
    (lambda: s.lower(math.inf), ValueError, r"lower: a must be finite.*use real\(\)"),
    (lambda: s.upper(math.nan), ValueError, r"upper: b must be a number, got NaN"),
    (lambda: s.lower(None), TypeError, r"lower: a must be a number, an array known.*got None.*use real\(\)"),
    (lambda: s.lower("0"), TypeError, r"lower: a must be a number"),
    (lambda: s.lower(True), TypeError, r"lower: a must be a number"),
    (lambda: s.lower([[1.0], [1.0, 2.0]]), TypeError, r"lower: a must be a number"),
    (lambda: jax.jit(lambda a: s.lower(a).constrain(0.0)[0])(1.0), TypeError, r"known at construction"),
    (
        lambda: s.lower([1.0, 2.0], 3),
        ValueError,
        r"the bounds must broadcast to shape \(3,\); got .*\[\(2,\)\]",
    ),
    (lambda: s.lower([1.0, 2.0], shape=()), ValueError, r"the bounds must broadcast to shape \(\)"),
    (lambda: s.interval([0.0, 0.0], [1.0] * 3), ValueError, r"the bounds must broadcast to one another"),
    (
        lambda: s.real(0),
        ValueError,
        r"real: each size in shape must be a whole number, at least 1; got 0. Write",
    ),
    (lambda: s.real(-1), ValueError, r"got -1"),
    (lambda: s.real(2.0), TypeError, r"real: each size in shape must be a whole number, at least 1; got 2.0"),
    (lambda: s.real((3, 2)), TypeError, r"got \(3, 2\). Write the sizes as in shape=\(3, 2\)"),
    (lambda: s.real(True), TypeError, r"got True"),
    (
        lambda: s.positive(3, shape=(3,)),
        ValueError,
        r"positive: the shape was given twice, as \(3,\) and as shape=\(3,\)",
    ),
    (
        lambda: s.simplex(1),
        ValueError,
        r"simplex: k must be a whole number, at least 2; got 1. A simplex of one",
    ),
    (lambda: s.simplex(3.0), TypeError, r"simplex: k must be a whole number"),
    (lambda: s.simplex(3, shape=(0,)), ValueError, r"simplex: each size in shape"),
    (lambda: s.ordered(0), ValueError, r"ordered: k must be a whole number, at least 1; got 0"),
    (lambda: s.positive_ordered(0), ValueError, r"positive_ordered: k must"),
    (
        lambda: s.unit_vector(1),
        ValueError,
        r"unit_vector: k must be a whole number, at least 2; got 1.*boolean",
    ),
    (
        lambda: s.cholesky_factor_corr(1),
        ValueError,
        r"cholesky_factor_corr: k must be a whole number, at least 2",
    ),
    (lambda: s.corr_matrix(1), ValueError, r"corr_matrix: k must be a whole number, at least 2"),
    (lambda: s.cov_matrix(0), ValueError, r"cov_matrix: k must be a whole number, at least 1"),
    (lambda: s.integer(0.5, 3), ValueError, r"integer: a must be a whole number, got 0.5. Round"),
    (lambda: s.integer(3, 0), ValueError, r"integer: a must lie at or below b everywhere; got a=3 and b=0"),
    (lambda: s.integer(0, 2**31), ValueError, r"integer: b must fit in int32"),
    (
        lambda: s.integer(0, math.inf),
        ValueError,
        r"integer: b must be finite, got inf. For no bound, use None",
    ),
    (lambda: s.integer("0"), TypeError, r"integer: a must be a number"),
    (lambda: s.integer(math.nan), ValueError, r"integer: a must be a number, got NaN"),
    (lambda: s.boolean(0), ValueError, r"boolean: each size"),
    (lambda: s.circular(1, shape=1), ValueError, r"circular: the shape was given twice"),
]


@pytest.mark.parametrize(("make", "kind", "match"), ERRORS, ids=[error[2][:40] for error in ERRORS])
def test_errors_name_argument_expected_got_and_remedy(make, kind, match):
    with pytest.raises(kind, match=match):
        make()


def test_one_value_is_an_integer_range():
    assert s.integer(3, 3).constrain(3.0, {}) == (3, 0)


def test_examples_run():
    assert doctest.testmod(s, extraglobs={"mcmc": s}).failed == 0
