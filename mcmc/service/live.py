"""Live runs: what they reported, and R-hat and ESS so far, in bounded memory."""

import base64
import binascii
import io
import logging
import math
import sqlite3
import threading
import time
from typing import Any

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.service.database import Database
from mcmc.service.failures import Failure, busy, is_disk_full, not_found
from mcmc.service.plain import flagged
from mcmc.service.schemas import Block, Blocks
from mcmc.service.settings import Settings

logger = logging.getLogger("mcmc.service")
LONGEST_HISTORY = 400  # points; then every second one is dropped
WORST = 50  # parameters shown
SAVED_EVERY = 5.0  # seconds
IDLE = 3600.0  # seconds after which a run may make room for another
NOTHING = {
    "phase": "warmup", "done": 0, "total": None, "chains": 0, "elapsed": 0.0, "acceptance": None,
    "divergences": 0, "rhat": None, "ess": None,
}  # fmt: skip


class LiveRun:
    """One run; `add` takes a report in, `document` says where it stands."""

    def __init__(self, id: str, title: str = "", session: str | None = None):
        self.id, self.title, self.session = id, title or id, session
        self.last: dict[str, Any] = dict(NOTHING)
        self.history: list[dict[str, Any]] = []
        self.status, self.why = "running", ""
        self.names: list[str] = []
        self.reported_parameters: list[dict[str, Any]] = []  # statistics that the run itself computed
        self.parameters_in_all = 0
        self.moments = Moments()
        self.reported = self.saved = time.time()
        self.lock = threading.Lock()
        self._table: tuple[int, Any] = (-1, None)

    def add(self, blocks: Blocks, most: int) -> int:
        """Take a report in and return the draws so far; nothing of it where a part is wrong."""
        draws = None if blocks.draws is None else self._checked(blocks.draws, most)
        if draws is not None and blocks.draws is not None:
            self.moments.update(draws)
            self.names = list(blocks.draws.names)
        if blocks.parameters is not None:
            self.reported_parameters = [parameter.model_dump() for parameter in blocks.parameters]
            self.parameters_in_all = max(blocks.parameters_in_all, len(self.reported_parameters))
        for update in blocks.updates:
            new = update.model_dump()
            if new["phase"] == self.last["phase"]:
                kept = {name: self.last[name] for name in ("rhat", "ess") if new[name] is None}
                new |= kept
            self.last = new
            self._note_history()
        if draws is not None and not blocks.updates:
            counts = {"phase": "sampling", "done": self.moments.draws, "chains": self.moments.chains}
            self.last |= counts | {"elapsed": max(self.last["elapsed"], 0.0)}
            self._note_history()
        self.title = blocks.title or self.title
        self.status = blocks.status or ("finished" if _is_last(self.last) else "running")
        self.why = blocks.why
        self.reported = time.time()
        return self.draws

    def _checked(self, block: Block, most: int) -> np.ndarray:
        """A block as an array that fits this run."""
        draws = _array(block)
        if draws.ndim != 3 or 0 in draws.shape or draws.shape[2] != len(block.names):
            expected = f"(chain, draw, {len(block.names)}), as there are names, and at least one draw"
            raise Failure(422, "wrong_shape", f"draws: got shape {draws.shape}; expected {expected}.")
        if draws.shape[0] * draws.shape[2] > most:
            message = f"A run may have {most:,} chains times parameters. Report fewer parameters."
            raise Failure(413, "limit_exceeded", message, what="run_elements", limit=most)
        known = (self.moments.chains, self.names)
        if self.moments.draws and (draws.shape[0], block.names) != known:
            message = "The block has other chains or names than those before: give another session for a new run."
            raise Failure(422, "another_run", message)
        return draws

    def _note_history(self) -> None:
        rhat, ess = self.worst()
        point = {
            "seconds": time.time() - self.began if self.history else 0.0,
            "draws": self.draws,
            "rhat": _finite(rhat), "ess": _finite(ess), "divergences": self.last["divergences"],
        }  # fmt: skip
        self.history.append(point | {"time": time.time()})
        if len(self.history) > LONGEST_HISTORY:
            self.history = [self.history[0], *self.history[2::2]]

    @property
    def began(self) -> float:
        """When the first report came."""
        return self.history[0]["time"] if self.history else self.reported

    @property
    def draws(self) -> int:
        """Draws of all chains so far; those of warmup do not count."""
        return self.last["chains"] * self.last["done"] if self.last["phase"] == "sampling" else 0

    def table(self) -> tuple[np.ndarray, ...]:
        """Means, sds, R-hat and ESS from the draws reported, computed once a report."""
        if self._table[0] != self.moments.draws:
            with np.errstate(all="ignore"):
                m = self.moments
                self._table = m.draws, (m.mean(), np.sqrt(m.variance()), m.rhat(), m.ess())
        return self._table[1]

    def worst(self) -> tuple[float | None, float | None]:
        """The largest R-hat and the smallest ESS: from the draws where there are any, else as the run says."""
        if not self.moments.draws:
            return self.last["rhat"], self.last["ess"]
        _, _, rhat, ess = self.table()
        return float(np.max(rhat)), float(np.min(ess))

    def document(self) -> dict[str, Any]:
        """Where the run stands, as its answer."""
        rhat, ess = self.worst()
        numbers = {**self.last, "rhat": rhat, "ess": ess, "silent_seconds": max(time.time() - self.reported, 0.0)}
        return {
            "id": self.id, "title": self.title, "status": self.status, "why": self.why,
            "draws": self.draws, **flagged(numbers),
            "history": [{name: p[name] for name in p if name != "time"} for p in self.history],
            "parameters": self._parameters(), "parameters_in_all": len(self.names) or self.parameters_in_all,
        }  # fmt: skip

    def _parameters(self) -> list[dict[str, Any]]:
        if not self.moments.draws:
            return self.reported_parameters
        mean, sd, rhat, ess = self.table()
        order = np.lexsort((ess, -np.nan_to_num(rhat, nan=np.inf)))[:WORST]
        columns = {"mean": mean, "sd": sd, "r_hat": rhat, "ess": ess}
        return [
            flagged({"parameter": self.names[i], **{k: float(v[i]) for k, v in columns.items()}})
            for i in order.tolist()
        ]

    # --- to the database and back -----------------------------------------------------------------------

    def saved_form(self) -> tuple[dict[str, Any], bytes | None]:
        """Everything that `restored` needs."""
        fields = ("title", "session", "last", "history", "status", "why", "names", "reported")
        fields += ("reported_parameters", "parameters_in_all")
        document = {name: getattr(self, name) for name in fields}
        document["last"] = {k: v if v is None or isinstance(v, str) else _finite(v) for k, v in self.last.items()}
        if not self.moments.draws:
            return document, None
        arrays, document["counts"] = self.moments.state()
        opened = io.BytesIO()
        np.savez(opened, **arrays)  # pyright: ignore[reportArgumentType]
        return document, opened.getvalue()

    @classmethod
    def restored(cls, id: str, document: dict[str, Any], moments: bytes | None) -> "LiveRun":
        """The run of a `saved_form`."""
        run = cls(id)
        counts = document.pop("counts", None)
        for name, value in document.items():
            setattr(run, name, value)
        if moments is not None and counts is not None:
            with np.load(io.BytesIO(moments), allow_pickle=False) as arrays:
                run.moments = Moments.restored(arrays, counts)
        return run


