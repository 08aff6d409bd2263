"""Jobs and runs in SQLite, in a folder that one server at a time may use."""

import fcntl
import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0, task TEXT NOT NULL, result TEXT, error TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created);
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, updated REAL NOT NULL, document TEXT NOT NULL, moments BLOB);
"""
MOST_ATTEMPTS = 3
GAVE_UP = {
    "code": "gave_up",
    "message": f"The server ended {MOST_ATTEMPTS} times while it did this job, so it is not tried again.",
}


class Database:
    """Jobs and runs, written before they are reported; safe to use from several threads.

    Raises:
        RuntimeError: another server uses the folder, or its disk takes nothing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = (folder / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise RuntimeError(f"another server uses {folder}: end it, or choose another --state.") from error
        self._lock = threading.Lock()
        try:
            self._sql = _connected(folder / "state.sqlite")
            self._recover()
        except (sqlite3.Error, OSError) as error:
            self._held.close()
            message = f"the state in {folder} can't be used ({error}): free some space, or choose another --state."
            raise RuntimeError(message) from error

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._sql.close()
            self._held.close()

    def _recover(self) -> None:
        """Put back in line what was running when the last server ended; clear what no job owns."""
        self._run("UPDATE jobs SET status = 'queued' WHERE status = 'running'")
        self._run(
            "UPDATE jobs SET status = 'failed', finished = ?, error = ? WHERE status = 'queued' AND attempts >= ?",
            time.time(), json.dumps(GAVE_UP), MOST_ATTEMPTS,
        )  # fmt: skip
        shutil.rmtree(self.folder / "incoming", ignore_errors=True)
        for name in ("incoming", "jobs"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        known = {row["id"] for row in self._run("SELECT id FROM jobs")}
        for folder in (self.folder / "jobs").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._sql.execute(statement, values).fetchall()

    # --- jobs ---------------------------------------------------------------------------------------------

    def job_folder(self, id: str) -> Path:
        """Where a job's files are."""
        return self.folder / "jobs" / id

    def add_job(self, id: str, task: dict[str, Any]) -> None:
        """Put a job in line."""
        sql = "INSERT INTO jobs (id, status, created, task) VALUES (?, 'queued', ?, ?)"
        self._run(sql, id, time.time(), json.dumps(task))

    def next_job(self) -> tuple[str, dict[str, Any]] | None:
        """Take the oldest job in line, or return None."""
        rows = self._run(
            "UPDATE jobs SET status = 'running', started = ?, attempts = attempts + 1 WHERE id = "
            "(SELECT id FROM jobs WHERE status = 'queued' ORDER BY created LIMIT 1) RETURNING id, task",
            time.time(),
        )
        return (rows[0]["id"], json.loads(rows[0]["task"])) if rows else None

    def finish_job(self, id: str, *, result: Any = None, error: Any = None) -> None:
        """Write down what became of a job."""
        status = "done" if error is None else "failed"
        parts = [None if part is None else json.dumps(part) for part in (result, error)]
        sql = "UPDATE jobs SET status = ?, finished = ?, result = ?, error = ? WHERE id = ?"
        self._run(sql, status, time.time(), *parts, id)

    def job(self, id: str) -> dict[str, Any] | None:
        """What is known of a job, as its answer; None where there is none."""
        rows = self._run("SELECT * FROM jobs WHERE id = ?", id)
        if not rows:
            return None
        found = {name: rows[0][name] for name in ("id", "status", "created", "started", "finished")}
        return found | {n: None if rows[0][n] is None else json.loads(rows[0][n]) for n in ("result", "error")}

    def count(self, status: str) -> int:
        """How many jobs have this status."""
        return self._run("SELECT COUNT(*) AS n FROM jobs WHERE status = ?", status)[0]["n"]

    def forget_jobs(self, before: float) -> None:
        """Remove jobs that finished before this time."""
        for row in self._run("DELETE FROM jobs WHERE finished < ? RETURNING id", before):
            shutil.rmtree(self.job_folder(row["id"]), ignore_errors=True)

    def forget_job(self, id: str) -> bool:
        """Remove a job that is not running; whether there was one."""
        rows = self._run("DELETE FROM jobs WHERE id = ? AND status <> 'running' RETURNING id", id)
        if rows:
            shutil.rmtree(self.job_folder(id), ignore_errors=True)
        return bool(rows)

    # --- runs ---------------------------------------------------------------------------------------------

    def save_run(self, id: str, document: dict[str, Any], moments: bytes | None) -> None:
        """Write down where a live run stands."""
        sql = "INSERT OR REPLACE INTO runs (id, updated, document, moments) VALUES (?, ?, ?, ?)"
        self._run(sql, id, time.time(), json.dumps(document), moments)

    def saved_runs(self) -> list[tuple[str, dict[str, Any], bytes | None]]:
        """All runs as they were saved."""
        rows = self._run("SELECT * FROM runs ORDER BY updated")
        return [(row["id"], json.loads(row["document"]), row["moments"]) for row in rows]

    def forget_run(self, id: str) -> None:
        """Remove a run."""
        self._run("DELETE FROM runs WHERE id = ?", id)


def _connected(path: Path) -> sqlite3.Connection:
    """A connection to a database that has our tables."""
    sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        sql.row_factory = sqlite3.Row
        sql.execute("PRAGMA journal_mode=WAL")
        sql.execute("PRAGMA synchronous=FULL")
        sql.executescript(SCHEMA)
    except sqlite3.Error:
        sql.close()
        raise
    return sql
