"""Equal to the R package posterior: its own numbers, made by posterior.R, of arrays that the same recipe makes here."""

from pathlib import Path

import numpy as np
import pytest

from mcmc.diagnostics import diagnose, ess, mcse, nested_rhat, rhat

STATISTICS = {
    "rhat": lambda x: rhat(x),
    "rhat_bulk": lambda x: rhat(x, "bulk"),
    "rhat_basic": lambda x: rhat(x, "split"),
    "rhat_unsplit": lambda x: rhat(x, "identity"),
    "ess_basic": lambda x: ess(x, "mean"),
    "ess_unsplit": lambda x: ess(x, "identity"),
    "ess_bulk": lambda x: ess(x),
    "ess_tail": lambda x: ess(x, "tail"),
    "ess_mean": lambda x: ess(x, "mean"),
    "ess_sd": lambda x: ess(np.abs(x - x.mean()), "mean"),  # posterior's definition; ours and ArviZ's is of squares
    "ess_squares": lambda x: ess(x, "sd"),
    "ess_median": lambda x: ess(x, "median"),
    "ess_q10": lambda x: ess(x, "quantile", 0.1),
    "ess_q95": lambda x: ess(x, "quantile", 0.95),
    "mcse_mean": lambda x: mcse(x),
    "mcse_sd": lambda x: mcse(x, "sd"),
    "mcse_median": lambda x: mcse(x, "median"),
    "mcse_q10": lambda x: mcse(x, "quantile", 0.1),
    "mcse_q95": lambda x: mcse(x, "quantile", 0.95),
    "rhat_nested": lambda x: nested_rhat(x, np.repeat(np.arange(len(x) // 2), 2), "identity"),
}


def uniforms(n, seed):
    out = np.empty(n)
    for i in range(n):
        out[i] = seed = 16807 * seed % 2147483647
    return out / 2147483647


def bell(draws, chains, seed):
    """Sums of four uniforms, less 2: `(chain, draw)`."""
    u = uniforms(4 * draws * chains, seed).reshape(chains, draws, 4)
    return u[..., 0] + u[..., 1] + u[..., 2] + u[..., 3] - 2


def ar(rho, draws, chains, seed):
    x = bell(draws, chains, seed)
    for t in range(1, draws):
        x[:, t] += rho * x[:, t - 1]
    return x


def heavy(draws, chains, seed):
    u = uniforms(draws * chains, seed).reshape(chains, draws)
    return (2 * u - 1) / (u * (1 - u))


def cases():
    unequal = ar(0.5, 200, 4, 15)
    unequal[2] *= 2
    unequal[3] += 1
    return {
        "independent": bell(250, 4, 11),
        "ar9": ar(0.9, 500, 4, 12),
        "antithetic": ar(-0.7, 300, 4, 13),
        "heavy": heavy(200, 4, 14),
        "unequal": unequal,
        "ties": np.floor(5 * ar(0.8, 300, 4, 16)),
        "binary": 1.0 * (ar(0.8, 200, 4, 17) > 0.5),
        "odd": ar(0.6, 301, 3, 18),
        "odd_halves": ar(0.6, 302, 4, 19),
        "one_chain": ar(0.7, 400, 1, 20),
        "many_chains": ar(0.9, 40, 64, 21),
        "large_mean": bell(100, 4, 22) + 1048576,
        "tiny": bell(100, 4, 23) / 1048576,
        "short": bell(12, 4, 24),
        "walk": ar(1, 400, 4, 25),
        "constant": np.full((4, 100), 2.5),
    }


CASES = cases()
REFERENCE = {
    (case, name): float(value)
    for case, name, value in (
        line.split(",")
        for line in (Path(__file__).parent / "posterior.csv").read_text().splitlines()
        if not line.startswith("#")
    )
}
DIFFERENT = {
    *(("one_chain", name) for name in ("rhat", "rhat_bulk", "rhat_basic")),
    *(("binary", name) for name in ("ess_tail", "ess_q95", "mcse_q95")),
}
"""Where ours is as ArviZ's, by definition (docs/diagnostics.md): tested apart."""


def test_the_reference_covers_every_case_and_statistic():
    assert {case for case, _ in REFERENCE} == set(CASES)
    assert {name for _, name in REFERENCE} == set(STATISTICS)
    assert np.isfinite(list(REFERENCE.values())).mean() > 0.9


@pytest.mark.parametrize("case", [case for case in CASES if case != "constant"])
def test_equals_posterior(case):
    x = CASES[case]
    for (at, name), expected in REFERENCE.items():
        if at == case and (case, name) not in DIFFERENT:
            np.testing.assert_allclose(STATISTICS[name](x), expected, rtol=1e-10, err_msg=name)


def test_where_the_two_packages_differ_ours_is_as_arviz_says():
    """What posterior 1.4.0 gives here: 3.84858231680324, 20 and 1.00309323126861."""
    assert ess(ar(1, 42, 2, 25), "mean") == pytest.approx(3.47435865019742, rel=1e-10)  # halves of 21, slow to the end
    assert ess(bell(10, 4, 24), "mean") == pytest.approx(48.23333220528277, rel=1e-10)
    assert rhat(ar(0.6, 301, 3, 18)) == pytest.approx(1.0029904002233343, rel=1e-10)


def test_one_chain_has_no_rhat_but_a_diagnosis_compares_its_halves():
    x = CASES["one_chain"]
    assert np.isnan([STATISTICS[name](x) for case, name in DIFFERENT if case == "one_chain"]).all()
    assert diagnose({"posterior": {"x": x}})["rhat"].value == pytest.approx(REFERENCE["one_chain", "rhat"], rel=1e-10)


def test_what_does_not_vary_counts_every_draw_where_posterior_says_na():
    for name in ("ess_bulk", "ess_tail", "ess_mean", "ess_squares", "ess_median"):
        assert np.isnan(REFERENCE["constant", name])
        assert STATISTICS[name](CASES["constant"]) == 400
    binary = CASES["binary"]  # all draws are at or below the 95 % quantile
    assert np.isnan(REFERENCE["binary", "ess_tail"])
    assert ess(binary, "quantile", 0.95) == binary.size
