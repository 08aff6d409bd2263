"""The recorder: rows of blocks of lanes become chains and draws, in order."""

import itertools

import numpy as np
import pytest

from mcmc.engine.loop import Statistic
from mcmc.storage.recorder import Recorder
from mcmc.target.traced import Column

COLUMNS = (
    Column("a", (), "float64", 0, 1),
    Column("m", (2, 2), "float32", 1, 5),
    Column("n", (), "int32", 5, 6),
)
STATISTICS = (Statistic("lp", "float64"), Statistic("diverging", "bool"))
CHAINS, DRAWS, BLOCKS, LANES = 5, 9, 4, 3
VALUES = np.arange(BLOCKS * LANES * DRAWS * 6, dtype=float).reshape(BLOCKS * LANES, DRAWS, 6)


def rows(start, stop, devices):
    """The rows of each device; with four, the last two hold spare lanes alone."""
    kept = VALUES[:, start:stop].reshape(devices, BLOCKS // devices, LANES, stop - start, 6)
    lp = kept[..., 0] * 2
    return [(k, (x, x % 3 == 0)) for k, x in zip(kept, lp, strict=True)]


def recorded(cuts, devices=2):
    recorder = Recorder(COLUMNS, STATISTICS, CHAINS, DRAWS)
    for start, stop in itertools.pairwise(cuts):
        recorder.write(rows(start, stop, devices))
    return recorder


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_chunks_are_put_end_to_end_and_spare_lanes_left_out(devices):
    parameters, stats = recorded([0, 1, 4, 9], devices).result()
    np.testing.assert_array_equal(parameters["a"], VALUES[:CHAINS, :, 0])
    np.testing.assert_array_equal(parameters["m"], VALUES[:CHAINS, :, 1:5].reshape(CHAINS, DRAWS, 2, 2))
    np.testing.assert_array_equal(parameters["n"], VALUES[:CHAINS, :, 5])
    np.testing.assert_array_equal(stats["lp"], 2 * VALUES[:CHAINS, :, 0])
    np.testing.assert_array_equal(stats["diverging"], 2 * VALUES[:CHAINS, :, 0] % 3 == 0)
    assert {k: str(v.dtype) for k, v in (parameters | stats).items()} == {
        "a": "float64",
        "m": "float32",
        "n": "int32",
        "lp": "float64",
        "diverging": "bool",
    }


def test_an_unfinished_record_ends_where_it_was_filled():
    recorder = recorded([0, 1, 4])
    assert recorder.filled == 4
    parameters, stats = recorder.result()
    assert parameters["m"].shape == (CHAINS, 4, 2, 2)
    assert stats["lp"].shape == (CHAINS, 4)
    np.testing.assert_array_equal(parameters["a"], VALUES[:CHAINS, :4, 0])
    assert parameters["a"].base is None
