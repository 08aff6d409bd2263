"""RunReporter: reports a run to the service while it goes on, from a thread of its own."""

import atexit
import base64
import contextlib
import json
import math
import re
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mcmc.engine.progress import ending
from mcmc.service.plain import flagged

if TYPE_CHECKING:
    from mcmc.diagnostics.streaming import Moments
    from mcmc.service.client import Client

WAITING = 256  # reports; the oldest are dropped
PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds between two requests
LAST_SECONDS = 3.0  # to send what is left when the program ends
LARGEST_BLOCK = 4_000_000  # bytes of draws in a report
WORST = 50  # parameters reported
LONGEST_WHY = 1000
FIELDS = ("phase", "done", "total", "chains", "elapsed", "acceptance", "divergences", "rhat", "ess")


class RunReporter:
    """Takes `Update`s as `mcmc.sample(..., progress=reporter)` gives them; `Client.run` makes one.

    Calling it puts the update in a bounded line and returns; a thread sends. The run also gives it the moments of
    the draws so far and reports how it ended. The first error is one warning; a server that is away is tried again,
    one that refuses is not. A run that follows one that ended begins the page anew.

    Example:
        >>> from mcmc.service import Client
        >>> reporter = Client("http://127.0.0.1:8765").run("eight schools")
        >>> reporter.page
        'http://127.0.0.1:8765/v1/runs/eight-schools/page'
    """

    def __init__(self, client: "Client", name: str):
        self.name = str(name)[:200]
        self.id = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name).strip("-.")[:64] or "run"
        self._client, self._session = client, uuid.uuid4().hex
        self._line: deque[dict[str, Any]] = deque(maxlen=WAITING)
        self._new = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._broken = self._busy = self._warned = False
        self._ended = self._reports_end = False

    @property
    def page(self) -> str:
        """The address of the run's page, to open in a browser (add `#token=...` where the server has one)."""
        return f"{self._client.url}/v1/runs/{self.id}/page"

    def __call__(self, update: Any) -> None:
        """Report an update; returns immediately."""
        self._begin_anew()
        values = {name: _plain(getattr(update, name, None)) for name in FIELDS}
        self._put({"update": {name: value for name, value in values.items() if value is not None}})

    def block(self, draws: Any, names: Sequence[str]) -> None:
        """Report the next draws of every chain, `(chain, n, dim)` with `dim` names; returns immediately.

        Of these the server computes R-hat and ESS itself, for every parameter. More than 4 MB at a time are not
        sent.
        """
        if self._broken:
            return
        self._begin_anew()
        values = np.asarray(draws, dtype="<f8")
        if values.nbytes <= LARGEST_BLOCK:
            self._put({"draws": {
                "names": list(names), "shape": list(values.shape), "dtype": "float64",
                "base64": base64.b64encode(values.tobytes()).decode(),
            }})  # fmt: skip

    def take_moments(self, moments: "Moments", names: Sequence[str]) -> None:
        """Report mean, sd, R-hat and ESS of the worst parameters, from the moments of the draws so far."""
        self._reports_end = True  # a run that calls this will also report how it ended
        if self._broken:
            return
        with np.errstate(all="ignore"):
            rhat, ess = moments.rhat(), moments.ess()
            order = np.lexsort((ess, -np.nan_to_num(rhat, nan=np.inf)))[:WORST].tolist()
            columns = {"mean": moments.mean(), "sd": np.sqrt(moments.variance()), "r_hat": rhat, "ess": ess}
        rows = [flagged({"parameter": names[i][:200], **{k: float(v[i]) for k, v in columns.items()}}) for i in order]
        self._put({"parameters": rows, "parameters_in_all": len(rhat)})

    def end_run(self, status: str, why: str = "") -> None:
        """Report how the run ended: "finished", "interrupted" or "failed", and why; returns immediately."""
        self._begin_anew()
        self._put({"status": status, "why": why[:LONGEST_WHY]})
        self._ended = True

    def close(self, seconds: float = LAST_SECONDS, *, finished: bool = True) -> None:
        """Send what is left, for so many seconds at most, and end the thread; `finished`: say that the run is over."""
        if finished and not self._ended and self._thread is not None:
            self.end_run("finished")
        with self._new:
            self._closing = True
            self._new.notify_all()
        atexit.unregister(self._leave)
        if self._thread is not None:
            self._thread.join(seconds)

    def _leave(self) -> None:
        self.close(finished=False)

    def flush(self, seconds: float = LAST_SECONDS) -> bool:
        """Wait until everything is sent; whether it was within so many seconds."""
        with self._new:
            return self._new.wait_for(lambda: self._broken or (not self._line and not self._busy), seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if not self._ended:
            self.end_run(*ending(kind, error))
        self.close()

    def _begin_anew(self) -> None:
        if self._ended:
            self._ended, self._session = False, uuid.uuid4().hex

    def _put(self, report: dict[str, Any]) -> None:
        if self._broken or self._closing:
            return
        with self._new:
            self._line.append(report | {"session": self._session})
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name=f"mcmc-run-{self.id}", daemon=True)
                self._thread.start()
                atexit.register(self._leave)
            self._new.notify_all()

    def _send_all(self) -> None:
        pause = PAUSE
        while not self._broken:
            with self._new:
                self._new.wait_for(lambda: self._line or self._closing)
                if not self._line:
                    return
                reports = self._taken()
                self._busy = True
            try:
                body = json.dumps(reports).encode()
                self._client.request("POST", f"/v1/runs/{self.id}/blocks", body, "application/json")
                pause = PAUSE
            except Exception as error:
                pause = min(2 * pause, LONGEST_PAUSE)
                self._fail(error)
            finally:
                with self._new:
                    self._busy = False
                    self._new.notify_all()
            with self._new:
                self._new.wait_for(lambda: self._closing, pause)

    def _taken(self) -> dict[str, Any]:
        """All reports in line up to the first block or the end of a run."""
        session = self._line[0]["session"]
        found: dict[str, Any] = {"title": self.name, "updates": []}
        if self._reports_end:
            found["status"] = "running"
        while self._line and "draws" not in found and self._line[0]["session"] == session:
            report = dict(self._line.popleft())
            if "update" in report:
                found["updates"].append(report.pop("update"))
            found |= report
        return found

    def _fail(self, error: Exception) -> None:
        """Warn once. A server that refuses is asked no more; one that is away may come back."""
        status = getattr(error, "status", None)
        with self._new:
            self._broken = status != 0 or self._closing
            if self._broken:
                self._line.clear()
        if self._warned:
            return
        self._warned = True
        then = "The run goes on" + (", unreported." if status else "; reports are tried again.")
        with contextlib.suppress(RuntimeWarning):  # where warnings are errors, this one ends here
            warnings.warn(f"run {self.name!r} could not be reported: {error}. {then}", RuntimeWarning, stacklevel=2)


def _plain(value: Any) -> Any:
    """A number for JSON; None for one that is not finite."""
    if value is None or isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
