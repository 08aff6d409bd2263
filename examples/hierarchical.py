r"""How fast do young rats grow, and how much does one rat differ from another?

30 rats, weighed at 8, 15, 22, 29 and 36 days (Gelfand, Hills, Racine-Poon & Smith 1990). Rat i has a weight alpha_i at
22 days and a growth beta_i; the rats are drawn from one population:

    weight_ij ~ N(alpha_i + beta_i (age_j - 22), sigma)
    alpha_i ~ N(mu_alpha, tau_alpha)    beta_i ~ N(mu_beta, tau_beta)
    mu_alpha ~ N(250, 100)   mu_beta ~ N(6, 5)   sigma ~ N(0, 20)   tau_alpha ~ N(0, 50)   tau_beta ~ N(0, 5)

the last three above 0: 65 parameters. The ages are balanced, so that the rats and the means can be integrated out on
paper; what remains is a sum over a grid of (sigma, tau_alpha) and (sigma, tau_beta), exact to all digits shown: that is
the check.

    python examples/hierarchical.py --out pictures
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from jax.scipy.stats import norm
from matplotlib.figure import Figure

import mcmc

NAME = "hierarchical"
AGE = np.array([8.0, 15.0, 22.0, 29.0, 36.0])
TABLE = """
    151 199 246 283 320   145 199 249 293 354   147 214 263 312 328   155 200 237 272 297   135 188 230 280 323
    159 210 252 298 331   141 189 231 275 305   159 201 248 297 338   177 236 285 350 376   134 182 220 260 296
    160 208 261 313 352   143 188 220 273 314   154 200 244 289 325   171 221 270 326 358   163 216 242 281 312
    160 207 248 288 324   142 187 234 280 316   156 203 243 283 317   157 212 259 307 336   152 203 246 286 321
    154 205 253 298 334   139 190 225 267 302   146 191 229 272 302   157 211 250 285 323   132 185 237 286 331
    160 207 257 303 345   169 216 261 295 333   157 205 248 289 316   137 180 219 258 291   153 200 244 286 324
"""
WEIGHT = np.array(TABLE.split(), dtype=float).reshape(30, 5)
RATS = len(WEIGHT)
PRIOR_MEAN = {"alpha": (250.0, 100.0), "beta": (6.0, 5.0)}  # of mu: mean and standard deviation
PRIOR_SCALE = {"sigma": 20.0, "tau_alpha": 50.0, "tau_beta": 5.0}


def log_density(p, data):
    """The priors, the rats given the population, the weights given the rats."""
    lp = sum(norm.logpdf(p[name], 0, scale) for name, scale in PRIOR_SCALE.items())
    for name, (mean, sd) in PRIOR_MEAN.items():
        lp += norm.logpdf(p[f"mu_{name}"], mean, sd)
        lp += jnp.sum(norm.logpdf(p[name], p[f"mu_{name}"], p[f"tau_{name}"]))
    expected = p["alpha"][:, None] + p["beta"][:, None] * (data["age"] - 22)
    return lp + jnp.sum(norm.logpdf(data["weight"], expected, p["sigma"]))


def new_rat(key, p, data):
    """The weights of a rat that is not among the 30."""
    a, b, c = jax.random.split(key, 3)
    alpha = p["mu_alpha"] + p["tau_alpha"] * jax.random.normal(a)
    beta = p["mu_beta"] + p["tau_beta"] * jax.random.normal(b)
    return {"new_rat": alpha + beta * (data["age"] - 22) + p["sigma"] * jax.random.normal(c, (5,))}


target = mcmc.Target(
    log_density,
    {
        "mu_alpha": mcmc.real(),
        "mu_beta": mcmc.real(),
        "sigma": mcmc.positive(),
        "tau_alpha": mcmc.positive(),
        "tau_beta": mcmc.positive(),
        "alpha": mcmc.real(RATS),
        "beta": mcmc.real(RATS),
    },
    data={"age": AGE, "weight": WEIGHT},
    predictive=new_rat,
    dims={"alpha": ["rat"], "beta": ["rat"], "weight": ["rat", "day"], "age": ["day"], "new_rat": ["day"]},
    coords={"rat": np.arange(1, RATS + 1), "day": AGE.astype(int)},
)


def least_squares():
    """Each rat's own line: alpha (rat,), beta (rat,), and the sum of all squared residuals."""
    days = AGE - 22
    alpha, beta = WEIGHT.mean(1), WEIGHT @ days / (days @ days)
    return alpha, beta, np.sum((WEIGHT - alpha[:, None] - beta[:, None] * days) ** 2)


def start():
    """Where chains start: every rat at its own line, since 250 g is far from the 0 about which random starts lie."""
    alpha, beta, _ = least_squares()
    population = {"mu_alpha": alpha.mean(), "tau_alpha": alpha.std(), "mu_beta": beta.mean(), "tau_beta": beta.std()}
    return {"alpha": alpha, "beta": beta, "sigma": 10.0, **population}


