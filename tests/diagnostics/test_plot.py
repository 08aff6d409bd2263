"""The picture: it renders, in every kind of run, and shows the parameters that matter."""

import numpy as np
import pytest

from mcmc.diagnostics import diagnose, plot

RNG = np.random.default_rng(0)


def names(figure):
    """The parameters shown, by row."""
    return [axis.texts[0].get_text() for axis in figure.axes[::3]]


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def test_it_renders_at_1200_pixels_and_says_the_verdict():
    figure = plot({"posterior": {"mu": RNG.normal(size=(4, 300)), "theta": RNG.normal(size=(4, 300, 3))}})
    image = pixels(figure)
    assert image.shape[1] == 1200
    assert len(np.unique(image.reshape(-1, 4), axis=0)) > 50
    assert figure.texts[0].get_text().startswith("Good")
    assert names(figure) == ["mu", "theta[0]", "theta[1]", "theta[2]"]


def test_failing_parameters_come_first():
    x = RNG.normal(size=(4, 200, 30))
    x[1, :, 25] += 3
    figure = plot({"posterior": {"x": x}})
    assert len(names(figure)) == 12
    assert names(figure)[0] == "x[25]"
    assert figure.texts[0].get_text().startswith("Do not use")


def test_asked_for_parameters():
    draws = {"posterior": {"a": RNG.normal(size=(4, 100)), "b": RNG.normal(size=(4, 100, 4))}}
    verdict = diagnose(draws)
    assert names(plot(draws, ["b[2]", "a"], verdict=verdict)) == ["b[2]", "a"]
    assert names(plot(draws, "b")) == ["b[0]", "b[1]", "b[2]", "b[3]"]
    with pytest.raises(ValueError, match="parameters has 'c'; expected"):
        plot(draws, ["c"])
    with pytest.raises(ValueError, match="expected at least 4"):
        plot({"posterior": {"a": np.zeros((4, 2))}})


@pytest.mark.parametrize("case", ["one chain", "many chains", "not finite", "constant", "booleans", "odd name"])
def test_every_kind_of_run_renders(case):
    x = RNG.normal(size=(4, 100))
    if case == "one chain":
        x = x[:1]
    if case == "many chains":
        x = RNG.normal(size=(200, 30))
    if case == "not finite":
        x[0, 3] = np.nan
    if case == "constant":
        x[:] = 3
    figure = plot({"posterior": {"$a_{very}$" * 3 if case == "odd name" else "x": x > 0 if case == "booleans" else x}})
    pixels(figure)
    assert len(figure.axes[1].lines) <= 8


def test_no_pyplot_state_is_touched():
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    plot({"posterior": {"mu": RNG.normal(size=(4, 100))}})
    assert matplotlib.pyplot.get_fignums() == before