class LiveRuns:
    """All runs by id; written to the database every few seconds, and at `close`."""

    def __init__(self, database: Database, settings: Settings):
        self._database, self._settings = database, settings
        self._lock, self._full = threading.Lock(), False
        self._runs = {id: LiveRun.restored(id, found, moments) for id, found, moments in database.saved_runs()}

    def __len__(self) -> int:
        return len(self._runs)

    def ids(self) -> list[str]:
        """The runs' ids, the one that reported last first."""
        with self._lock:
            return sorted(self._runs, key=lambda id: -self._runs[id].reported)

    def add(self, id: str, blocks: Blocks) -> int:
        """Take a report in, as `LiveRun.add`; a new id or session begins a run."""
        with self._lock:
            run = self._runs.get(id)
            if run is None or (blocks.session is not None and blocks.session != run.session):
                if run is None:
                    self._make_room()
                run = LiveRun(id, session=blocks.session)
                new = run
            else:
                new = None
        with run.lock:
            draws = run.add(blocks, self._settings.run_elements)
            if new is not None:
                with self._lock:
                    self._runs[id] = run
            if new is not None or time.time() - run.saved > SAVED_EVERY or run.status != "running":
                self._save(run)
            return draws

    def document(self, id: str) -> dict[str, Any]:
        """Where a run stands."""
        with self._lock:
            run = self._runs.get(id)
        if run is None:
            raise not_found("run")
        with run.lock:
            return run.document()

    def close(self) -> None:
        """Write every run down."""
        for run in list(self._runs.values()):
            with run.lock:
                self._save(run)

    def _save(self, run: LiveRun) -> None:
        """Write a run down; with a full disk it is kept in memory, and tried again with a later report."""
        run.saved = time.time()
        try:
            self._database.save_run(run.id, *run.saved_form())
        except sqlite3.Error as error:
            if not is_disk_full(error):
                raise
            if not self._full:
                logger.error("runs are in memory only until the disk takes them: %s", error)
            self._full = True
        else:
            self._full = False

    def _make_room(self) -> None:
        """Forget the run that has been silent for longest, where there are as many as there may be."""
        if len(self._runs) < self._settings.runs:
            return
        oldest = min(self._runs.values(), key=lambda run: run.reported)
        if time.time() - oldest.reported < IDLE and oldest.status == "running":
            raise busy(f"The server follows {self._settings.runs} runs, as many as it may.", 60, what="runs")
        del self._runs[oldest.id]
        self._database.forget_run(oldest.id)


def _array(block: Block) -> np.ndarray:
    """A block's numbers; null is NaN."""
    if (block.values is None) == (block.base64 is None):
        raise Failure(422, "wrong_form", "draws: got both or neither of values and base64; expected one of them.")
    try:
        if block.values is not None:
            return np.array(block.values, dtype=np.float64)
        raw = base64.b64decode(block.base64 or "", validate=True)
        dtype = np.dtype(block.dtype).newbyteorder("<")
        if block.shape is None or math.prod(block.shape) * dtype.itemsize != len(raw):
            message = f"draws: got {len(raw)} bytes for shape {block.shape} of {block.dtype}; expected them to match."
            raise Failure(422, "wrong_shape", message)
        return np.frombuffer(raw, dtype).reshape(block.shape).astype(np.float64)
    except (ValueError, binascii.Error) as error:
        raise Failure(422, "wrong_shape", "draws: expected lists of equal lengths, or whole base64.") from error


def _is_last(update: dict[str, Any]) -> bool:
    return update["phase"] == "sampling" and bool(update["total"]) and update["done"] >= update["total"]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