def exact():
    """Means and standard deviations of the population's five parameters, by sums over grids.

    Given sigma, the lines alpha^_i ~ N(mu, v) with v = tau^2 + sigma^2 / 5, and beta^_i likewise with sigma^2 / 490.
    """
    alpha, beta, residual = least_squares()
    sigma = np.linspace(3.0, 12.0, 300)
    tau = {"alpha": np.linspace(1e-6, 45.0, 1500), "beta": np.linspace(1e-6, 2.5, 1500)}
    log_sigma = -0.5 * (sigma / PRIOR_SCALE["sigma"]) ** 2 - 90 * np.log(sigma) - residual / (2 * sigma**2)
    weights, moments = {}, {}
    for name, lines, share in (("alpha", alpha, 1 / 5), ("beta", beta, 1 / np.sum((AGE - 22) ** 2))):
        centre, sd = PRIOR_MEAN[name]
        v = tau[name] ** 2 + sigma[:, None] ** 2 * share
        log = -0.5 * (tau[name] / PRIOR_SCALE[f"tau_{name}"]) ** 2 - 0.5 * (RATS - 1) * np.log(v)
        log += -0.5 * np.log(v + RATS * sd**2) - 0.5 * RATS * (lines.mean() - centre) ** 2 / (v + RATS * sd**2)
        weights[name] = np.exp(log - 0.5 * RATS * lines.var() / v + 200)  # 200: within the range of floats
        precision = RATS / v + 1 / sd**2
        moments[name] = (RATS * lines.mean() / v + centre / sd**2) / precision, 1 / precision
    on_sigma = np.exp(log_sigma - log_sigma.max()) * weights["alpha"].sum(1) * weights["beta"].sum(1)
    on_sigma /= on_sigma.sum()
    rows = {"sigma": _moments(sigma, 0.0, on_sigma)}
    for name in ("alpha", "beta"):
        joint = on_sigma[:, None] * weights[name] / weights[name].sum(1, keepdims=True)
        mean, variance = moments[name]
        rows[f"mu_{name}"] = _moments(mean, variance, joint)
        rows[f"tau_{name}"] = _moments(tau[name], 0.0, joint)
    return rows


def _moments(mean, variance, weight):
    first = np.sum(weight * mean)
    return first, np.sqrt(np.sum(weight * (variance + (mean - first) ** 2)))


def compare(summary):
    """Our means and standard deviations beside the exact ones."""
    rows = {}
    for name, (mean, sd) in exact().items():
        ours = summary.loc[name]
        rows[name] = [ours["mean"], ours["mcse_mean"], mean, ours["sd"], sd]
    return pandas.DataFrame(rows, index=["mean", "mcse", "exact mean", "sd", "exact sd"]).T


def _shrinkage(ax, posterior):
    own_alpha, own_beta, _ = least_squares()
    alpha, beta = (posterior[name].mean(("chain", "draw")).values for name in ("alpha", "beta"))
    for i in range(RATS):
        ax.plot([own_alpha[i], alpha[i]], [own_beta[i], beta[i]], color="0.65", lw=1)
    ax.plot(own_alpha, own_beta, "o", mfc="white", mec="0.4", ms=6, label="rat by itself (least squares)")
    ax.plot(alpha, beta, "o", color="#1f6fb4", ms=6, label="rat among rats (posterior mean)")
    mean = [posterior[f"mu_{name}"].mean().item() for name in ("alpha", "beta")]
    ax.plot(*mean, "*", color="#c8501e", ms=17, label="population")
    ax.set(xlabel="weight at 22 days, g", ylabel="growth, g per day", ylim=(4.6, 8.4))
    ax.legend(frameon=False, loc="upper left", fontsize=9)


def _new_rat(ax, weights):
    low, middle, high = np.quantile(weights.reshape(-1, 5), (0.05, 0.5, 0.95), axis=0)
    ax.plot(AGE, WEIGHT.T, color="0.45", lw=0.7, alpha=0.7)
    ax.plot([], [], color="0.45", lw=0.7, label="the 30 rats")
    ax.fill_between(AGE, low, high, color="#1f6fb4", alpha=0.25, lw=0, label="a new rat, 90 %")
    ax.plot(AGE, middle, color="#1f6fb4", lw=2, label="a new rat, median")
    ax.set(xlabel="age, days", ylabel="weight, g", xticks=AGE)
    ax.legend(frameon=False, loc="upper left", fontsize=9)


def picture(draws):
    """Left how the rats' lines move towards the population's, right what to expect of a new rat."""
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    _shrinkage(left, draws["posterior"])
    _new_rat(right, draws["posterior_predictive"]["new_rat"].values)
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle("Thirty rats and their population (Gelfand et al. 1990)", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, **{"seed": seed, "init": start(), **settings})
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string(max_rows=20))
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nThe population, against sums over a grid:", table.round(4).to_string(), sep="\n")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws).savefig(Path(out) / f"{NAME}.png", dpi=90)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The growth of thirty rats")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
