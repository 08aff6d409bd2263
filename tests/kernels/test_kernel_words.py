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


def test_kernels_are_made_and_changed_as_before():
    assert dataclasses.replace(mcmc.NUTS(0.1), max_tree_depth=3) == mcmc.NUTS(step_size=0.1, max_tree_depth=3)
