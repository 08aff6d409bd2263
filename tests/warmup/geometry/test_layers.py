"""Which laws make a layer: parents that have laws themselves are given up where little is lost."""

import numpy as np
import pytest

from mcmc.warmup.geometry.conditional_forms import Form, Rows, fit_forms
from mcmc.warmup.geometry.layers import layer_of
from mcmc.warmup.geometry.noncentring import Laws


@pytest.mark.parametrize(("slope", "together"), [(0.2, True), (3.0, False)])
def test_a_parent_that_explains_little_is_mapped_with_its_child(slope, together):
    """x1 and x2 are scaled by x0, x2 is moved by x1; gradients have noise, so that no law holds exactly."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(1200, 3))
    precision, left = np.exp(-2 * y[:, 0]), y[:, 2] - slope * y[:, 1]
    noise = 0.6 * rng.normal(size=(1200, 3)) * np.exp(-y[:, :1])
    g = (
        np.stack([-y[:, 0], -precision * y[:, 1] + slope * left, -(precision + 1) * y[:, 2] + slope * y[:, 1]], 1)
        + noise
    )
    rows, which = Rows.of(y, g), np.array([1, 2])
    term = (((0, -2.0),),)
    forms = [Form(term), Form(term, (1,))]
    after = fit_forms(rows, which, forms).divergence
    _, mapped = layer_of(Laws(which, forms, after + 1.0, after), rows)
    assert (sorted(mapped.tolist()) == [1, 2]) == together
