"""When warmup adapts."""

from types import SimpleNamespace

import pytest

from mcmc.warmup.adaptation import EARLY, _next_stop
from mcmc.warmup.pooled import Pooled


def stops(warmup, improved, begin, settled=0):
    tuning = SimpleNamespace(settled=settled)
    run = SimpleNamespace(tuner=Pooled(True, True), plan=SimpleNamespace(settings=SimpleNamespace(warmup=warmup)))
    found, at = [], begin
    while at < warmup:
        at = _next_stop(run, SimpleNamespace(improved=improved, iteration=at, tuning=tuning))
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


def test_in_a_new_map_warmup_adapts_as_often_as_at_its_beginning():
    usual = Pooled(True, True).steps(200)
    assert stops(200, False, 40, settled=70) == [41, 42, 44, 47, 50, 55, 60, 70, *(t for t in usual if t > 70)]
