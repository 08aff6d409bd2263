"""Twenty-nine posteriors of posteriordb as `mcmc.Target`s, one function a posterior: also a gallery of models.

Every function takes the data as posteriordb holds them, a dict of numbers and lists named as in the Stan model,
and returns a target whose parameters, or derived quantities, have the names of the reference draws.
N(m, s) is a normal with standard deviation s; a parameter without a prior has a flat one on its support.
"""

from posteriors import ecology, gaussian_process, hierarchical, mixtures, regressions, time_series

POSTERIORS = {
    "arK-arK": time_series.autoregression,
    "bball_drive_event_0-hmm_drive_0": time_series.hidden_markov_drives,
    "diamonds-diamonds": regressions.diamonds,
    "earnings-earn_height": regressions.earn_height,
    "earnings-logearn_height": regressions.logearn_height,
    "earnings-logearn_height_male": regressions.logearn_height_male,
    "earnings-logearn_interaction": regressions.logearn_interaction,
    "earnings-logearn_logheight_male": regressions.logearn_logheight_male,
    "eight_schools-eight_schools_centered": hierarchical.eight_schools_centered,
    "eight_schools-eight_schools_noncentered": hierarchical.eight_schools_noncentered,
    "garch-garch11": time_series.garch,
    "gp_pois_regr-gp_pois_regr": gaussian_process.poisson_gaussian_process,
    "hudson_lynx_hare-lotka_volterra": ecology.lotka_volterra,
    "kidiq-kidscore_interaction": regressions.kidscore_interaction,
    "kidiq-kidscore_momhs": regressions.kidscore_momhs,
    "kidiq-kidscore_momhsiq": regressions.kidscore_momhsiq,
    "kidiq-kidscore_momiq": regressions.kidscore_momiq,
    "kidiq_with_mom_work-kidscore_interaction_c": regressions.kidscore_interaction_centred,
    "kidiq_with_mom_work-kidscore_interaction_z": regressions.kidscore_interaction_scaled,
    "kilpisjarvi_mod-kilpisjarvi": regressions.kilpisjarvi,
    "low_dim_gauss_mix-low_dim_gauss_mix": mixtures.two_normals,
    "mesquite-logmesquite": regressions.logmesquite,
    "mesquite-logmesquite_logva": regressions.logmesquite_logva,
    "mesquite-logmesquite_logvolume": regressions.logmesquite_logvolume,
    "mesquite-mesquite": regressions.mesquite,
    "nes1972-nes": regressions.nes,
    "nes1976-nes": regressions.nes,
    "nes1980-nes": regressions.nes,
    "sblrc-blr": regressions.normal_priors,
}
