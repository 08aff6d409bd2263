"""Linear regressions: one matrix product each, with flat or proper priors, well and badly conditioned."""

from __future__ import annotations

import numpy as np
from jax.scipy.stats import cauchy, norm, t

import mcmc


def regression(y, predictors, prior=None):
    """y ~ N(X·beta, sigma), X of the predictors (a dict of name -> column); prior(p) is added, flat without it."""
    x = np.column_stack([np.asarray(column, float) for column in predictors.values()])

    def log_density(p, data):
        likelihood = norm.logpdf(data["y"], data["x"] @ p["beta"], p["sigma"]).sum()
        return likelihood if prior is None else likelihood + prior(p)

    return mcmc.Target(
        log_density,
        {"beta": mcmc.real(x.shape[1]), "sigma": mcmc.positive()},
        data={"y": np.asarray(y, float), "x": x},
        dims={"beta": ["predictor"], "x": ["row", "predictor"], "y": ["row"]},
        coords={"predictor": list(predictors)},
    )


def with_constant(**predictors):
    """The predictors, as arrays, after a column of ones."""
    columns = {name: np.asarray(column, float) for name, column in predictors.items()}
    return {"1": np.ones(len(next(iter(columns.values())))), **columns}


def with_interaction(**pair):
    """A column of ones, two predictors and their product."""
    columns = with_constant(**pair)
    _, one, other = columns
    return {**columns, f"{one}:{other}": columns[one] * columns[other]}


def logs(data, *names):
    """The natural logarithms of some of the data, as arrays, by name."""
    return {f"log_{name}": np.log(np.asarray(data[name], float)) for name in names}


# --- test scores of children, by their mothers' schooling and IQ ------------------------------------------


def wide_scale(p):
    """sigma ~ HalfCauchy(0, 2.5)."""
    return cauchy.logpdf(p["sigma"], 0.0, 2.5)


def kidscore_momhs(data):
    """kid_score ~ N(beta·(1, mom_hs), sigma), sigma ~ HalfCauchy(0, 2.5)."""
    return regression(data["kid_score"], with_constant(mom_hs=data["mom_hs"]), wide_scale)


def kidscore_momiq(data):
    """kid_score ~ N(beta·(1, mom_iq), sigma), sigma ~ HalfCauchy(0, 2.5)."""
    return regression(data["kid_score"], with_constant(mom_iq=data["mom_iq"]), wide_scale)


def kidscore_momhsiq(data):
    """kid_score ~ N(beta·(1, mom_hs, mom_iq), sigma), sigma ~ HalfCauchy(0, 2.5)."""
    predictors = with_constant(mom_hs=data["mom_hs"], mom_iq=data["mom_iq"])
    return regression(data["kid_score"], predictors, wide_scale)


def kidscore_interaction(data):
    """kid_score ~ N(beta·(1, mom_hs, mom_iq, mom_hs·mom_iq), sigma), sigma ~ HalfCauchy(0, 2.5)."""
    predictors = with_interaction(mom_hs=data["mom_hs"], mom_iq=data["mom_iq"])
    return regression(data["kid_score"], predictors, wide_scale)


def kidscore_interaction_centred(data):
    """kid_score ~ N(beta·(1, h, q, h·q), sigma); h and q: mom_hs and mom_iq less their means."""
    pair = {name: data[name] - np.mean(data[name]) for name in ("mom_hs", "mom_iq")}
    return regression(data["kid_score"], with_interaction(**pair))


def kidscore_interaction_scaled(data):
    """kid_score ~ N(beta·(1, h, q, h·q), sigma); h and q: mom_hs and mom_iq less their means, by 2 sd."""
    pair = {
        name: (data[name] - np.mean(data[name])) / (2 * np.std(data[name], ddof=1)) for name in ("mom_hs", "mom_iq")
    }
    return regression(data["kid_score"], with_interaction(**pair))


# --- earnings, by height and sex --------------------------------------------------------------------------


def earn_height(data):
    """earn ~ N(beta·(1, height), sigma): scales from 1 to 10⁵."""
    return regression(data["earn"], with_constant(height=data["height"]))


def logearn_height(data):
    """log earn ~ N(beta·(1, height), sigma)."""
    return regression(np.log(data["earn"]), with_constant(height=data["height"]))


def logearn_height_male(data):
    """log earn ~ N(beta·(1, height, male), sigma)."""
    return regression(np.log(data["earn"]), with_constant(height=data["height"], male=data["male"]))


def logearn_interaction(data):
    """log earn ~ N(beta·(1, height, male, height·male), sigma)."""
    return regression(np.log(data["earn"]), with_interaction(height=data["height"], male=data["male"]))


