"""What the two bridges share: the import that fails with a remedy, the data by name, the supports of their own."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc import models, real
from mcmc.models.data import ModelTarget, axis_names
from mcmc.target.matrix_bijectors import LowerCholesky, PackedCholesky, ZeroSum


@pytest.mark.parametrize(("library", "named"), [("numpyro", "numpyro funsor"), ("pymc", "pymc")])
def test_a_library_that_is_not_installed(library, named, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f'Install it: pip install {named} .the extra "{library}" of mcmc.'):
        getattr(models, f"from_{library}")(lambda: None)


def test_data_go_by_name():
    def log_density(p, data):
        return -0.5 * (p["x"] - data["y"]) ** 2

    y, n = np.array(1.0), np.array(3)
    target = ModelTarget(["n"], ["y"], log_density=log_density, parameters={"x": real()}, data={"y": y, "n": n})
    other = target.with_data({"y": np.array(5.0), "n": 3})
    assert other.log_density({"x": 5.0}, other.data) == 0
    assert target.data["y"] == 1
    assert list(other.with_data({"n": 3}).data) == ["n"]
    for data, error, text in [
        ({"y": y}, ValueError, "data: got 'y'; expected y, n"),
        ({"y": y, "n": n, "m": n}, ValueError, "expected y, n"),
        ({"y": y, "n": 4}, ValueError, r"data\['n'\]: got 4; expected the value it had"),
        (3.0, TypeError, "a dict of y, n"),
    ]:
        with pytest.raises(error, match=text):
            other.with_data(data)


def test_axes_without_a_label_get_the_usual_name():
    assert axis_names("x", {1: "school"}, 2) == ["x_dim_0", "school"]
    assert axis_names("x", {}, 2) is None


def both_ways(support, y, out):
    """A point x, its log Jacobian, its position, and whether it, and `out(x)`, are inside; in one program."""

    @jax.jit
    def run(y):
        x, log_jacobian = support.constrain(y)
        return x, log_jacobian, support.unconstrain(x), support.contains(x), support.contains(out(x))

    return run(y)


@pytest.mark.parametrize(
    ("support", "free"),  # the entries of x that are free coordinates, for the Jacobian
    [
        (PackedCholesky((2, 6)), lambda x: x),
        (LowerCholesky((2, 3, 3)), lambda x: x[:, *np.tril_indices(3)]),
    ],
)
def test_the_jacobian_and_the_way_back(support, free):
    with jax.enable_x64(True):
        y = jnp.asarray(np.random.default_rng(0).normal(size=support.position_shape))
        x, log_jacobian, back, inside, outside = both_ways(support, y, lambda x: -x)
        np.testing.assert_allclose(back, y, rtol=1e-12)
        assert bool(inside)
        assert not bool(outside)
        assert x.shape == support.shape

        def flat(y):
            return free(support.constrain(y.reshape(support.position_shape))[0]).reshape(-1)

        np.testing.assert_allclose(log_jacobian, np.linalg.slogdet(jax.jit(jax.jacobian(flat))(y.reshape(-1)))[1])


def test_sums_of_zero_keep_lengths():
    support = ZeroSum((5, 3, 4), 2)
    assert support.position_shape == (5, 2, 3)
    assert repr(support) == "zero_sum(axes=2, shape=(5, 3, 4))"
    with jax.enable_x64(True):
        y = jnp.asarray(np.random.default_rng(0).normal(size=support.position_shape))
        x, log_jacobian, back, inside, outside = both_ways(support, y, lambda x: x + 1e-3)
        x, y = np.asarray(x), np.asarray(y)
        assert log_jacobian == 0
        np.testing.assert_allclose(x.sum(1), 0, atol=1e-14)
        np.testing.assert_allclose(x.sum(2), 0, atol=1e-14)
        np.testing.assert_allclose(np.sum(x**2, (1, 2)), np.sum(y**2, (1, 2)))  # an isometry
        np.testing.assert_allclose(back, y, rtol=1e-12, atol=1e-14)
        assert bool(inside)
        assert not bool(outside)


def test_a_location_and_a_scale_are_the_non_centred_form():
    support = real(2, loc=lambda p: p["mu"], scale=np.array([1.0, 3.0]))
    x, log_jacobian = support.constrain([1.0, 2.0], {"mu": 10.0})
    np.testing.assert_allclose(x, [11.0, 16.0])
    np.testing.assert_allclose(log_jacobian, np.log(3.0), rtol=1e-6)
    np.testing.assert_allclose(support.unconstrain(x, {"mu": 10.0}), [1.0, 2.0])
    assert repr(real(loc=1.0, scale=2.0)) == "real(loc=1.0, scale=2.0)"
    assert real(2, loc=0.0, scale=1.0) == real(2)
    with pytest.raises(ValueError, match="scale must be above zero"):
        real(scale=0.0)
