"""Keys and layouts: what a draw's randomness depends on, how chains lie in blocks."""

import jax
import numpy as np
import pytest

from mcmc.engine import keys
from mcmc.engine.devices import LANES, ROW_BYTES, layout_of, own_mesh
from mcmc.engine.loop import Layout

WORDS = np.array([1, 2], np.uint32)


def data(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_a_draws_key_is_the_runs_words_its_chain_and_its_number():
    assert data(keys.draw_key(WORDS, 3, 4)) == [1, 2, 3, 4]
    assert data(keys.run_key(WORDS)) == [1, 2, 0, 0]
    assert data(keys.shared_key(WORDS, 4)) == [1, 2, 2**32 - 1, 4]


def test_equal_seeds_have_equal_words_in_every_process():
    """Saved runs hold these words: they may not change from version to version."""
    assert keys.run_words(0).tolist() == keys.run_words(np.int64(0)).tolist()
    assert keys.run_words(0).tolist() != keys.run_words(1).tolist()
    key = jax.random.key(5)
    np.testing.assert_array_equal(keys.run_words(key), keys.run_words(jax.random.key_data(key)))
    many = {tuple(keys.run_words(seed)) for seed in range(2000)}
    assert len(many) == 2000


def test_a_key_of_this_packages_own_kind_is_a_seed():
    words = keys.run_words(keys.draw_key(WORDS, 3, 4))
    assert words.shape == (2,)
    assert words.tolist() != keys.run_words(keys.draw_key(WORDS, 3, 5)).tolist()


# --- layouts ------------------------------------------------------------------------------------------


def mesh(n):
    return own_mesh(jax.make_mesh((n,), ("x",), devices=jax.devices()[:n]))


@pytest.mark.parametrize("chains", [1, 7, 8, 9, 128, 129, 1000])
@pytest.mark.parametrize("devices", [None, 1, 2, 4])
def test_all_chains_lie_in_blocks_of_lanes_that_devices_do_not_change(chains, devices):
    plain = layout_of(chains, None, 10, 8, False, None)
    layout = layout_of(chains, None, 10, 8, False, None if devices is None else mesh(devices))
    assert layout.lanes == plain.lanes <= LANES
    assert layout.lanes % 8 == 0
    assert layout.blocks * layout.lanes >= chains
    assert layout.blocks % (devices or 1) == 0
    assert (layout.mesh is None) == (devices in (None, 1))


def test_given_lanes_are_kept_and_an_ensemble_is_one_block():
    assert layout_of(100, 24, 10, 8, False, None).lanes == 24
    ensemble = layout_of(100, None, 10, 8, True, mesh(2))
    assert (ensemble.lanes, ensemble.blocks, ensemble.mesh) == (100, 1, None)


@pytest.mark.parametrize(("chains", "width"), [(8, 1), (100_000, 50), (1, 10**6)])
def test_the_buffer_of_a_call_is_bounded(chains, width):
    layout = layout_of(chains, None, width, 8, False, None)
    assert layout.rows >= 8
    assert layout.rows & (layout.rows - 1) == 0
    assert layout.rows == 8 or layout.rows * layout.blocks * layout.lanes * width * 8 <= ROW_BYTES


def test_padding_goes_there_and_back():
    layout = Layout(5, 4, 2, 8, False, None)
    x = np.arange(10.0).reshape(5, 2)
    padded = layout.pad(x)
    assert padded.shape == (2, 4, 2)
    np.testing.assert_array_equal(padded.reshape(8, 2)[5:], x[[0, 0, 0]])
    np.testing.assert_array_equal(layout.unpad(padded), x)


def test_a_mesh_of_two_axes_is_one_row_of_devices():
    found = own_mesh(jax.make_mesh((2, 2), ("a", "b")))
    assert found.axis_names == ("chains",)
    assert found.devices.shape == (4,)
    with pytest.raises(TypeError, match="mesh"):
        own_mesh(jax.devices())
