"""The verdict: good runs pass, each kind of bad run is caught and named, and nothing is said that was not checked."""

import arviz
import numpy as np
import pytest
import xarray
from judged import ar, failed, judge

from mcmc.diagnostics import diagnose, ess, nested_rhat


def stats(chains=4, draws=1000, **changes):
    rng = np.random.default_rng(5)
    return {"diverging": np.zeros((chains, draws), bool), "energy": rng.normal(size=(chains, draws)), **changes}


RNG = np.random.default_rng(0)
GOOD = {
    "iid": RNG.normal(size=(4, 1000, 5)),
    "student": RNG.standard_t(5, size=(4, 1000, 2)),
    "counts": RNG.poisson(0.3, size=(4, 1000, 2)),
    "booleans": RNG.random((4, 1000, 2)) < 0.2,
    "rejections": np.repeat(RNG.normal(size=(8, 500, 2)), 4, axis=1),
    "64 chains": ar(0.9, 64, 320, 10),
    "1024 short chains": ar(0.95, 1024, 100, 10),
    "many short chains with rejections": np.repeat(RNG.normal(size=(1024, 5, 2)), 4, axis=1),
    "one chain": RNG.normal(size=(1, 2000, 2)),
}


@pytest.mark.parametrize(
    ("case", "quick"),
    [(case, quick) for case in GOOD for quick in (False, True)],
)
def test_good_runs_pass(case, quick):
    verdict = judge(GOOD[case], quick=quick)
    assert verdict.ok, str(verdict)
    assert str(verdict).startswith("Good")


