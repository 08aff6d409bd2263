"""When warmup adapts."""

from types import SimpleNamespace

import pytest

from mcmc.warmup.adaptation import EARLY, _next_stop
from mcmc.warmup.pooled import Pooled


def stops(warmup, improved, begin):
    run = SimpleNamespace(tuner=Pooled(True, True), plan=SimpleNamespace(settings=SimpleNamespace(warmup=warmup)))
    found, at = [], begin
    while at < warmup:
        at = _next_stop(run, SimpleNamespace(improved=improved, iteration=at))
        found.append(at)
    return found


@pytest.mark.parametrize("warmup", [40, 200, 1000])
def test_after_better_starts_warmup_adapts_as_often_as_at_its_beginning(warmup):
    usual = Pooled(True, True).steps(warmup)
    restart = next(t for t in usual if t >= EARLY * warmup)
    early = [t for t in usual if t < restart]
    assert stops(warmup, False, 0) == usual
    after = stops(warmup, True, restart)
    assert {restart + t for t in early} | {t for t in usual if t > restart} == set(after)
    assert after == sorted(set(after))
    assert after[-1] == warmup
