"""A client of the service, in Python's standard library and NumPy: nothing else to install."""

import io
import json
import ssl
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.service.answers import Job, Verdict

if TYPE_CHECKING:
    from mcmc.service.live_client import RunReporter

LOCAL = ("127.0.0.1", "localhost", "::1")
LONGEST_ERROR = 1 << 20


class ServiceError(RuntimeError):
    """The service refused or did not answer.

    Attributes:
        status: the HTTP status, or 0 where there was no answer.
        code: what went wrong, as a code: `limit_exceeded`, `unauthorized`, ...
        details: the whole answer.
    """

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.status, self.code, self.details = status, code, dict(details or {})


class _Heard:
    """Of a connection: an answer given before all was sent is read, for it says why the rest was refused."""

    def request(self, *args: Any, **options: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
            super().request(*args, **options)  # pyright: ignore[reportAttributeAccessIssue]


class _Plain(_Heard, HTTPConnection):
    """Over TCP."""


class _Safe(_Heard, HTTPSConnection):
    """Over TLS."""


class _PlainHandler(HTTPHandler):
    def http_open(self, req: Request) -> Any:
        return self.do_open(_Plain, req)


class _SafeHandler(HTTPSHandler):
    def https_open(self, req: Request) -> Any:
        return self.do_open(_Safe, req, context=ssl.create_default_context())


class _NoRedirects(HTTPRedirectHandler):
    """A token must not follow a redirect to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Client:
    """The service at an address: `diagnose`, jobs, and `run` for a run that goes on.

    Args:
        url: where the service is, as `mcmc serve` prints it.
        token: the server's token, where it has one.
        timeout: seconds to wait for an answer.
        retries: how often to try again where the server has no room (429), after as many seconds as it says.

    Raises:
        ValueError: an address that is not http:// or https://, or a token with characters that no header may hold.

    Example:
        >>> client = Client("http://127.0.0.1:8765")
        >>> client.url
        'http://127.0.0.1:8765'
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 120.0, retries: int = 30):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongValue("url", url, "http://HOST:PORT or https://HOST", "Take it from what mcmc serve says.")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise WrongValue("token", "a token with other characters", "printable ASCII", "Take the server's.")
        self.url, self.timeout, self.retries = url.rstrip("/"), timeout, retries
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        direct = [ProxyHandler({})] if parts.hostname in LOCAL else []
        self._opener = build_opener(_NoRedirects, _PlainHandler, _SafeHandler, *direct)

    def diagnose(self, draws: Any, *, format: str | None = None, names: Sequence[str] | None = None,
                 **thresholds: Any) -> Verdict:  # fmt: skip
        """Send draws and return the verdict.

        Args:
            draws: a path, several paths (CmdStan, GetDist), a DataTree or Dataset, or a dict of `(chain, draw, ...)`
                arrays by parameter.
            format: the files' format; None: found by the server.
            names: the parameters' names, for emcee and GetDist.
            **thresholds: `rhat`, `ess`, `ebfmi`, `quick`, as in `mcmc.diagnose`; `burn`, `thin`, `vars`, `exclude`,
                `chains`, as in `mcmc.read`.

        Raises:
            ServiceError: the server refused the draws, or did not answer.
            FileNotFoundError: no such file.
            TypeError: draws that are none.
        """
        return Verdict.of(self._send("/v1/diagnose", draws, format, names, thresholds))

    def submit(self, draws: Any, *, format: str | None = None, names: Sequence[str] | None = None,
               **thresholds: Any) -> Job:  # fmt: skip
        """Send draws as a job and return it, not done yet; arguments and errors as in `diagnose`."""
        return Job.of(self._send("/v1/jobs", draws, format, names, thresholds))

    def job(self, id: str) -> Job:
        """Return where a job stands.

        Raises:
            ServiceError: there is no such job, or no answer.
        """
        return Job.of(self._json("GET", f"/v1/jobs/{quote(id, safe='')}"))

    def wait(self, job: Job | str, seconds: float = 3600.0) -> Job:
        """Return a job once it is done or failed.

        Raises:
            TimeoutError: it was neither within so many seconds.
            ServiceError: as in `job`.
        """
        id, end, pause = job if isinstance(job, str) else job.id, time.monotonic() + seconds, 0.05
        while not (found := self.job(id)).finished:
            if time.monotonic() > end:
                raise TimeoutError(f"job {id} is {found.status} after {seconds:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
        return found

    def report(self, job: Job | str, path: str | Path = "report.html") -> Path:
        """Write the page of a job that is done, and return its path.

        Raises:
            ServiceError: there is no page (yet), or no answer.
        """
        id = job if isinstance(job, str) else job.id
        Path(path).write_bytes(self.request("GET", f"/v1/jobs/{quote(id, safe='')}/report.html"))
        return Path(path)

    def run(self, name: str) -> "RunReporter":
        """Return a callable that reports a run: `mcmc.sample(..., progress=client.run("name"))`.

        It never slows the run or breaks it: reports go from a thread of their own, and the first error of the server
        is one warning.

        Args:
            name: the run's name; its page is `reporter.page`.
        """
        from mcmc.service.live_client import RunReporter

        return RunReporter(self, name)

    def run_state(self, id: str) -> dict[str, Any]:
        """Return where a live run stands, as `GET /v1/runs/{id}` answers.

        Raises:
            ServiceError: there is no such run, or no answer.
        """
        return self._json("GET", f"/v1/runs/{quote(id, safe='')}")

    # --- the wire -------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None, kind: str | None = None) -> bytes:
        """Ask for a path and return the answer's bytes, again where the server has no room.

        Raises:
            ServiceError: an answer from 300 on, or none.
        """
        headers = self._headers | ({} if kind is None else {"Content-Type": kind})
        for left in range(self.retries, -1, -1):
            try:
                asked = Request(self.url + path, body, headers, method=method)
                with self._opener.open(asked, timeout=self.timeout) as answer:
                    return answer.read()
            except HTTPError as error:
                failure = _failure(error)
                if error.code != 429 or not left:
                    raise failure from None
                time.sleep(_pause(error.headers.get("Retry-After")))
            except (URLError, OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                cut = isinstance(reason, BrokenPipeError | ConnectionResetError) and body is not None
                hint = f" (it closed while {len(body or b''):,} bytes were sent: more than it takes?)" if cut else ""
                raise ServiceError(0, "no_answer", f"{self.url} does not answer: {reason}{hint}") from error
        raise AssertionError("the last attempt returns or raises")

    def _json(self, method: str, path: str) -> Any:
        return json.loads(self.request(method, path))

    def _send(self, path: str, draws: Any, format: str | None, names: Sequence[str] | None, more: Any) -> Any:
        body, kind, filename = _encoded(draws)
        lists = {"names": names, **{k: more.pop(k) for k in ("vars", "exclude") if k in more}}
        asked = {k: ",".join([v] if isinstance(v, str) else v) for k, v in lists.items() if v}
        asked |= {"format": format, "filename": filename, "chains": _chains(draws), **more}
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in asked.items() if v is not None}
        return json.loads(self.request("POST", f"{path}?{urlencode(query)}", body, kind))


def _chains(draws: Any) -> int | None:
    """How many chains draws in memory have: their arrays are (chain, draw, ...) whatever their shapes look like."""
    if isinstance(draws, (str, Path)) or not (hasattr(draws, "data_vars") or isinstance(draws, Mapping)):
        return None
    shape = next((values.shape for values in _arrays(draws).values()), ())
    return shape[0] if len(shape) > 1 else None


def _encoded(draws: Any) -> tuple[bytes, str, str | None]:
    """Draws as a request's body, its type and a file's name."""
    from mcmc.readers.companions import with_companions

    paths = [draws] if isinstance(draws, (str, Path)) else draws
    if isinstance(paths, Sequence) and paths and all(isinstance(path, (str, Path)) for path in paths):
        paths = with_companions([Path(path) for path in paths])
        if len(paths) == 1 and not paths[0].is_dir():
            return paths[0].read_bytes(), "application/octet-stream", paths[0].name
        if len(paths) == 1:
            return _zipped(paths[0]), "application/octet-stream", paths[0].name + ".zip"
        return *_form(paths), None
    opened = io.BytesIO()
    np.savez(opened, **_arrays(draws))  # pyright: ignore[reportArgumentType]
    return opened.getvalue(), "application/octet-stream", "draws.npz"


def _arrays(draws: Any) -> dict[str, np.ndarray]:
    """Arrays by name, `sample_stats/...` for that group."""
    children = getattr(draws, "children", None)
    if children is not None:
        groups = {name: draws[name].data_vars for name in ("posterior", "sample_stats") if name in children}
    elif isinstance(draws, Mapping) and "posterior" in draws:
        groups = {name: draws[name] for name in ("posterior", "sample_stats") if name in draws}
    elif isinstance(draws, Mapping) and draws:
        groups = {"posterior": getattr(draws, "data_vars", draws)}
    else:
        raise WrongType("draws", type(draws).__name__, "a path, a DataTree or a dict of arrays", "Give one.")
    named = {(g, str(k)): np.asarray(v) for g, variables in groups.items() for k, v in variables.items()}
    return {name if group == "posterior" else f"{group}/{name}": v for (group, name), v in named.items()}


def _form(paths: list[Path]) -> tuple[bytes, str]:
    """Files as multipart/form-data."""
    mark, parts = uuid.uuid4().hex, []
    for path in paths:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{quote(path.name)}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", path.read_bytes(), b"\r\n"]
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


def _zipped(folder: Path) -> bytes:
    """A zarr store as a zip, its chunks as they are (they are compressed already)."""
    import zipfile

    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return opened.getvalue()


def _failure(error: HTTPError) -> ServiceError:
    """The error that an answer stands for."""
    with error:
        try:
            found = json.loads(error.read(LONGEST_ERROR))
            return ServiceError(error.code, str(found["code"]), f"{found['code']}: {found['message']}", found)
        except (ValueError, KeyError, TypeError, OSError, HTTPException):
            return ServiceError(error.code, "unknown", f"the service answered {error.code}")


def _pause(said: str | None) -> float:
    """Seconds to wait, spread so that those who were refused together do not come back together."""
    seconds = float(said) if said is not None and said.isdecimal() else 1.0
    return min(seconds, 60.0) * (0.5 + np.random.default_rng().random())
