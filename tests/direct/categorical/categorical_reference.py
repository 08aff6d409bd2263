"""The truncated law by sorting, in float64 NumPy: what the package must agree with."""

import numpy as np

FILTERS = ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma")


def normalised(logits, keep):
    """Probabilities over the kept tokens."""
    with np.errstate(invalid="ignore"):
        s = np.where(keep, logits, -np.inf)
        w = np.where(s == s.max(), 1.0, np.exp(s - s.max()))
    return w / w.sum()


def crossing(score, p, mass):
    """The least number of tokens in the order of falling scores with mass p, and all that tie with the last."""
    if mass >= 1:
        return np.full(score.shape, True)
    order = np.argsort(-score, kind="stable")
    reached = np.cumsum(p[order]) >= mass * p.sum()
    last = score[order][np.argmax(reached)]
    return score >= last


def entropy_of(p):
    positive = p[p > 0]
    return -np.sum(positive * np.log(positive))


def one_filter(name, value, raw, scaled, keep):
    """What one filter keeps of the tokens in `keep`."""
    p = normalised(scaled, keep)
    if name == "top_k":
        score = np.where(keep, raw, -np.inf)
        return score >= np.sort(score)[::-1][min(int(value), len(score)) - 1]
    if name == "top_p":
        return crossing(p, p, value)
    if name == "min_p":
        return p >= value * p.max()
    if name == "typical_p":
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(keep, -np.abs(-np.log(p) - entropy_of(p)), -np.inf)
        return crossing(score, p, value)
    if name == "epsilon_cutoff":
        return p >= min(value, p.max())
    if name == "eta_cutoff":
        return p >= min(value, np.sqrt(value) * np.exp(-entropy_of(p)), p.max())
    finite = raw[keep & np.isfinite(raw)]
    return raw >= finite.max() - value * finite.std()


def kept(logits, temperature=1.0, order="sequential", **limits):
    """The tokens that are kept of a row of logits."""
    raw = np.asarray(logits, np.float64)
    start = keep = raw > -np.inf
    scaled = raw / temperature
    for name in FILTERS:
        if limits.get(name) is not None:
            keep = keep & one_filter(name, limits[name], raw, scaled, keep if order == "sequential" else start)
    return keep


def law(logits, temperature=1.0, **limits):
    """Probabilities of a row of logits."""
    raw = np.asarray(logits, np.float64)
    return normalised(raw / temperature, kept(raw, temperature, **limits))
