"""The page for those who come from Stan, PyMC or emcee: every line runs, and every law and idiom is SciPy's."""

import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
from runs import draw, unconverged
from scipy import special, stats

import mcmc

pytest.importorskip("numpyro", reason="NumPyro is not installed: its laws are not tested")
PAGE = (Path(__file__).parents[2] / "docs" / "coming_from" / "index.md").read_text()
RNG = np.random.default_rng(5)
K = np.arange(6)
R = np.array([[1.0, 0.3], [0.3, 1.0]])
S = np.array([[2.0, 0.4], [0.4, 1.0]])
X = np.array([0.2, 0.7, 1.6])


@pytest.fixture(scope="module")
def page():
    names: dict = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 9
    with jax.enable_x64(True), unconverged():
        for block in blocks:
            exec(block.replace("mcmc.sample(target)", "mcmc.sample(target, draws=100, progress=False)"), names)
    return names


def nbinom2(k, mu, phi):
    return stats.nbinom.logpmf(k, phi, phi / (mu + phi))


def ordered(k, eta, cuts):
    p = np.diff(np.concatenate([[0], special.expit(np.asarray(cuts) - eta), [1]]))
    return np.log(p[k])


LAWS = {
    "normal": ((X, 1.0, 2.0), stats.norm(1, 2).logpdf),
    "half-normal": ((X, 2.0), stats.halfnorm(0, 2).logpdf),
    "student_t": ((X, 3.0, 1.0, 2.0), stats.t(3, 1, 2).logpdf),
    "cauchy": ((X, 1.0, 2.0), stats.cauchy(1, 2).logpdf),
    "half-cauchy": ((X, 2.0), stats.halfcauchy(0, 2).logpdf),
    "double_exponential": ((X, 1.0, 2.0), stats.laplace(1, 2).logpdf),
    "logistic": ((X, 1.0, 2.0), stats.logistic(1, 2).logpdf),
    "gumbel": ((X, 1.0, 2.0), stats.gumbel_r(1, 2).logpdf),
    "lognormal": ((X, 1.0, 2.0), stats.lognorm(2, 0, np.e).logpdf),
    "exponential": ((X, 2.0), stats.expon(0, 0.5).logpdf),
    "gamma": ((X, 3.0, 2.0), stats.gamma(3, 0, 0.5).logpdf),
    "inv_gamma": ((X, 3.0, 2.0), stats.invgamma(3, 0, 2).logpdf),
    "weibull": ((X, 3.0, 2.0), stats.weibull_min(3, 0, 2).logpdf),
    "beta": ((X / 2, 3.0, 2.0), stats.beta(3, 2).logpdf),
    "pareto": ((X + 2, 2.0, 3.0), stats.pareto(3, 0, 2).logpdf),
    "von_mises": ((X, 1.0, 2.0), stats.vonmises(2, 1).logpdf),
    "bernoulli_logit": ((K[:2], 0.4), stats.bernoulli(special.expit(0.4)).logpmf),
    "binomial": ((K, 7, 0.3), stats.binom(7, 0.3).logpmf),
    "binomial_logit": ((K, 7, 0.4), stats.binom(7, special.expit(0.4)).logpmf),
    "beta_binomial": ((K, 7, 2.0, 3.0), stats.betabinom(7, 2, 3).logpmf),
    "poisson": ((K, 2.5), stats.poisson(2.5).logpmf),
    "poisson_log": ((K, 0.4), stats.poisson(np.exp(0.4)).logpmf),
    "neg_binomial_2": ((K, 2.5, 1.5), lambda k: nbinom2(k, 2.5, 1.5)),
    "categorical_logit": ((1, np.array([0.1, 0.5, -1.0])), lambda k: np.log(special.softmax([0.1, 0.5, -1.0]))[k]),
    "ordered_logistic": ((K[:3], 0.3, np.array([-1.0, 1.0])), lambda k: ordered(k, 0.3, [-1.0, 1.0])),
    "multinomial": ((K[:3], np.array([0.2, 0.3, 0.5])), stats.multinomial(3, [0.2, 0.3, 0.5]).logpmf),
    "dirichlet": ((X / X.sum(), np.array([2.0, 3.0, 1.5])), stats.dirichlet([2, 3, 1.5]).logpdf),
    "dirichlet_multinomial": ((K[:3], np.array([2.0, 3.0, 1.5])), stats.dirichlet_multinomial([2, 3, 1.5], 3).logpmf),
    "multi_normal": ((X[:2], np.ones(2), S), stats.multivariate_normal([1, 1], S).logpdf),
    "multi_normal_cholesky": (
        (X[:2], np.ones(2), np.linalg.cholesky(S)),
        stats.multivariate_normal([1, 1], S).logpdf,
    ),
    "lkj_corr": ((R, 2.0), lambda r: np.log(0.75 * (1 - r[0, 1] ** 2))),  # (r + 1) / 2 ~ beta(2, 2)
    "lkj_corr_cholesky": ((np.linalg.cholesky(R), 2.0), lambda L: np.log(0.75 * L[1, 1] ** 2) + np.log(L[1, 1])),
    "wishart": ((S, 4.0, np.diag([1.0, 2.0])), stats.wishart(4, np.diag([1, 2])).logpdf),
}


def test_every_law_has_a_reference(page):
    assert set(page["laws"]) == set(LAWS)


@pytest.mark.parametrize("name", [n for n in LAWS if n != "lkj_corr_cholesky"])
def test_laws(page, name):
    arguments, reference = LAWS[name]
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(page["laws"][name])(*arguments))  # one program, as in a log density
    np.testing.assert_allclose(found, reference(arguments[0]), rtol=1e-6)


