"""Keys and layouts: what a draw's randomness depends on, how chains lie in blocks on devices."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.engine.devices import GRADIENT_LANES, LANES, LONG_TRAIL, ROW_BYTES, TRAIL_ROWS, Layout, devices_of, layout_of
from mcmc.random import keys

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


def laid_out(chains, lanes=None, numbers=10, ensemble=False, gradient=False, tuned=False, devices=1):
    kernel = SimpleNamespace(ensemble=ensemble, needs_gradient=gradient)
    return layout_of(chains, lanes, numbers, 8, kernel, tuned, tuple(jax.devices()[:devices]))


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("chains", [1, 7, 8, 9, 128, 129, 1000])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_all_chains_lie_in_blocks_of_lanes_that_devices_do_not_change(chains, devices, gradient):
    plain = laid_out(chains, gradient=gradient)
    layout = laid_out(chains, devices=devices, gradient=gradient)
    assert layout.lanes == plain.lanes <= (GRADIENT_LANES if gradient else LANES)
    assert layout.lanes % 8 == 0
    assert set(layout.devices) == set(jax.devices()[:devices])
    places = len(layout.devices)
    assert chains <= layout.blocks * layout.lanes * places < chains + layout.lanes * places


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_one_cpu_device_stands_for_each_core_that_has_a_block(cores, monkeypatch):
    monkeypatch.setattr("mcmc.engine.devices._cores", lambda: cores)
    layout = laid_out(5 * LANES)
    assert layout.devices == (jax.devices()[0],) * min(cores, 5)
    assert laid_out(5 * LANES, ensemble=True).devices == (jax.devices()[0],)
    assert laid_out(LANES).devices == (jax.devices()[0],)


@pytest.mark.parametrize(("chains", "devices", "lanes"), [(1000, 1, 1000), (1000, 3, 336), (5, 2, 8), (1, 1, 8)])
def test_on_an_accelerator_all_chains_of_a_device_are_one_block(chains, devices, lanes):
    accelerators = (SimpleNamespace(platform="gpu"),) * devices
    layout = layout_of(chains, None, 10, 4, SimpleNamespace(), False, accelerators)
    assert (layout.lanes, layout.blocks) == (lanes, 1)


def test_given_lanes_are_kept_and_an_ensemble_is_one_block():
    assert laid_out(100, lanes=24).lanes == 24
    ensemble = laid_out(100, ensemble=True, devices=2)
    assert (ensemble.lanes, ensemble.blocks, ensemble.devices) == (100, 1, (jax.devices()[0],))


@pytest.mark.parametrize(("chains", "width"), [(8, 1), (100_000, 50), (1, 10**6)])
@pytest.mark.parametrize("devices", [1, 4])
def test_the_buffer_of_a_call_is_bounded(chains, width, devices):
    layout = laid_out(chains, numbers=width, devices=devices)
    assert layout.rows >= 8
    assert layout.rows & (layout.rows - 1) == 0
    assert layout.rows == 8 or layout.rows * layout.blocks * layout.lanes * width * 8 <= ROW_BYTES


@pytest.mark.parametrize("chains", [1, 4, 64, 1024, 10**6])
def test_the_trail_of_a_call_is_bounded_and_only_there_where_warmup_tunes(chains):
    assert laid_out(chains).trail == 0
    layout = laid_out(chains, tuned=True)
    assert TRAIL_ROWS <= layout.trail * chains < TRAIL_ROWS + chains
    assert layout.trail == laid_out(chains, tuned=True, devices=4).trail  # draws depend on it
    many = laid_out(chains, tuned=True, numbers=3000)
    assert LONG_TRAIL <= many.trail * chains < LONG_TRAIL + chains


@pytest.mark.parametrize("devices", [1, 2])
def test_chains_are_split_over_devices_and_joined_again(devices):
    x = np.arange(10.0).reshape(5, 2)
    layout = Layout(5, 4, 2 // devices, 8, 0, False, tuple(jax.devices()[:devices]))
    parts = layout.split(x)
    assert [part.shape for part in parts] == [(2 // devices, 4, 2)] * devices
    np.testing.assert_array_equal(np.concatenate(parts).reshape(8, 2)[5:], x[[0, 0, 0]])
    np.testing.assert_array_equal(layout.join(parts), x)
    np.testing.assert_array_equal(layout.join([*map(jax.device_put, parts, layout.devices)]), x)


def test_a_mesh_of_two_axes_is_one_row_of_devices():
    assert devices_of(jax.make_mesh((2, 2), ("a", "b"))) == tuple(jax.devices()[:4])
    with pytest.raises(TypeError, match="mesh"):
        devices_of(jax.devices())


def test_without_a_mesh_it_is_the_default_device():
    assert devices_of(None) == (jax.devices()[0],)
    for default in (jax.devices()[2], "cpu"):
        with jax.default_device(default):
            (device,) = devices_of(None)
        assert device == (jax.devices()[0] if default == "cpu" else default)


@pytest.mark.parametrize("seed", [np.array(3), np.int64(3), jnp.array(3), jax.random.PRNGKey(3), jax.random.key(3)])
def test_any_integer_scalar_and_any_single_key_is_a_seed(seed):
    np.testing.assert_array_equal(keys.run_words(seed), keys.run_words(3))
    if isinstance(seed, jax.Array) and seed.shape == (2,):
        np.testing.assert_array_equal(keys.run_words(np.asarray(seed)), keys.run_words(3))


def test_integers_of_any_size_are_seeds_of_their_own():
    seeds = [0, 1, -1, 2**32, 2**64, 2**70, -(2**70), 2**70 + 1]
    assert len({tuple(keys.run_words(seed).tolist()) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize(
    "seed",
    [jnp.array(0.2), np.array(True), jax.random.split(jax.random.key(0), 4), jnp.arange(3), np.zeros((4, 2), "u4")],
)
def test_what_is_no_integer_and_no_single_key_is_refused(seed):
    with pytest.raises(TypeError, match=r"seed: got .*an integer, or one JAX key"):
        keys.run_words(seed)
