"""Programs by what they are: the same density in a new target compiles nothing, another density gets its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations, draw, same

import mcmc
from mcmc.engine.program_cache import MOST_PROGRAMS, PROGRAMS, Cache
from mcmc.target.fingerprint import of_jaxpr, of_static
from mcmc.target.portable import portable

pytestmark = pytest.mark.usefixtures("no_kept_programs")
FEW = {"chains": 8, "draws": 10, "warmup": 10}
SPACE = {"x": mcmc.real(2)}
WEIGHTS = np.linspace(-1.0, 1.0, 4).reshape(2, 2)


def ours(names):
    return [name for name in names if name in ("jit(advance)", "jit(_evaluate)")]


def scaled(scale):
    return mcmc.Target(lambda p: -0.5 * scale * jnp.sum(p["x"] ** 2), SPACE)


def test_a_new_target_of_the_same_density_compiles_nothing():
    first = draw(scaled(0.7), mcmc.HMC(), **FEW)
    with compilations() as names:
        again = draw(scaled(0.7), mcmc.HMC(), **FEW)
    assert names == []
    same(first, again)


def test_a_new_target_on_another_captured_array_compiles_nothing():
    def target(y):
        y = jnp.asarray(y)
        return mcmc.Target(lambda p: -0.5 * jnp.sum((y - p["x"]) ** 2), SPACE)

    first = draw(target(np.zeros((3, 2))), mcmc.HMC(), **FEW)
    with compilations() as names:
        moved = draw(target(np.full((3, 2), 9.0)), mcmc.HMC(), **FEW)
    assert "jit(advance)" not in names  # Pathfinder may be called in one of them alone
    assert moved.posterior["x"].mean() > first.posterior["x"].mean() + 5


def test_rules_of_jax_itself_are_shared():
    def target():
        return mcmc.Target(lambda p: jnp.sum(-jnp.logaddexp(0.0, p["x"]) - 0.1 * p["x"] ** 2), SPACE)

    draw(target(), mcmc.HMC(), **FEW)
    with compilations() as names:
        draw(target(), mcmc.HMC(), **FEW)
    assert ours(names) == []


# --- pairs of densities that are written alike and are not the same ----------------------------------------------


def literal(c):
    return lambda x: -0.5 * jnp.sum(x**2) * (1.0 if c else 2.0)


def captured_float(c):
    scale = 0.5 + c
    return lambda x: -scale * jnp.sum(x**2)


def activation(c):
    f = jnp.tanh if c else jnp.sin
    return lambda x: -0.5 * jnp.sum(x**2) + jnp.sum(f(x))


def exponent(c):
    return lambda x: -jnp.sum(x ** (4 if c else 2))


def power(c):
    return lambda x: -jnp.sum(jnp.abs(x) ** (3.0 if c else 2.5))


def while_body(c):
    step = 0.5 if c else 0.25

    def f(x):
        begin = 0, jnp.zeros((), x.dtype)
        return -jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + step * jnp.sum(x**2)), begin)[1]

    return f


def for_body(c):
    step = 0.5 if c else 0.25
    return lambda x: -jax.lax.fori_loop(0, 3, lambda _, s: s + step * jnp.sum(x**2), jnp.zeros((), x.dtype))


def scan_array(c):
    steps = jnp.asarray([0.5, 1.0] if c else [0.25, 2.0])

    def f(x):
        begin = jnp.zeros((), x.dtype)
        return -jax.lax.scan(lambda s, a: (s + a.astype(x.dtype) * jnp.sum(x**2), None), begin, steps)[0]

    return f


def branch(c):
    other = (lambda x: -jnp.sum(x**2)) if c else (lambda x: -jnp.sum(x**4))
    return lambda x: jax.lax.cond(x[0] > 0, other, lambda x: -0.5 * jnp.sum(x**2), x)


def nested_jit(c):
    weights = jnp.asarray(WEIGHTS + c)
    inner = jax.jit(lambda x: jnp.sum((weights @ x) ** 2))
    return lambda x: -0.5 * jnp.sum(x**2) - inner(x)


def captured_array(c):
    weights = np.asarray(WEIGHTS + 2 * c)
    return lambda x: -0.5 * jnp.sum(x**2) - jnp.sum((weights @ x) ** 2)


def zero_sign(c):
    return lambda x: -0.5 * jnp.sum(x**2) + jnp.sum(jnp.arctan2(-0.0 if c else 0.0, x))


def rule_literal(c):
    @jax.custom_jvp
    def f(x):
        return -0.5 * jnp.sum(x**2)

    f.defjvp(lambda x, t: (f(*x), -(1.0 if c else 0.5) * jnp.sum(x[0] * t[0])))
    return f


def rule_array(c):
    factor = jnp.asarray([1.0, 1.0] if c else [0.5, 2.0])

    @jax.custom_jvp
    def f(x):
        return -0.5 * jnp.sum(x**2)

    f.defjvp(lambda x, t: (f(*x), -jnp.sum(factor * x[0] * t[0])))
    return f


def backward_rule(c):
    @jax.custom_vjp
    def f(x):
        return -0.5 * jnp.sum(x**2)

    f.defvjp(lambda x: (f(x), x), lambda x, t: (-(1.0 if c else 0.5) * t * x,))
    return f


def result_of_rule(c):
    """Where a gradient is taken, the value is the rule's too."""

    @jax.custom_jvp
    def f(x):
        return -0.5 * jnp.sum(x**2)

    f.defjvp(lambda x, t: (f(*x) + (1.0 if c else 0.0) * x[0][0], -jnp.sum(x[0] * t[0])))
    return f


