"""Settings of a server: address, token, state folder and limits."""

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path

from mcmc.errors import WrongValue

MB, GB = 1_000_000, 1_000_000_000
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """Address, token, state folder and limits of a server; the defaults are safe on a laptop.

    Args:
        host: the address to listen on; any other than loopback needs a token.
        port: the port; 0 takes a free one.
        token: what clients must send as `Authorization: Bearer TOKEN`, at least 16 characters; None on loopback only.
        state: the folder of jobs, uploads and runs. None: a temporary one, which ends with the server.
        request_bytes: most bytes of a request that is answered immediately.
        job_bytes: most bytes of a job's files.
        elements: most numbers after decompression, of a request answered immediately.
        job_elements: the same, of a job.
        variables: most named arrays, or columns of a table.
        members: most files in a zip, or groups and datasets in HDF5.
        seconds: longest time to read and judge a request.
        job_seconds: the same, of a job with its report.
        upload_seconds: longest time to send a request.
        memory: most bytes that judging a request may take.
        job_memory: the same, of a job.
        concurrency: requests judged at the same time.
        waiting: further requests whose draws have arrived and wait for that; more are answered 429.
        workers: jobs done at the same time.
        queued: jobs that may wait; more are answered 429.
        kept_seconds: how long a finished job is kept.
        runs: most live runs.
        run_elements: most chains times parameters of a live run.

    Raises:
        ValueError: another host than loopback without a token, a token too short, or a limit that is not positive.

    Example:
        >>> Settings(host="0.0.0.0")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        mcmc.errors.WrongValue: token: got None; expected a token where host is not loopback. ...
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    state: Path | str | None = None
    request_bytes: int = 64 * MB
    job_bytes: int = GB
    elements: int = 20_000_000
    job_elements: int = 200_000_000
    variables: int = 10_000
    members: int = 10_000
    seconds: float = 60.0
    job_seconds: float = 1800.0
    upload_seconds: float = 120.0
    memory: int = 2 * GB
    job_memory: int = 8 * GB
    concurrency: int = 2
    waiting: int = 32
    workers: int = 1
    queued: int = 100
    kept_seconds: float = 7 * 86400.0
    runs: int = 100
    run_elements: int = 50_000

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float) and field.name not in ("port", "waiting") and not 0 < value < float("inf"):
                raise WrongValue(field.name, value, "a positive number", "Leave it out for the default.")
        if self.token is not None and not (len(self.token) >= SHORTEST_TOKEN and self.token.isascii()):
            shown = f"{len(self.token)} characters"
            raise WrongValue("token", shown, f"{SHORTEST_TOKEN} ASCII characters or more", "Choose a longer one.")
        if self.token is None and not self.loopback:
            remedy = f"Set one of {SHORTEST_TOKEN} characters or more."
            raise WrongValue("token", None, "a token where host is not loopback", remedy)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
