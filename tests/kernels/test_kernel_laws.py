"""The exact law of every shared target, by a kernel without a gradient, one with, and an ensemble."""

import pytest
from laws import BY_NAME
from runs import draw, follows, target_of

import mcmc

CONTINUOUS = [law.name for law in BY_NAME.values() if not law.discrete and not law.hard]
SETTINGS = {"chains": 16, "draws": 4000, "warmup": 500, "superchains": 0, "seed": 3}
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("law", [name for name in CONTINUOUS if name != "correlated_normal"])
@pytest.mark.parametrize("kernel", [mcmc.RandomWalk(), mcmc.HMC(), mcmc.NUTS()], ids=lambda k: type(k).__name__)
def test_the_law_of(law, kernel):
    follows(draw(target_of(law), kernel, **SETTINGS), BY_NAME[law])


@pytest.mark.parametrize("law", ["student_t", "bounded"])
def test_the_law_of_an_ensemble(law):
    follows(draw(target_of(law), mcmc.Stretch(), **SETTINGS), BY_NAME[law])


def test_another_law_is_told_from_it():
    draws = draw(target_of("student_t"), mcmc.RandomWalk(), **SETTINGS)
    wider = BY_NAME["student_t"].sd["x"] * 1.2
    law = type(BY_NAME["student_t"])("wider", None, {}, BY_NAME["student_t"].mean, {"x": wider})
    with pytest.raises(AssertionError, match="errors off"):
        follows(draws, law)
