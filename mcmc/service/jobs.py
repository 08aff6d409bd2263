"""The job pool: a fixed number at a time, each in a child process, oldest first."""

import logging
import shutil
import threading
import time

from mcmc.service.children import Children, internal
from mcmc.service.database import Database
from mcmc.service.failures import Failure
from mcmc.service.metrics import Metrics
from mcmc.service.settings import Settings

logger = logging.getLogger("mcmc.service")
CLEANUP_SECONDS = 600.0  # between two checks for old jobs


class Jobs:
    """Threads that take jobs from the database and have children do them; what is running at `close` stays in line."""

    def __init__(self, database: Database, children: Children, settings: Settings, metrics: Metrics):
        self._database, self._children, self._settings, self._metrics = database, children, settings, metrics
        self._new = threading.Condition()
        self._closing = False
        names = [f"mcmc-job-{i}" for i in range(settings.workers)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]

    def start(self) -> None:
        """Begin with what is in line."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there is a new job."""
        with self._new:
            self._new.notify()

    def close(self) -> None:
        """Take no more jobs. Close the children next: that ends those that run, and `join` then returns."""
        with self._new:
            self._closing = True
            self._new.notify_all()

    def join(self) -> None:
        """Wait until no thread uses the database."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._closing:
            try:
                found = self._database.next_job()
                if found is not None:
                    self._do(*found)
                    continue
                self._database.forget_jobs(time.time() - self._settings.kept_seconds)
            except Exception:
                logger.exception("a worker could not use the database")
            with self._new:
                if not self._closing and not self._database.count("queued"):
                    self._new.wait(CLEANUP_SECONDS)

    def _do(self, id: str, task: dict) -> None:
        folder = self._database.job_folder(id)
        result = error = None
        try:
            paths = {"folder": str(folder / "files"), "report": str(folder / "report.html")}
            shutil.rmtree(folder / "files" / "store", ignore_errors=True)  # of an attempt that was cut off
            result = self._children.run(task | paths)
        except Failure as failure:
            error = failure.body
        except Exception as fault:
            error = internal(f"job {id}: {type(fault).__name__}: {fault}").body
        if self._closing:
            return
        self._database.finish_job(id, result=result, error=error)
        shutil.rmtree(folder / "files", ignore_errors=True)
        self._metrics.diagnoses.labels("failed" if result is None else "ok" if result["ok"] else "not_ok").inc()
