"""Black boxes that give their gradients: the draws of the same density in JAX, and gradients that are wrong."""

import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw

import mcmc

Z = np.array([0.3, 1.2, 2.0])
PARAMETERS = {"mu": mcmc.real(2), "tau": mcmc.positive()}
SHORT = {"chains": 4, "draws": 20, "warmup": 60, "seed": 4}


def in_jax(p):
    x = (Z[:, None] - p["mu"]) / p["tau"]
    return -0.5 * jnp.sum(x**2) - 6 * jnp.log(p["tau"]) - p["tau"] - 0.5 * jnp.sum(p["mu"] ** 2)


@np.errstate(all="ignore")  # far out, where trajectories diverge
def of_chains(p):
    mu, tau = p["mu"], p["tau"]
    x = (Z[:, None] - mu[:, None, :]) / tau[:, None, None]
    lp = -0.5 * np.sum(x**2, (1, 2)) - 6 * np.log(tau) - tau - 0.5 * np.sum(mu**2, 1)
    return lp, {"mu": x.sum(1) / tau[:, None] - mu, "tau": np.sum(x**2, (1, 2)) / tau - 6 / tau - 1}


def one(p):
    lp, gradient = of_chains({k: v[None] for k, v in p.items()})
    return lp[0], np.concatenate([gradient["mu"][0], gradient["tau"]])  # one array along the parameters


def box(fn=one, **more):
    return mcmc.Target.black_box(fn, PARAMETERS, gradient=True, **more)


@pytest.mark.parametrize("target", [box(), box(of_chains, vectorized=True)], ids=["one by one", "vectorized"])
def test_the_draws_are_those_of_the_density_in_jax(target):
    traced = draw(mcmc.Target(in_jax, PARAMETERS), mcmc.HMC(), **SHORT)
    draws = draw(target, mcmc.HMC(), **SHORT)
    for name in PARAMETERS:  # rounding differs in the last bits, and grows slowly
        a, b = draws["posterior"][name][:, :5], traced["posterior"][name][:, :5]
        np.testing.assert_allclose(a, b, rtol=1e-4)


def wrong(p):
    lp, gradient = one(p)
    return lp, gradient * [1, 1, 0.5]


def short_of_one(p):
    return one(p)[0], {"mu": np.zeros(2)}


def broken(p):
    raise RuntimeError("the solver gave up")


@pytest.mark.parametrize(
    ("fn", "error", "text"),
    [
        (wrong, ValueError, "with the slope .* along 'tau'; expected .*by differences"),
        (short_of_one, ValueError, "derivatives by tau too"),
        (lambda p: one(p)[0], TypeError, "that it returns a pair"),
        (lambda p: (one(p)[0], np.zeros(2)), ValueError, r"a gradient of shape \(3,\)"),
        (broken, RuntimeError, "the solver gave up"),
    ],
)
def test_wrong_gradients_and_errors_come_out(fn, error, text):
    with pytest.raises(error, match=text):
        draw(box(fn), **SHORT)


def test_derivatives_in_a_wrong_order_are_found():
    def turned(p):
        return -0.5 * float(np.sum(p["x"] ** 2)), {"x": -p["x"][::-1]}

    target = mcmc.Target.black_box(turned, {"x": mcmc.real(3)}, gradient=True)
    with pytest.raises(ValueError, match=r"with the slope .* along 'x'; expected .*by differences"):
        draw(target, **SHORT)


def test_a_gradient_is_asked_for_by_true():
    with pytest.raises(TypeError, match="gradient: got 'yes'"):
        mcmc.Target.black_box(one, PARAMETERS, gradient="yes")