def test_lkj_of_a_factor_up_to_its_constant(page):
    """Det(R)^(eta - 1) and the Jacobian of L -> R, for two dimensions L22, both in L22."""
    factors = [np.linalg.cholesky(np.array([[1, r], [r, 1]])) for r in (0.3, -0.7)]
    with jax.enable_x64(True):
        lkj = jax.jit(page["laws"]["lkj_corr_cholesky"])
        a, b = (float(lkj(L, 2.0)) for L in factors)
    np.testing.assert_allclose(a - b, 2 * np.log(factors[0][1, 1] / factors[1][1, 1]), rtol=1e-6)


def test_the_first_program(page):
    x, y = page["x"], page["y"]
    slope = page["draws"]["posterior"]["b"].values
    assert abs(slope.mean() - stats.linregress(x, y).slope) < 0.05
    assert page["draws"]["posterior_predictive"]["y"].shape[2:] == (30,)


def test_censoring_and_truncation(page):
    normal, y = stats.norm(0.5, 2), np.array([0.3, 1.0, 1.2])
    with jax.enable_x64(True):
        found = page["censored"](y, np.array([False, True, True]), 1.0, 0.5, 2.0)
        np.testing.assert_allclose(found, normal.logpdf(0.3) + 2 * normal.logsf(1.0))
        np.testing.assert_allclose(page["truncated"](y, 0.1, 0.5, 2.0), (normal.logpdf(y) - normal.logsf(0.1)).sum())


def test_mixtures(page):
    w, m = np.array([0.3, 0.7]), np.array([-1.0, 2.0])
    expected = np.log((w * stats.norm(m, 0.5).pdf(X[:, None])).sum(1)).sum()
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(page["mixture"])(X, w, m, 0.5), expected)


def test_the_forward_pass_sums_over_all_paths(page):
    lps, start = RNG.normal(size=(4, 2)), np.array([0.4, 0.6])
    move = np.array([[0.9, 0.1], [0.3, 0.7]])
    total = 0.0
    for path in np.ndindex(2, 2, 2, 2):
        steps = np.prod([move[a, b] for a, b in itertools.pairwise(path)])
        total += start[path[0]] * steps * np.exp(lps[range(4), path].sum())
    with jax.enable_x64(True):
        np.testing.assert_allclose(page["forward"](lps, move, start), np.log(total))


def test_the_kalman_filter_is_the_joint_normal(page):
    F, Q, H, noise = np.array([[1.0, 0.5], [0.0, 0.8]]), np.diag([0.2, 0.1]), np.array([[1.0, 0.3]]), np.array([[0.4]])
    mean, cov, y = np.array([0.5, -1.0]), np.eye(2), RNG.normal(size=(3, 1))
    means, covs = [mean], {(0, 0): cov}
    for t in range(2):
        means.append(F @ means[-1])
        covs[t + 1, t + 1] = F @ covs[t, t] @ F.T + Q
    for t in range(3):
        for u in range(t + 1, 3):
            covs[t, u] = covs[t, u - 1] @ F.T
            covs[u, t] = covs[t, u].T
    whole = np.block([[H @ covs[t, u] @ H.T + (t == u) * noise for u in range(3)] for t in range(3)])
    expected = stats.multivariate_normal(np.concatenate([H @ m for m in means]), whole).logpdf(y.ravel())
    with jax.enable_x64(True):
        np.testing.assert_allclose(page["kalman"](y, F, Q, H, noise, mean, cov), expected)


def test_garch(page):
    variance, expected = 0.25, 0.0
    for now in X:
        expected += stats.norm(0.1, np.sqrt(variance)).logpdf(now)
        variance = 0.2 + 0.3 * (now - 0.1) ** 2 + 0.4 * variance
    with jax.enable_x64(True):
        np.testing.assert_allclose(page["garch"](X, 0.1, 0.2, 0.3, 0.4, 0.5), expected)


def test_correlated_effects(page):
    target = mcmc.Target(page["correlated"], page["effects"], derived=page["values"])
    draws = draw(target, chains=4, draws=5, warmup=5)
    assert draws["posterior"]["effect"].shape == (4, 5, 2, 5)


# --- PyTorch, by its protocol -----------------------------------------------------------------------------


class Tensor:
    """As much of torch.Tensor as the recipe needs, for one density: -0.5 sum(x²) over all but chains."""

    def __init__(self, value, dtype=None, requires_grad=False, of=()):
        self.value, self.grad, self.of = np.array(value, dtype), None, of
        assert not requires_grad or dtype is np.float64

    def sum(self):
        return self

    def backward(self):
        for x in self.of:
            x.grad = Tensor(-x.value)

    def detach(self):
        return self

    def numpy(self):
        return self.value


def in_torch(x):
    each = [-0.5 * (t.value**2).reshape(len(t.value), -1).sum(1) for t in x.values()]
    return Tensor(np.sum(each, 0), of=x.values())


def test_the_recipe_for_pytorch(monkeypatch):
    torch = ModuleType("torch")
    torch.__dict__.update(tensor=Tensor, float64=np.float64)
    monkeypatch.setitem(sys.modules, "torch", torch)
    block = next(b for b in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if "import torch" in b)
    parameters = {"a": mcmc.real(), "b": mcmc.real(2, 2)}
    names: dict = {"mcmc": mcmc, "parameters": parameters, "log_density_in_torch": in_torch}
    exec(block, names)
    draws = draw(names["target"], mcmc.HMC(), chains=8, draws=200, warmup=100)
    for name in parameters:
        x = draws["posterior"][name].values
        assert np.all(np.abs(x.mean((0, 1))) < 5 * mcmc.mcse(x))
        assert np.all(np.abs(x.std((0, 1)) - 1) < 5 * mcmc.mcse(x, method="sd"))
