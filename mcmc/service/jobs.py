"""The job pool: a fixed number at a time, each in a child process, oldest first."""

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable

from mcmc.service.children import Children, internal
from mcmc.service.database import Database
from mcmc.service.failures import DISK_FULL, Failure
from mcmc.service.metrics import Metrics
from mcmc.service.settings import Settings

logger = logging.getLogger("mcmc.service")
CLEANUP_SECONDS = 600.0  # between two checks for old jobs
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two attempts on a disk that takes nothing


class _DiskFull(Exception):
    """A child had no space to write."""


class Jobs:
    """Threads that take jobs from the database and have children do them; what is running at `close` stays in line."""

    def __init__(self, database: Database, children: Children, settings: Settings, metrics: Metrics):
        self._database, self._children, self._settings, self._metrics = database, children, settings, metrics
        self._new, self._closing = threading.Event(), threading.Event()
        names = [f"mcmc-job-{i}" for i in range(settings.workers)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]

    def start(self) -> None:
        """Begin with what is in line."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there is a new job."""
        self._new.set()

    def close(self) -> None:
        """Take no more jobs. Close the children next: that ends those that run, and `join` then returns."""
        self._closing.set()
        self._new.set()

    def join(self) -> None:
        """Wait until no thread uses the database."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._new.clear()  # before the database is asked: what comes later sets it again
            found = self._insist(self._database.next_job)
            if found is not None:
                self._do(*found)
                continue
            self._insist(lambda: self._database.forget_jobs(time.time() - self._settings.kept_seconds))
            if not self._closing.is_set():
                self._new.wait(CLEANUP_SECONDS)

    def _insist[T](self, action: Callable[[], T]) -> T | None:
        """What `action` returns, tried again until the disk takes it; the log has a line when that begins and ends."""
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                done = action()
            except (sqlite3.Error, OSError, _DiskFull) as error:
                if pause == FIRST_PAUSE:
                    logger.error("jobs wait until the disk takes what they write: %s", error)
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if pause > FIRST_PAUSE:
                logger.warning("jobs go on: the disk takes what they write")
            return done
        return None

    def _do(self, id: str, task: dict) -> None:
        found = self._insist(lambda: self._judged(id, task))
        if found is None or self._closing.is_set():
            return
        result, error = found
        self._insist(lambda: self._database.finish_job(id, result=result, error=error))
        shutil.rmtree(self._database.job_folder(id) / "files", ignore_errors=True)
        self._metrics.diagnoses.labels("failed" if result is None else "ok" if result["ok"] else "not_ok").inc()

    def _judged(self, id: str, task: dict) -> tuple[dict | None, dict | None]:
        """What a child makes of a job: a result or an error; `_DiskFull` where it found no space."""
        folder = self._database.job_folder(id)
        paths = {"folder": str(folder / "files"), "report": str(folder / "report.html")}
        shutil.rmtree(folder / "files" / "store", ignore_errors=True)  # of an attempt that was cut off
        try:
            return self._children.run(task | paths), None
        except Failure as failure:
            if failure.code == DISK_FULL:
                raise _DiskFull("the disk is full") from failure
            return None, failure.body
        except Exception as fault:
            return None, internal(f"job {id}: {type(fault).__name__}: {fault}").body
