"""What the two bridges share: the import that fails with a remedy, the data by name, the supports of their own."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc import models, real
from mcmc.models.data import ModelTarget, axis_names
from mcmc.models.supports import LowerCholesky, PackedCholesky, ZeroSum


@pytest.mark.parametrize("library", ["numpyro", "pymc"])
def test_a_library_that_is_not_installed(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'pip install "mcmc\[{library}\]"'):
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
        x, log_jacobian = support.constrain(y)
        np.testing.assert_allclose(support.unconstrain(x), y, rtol=1e-12)
        assert bool(support.contains(x))
        assert not bool(support.contains(-x))
        assert x.shape == support.shape

        def flat(y):
            return free(support.constrain(y.reshape(support.position_shape))[0]).reshape(-1)

        np.testing.assert_allclose(log_jacobian, jnp.linalg.slogdet(jax.jacobian(flat)(y.reshape(-1)))[1])


def test_sums_of_zero_keep_lengths():
    support = ZeroSum((5, 3, 4), 2)
    assert support.position_shape == (5, 2, 3)
    assert repr(support) == "zero_sum(2, shape=(5, 3, 4))"
    with jax.enable_x64(True):
        y = jnp.asarray(np.random.default_rng(0).normal(size=support.position_shape))
        x, log_jacobian = support.constrain(y)
        assert log_jacobian == 0
        np.testing.assert_allclose(x.sum(1), 0, atol=1e-14)
        np.testing.assert_allclose(x.sum(2), 0, atol=1e-14)
        np.testing.assert_allclose(jnp.sum(x**2, (1, 2)), jnp.sum(y**2, (1, 2)))  # an isometry
        np.testing.assert_allclose(support.unconstrain(x), y, rtol=1e-12, atol=1e-14)
        assert bool(support.contains(x))
        assert not bool(support.contains(x + 1e-3))