def logearn_logheight_male(data):
    """log earn ~ N(beta·(1, log height, male), sigma)."""
    return regression(np.log(data["earn"]), with_constant(**logs(data, "height"), male=data["male"]))


# --- the weight of mesquite bushes, by their measures ------------------------------------------------------

MEASURES = ("diam1", "diam2", "canopy_height", "total_height", "density")


def mesquite(data):
    """weight ~ N(beta·(1, diam1, diam2, canopy_height, total_height, density, group), sigma)."""
    return regression(data["weight"], with_constant(**{name: data[name] for name in (*MEASURES, "group")}))


def logmesquite(data):
    """log weight ~ N(beta·(1, log diam1, ..., log total_height, log density, group), sigma)."""
    return regression(np.log(data["weight"]), with_constant(**logs(data, *MEASURES), group=data["group"]))


def logmesquite_logva(data):
    """log weight ~ N(beta·(1, log volume, log area, group), sigma); area = diam1·diam2, volume = area·canopy_height."""
    diam1, diam2, height = logs(data, "diam1", "diam2", "canopy_height").values()
    predictors = with_constant(log_volume=diam1 + diam2 + height, log_area=diam1 + diam2, group=data["group"])
    return regression(np.log(data["weight"]), predictors)


def logmesquite_logvolume(data):
    """log weight ~ N(beta·(1, log volume), sigma); volume = diam1·diam2·canopy_height."""
    diam1, diam2, height = logs(data, "diam1", "diam2", "canopy_height").values()
    return regression(np.log(data["weight"]), with_constant(log_volume=diam1 + diam2 + height))


# --- others ------------------------------------------------------------------------------------------------


def nes(data):
    """partyid7 ~ N(beta·(1, real_ideo, race_adj, age = 2, 3, 4, educ1, gender, income), sigma)."""
    ages = {f"age_{k}": np.equal(data["age_discrete"], k) for k in (2, 3, 4)}
    before = {name: data[name] for name in ("real_ideo", "race_adj")}
    after = {name: data[name] for name in ("educ1", "gender", "income")}
    return regression(data["partyid7"], with_constant(**before, **ages, **after))


def normal_priors(data):
    """y ~ N(X·beta, sigma), beta ~ N(0, 10), sigma ~ HalfNormal(0, 10)."""
    columns = {f"x{k}": column for k, column in enumerate(np.transpose(data["X"]), start=1)}
    return regression(
        data["y"], columns, lambda p: norm.logpdf(p["beta"], 0.0, 10.0).sum() + norm.logpdf(p["sigma"], 0.0, 10.0)
    )


def kilpisjarvi(data):
    """y ~ N(alpha + beta·x, sigma), alpha ~ N(pmualpha, psalpha), beta ~ N(pmubeta, psbeta).

    x counts calendar years, so that alpha and beta correlate at almost −1: single precision is not enough.
    """

    def log_density(p, data):
        prior = norm.logpdf(p["alpha"], *data["alpha_prior"]) + norm.logpdf(p["beta"], *data["beta_prior"])
        return prior + norm.logpdf(data["y"], p["alpha"] + p["beta"] * data["x"], p["sigma"]).sum()

    arrays = {name: np.asarray(data[name], float) for name in ("x", "y")}
    arrays |= {f"{name}_prior": np.array([data[f"pmu{name}"], data[f"ps{name}"]], float) for name in ("alpha", "beta")}
    parameters = {"alpha": mcmc.real(), "beta": mcmc.real(), "sigma": mcmc.positive()}
    return mcmc.Target(log_density, parameters, data=arrays)


def diamonds(data):
    """Y ~ N(Intercept + X·b, sigma), X centred, b ~ N(0, 1), Intercept ~ t₃(8, 10), sigma ~ half-t₃(0, 10).

    The 24 predictors are powers and interactions of a few: strongly collinear.
    """
    x = np.asarray(data["X"], float)[:, 1:]

    def log_density(p, data):
        prior = norm.logpdf(p["b"]).sum() + t.logpdf(p["Intercept"], 3, 8.0, 10.0) + t.logpdf(p["sigma"], 3, 0.0, 10.0)
        return prior + norm.logpdf(data["y"], p["Intercept"] + data["x"] @ p["b"], p["sigma"]).sum()

    parameters = {"b": mcmc.real(x.shape[1]), "Intercept": mcmc.real(), "sigma": mcmc.positive()}
    arrays = {"y": np.asarray(data["Y"], float), "x": x - x.mean(0)}
    return mcmc.Target(log_density, parameters, data=arrays, dims={"b": ["predictor"]})
