"""The service as a FastAPI application: what exists while it runs, and how it is started."""

import asyncio
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

import mcmc
from mcmc.service.children import Children
from mcmc.service.database import Database
from mcmc.service.failures import Failure, busy
from mcmc.service.guard import Guard
from mcmc.service.jobs import Jobs
from mcmc.service.live import LiveRuns
from mcmc.service.metrics import Metrics
from mcmc.service.settings import Settings

ABOUT = """Are these MCMC draws good enough to be used? Send draws in the format in which they were saved, get the
verdict of `mcmc.diagnose`: immediately, as a job with a report, or while the run goes on.
Numbers that are not finite are null, and `non_finite` beside them says what they were."""
CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}

MOST_REPORTS = 64
MOST_BODIES = 256
UVICORN: dict[str, Any] = {
    "log_level": "warning", "ws": "none", "server_header": False, "timeout_keep_alive": 15,
    "timeout_graceful_shutdown": 5,
}  # fmt: skip


class Rooms:
    """Everything that a running server has: database, children, jobs, live runs; opened and closed together."""

    def __init__(self, settings: Settings):
        self.settings, self.metrics, self.children = settings, Metrics(), Children()
        self.in_flight = self.reports = self.bodies = 0
        self._temporary: str | None = None

    def open(self) -> None:
        """Open the state folder and take up the jobs in it."""
        if self.settings.state is None:
            self._temporary = tempfile.mkdtemp(prefix="mcmc-service-")
        self.folder = Path(self.settings.state or str(self._temporary)).resolve()
        self.database = Database(self.folder)
        self.children.start()
        self.threads = ThreadPoolExecutor(self.settings.concurrency, "mcmc-judge")
        self.runs = LiveRuns(self.database, self.settings)
        self.jobs = Jobs(self.database, self.children, self.settings, self.metrics)
        self.jobs.start()
        for status in ("queued", "running", "failed", "done"):
            self.metrics.watch(f"mcmc_jobs_{status}", f"Jobs {status}.", lambda s=status: self.database.count(s))
        self.metrics.watch("mcmc_live_runs", "Live runs followed.", lambda: len(self.runs))
        self.metrics.watch("mcmc_in_flight", "Requests judged now or waiting for it.", lambda: self.in_flight)

    def close(self) -> None:
        """End what runs; jobs that are not done stay in line for the next server."""
        self.jobs.close()
        self.children.close()
        self.jobs.join()
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.runs.close()
        self.database.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @contextmanager
    def admitted(self) -> Any:
        """Count a request in whose body has arrived; a Failure where too many are there."""
        if self.in_flight >= self.settings.concurrency + self.settings.waiting:
            raise busy("The server serves as many as it can.", 2, what="requests")
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def reporting(self) -> Any:
        """Count a report of a run in; these have room of their own, so that judging does not keep runs waiting."""
        if self.reports >= MOST_REPORTS:
            raise busy("Too many runs report at the same time.", 1, what="reports")
        self.reports += 1
        try:
            yield
        finally:
            self.reports -= 1

    @contextmanager
    def incoming(self) -> Any:
        """A new folder for what is being sent, removed at the end unless it was moved away."""
        if self.bodies >= MOST_BODIES:
            raise busy("Too many requests are being sent at the same time.", 2, what="bodies")
        self.bodies += 1
        folder = self.folder / "incoming" / uuid.uuid4().hex
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            self.bodies -= 1
            shutil.rmtree(folder, ignore_errors=True)

    async def judge(self, task: dict[str, Any]) -> dict[str, Any]:
        """Have a child do a task, as soon as one of the threads is free."""
        result = await asyncio.get_running_loop().run_in_executor(self.threads, self.children.run, task)
        self.metrics.diagnoses.labels("ok" if result["ok"] else "not_ok").inc()
        return result


def build(settings: Settings) -> FastAPI:
    """Make the application; `mcmc.service.create_app` says more."""
    from mcmc.service import routes, run_routes

    rooms = Rooms(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        rooms.open()
        try:
            yield
        finally:
            await asyncio.to_thread(rooms.close)

    secured = [Depends(HTTPBearer(auto_error=False, description="the server's --token"))] if settings.token else []
    app = FastAPI(
        title="mcmc: chain diagnostics",
        description=ABOUT,
        version=mcmc.__version__,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        dependencies=secured,
        redirect_slashes=False,
    )
    app.state.rooms = rooms
    app.include_router(routes.router)
    app.include_router(run_routes.router)
    app.add_middleware(Guard, settings=settings, metrics=rooms.metrics)
    app.add_exception_handler(Failure, _failure)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def _failure(request: Any, failure: Any) -> JSONResponse:
    request.app.state.rooms.metrics.refused.labels(failure.code).inc()
    return JSONResponse(failure.body, failure.status, failure.headers)


async def _http_exception(request: Any, error: Any) -> JSONResponse:
    code = CODES.get(error.status_code, "refused")
    return JSONResponse({"code": code, "message": str(error.detail)}, error.status_code, error.headers)


async def _invalid(request: Any, error: Any) -> JSONResponse:
    found = [{"where": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()[:20]]
    message = "; ".join(f"{part['where']}: {part['message']}" for part in found)[:1000]
    return JSONResponse({"code": "invalid_request", "message": message, "errors": found}, 422)


def run(settings: Settings, started: Callable[[str], Any] | None = None, **options: Any) -> None:
    """Serve until Ctrl-C; `started` is called with the address as soon as the port is held."""
    import uvicorn

    class Server(uvicorn.Server):
        """Remembers Ctrl-C: at its end uvicorn raises the signal again, which a process in the background ignores."""

        interrupted = False

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.interrupted |= sig == signal.SIGINT
            super().handle_exit(sig, frame)

    if settings.state is not None:
        Database(Path(settings.state)).close()  # an error here, rather than in the log of a server half started
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.create_server((settings.host, settings.port), family=family) as listening:
        if started is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            started(f"http://{host}:{listening.getsockname()[1]}")
        server = Server(uvicorn.Config(build(settings), **UVICORN | options))
        server.run(sockets=[listening])
        if server.interrupted:
            raise KeyboardInterrupt
