"""Error answers in one form, `{code, message, ...}`, with nothing internal."""

import errno
import sqlite3
from typing import Any

DISK_FULL = "disk_full"
SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # a log that can't grow is an input/output error


class Failure(Exception):
    """A request can't be answered: status, code and message go to the client, `more` beside them."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None, **more: Any):
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"code": self.code, "message": self.message, **self.more}

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def too_many_bytes(most: int) -> Failure:
    """A body longer than it may be."""
    message = f"The request is longer than {most:,} bytes. Keep fewer draws or parameters, or send a job."
    return Failure(413, "too_many_bytes", message, what="bytes", limit=most)


def busy(why: str, seconds: int, *, what: str) -> Failure:
    """No room now, for more of `what`."""
    return Failure(429, "busy", f"{why} Try again in {seconds} s.", retry_after=seconds, what=what)


def disk_full() -> Failure:
    """No space for what was sent."""
    message = "The server's disk is full: nothing of this request was kept. Try again later, or free some space there."
    return Failure(503, DISK_FULL, message, retry_after=30)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was made of, says that the disk takes no more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_FULL:
            return True
        error = error.__cause__
    return False


def not_found(what: str) -> Failure:
    """No such job or run."""
    return Failure(404, "not_found", f"There is no such {what}.")
