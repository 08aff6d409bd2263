"""Where a run can't be made: told in a sentence."""

import multiprocessing

import jax
import pytest

import mcmc

TARGET = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
SMALL = {"chains": 4, "draws": 4, "warmup": 4, "progress": False}


def inside_jit():
    return jax.jit(lambda x: mcmc.sample(TARGET, **SMALL) and x)(1.0)


def inside_vmap():
    return jax.vmap(lambda key: mcmc.sample(TARGET, seed=key, **SMALL))(jax.random.split(jax.random.key(0), 2))


def inside_grad():
    def loss(a):
        return mcmc.sample(mcmc.Target(lambda p: -a * p["x"] ** 2, {"x": mcmc.real()}), **SMALL)

    return jax.grad(loss)(1.0)


def data_inside_grad():
    def loss(a):
        return mcmc.sample(mcmc.Target(lambda p, a: -a * p["x"] ** 2, {"x": mcmc.real()}, a), **SMALL)

    return jax.grad(loss)(1.0)


@pytest.mark.parametrize("call", [inside_jit, inside_vmap, inside_grad, data_inside_grad])
def test_inside_a_transformation(call):
    with pytest.raises(TypeError, match=r"sample: got a call inside jax.jit, vmap, grad or scan; .*Call it outside"):
        call()


def test_without_compilation():
    with jax.disable_jit(), pytest.raises(RuntimeError, match="jax_disable_jit: got True"):
        mcmc.sample(TARGET, **SMALL)


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_strict_promotion_of_types_is_the_callers_not_ours():
    with jax.numpy_dtype_promotion("strict"):
        draws = mcmc.sample(TARGET, **SMALL)
        assert jax.config.jax_numpy_dtype_promotion == "strict"  # pyright: ignore[reportAttributeAccessIssue]
    assert draws.posterior["x"].shape == (4, 4)


def _child(pipe):
    try:
        mcmc.sample(TARGET, **SMALL)
    except mcmc.SamplingError as error:
        pipe.send(str(error))


@pytest.mark.filterwarnings("ignore")
def test_a_process_forked_after_a_run():
    mcmc.sample(TARGET, **SMALL)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(there,))
    child.start()
    assert here.poll(60)
    assert 'get_context("spawn")' in here.recv()
    child.join()