def matmul_precision(c):
    weights = jnp.asarray(WEIGHTS)
    return lambda x: (
        -0.5 * jnp.sum(x**2) - jnp.sum(jnp.matmul(weights, x, precision=jax.lax.Precision.HIGHEST if c else None) ** 2)
    )


PAIRS = [literal, captured_float, activation, exponent, power, while_body, for_body, scan_array, branch, nested_jit,
         captured_array, zero_sign, rule_literal, rule_array, backward_rule, result_of_rule]  # fmt: skip


DRAWN = [literal, captured_float, activation, while_body, scan_array, nested_jit, captured_array, rule_literal,
         rule_array, backward_rule]  # fmt: skip


def kernel_of(make):
    """A kernel with a gradient where the two densities differ in its rule, and once more; else one soon compiled."""
    return mcmc.HMC() if make in (literal, rule_literal, rule_array, backward_rule) else mcmc.RandomWalk()


def as_target(density):
    return mcmc.Target(lambda p: density(p["x"]), SPACE)


def compiled_alone(make, c):
    PROGRAMS.clear()
    return draw(as_target(make(c)), kernel_of(make), **FEW)


@pytest.mark.parametrize("make", DRAWN, ids=lambda make: make.__name__)
def test_another_density_draws_as_if_it_were_alone(make):
    expected = compiled_alone(make, 1)
    other = compiled_alone(make, 0)
    same(draw(as_target(make(1)), kernel_of(make), **FEW), expected)  # the program of the other is in the cache
    assert not np.array_equal(other.posterior["x"], expected.posterior["x"])


def fingerprint(density):
    return mcmc.Target(lambda p: density(p["x"]), SPACE).trace(np.dtype("float32")).fingerprint


@pytest.mark.parametrize("make", [*PAIRS, matmul_precision], ids=lambda make: make.__name__)
def test_fingerprints_tell_densities_apart_unless_arguments_do(make):
    if make in (captured_array, scan_array, nested_jit):  # arrays are arguments, which no fingerprint needs
        return
    assert fingerprint(make(0)) != fingerprint(make(1))
    assert fingerprint(make(0)) == fingerprint(make(0))
    assert not fingerprint(make(0)).private


def test_callbacks_stay_with_their_target():
    def density(function):
        def call(x):
            shape = jax.ShapeDtypeStruct((), x.dtype)
            return jax.pure_callback(function, shape, x, vmap_method="sequential")

        return call

    def half(x):
        return np.asarray(-0.5 * np.sum(np.asarray(x) ** 2), x.dtype)

    def twice(x):
        return np.asarray(-2.0 * np.sum(np.asarray(x) ** 2), x.dtype)

    assert fingerprint(density(half)).private
    assert fingerprint(density(half)) != fingerprint(density(twice))
    narrow, wide = (draw(as_target(density(f)), mcmc.RandomWalk(), dtype="float32", **FEW) for f in (twice, half))
    assert not np.array_equal(narrow.posterior["x"], wide.posterior["x"])
    target, before = as_target(density(half)), len(PROGRAMS)
    draw(target, mcmc.RandomWalk(), dtype="float32", **FEW)
    assert len(PROGRAMS) == before
    with compilations() as names:
        draw(target, mcmc.RandomWalk(), dtype="float32", **FEW)
    assert ours(names) == []


