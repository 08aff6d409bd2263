"""Settings of kernels by other tools' names: refused with the name that is meant."""

import dataclasses

import pytest

import mcmc

CASES = (
    (mcmc.NUTS, "target_accept", "target_acceptance"),
    (mcmc.NUTS, "max_treedepth", "max_tree_depth"),
    (mcmc.HMC, "adapt_delta", "target_acceptance"),
    (mcmc.HMC, "num_leapfrog_steps", "num_steps"),
    (mcmc.HMC, "inverse_mass_matrix", "metric"),
    (mcmc.RandomWalk, "scale", "step_size"),
)


@pytest.mark.parametrize(("kernel", "word", "meant"), CASES)
def test_the_setting_that_is_meant_is_named(kernel, word, meant):
    with pytest.raises(TypeError, match=rf"{kernel.__name__}: .*'{word}'\. Did you mean {meant}="):
        kernel(**{word: 1.0})


def test_a_word_of_nobody_is_refused_with_the_settings_that_there_are():
    with pytest.raises(TypeError, match=r"Stretch: .*'foo'\. Leave it out\. The arguments are scale\."):
        mcmc.Stretch(foo=1)


PUBLIC = [getattr(mcmc, name) for name in dir(mcmc)]
KERNELS = [kind for kind in PUBLIC if isinstance(kind, type) and hasattr(kind, "needs_gradient")]
NEEDY = {
    mcmc.EllipticalSlice: "metric",
    mcmc.Gibbs: "blocks",
    mcmc.Mixture: "kernels",
    mcmc.MetropolisHastings: "proposal",
    mcmc.IndependentMetropolis: "proposal",
    mcmc.Direct: "proposal",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_without_a_setting_that_it_needs_says_which_and_how_it_is_written(kernel):
    if kernel not in NEEDY:
        assert isinstance(kernel(), kernel)
        return
    name, word = kernel.__name__, NEEDY[kernel]
    told = rf"^{word}: got nothing, in {name}\(\); expected .*\. It has no default: write mcmc\.{name}\({word}\)\."
    with pytest.raises(TypeError, match=told) as caught:
        kernel()
    assert (caught.value.code, caught.value.argument) == ("kernel", word)
    assert kernel(**{word: 1}) == kernel(1)


@pytest.mark.parametrize(
    ("call", "word", "code"),
    [
        (mcmc.Target, "log_density", "target"),
        (lambda: mcmc.Target(len), "parameters", "target"),
        (mcmc.sample, "target", "target"),
        (lambda: mcmc.resume(None), "draws_or_path", "argument"),
        (mcmc.diagnose, "draws", "settings"),
    ],
)
def test_so_do_the_calls_of_a_run(call, word, code):
    with pytest.raises(TypeError, match=rf"^{word}: got nothing, in \w+\(\); expected") as caught:
        call()
    assert caught.value.code == code


def test_kernels_are_made_and_changed_as_before():
    assert dataclasses.replace(mcmc.NUTS(0.1), max_tree_depth=3) == mcmc.NUTS(step_size=0.1, max_tree_depth=3)
