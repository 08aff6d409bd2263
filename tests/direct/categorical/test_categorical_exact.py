"""The categorical law at its edges: temperatures of 0 and infinity, limits, infinite and masked logits, bad rows."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.direct import categorical

KEY = jax.random.key(0)
INF = np.inf
EVERY_FILTER = {
    "top_k": 5,
    "top_p": 0.9,
    "min_p": 0.1,
    "typical_p": 0.9,
    "epsilon_cutoff": 0.05,
    "eta_cutoff": 0.05,
    "top_n_sigma": 1.5,
}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
each_filter = pytest.mark.parametrize("limit", EVERY_FILTER.items(), ids=EVERY_FILTER)


def law(logits, **limits):
    """Probabilities; filled up with masked tokens, so that few programs serve all tests."""
    x = jnp.asarray(logits)
    p = np.asarray(categorical.probs(jnp.pad(x, (0, 8 - len(x)), constant_values=-INF), **limits))
    assert np.all(p[len(x) :] == 0)
    return p[: len(x)]


@each_dtype
def test_temperature_0_is_the_first_of_the_greatest(dtype):
    x = jnp.array([1.0, 3.0, 3.0, -2.0], dtype)
    np.testing.assert_array_equal(law(x, temperature=0.0), [0, 1, 0, 0])
    np.testing.assert_array_equal(law(x, temperature=-0.0), [0, 1, 0, 0])
    assert int(categorical.argmax(x)) == 1
    assert int(categorical.sample(KEY, x, temperature=0.0)) == 1


@each_filter
def test_temperature_0_whatever_the_filters(limit):
    np.testing.assert_array_equal(law(jnp.array([1.0, 3.0, 3.0]), temperature=0.0, **dict([limit])), [0, 1, 0])


def test_an_infinite_temperature_is_uniform_over_what_is_not_masked():
    x = jnp.array([-INF, 3.0e38, -3.0e38, 0.0, -INF])
    np.testing.assert_allclose(law(x, temperature=INF), [0, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(law(x, temperature=INF, top_k=2), [0, 1 / 2, 0, 1 / 2, 0], rtol=1e-6)


@pytest.mark.parametrize("t", [1e-40, 1e-60, np.float32(1e-40), 1e-38, 1e-30])
def test_a_tiny_temperature_does_not_overflow(t):
    np.testing.assert_array_equal(law(jnp.array([2.0, 1.0, 2.0, -1.0]), temperature=t), [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(law(jnp.array([-2.0, -1.0]), temperature=t), [0, 1])


def test_a_tiny_temperature_under_jit_is_not_0():
    p = jax.jit(lambda t: categorical.probs(jnp.array([2.0, 1.0, 2.0]), temperature=t))
    np.testing.assert_array_equal(p(1e-40), [0.5, 0, 0.5])
    np.testing.assert_array_equal(p(0.0), [1, 0, 0])
    np.testing.assert_array_equal(p(-1.0), [np.nan] * 3)


@pytest.mark.parametrize("t", [0.1, 0.7, 3.0])
def test_the_temperature_divides(t):
    x = np.random.default_rng(0).normal(size=8).astype(np.float32) * 4
    e = np.exp((x.astype(float) - x.max()) / t)
    np.testing.assert_allclose(law(x, temperature=t), e / e.sum(), rtol=2e-5, atol=1e-30)


@pytest.mark.parametrize("limits", [{}, {"top_p": 0.7, "temperature": 2.0}, {"top_k": 3, "typical_p": 0.5}], ids=str)
def test_all_functions_speak_of_one_law(limits):
    @jax.jit
    def all_functions(x):
        cut = categorical.filter_logits(x, **limits)
        return {
            "probs": categorical.probs(x, **limits),
            "log_prob": categorical.log_prob(np.arange(8), x, **limits),
            "logits": cut,
            "probs of these": categorical.probs(cut),
            "entropy": categorical.entropy(x, **limits),
            "draws": categorical.sample(KEY, x, shape=(20_000,), **limits),
        }

    found = jax.device_get(all_functions(jnp.array([0.3, -INF, 1.0, -1.0, 0.9, 0.1, -0.4, 2.0])))
    p = found["probs"]
    assert p.sum() == pytest.approx(1, abs=1e-6)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found["log_prob"], np.log(p), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["logits"] > -INF, p > 0)
    np.testing.assert_allclose(found["probs of these"], p, rtol=2e-6)
    positive = p[p > 0].astype(float)
    assert abs(float(found["entropy"]) + np.sum(positive * np.log(positive))) < 1e-5
    counts = np.bincount(found["draws"], minlength=8)
    assert np.all(np.abs(counts - 20_000 * p) <= 5 * np.sqrt(20_000 * p * (1 - p)))


@pytest.mark.parametrize("k", [4, 5, 1000, 2**40])
def test_k_of_all_tokens_removes_nothing(k):
    x = jnp.array([0.0, -200.0, 5.0, -1e4])
    np.testing.assert_array_equal(categorical.filter_logits(x, top_k=k), x)


@pytest.mark.parametrize("limit", [{"top_p": 1.0}, {"typical_p": 1.0}, {"min_p": 0.0}, {"epsilon_cutoff": 0.0}])
@pytest.mark.parametrize("t", [1.0, 0.01])
def test_limits_of_everything_remove_nothing(limit, t):
    x = jnp.array([0.0, -200.0, 5.0, -1e4, -INF])
    found = np.asarray(categorical.filter_logits(x, temperature=t, **limit))
    np.testing.assert_allclose(found, np.asarray(x) / t, rtol=1e-6)


def test_p_of_0_keeps_the_greatest_with_its_ties():
    np.testing.assert_array_equal(law(jnp.array([0.0, 2.0, 1.0]), top_p=0.0), [0, 1, 0])
    np.testing.assert_array_equal(law(jnp.array([2.0, 2.0, 1.0]), top_p=0.0), [0.5, 0.5, 0])


def test_the_token_that_crosses_p_is_included():
    x = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    for p, kept in [(0.4, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.94, 3), (0.96, 4)]:
        assert np.sum(law(x, top_p=p) > 0) == kept


def test_ties_at_a_boundary_are_all_kept():
    x = jnp.array([1.0, 2.0, 1.0, 3.0, 1.0, 0.0])
    assert np.sum(law(x, top_k=3) > 0) == 5
    assert np.sum(law(x, top_k=2) > 0) == 2
    assert np.sum(law(jnp.zeros(7), top_p=0.1) > 0) == 7
    assert np.sum(law(jnp.zeros(7), typical_p=0.1) > 0) == 7
    assert np.sum(law(jnp.array([0.0, -0.0, -1.0]), top_k=1) > 0) == 2


def test_top_k_separates_neighbouring_floats():
    x = jnp.array([10.0, 1e-8, 2e-8, np.nextafter(np.float32(10), np.float32(11))])
    np.testing.assert_array_equal(np.isfinite(categorical.filter_logits(x, top_k=1)), [0, 0, 0, 1])
    np.testing.assert_array_equal(np.isfinite(categorical.filter_logits(x, top_k=3)), [1, 0, 1, 1])


@pytest.mark.parametrize("t", [0.0, 1e-40, 0.5, 1.0, INF])
@each_dtype
def test_infinite_logits_share_all_mass(t, dtype):
    x = jnp.array([0.0, INF, -INF, INF, 7.0], dtype)
    expected = [0, 1, 0, 0, 0] if t == 0 else [0, 0.5, 0, 0.5, 0]
    np.testing.assert_array_equal(law(x, temperature=t), expected)


@each_filter
def test_infinite_logits_share_all_mass_after_a_filter(limit):
    np.testing.assert_array_equal(law(jnp.array([0.0, INF, -INF, INF]), **dict([limit])), [0, 0.5, 0, 0.5])


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [INF, np.nan], [-INF, -INF]])
@each_dtype
def test_an_invalid_row_is_an_error_that_names_it(bad, dtype):
    x = jnp.array([[0.0, 1.0], bad], dtype)
    for call in (
        lambda x: categorical.sample(KEY, x),
        lambda x: categorical.sample(KEY, x, top_p=0.9, shape=(3, 2)),
        categorical.probs,
        categorical.filter_logits,
        categorical.entropy,
        categorical.argmax,
        lambda x: categorical.log_prob(jnp.array([0, 0]), x),
        lambda x: categorical.sample_without_replacement(KEY, x, 1),
        lambda x: categorical.gumbel_softmax(KEY, x),
    ):
        with pytest.raises(ValueError, match=r"logits: .*row \(1,\)"):
            call(x)


@jax.jit
def everything(x):
    return {
        "sample": categorical.sample(KEY, x),
        "filtered": categorical.sample(KEY, x, top_k=1),
        "argmax": categorical.argmax(x),
        "probs": categorical.probs(x),
        "logits": categorical.filter_logits(x),
        "entropy": categorical.entropy(x),
        "log_prob": categorical.log_prob(jnp.array([0, 0]), x),
        "outside": categorical.log_prob(jnp.array([-1, 0]), x),
        "order": categorical.sample_without_replacement(KEY, x, 2, return_log_prob=True),
    }


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [INF, np.nan], [-INF, -INF]])
def test_an_invalid_row_under_jit_is_minus_1_and_nan(bad):
    found = jax.device_get(everything(jnp.array([[0.0, 1.0], bad])))
    assert list(found["sample"] >= 0) == [True, False]
    assert list(found["filtered"]) == [1, -1]
    assert list(found["argmax"]) == [1, -1]
    for name in ("probs", "logits"):
        np.testing.assert_array_equal(np.isnan(found[name]), [[False] * 2, [True] * 2])
    assert list(np.isnan(found["entropy"])) == [False, True]
    assert list(np.isnan(found["log_prob"])) == [False, True]
    assert list(np.isnan(found["outside"])) == [True, True]
    drawn, log_p = found["order"]
    assert set(drawn[0]) == {0, 1}
    assert list(drawn[1]) == [-1, -1]
    assert list(np.isnan(log_p)) == [False, True]


@cache
def sample_with(name):
    x = jnp.tile(jnp.array([0.0, 1.0, 2.0]), (2, 1))
    return jax.jit(lambda value: categorical.sample(KEY, x, **{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", np.nan), ("temperature", -1.0), ("top_k", -2), ("top_p", -0.1), ("top_p", np.nan), ("top_p", 1.1)]
    + [(name, np.nan) for name in ("min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma")],
)
def test_a_parameter_out_of_its_domain_under_jit_makes_its_row_invalid(name, value):
    given = jnp.array([1 if name == "top_k" else 0.5, value])
    assert list(sample_with(name)(given) >= 0) == [True, False]
    with pytest.raises(ValueError, match=f"{name}: got "):
        categorical.sample(KEY, jnp.zeros((2, 3)), **{name: given})


def test_filters_that_leave_nothing_in_common_are_an_error():
    x = jnp.log(jnp.array([0.4] + [0.1] * 6))
    limits = {"top_k": 1, "typical_p": 0.1, "order": "joint"}
    with pytest.raises(ValueError, match="no token after filters"):
        categorical.probs(x, **limits)
    assert int(jax.jit(lambda x: categorical.sample(KEY, x, **limits))(x)) == -1
    assert np.sum(law(x, top_k=1, typical_p=0.1) > 0) == 1