@pytest.mark.parametrize("quick", [False, True])
def test_good_superchains_pass(quick):
    groups = np.arange(1024) // 64
    verdict = judge(ar(0.95, 1024, 100, 10), run_state={"superchain": groups}, quick=quick)
    assert verdict.ok, str(verdict)
    assert verdict["nested_rhat"].passed
    assert "its floor is 1.00008" in verdict["nested_rhat"].message  # sqrt(1 + 1 / 6400)
    assert not verdict["rhat"].made
    few = judge(ar(0.9, 64, 320, 10), run_state={"superchain": np.arange(64) // 4})
    assert few.ok, str(few)


# --- bad runs ---------------------------------------------------------------------------------------------


def test_shifted_chain():
    x = RNG.normal(size=(4, 1000, 3))
    x[2, :, 1] += 1
    verdict = judge({"mu": x[..., 0], "theta": x[..., 1:]})
    assert "rhat" in failed(verdict)
    assert verdict["rhat"].parameters == ("theta[0]",)
    assert verdict["rhat"].value > 1.05
    assert verdict["rhat"].severity == "error"
    assert str(verdict).startswith("Do not use these draws")


def test_unequal_spread():
    x = RNG.normal(size=(4, 1000, 1))
    x[0] *= 2
    assert "rhat" in failed(judge(x))
    assert "rhat" in failed(judge(x, quick=True))


def test_non_finite_draws():
    x = RNG.normal(size=(4, 1000, 3))
    x[0, 3, 1] = np.nan
    x[3, 4, 1] = np.inf
    verdict = judge(x)
    check = verdict["non_finite"]
    assert check.failed
    assert check.severity == "error"
    assert check.value == 2
    assert check.parameters == ("x[1]",)
    assert check.chains == (0, 3)
    assert failed(verdict) == {"non_finite"}  # the others are judged without it
    assert np.isnan(verdict.table.loc["x[1]", "r_hat"])
    assert not judge(np.full((4, 100), np.nan)).ok


def test_frozen_chain():
    x = RNG.normal(size=(4, 1000, 3))
    x[2] = x[2, :1]
    check = judge(x)["frozen_chain"]
    assert check.failed
    assert check.severity == "error"
    assert check.chains == (2,)
    assert "other places" in check.advice  # of any tool: no argument of ours


def test_chain_stuck_for_over_half():
    x = RNG.normal(size=(4, 1000, 2))
    x[1, 300:] = x[1, 300]
    check = judge(x)["frozen_chain"]
    assert check.chains == (1,)
    assert check.value == 0.7
    assert "700 of 1000" in check.message
    x = RNG.normal(size=(500, 40, 2))
    x[17] = x[17, :1]
    assert judge(x)["frozen_chain"].chains == (17,)


def test_stuck_ensemble():
    verdict = judge(np.repeat(RNG.normal(size=(1000, 1, 2)), 50, axis=1))
    assert {"frozen_chain", "memory"} <= failed(verdict)
    assert verdict["ess_bulk"].value < 2  # however many chains are stuck


def test_nearly_stuck_ensemble_with_and_without_superchains():
    starts = np.arange(1024) // 64
    noise = 0.05 * RNG.normal(size=(1024, 50, 2))
    alone = judge(RNG.normal(size=(1024, 1, 2)) + noise)
    assert "memory" in failed(alone)
    together = judge(RNG.normal(size=(16, 1, 2))[starts] + noise, run_state={"superchain": starts})
    assert "nested_rhat" in failed(together)
    assert "warmup" in together["nested_rhat"].advice


@pytest.mark.parametrize("quick", [False, True])
def test_unconverged_superchains(quick):
    starts = np.arange(1024) // 64
    x = ar(0.99, 1024, 100, 2, start=2.0, starts=starts)
    verdict = judge(x, run_state={"superchain": starts}, quick=quick)
    assert "nested_rhat" in failed(verdict)
    assert verdict["nested_rhat"].value > 1.05
    assert verdict["nested_rhat"].threshold == pytest.approx(1.01 * np.sqrt(1 + 1 / 6400))
    assert "its floor is 1.00008" in str(verdict)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("rho", [0.95, 0.99])
def test_overdispersed_start_still_in_the_draws(rho, quick):
    """The run of which nested R-hat over independent starts said 1.002, its sd 1.1 to 1.8 times too large."""
    x = ar(rho, 1024, 100, 3, start=2.5)
    verdict = judge(x, quick=quick)
    assert "drift" in failed(verdict)
    blind = nested_rhat(x, superchains=np.arange(1024) // 64)
    assert (blind < 1.01).all()
    assert not verdict["nested_rhat"].made
    assert "nothing" in verdict["nested_rhat"].message


def test_two_modes_that_chains_do_not_leave():
    x = RNG.normal(size=(200, 300, 1)) + np.where(np.arange(200) % 4 == 0, 4, 0)[:, None, None]
    assert "memory" in failed(judge(x))


def test_one_chain_astray_among_many():
    x = RNG.normal(size=(256, 200, 2))
    x[37, :, 1] += 4
    check = judge(x)["astray_chain"]
    assert check.failed
    assert check.parameters == ("x[1]",)
    assert check.chains == (37,)


def seldom_in_the_tail(share, stay, chains=64, draws=4000):
    """Chains that change nearly every draw in the bulk, and stay long in a lower tail that they seldom enter."""
    rng = np.random.default_rng(11)
    enter, inside, x = share / (1 - share) / stay, np.zeros(chains, bool), np.empty((chains, draws, 1))
    for t in range(draws):
        u = rng.uniform(size=chains)
        inside = np.where(inside, u > 1 / stay, u < enter)
        x[:, t, 0] = np.where(inside, -3.0, 0.0) + 0.5 * rng.normal(size=chains)
    return x


def test_tails_that_chains_fill_too_seldom():
    check = judge(seldom_in_the_tail(0.08, 800))["slow_tails"]
    assert check.failed
    assert check.parameters == ("x[0]",)
    assert check.value < 25
    assert judge(seldom_in_the_tail(0.08, 20))["slow_tails"].passed
    assert judge(RNG.normal(size=(64, 200, 2)))["slow_tails"].passed
    assert judge(ar(0.95, 1024, 200, 1))["slow_tails"].passed
    assert not judge(RNG.normal(size=(64, 200, 2)), quick=True)["slow_tails"].made


def test_duplicate_chains():
    x = RNG.normal(size=(6, 200, 2))
    x[4] = x[1]
    check = judge(x)["duplicate_chains"]
    assert check.failed
    assert check.chains == (1, 4)
    assert check.severity == "error"
    x[4, 100] += 1e-12
    assert judge(x)["duplicate_chains"].passed


def test_too_few_effective_draws():
    verdict = judge(ar(0.98, 4, 1000, 2))
    assert {"ess_bulk", "ess_square"} <= failed(verdict)
    assert verdict["ess_bulk"].value == pytest.approx(ess(ar(0.98, 4, 1000, 2)).min())
    assert diagnose({"posterior": {"x": ar(0.5, 4, 500)}}, ess=5000)["ess_bulk"].failed


def test_antithetic_draws_do_not_flatter_the_squares():
    x = ar(-0.98, 4, 2000, 1)
    verdict = judge(x)
    assert verdict["ess_bulk"].value > 8000
    assert verdict["ess_square"].failed


def test_constant_parameters():
    x = RNG.normal(size=(4, 100, 3))
    x[..., 1] = 2.5
    check = judge(x)["constant"]
    assert check.failed
    assert check.severity == "error"
    assert check.parameters == ("x[1]",)
    flag = np.ones((4, 1000), bool)
    verdict = judge({"flag": flag, "mu": RNG.normal(size=(4, 1000))})
    assert verdict["constant"].severity == "info"
    assert verdict.ok


@pytest.mark.parametrize(
    "posterior",
    [
        {"beta": np.concatenate([np.zeros((4, 500, 1)), RNG.normal(size=(4, 500, 2))], -1)},
        {"y": np.concatenate([np.broadcast_to([2.5, 3.1], (4, 500, 2)), RNG.normal(size=(4, 500, 2))], -1)},
        {"mu": RNG.normal(size=(4, 500)), "minuslogprior": np.full((4, 500), 5.3)},
        {"mu": RNG.normal(size=(4, 500)), "N": np.full((4, 500), 12.0)},
        {"mu": RNG.normal(size=(4, 500)), "z": np.ones((4, 500), int)},
    ],
)
def test_constants_by_design_are_a_note(posterior):
    verdict = judge(posterior)
    assert verdict.ok, str(verdict)
    assert verdict["constant"].severity == "info"
    assert verdict["constant"].failed
    assert "note, constant: " in str(verdict)


def test_derived_values_inform():
    x = RNG.normal(size=(4, 500))
    slow = ar(0.99, 4, 500)[..., 0]
    run = {"x": x, "slow": slow}
    state = xarray.Dataset(attrs={"derived": '["slow"]'})
    verdict = judge(run, run_state=state)
    assert verdict.ok, str(verdict)
    assert verdict["derived"].failed
    assert verdict["derived"].parameters == ("slow",)
    assert not judge(run).ok
    never = judge({"x": np.full((4, 500), 0.3), "y": x}, run_state=xarray.Dataset(attrs={"derived": "[]"}))
    assert (never["constant"].severity, never["constant"].parameters) == ("error", ("x",))


@pytest.mark.parametrize("quick", [False, True])
def test_heavy_tails(quick):
    verdict = judge(np.stack([RNG.standard_cauchy((4, 2000)), RNG.laplace(size=(4, 2000))], -1), quick=quick)
    assert verdict["heavy_tails"].parameters == ("x[0]",)
    assert verdict["heavy_tails"].value > 0.7
    assert "median" in verdict["heavy_tails"].advice
    assert not verdict.ok


@pytest.mark.parametrize("chains", [128, 512, 2048])
def test_chains_that_part_within_superchains(chains):
    """They agree between superchains, and each group is spread as all are: nested R-hat says 1.00."""
    rng, starts = np.random.default_rng(3), np.arange(chains) // (chains // 16)
    x = rng.normal(size=(chains, 1, 2)) + 0.4 * rng.normal(size=(chains, 40, 2))
    verdict = judge(x, run_state={"superchain": starts})
    assert "memory" in failed(verdict)
    assert verdict["ess_bulk"].value < 3
    assert verdict["ess_tail"].failed


def correlation_factors(chains=4, draws=1000, dtype=float):
    r = np.tanh(RNG.normal(size=(chains, draws))).astype(dtype)
    zero, one = np.zeros_like(r), np.ones_like(r)
    factor = np.stack([np.stack([one, zero], -1), np.stack([r, np.sqrt(1 - r**2)], -1)], -2)
    return factor, np.einsum("...ij,...kj->...ik", factor, factor)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_structural_constants_are_no_failure(dtype):
    factor, matrix = correlation_factors(dtype=dtype)
    verdict = judge({"L": factor, "R": matrix})
    assert verdict.ok, str(verdict)
    assert "fixed at 0 or 1" in verdict["constant"].message
    assert verdict.table.loc["L[0, 0]", "mean"] == 1
    assert np.isnan(verdict.table.loc["L[0, 1]", "r_hat"])
    stuck = np.broadcast_to(np.eye(2), (4, 1000, 2, 2))
    assert "constant" in failed(judge({"L": stuck, "mu": RNG.normal(size=(4, 1000))}))
    wide = np.concatenate([factor, factor], -1)  # not square: nothing is excused
    assert judge({"L": wide})["constant"].failed


# --- the kernel's statistics ------------------------------------------------------------------------------


def test_divergences():
    x = RNG.normal(size=(4, 1000))
    diverging = np.zeros((4, 1000), bool)
    diverging[1, :7] = True
    check = judge(x, sample_stats=stats(diverging=diverging))["divergences"]
    assert check.failed
    assert (check.severity, check.value, check.chains) == ("warning", 7, (1,))
    assert "reparameterise" in check.advice
    diverging[:, :50] = True
    assert judge(x, sample_stats=stats(diverging=diverging))["divergences"].severity == "error"
    assert judge(x, sample_stats=stats())["divergences"].passed


def test_divergences_of_runs_too_short_for_an_effective_sample_size_are_counted():
    diverging = {"diverging": np.ones((4, 2), bool)}
    check = judge(RNG.normal(size=(4, 2)), sample_stats=diverging)["divergences"]
    assert (check.failed, check.value) == (True, 8)


def test_a_few_divergences_are_no_more_than_the_monte_carlo_error():
    x = RNG.normal(size=(4, 1000))
    few = np.zeros((4, 1000), bool)
    few[1, :2] = True
    check = judge(x, sample_stats=stats(diverging=few))["divergences"]
    assert check.passed
    assert check.value == 2
    assert 2 < check.threshold < 4  # 4000 / (20 √4000) where all draws are independent
    assert "2 of 4000 draws are diverging, too few to matter" in check.message


def test_energy():
    x = RNG.normal(size=(4, 1000))
    energy = RNG.normal(size=(4, 1000))
    energy[3] = ar(0.99, 1, 1000)[0, :, 0]
    check = judge(x, sample_stats=stats(energy=energy))["ebfmi"]
    assert check.failed
    assert check.chains == (3,)
    with_arviz = arviz.bfmi(arviz.from_dict({"sample_stats": {"energy": energy}}))["energy"].values
    assert check.value == pytest.approx(with_arviz.min())
    pooled = judge(GOOD["1024 short chains"], sample_stats=stats(1024, 100))["ebfmi"]
    assert pooled.passed
    assert pooled.value == pytest.approx(2, rel=0.05)
    assert not judge(x, sample_stats=stats(energy=np.zeros((4, 1000))))["ebfmi"].made


def test_tree_depth_and_nonfinite_proposals_inform():
    x = RNG.normal(size=(4, 1000))
    reached = np.zeros((4, 1000), bool)
    reached[0, 0] = True
    verdict = judge(
        x,
        sample_stats=stats(reached_max_treedepth=reached),
        run_state={"nonfinite_proposals": np.array([0, 3, 0, 0])},
    )
    assert verdict.ok
    assert verdict["max_tree_depth"].failed
    assert verdict["nonfinite_proposals"].chains == (1,)
    assert "note, max_tree_depth" in str(verdict)
    many = judge(x, run_state={"nonfinite_proposals": np.full(4, 100)})
    assert failed(many) == {"nonfinite_proposals"}


def test_missing_groups_are_not_made_and_say_so():
    verdict = judge(RNG.normal(size=(4, 1000)))
    for code in ("divergences", "ebfmi", "max_tree_depth", "nonfinite_proposals"):
        assert not verdict[code].made
        assert verdict[code].passed is None
        assert "no " in verdict[code].message
    assert "not made: divergences" in str(verdict)
    with pytest.raises(KeyError, match="no check is called"):
        verdict["typo"]


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (np.arange(64), "no two chains"),
        (np.arange(32) // 4, "32 chains"),
        (np.zeros(64, int), "1 superchains of 64"),
        (np.maximum(np.arange(64), 9), "55 superchains of 1"),
    ],
)
def test_superchains_that_can_not_be_used_are_explained(ids, says):
    posterior = xarray.Dataset({"x": (("chain", "draw"), ar(0.5, 64, 200)[..., 0])})
    state = xarray.Dataset({"superchain": ("superchain_dim", ids)})
    tree = xarray.DataTree.from_dict({"posterior": posterior, "run_state": state})
    verdict = diagnose(tree)
    assert not verdict["nested_rhat"].made
    assert says in verdict["nested_rhat"].message
    assert verdict["memory"].passed


def test_superchains_of_unequal_size_are_cut_to_the_smallest():
    x, ids = ar(0.5, 66, 200), np.minimum(np.arange(66) // 4, 15)
    verdict = judge(x, run_state={"superchain": ids})
    assert "16 superchains of 4 chains" in verdict["nested_rhat"].message
    assert verdict["nested_rhat"].value == pytest.approx(float(nested_rhat(x[:64], ids[:64])[0]))