def test_black_boxes_call_their_own_function():
    def target(scale):
        return mcmc.Target.black_box(lambda p: float(-0.5 * scale * np.sum(p["x"] ** 2)), SPACE)

    narrow, wide = (draw(target(scale), chains=16, draws=20, warmup=20) for scale in (100.0, 1.0))
    assert narrow.posterior["x"].std() < 0.5 * wide.posterior["x"].std()


def test_derived_quantities_and_what_is_kept_count():
    def target(scale):
        return mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), SPACE, derived=lambda p: {"y": scale * p["x"][0]})

    one, two = (draw(target(scale), mcmc.RandomWalk(), **FEW) for scale in (1.0, 2.0))
    np.testing.assert_array_equal(two.posterior["y"], 2 * one.posterior["y"])
    spaces = ({"a": mcmc.real(), "b": mcmc.real(2)}, {"b": mcmc.real(), "a": mcmc.real(2)})
    traced = [mcmc.Target(lambda p: -0.0 * jnp.sum(p["a"]), space).trace(np.dtype("float32")) for space in spaces]
    assert traced[0].keeping(("a",)).fingerprint != traced[1].keeping(("a",)).fingerprint


def test_a_users_kernel_stays_with_its_target():
    class Wide(mcmc.RandomWalk):
        pass

    assert of_static(jax.tree.structure(mcmc.RandomWalk())) == of_static(jax.tree.structure(mcmc.RandomWalk()))
    assert of_static(lambda: 0).private
    assert of_static((1, 2)) != of_static((1.0, 2.0)) != of_static((True, 2))
    assert of_static(("a", "bc")) != of_static(("ab", "c"))
    assert of_static(((1,), 2)) != of_static((1, (2,)))
    assert of_static(float("nan")) == of_static(float("nan"))
    assert of_static(functools.partial(max, 1)).private
    assert of_static(Wide).private
    assert not of_static(mcmc.RandomWalk).private


def test_names_of_variables_and_functions_do_not_count():
    def first(alpha):
        return jnp.sin(alpha) + 1.0

    def second(beta):
        gamma = jnp.sin(beta)
        return gamma + 1.0

    one, two, other = (of_jaxpr(jax.make_jaxpr(f)(1.0)) for f in (first, jax.jit(second), second))
    assert one == other != two


def test_signed_zeros_and_types_of_numbers_count():
    def of(*numbers):
        return of_jaxpr(jax.make_jaxpr(lambda x: tuple(x * number for number in numbers))(1.0))

    assert of(0.0) != of(-0.0)
    assert of(0.0, -0.0) != of(-0.0, 0.0)
    assert of(0.5) == of(0.5)


@pytest.mark.parametrize("f", [lambda x: jnp.where(x > 0, x, -x), jnp.cumsum, jnp.linalg.norm, jax.nn.softplus])
def test_functions_of_jax_have_a_name_in_every_process(f):
    assert portable(of_jaxpr(jax.make_jaxpr(f)(jnp.ones(3))))


def test_callbacks_and_foreign_classes_have_none():
    assert portable(of_static(lambda: 0)) is None
    assert portable(of_static(type("Mine", (), {}))) is None
    assert portable(of_static(mcmc.RandomWalk))


def test_the_cache_forgets_what_was_used_longest_ago():
    cache = Cache(2)
    assert [cache.get(key, lambda key=key: key * 10) for key in (1, 2, 1, 3)] == [10, 20, 10, 30]
    assert len(cache) == 2
    assert cache.get(1, lambda: "again") == 10
    assert cache.get(2, lambda: "again") == "again"
    assert PROGRAMS.most == MOST_PROGRAMS


def test_settings_of_jax_count():
    draw(scaled(0.3), mcmc.RandomWalk(), **FEW)
    with compilations() as names, jax.default_matmul_precision("highest"):
        draw(scaled(0.3), mcmc.RandomWalk(), **FEW)
    assert "jit(advance)" in names
