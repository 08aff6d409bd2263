"""`plot_steps`: one picture of the steps of a sampler, or an animation of them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.steps.inverse_cdf import InverseCDFSteps
from mcmc.steps.metropolis import MetropolisSteps
from mcmc.steps.rejection import RejectionSteps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES, ANIMATIONS = (".png", ".svg", ".pdf"), (".gif", ".html")
SIZE, DPI = (9.0, 4.6), 80
AXIS_MOST = 2


def plot_steps(
    steps: RejectionSteps | MetropolisSteps | InverseCDFSteps,
    path: str | PathLike | None = None,
    *,
    frames: int = 40,
    seconds: float = 0.8,
) -> Figure:
    """Draw what a sampler did: the picture, and beside it the formula of the last step with its numbers.

    `.steps(key, n)` of `Rejection`, `InverseCDF`, `RandomWalk`, `MetropolisHastings` and `IndependentMetropolis` give
    the steps. In an animation the first come one by one, the later ones ever more at a time.

    Args:
        steps: what `.steps(...)` returned, of numbers or of points in a plane.
        path: None: only the figure is returned. A name that ends in .png, .svg or .pdf: it is saved there. .gif or
            .html: an animation is saved; the HTML page has buttons to go step by step.
        frames: of an animation, at most.
        seconds: that a frame is shown.

    Returns:
        The figure of the last step, a `matplotlib.figure.Figure`; no pyplot state is touched.

    Raises:
        TypeError, ValueError: something else than steps, points of more than two numbers, another ending of the name,
            or frames and seconds that are not above 0.

    Example:
        >>> import jax, mcmc
        >>> gamma = mcmc.Rejection.fit(lambda x: 1.5 * jax.numpy.log(x) - x, (0.0, float("inf")))
        >>> mcmc.plot_steps(gamma.steps(jax.random.key(0), 30), "gamma.gif")  # doctest: +SKIP
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draw, many = _drawing(steps)
    suffix = None if path is None else Path(path).suffix.lower()
    if suffix not in (None, *PICTURES, *ANIMATIONS):
        expected = f"a name that ends in one of {', '.join((*PICTURES, *ANIMATIONS))}"
        raise WrongValue("path", str(path), expected, "Choose one of them.")
    for name, value in (("frames", frames), ("seconds", seconds)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
            raise WrongValue(name, value, "a number above 0", "Leave it out.")
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    if suffix in ANIMATIONS:
        _animate(figure, draw, shown_steps(many, int(frames)), Path(str(path)), seconds)
    draw(figure, many)
    if suffix in PICTURES:
        figure.savefig(str(path))
    return figure


def shown_steps(many: int, frames: int) -> list[int]:
    """How many steps each frame shows: one more each time at first, then ever more, in the end all."""
    if frames >= many:
        return list(range(1, many + 1))
    return np.unique(np.rint(np.geomspace(1, many, frames)).astype(int)).tolist()


def _drawing(steps: Any) -> tuple[Any, int]:
    """What draws the first k of these steps, and how many there are."""
    from mcmc.steps import drawing

    draw: Any
    if isinstance(steps, RejectionSteps):
        points, draw = steps.proposal, drawing.rejection
    elif isinstance(steps, MetropolisSteps):
        points, draw = steps.proposal, drawing.metropolis
    elif isinstance(steps, InverseCDFSteps):
        points, draw = steps.x, drawing.inverse_cdf
    else:
        remedy = "Give sampler.steps(key, n) of a Rejection, an InverseCDF or a Metropolis kernel."
        raise WrongType("steps", type(steps).__name__, "the steps of a sampler", remedy)
    shape = points.shape[1:] if isinstance(points, np.ndarray) else None
    if shape is None or len(shape) > 1 or shape > (AXIS_MOST,) or shape == (0,):
        seen = "a tree of arrays" if shape is None else f"points of shape {shape}"
        raise WrongValue("steps", seen, "numbers, or points of one or two numbers", "Draw the arrays yourself.")
    return lambda figure, k: draw(figure, steps, k), len(points)


def _animate(figure: Any, draw: Any, shown: list[int], path: Path, seconds: float) -> None:
    from matplotlib.animation import FuncAnimation, PillowWriter

    def frame(k: int) -> list:
        draw(figure, k)
        return []

    made = FuncAnimation(figure, frame, frames=shown, init_func=lambda: [], interval=1000 * seconds, blit=False)
    if path.suffix.lower() == ".gif":
        made.save(path, writer=PillowWriter(fps=cast(int, 1 / seconds)), dpi=DPI)
    else:
        path.write_text(made.to_jshtml(fps=cast(int, 1 / seconds), default_mode="once"), encoding="utf-8")
