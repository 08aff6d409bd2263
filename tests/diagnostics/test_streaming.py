"""Streaming moments: independent of how draws are cut into chunks, equal to the batch statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmc.diagnostics import Moments, ess_chain_means, nested_rhat, rhat


def feed(x, cuts, **options):
    moments = Moments(**options)
    for part in np.split(x, cuts, axis=1):
        moments.update(part)
    return moments


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 400), st.lists(st.integers(0, 400), max_size=12), st.sampled_from([None, 4, 6, 32]), st.booleans()
)
def test_any_chunks_give_the_moments_of_all_draws(draws, cuts, max_blocks, large):
    x = np.random.default_rng(draws).normal(size=(3, draws, 2)) + (1e6 if large else 0)
    moments = feed(x, sorted(min(c, draws) for c in cuts), max_blocks=max_blocks)
    mean, variance = moments.chain_moments()
    assert moments.draws == draws
    np.testing.assert_allclose(mean, x.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(moments.mean(), x.mean(axis=(0, 1)), rtol=1e-12)
    if draws > 1:
        np.testing.assert_allclose(variance, x.var(axis=1, ddof=1), rtol=1e-7)
        np.testing.assert_allclose(moments.variance(), x.var(axis=(0, 1), ddof=1), rtol=1e-7)


@pytest.mark.parametrize("cuts", [[], [1], [333, 334, 700], list(range(50, 1024, 50)), list(range(1, 1024))])
def test_rhat_is_split_rhat_of_the_whole_blocks(cuts):
    x = np.random.default_rng(0).normal(size=(6, 1024, 3)).cumsum(axis=1)
    moments = feed(x, cuts)
    assert moments.block == 32
    np.testing.assert_allclose(moments.rhat(), rhat(x, "split"), rtol=1e-9)
    ids = [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(moments.nested_rhat(ids), nested_rhat(x, ids, "split"), rtol=1e-9)


def test_rhat_between_whole_blocks_leaves_few_draws_out():
    x = np.random.default_rng(0).normal(size=(4, 1000, 2))
    moments = feed(x, [130, 700])
    assert 1000 - moments.block * 31 < 1000 / 16
    np.testing.assert_allclose(moments.rhat(), rhat(x[:, : 32 * 30], "split"), atol=2e-3)


def test_ess_of_many_chains_is_that_of_their_means():
    x = np.random.default_rng(0).normal(size=(100, 128, 2)).cumsum(axis=1)
    np.testing.assert_allclose(feed(x, [17]).ess(), ess_chain_means(x), rtol=1e-9)


@pytest.mark.parametrize("chains", [1, 4, 16])
def test_ess_of_few_chains_is_about_right(chains):
    rho, columns = 0.8, 60
    noise = np.random.default_rng(0).normal(size=(chains, 4096, columns))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, 4096):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    truth = chains * 4096 * (1 - rho) / (1 + rho)
    found = feed(x, [1000]).ess()
    assert abs(np.median(found) / truth - 1) < 0.15
    assert (found > 0.4 * truth).all()
    assert (found < 3 * truth).all()


def test_a_shifted_chain_shows():
    x = np.random.default_rng(0).normal(size=(4, 256, 1))
    x[3] += 3
    moments = feed(x, [100])
    assert moments.rhat()[0] > 1.5
    assert moments.ess()[0] < 60


def test_too_few_draws_are_nan_not_an_error():
    moments = Moments()
    moments.update(np.zeros((4, 1, 2)))
    assert np.isnan(moments.rhat()).all()
    assert np.isnan(moments.nested_rhat([0, 0, 1, 1])).all()
    assert np.isnan(moments.ess()).all()


def test_nan_draws_show():
    x = np.random.default_rng(0).normal(size=(4, 64, 2))
    x[1, 40, 0] = np.nan
    moments = feed(x, [10])
    np.testing.assert_array_equal(np.isnan(moments.rhat()), [True, False])


def test_float32_draws_are_summed_in_float64():
    x = (1000 + np.random.default_rng(0).normal(size=(2, 3000, 1))).astype(np.float32)
    np.testing.assert_allclose(feed(x, [7]).variance(), x.astype(float).var(ddof=1), rtol=1e-9)


def test_memory_does_not_grow():
    moments = Moments()
    for _ in range(300):
        moments.update(np.random.default_rng(0).normal(size=(50, 10, 3)))
    assert moments.max_blocks == 8
    assert moments._mean.shape == (9, 50, 3)


@pytest.mark.parametrize("chunk", [np.zeros((4, 5)), np.zeros((3, 5, 2)), np.zeros((4, 5, 2), complex)])
def test_refusals(chunk):
    moments = Moments()
    moments.update(np.zeros((4, 5, 2)))
    with pytest.raises(ValueError, match="chunk has"):
        moments.update(chunk)
    with pytest.raises(ValueError, match="max_blocks is 7"):
        Moments(max_blocks=7)
