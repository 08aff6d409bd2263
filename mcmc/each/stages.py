"""From data sets to draws: all of them in batches, those that failed once more for longer, the rest one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.each.alone import alone, said
from mcmc.each.batch import Drawn
from mcmc.each.batches import Batches
from mcmc.each.data import ManyData
from mcmc.each.records import Part, Record, Sink, Stage
from mcmc.each.together import Together
from mcmc.each.verdict import judged
from mcmc.engine.stopping import Converged
from mcmc.settings import Request

LONGER_WARMUP, LONGER_THIN = 5, 4
FEW_SETS = 4  # in a batch of those that failed, on a CPU


@dataclass(frozen=True)
class Group:
    """Data sets of equal shapes, and what their runs share."""

    shared: Together
    members: np.ndarray
    index: np.ndarray
    """The number that each of all data sets has in its random numbers."""
    key: np.ndarray
    data: ManyData
    until: Converged
    kernel: Any
    """The kernel that the user named, or None."""
    more: dict[str, Any]
    """What else a run by itself is asked for."""

    def words(self, which: np.ndarray, stage: int) -> np.ndarray:
        """The keys of these data sets' runs (set, word): of the seed, their numbers and the stage alone.

        Two words of their own, and two that all share: trajectories of all data sets are long or short together.
        """
        seeds = [[*map(int, self.key), int(self.index[i]), *([stage] if stage else [])] for i in which]
        own = np.stack([np.random.SeedSequence(seed).generate_state(2) for seed in seeds])
        return np.concatenate([own, np.broadcast_to(self.key, own.shape)], 1)


def draw_all(groups: list[Group], sink: Sink, told: Callable[[], None]) -> None:
    """Every data set that has no final record yet is drawn; `told` is called whenever some are done."""
    for stage, name in enumerate(("batch", "longer")):
        for group in groups:
            due = np.array([i for i in group.members if _due(sink.ledger.records[i], name)], int)
            if due.size and not group.shared.target.host:
                for which, part, records in _in_batches(group, due, stage, name):
                    sink.write(which, part, records)
                    told()
    for group in groups:
        for i in group.members:
            if _due(sink.ledger.records[i], "alone"):
                sink.write(np.array([i]), *_by_itself(group, int(i)))
                told()


def _due(record: Record | None, stage: Stage) -> bool:
    return stage != "longer" if record is None else record.due(stage)


def _in_batches(
    group: Group, due: np.ndarray, stage: int, name: Stage
) -> Iterator[tuple[np.ndarray, Part, list[Record]]]:
    shared = group.shared
    data, words = group.data.arrays(shared, due), group.words(due, stage)
    on_cpu = shared.layout.devices[0].platform == "cpu"
    batches = Batches(shared, data, words, most=FEW_SETS if stage and on_cpu else 0)
    if stage:
        settings = shared.settings
        longer = {"warmup": LONGER_WARMUP * settings.warmup, "thin": LONGER_THIN * settings.thin}
        shared = replace(shared, settings=replace(settings, **longer))

    def use(which: np.ndarray, drawn: Drawn) -> tuple[np.ndarray, Part, list[Record]]:
        n = len(which)
        for row in drawn.failed:
            drawn.kept[row] = np.nan
        named, verdicts = judged(shared, drawn, n, group.until)
        records = [_record(drawn, row, verdict, name) for row, verdict in enumerate(verdicts)]
        part = Part(named, {key: x[:n] for key, x in drawn.statistics.items()}, drawn.nonfinite[:n])
        return due[which], part, records

    return batches.each(shared, data, words, use)


def _record(drawn: Drawn, row: int, verdict: Diagnosis, stage: Stage) -> Record:
    if row in drawn.failed:
        return Record(False, stage, str(drawn.failed[row]), final=True)
    return Record(verdict.ok, stage, "" if verdict.ok else said(verdict))


def _by_itself(group: Group, i: int) -> tuple[Part, list[Record]]:
    shared, settings = group.shared, group.shared.settings
    asked = Request(
        shared.target.with_data(group.data.tree(i)),
        group.kernel,
        chains=settings.chains,
        seed=jax.numpy.asarray(group.words(np.array([i]), 2)[0, :2]),
        until=group.until,
        superchains=0 if settings.superchains is None else settings.superchains,
        **group.more,
    )
    like = like_one(shared)
    part, record = alone(asked, shared.dtype, settings.draws, like)
    return part or like, [record]


def like_one(shared: Together) -> Part:
    """Draws of one data set that has none: NaN, in the shapes and types of those that have."""
    settings, first = shared.settings, shared.first
    lead = (1, settings.chains, settings.draws)
    statistics = {s.name: np.full(lead, np.nan if "float" in s.dtype else 0, s.dtype) for s in first.statistics}
    kept = np.full((*lead, shared.traced.width), np.nan, shared.dtype)
    with np.errstate(invalid="ignore"):
        named = shared.named(kept)
    return Part(named, statistics, np.zeros(lead[:2], np.int32))
