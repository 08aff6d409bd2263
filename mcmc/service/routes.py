"""HTTP routes that diagnose draws, immediately or as jobs; health, thresholds and metrics."""

import asyncio
import inspect
import os
import shutil
import sqlite3
import uuid
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

import mcmc
from mcmc.readers.reading import FORMATS
from mcmc.service import schemas
from mcmc.service.failures import Failure, busy, not_found
from mcmc.service.schemas import errors
from mcmc.service.upload import Uploaded, receive

router = APIRouter()
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", examples=["0" * 32])]
REPORT_POLICY = "sandbox allow-scripts allow-popups allow-downloads"
Format = StrEnum("Format", list(FORMATS))
EXAMPLE = {"draws": {"mu": [[0.1, -0.4, 0.3, 0.2], [0.2, 0.0, -0.1, 0.5]], "tau": [[1.0, 1.2, 0.9, 1.1]] * 2}}
ARRAYS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Draws as JSON (null for NaN), one file as it is, or the files of several chains as a form.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["draws"],
                    "properties": {
                        "draws": {**ARRAYS, "description": "by parameter: (chain, draw, ...) lists"},
                        "sample_stats": {"type": "object", "additionalProperties": {"type": "array"}},
                    },
                },
                "examples": {"two chains": {"value": EXAMPLE}},
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}


def thresholds(
    rhat: Annotated[float, Query(ge=1, allow_inf_nan=False, description="largest R-hat to accept")] = 1.01,
    ess: Annotated[float, Query(ge=0, allow_inf_nan=False, description="smallest effective sample size")] = 400,
    ebfmi: Annotated[float, Query(ge=0, allow_inf_nan=False, description="smallest energy fraction")] = 0.3,
    quick: Annotated[bool, Query(description="judge values, not ranks: faster")] = False,
) -> dict[str, Any]:
    """What `diagnose` is asked to accept."""
    return {"rhat": rhat, "ess": ess, "ebfmi": ebfmi, "quick": quick}


def source(
    format: Annotated[Format | None, Query(description="the files' format; found by their content")] = None,
    names: Annotated[str | None, Query(max_length=100_000, description="parameters of emcee or GetDist: a,b,c")] = None,
    burn: Annotated[float, Query(ge=0, allow_inf_nan=False, description="draws to drop first, or a fraction")] = 0,
    thin: Annotated[int, Query(ge=1, le=2**31, description="keep every so many-th draw")] = 1,
    vars: Annotated[str | None, Query(max_length=100_000, description="parameters to keep: a,b,c")] = None,
    exclude: Annotated[str | None, Query(max_length=100_000, description="parameters to leave out: a,b,c")] = None,
    chains: Annotated[int | None, Query(ge=1, le=2**31, description="chains in a file that doesn't say it")] = None,
    filename: Annotated[str, Query(max_length=255, description="of a file sent as application/octet-stream")] = "draws",
    table: Annotated[bool, Query(description="with a row for each parameter")] = True,
) -> dict[str, Any]:
    """What the files are."""
    select = {"burn": burn, "thin": thin, "vars": vars, "exclude": exclude, "chains": chains}
    return {"format": format, "names": names, "filename": filename, "table": table, "select": select}


def only_known(request: Request) -> None:
    """Refuse a query parameter that nothing reads, and one that is there twice: neither may be left out silently."""
    known = [*inspect.signature(thresholds).parameters, *inspect.signature(source).parameters]
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else "Leave it out."
            message = f"query.{name[:40]}: got an unknown parameter; expected one of {', '.join(known)}. {hint}"
            raise Failure(422, "invalid_request", message)
        if given.count(name) > 1:
            message = f"query.{name}: got {given.count(name)} values; expected one, as in vars=a,b. Join them."
            raise Failure(422, "invalid_request", message)


Accepts = Annotated[dict[str, Any], Depends(thresholds)]
Source = Annotated[dict[str, Any], Depends(source)]


@router.post(
    "/v1/diagnose",
    responses={200: {"model": schemas.Verdict}} | errors(408, 413, 415, 429, 503),
    openapi_extra=BODY,
    dependencies=[Depends(only_known)],
    summary="Judge draws",
)
async def diagnose(request: Request, accepts: Accepts, source: Source) -> Response:
    """Read the draws sent, in whatever format, and answer with the verdict; status 200 whether it is good or not."""
    rooms = request.app.state.rooms
    settings = rooms.settings
    with rooms.incoming() as folder:
        uploaded = await _received(request, folder, source["filename"], settings.upload_seconds)
        limits = {"elements": settings.elements, "seconds": settings.seconds, "memory": settings.memory}
        task = _task(uploaded, accepts, source, settings, **limits)
        with rooms.admitted():
            return JSONResponse(await rooms.judge(task | {"folder": str(folder)}))


@router.post(
    "/v1/jobs",
    status_code=202,
    responses={202: {"model": schemas.Job}} | errors(408, 413, 415, 429, 503),
    openapi_extra=BODY,
    dependencies=[Depends(only_known)],
    summary="Judge draws as a job",
)
async def add_job(request: Request, accepts: Accepts, source: Source) -> Response:
    """Take the draws in and answer immediately; the verdict and a report follow, also if the server ends meanwhile."""
    rooms = request.app.state.rooms
    settings, database = rooms.settings, rooms.database
    _check_line(database, settings)
    id = uuid.uuid4().hex
    with rooms.incoming() as folder:
        files = folder / "files"
        files.mkdir()
        uploaded = await _received(request, files, source["filename"], settings.upload_seconds)
        limits = {"elements": settings.job_elements, "seconds": settings.job_seconds, "memory": settings.job_memory}
        task = _task(uploaded, accepts, source, settings, **limits)
        _check_line(database, settings)  # others may have come meanwhile
        os.rename(folder, database.job_folder(id))
        try:
            await asyncio.to_thread(database.add_job, id, task)
        except sqlite3.Error:
            shutil.rmtree(database.job_folder(id), ignore_errors=True)
            raise
    rooms.jobs.wake()
    return JSONResponse(await asyncio.to_thread(database.job, id), 202, {"Location": f"/v1/jobs/{id}"})


@router.get("/v1/jobs/{id}", responses={200: {"model": schemas.Job}} | errors(404), summary="Where a job stands")
def get_job(request: Request, id: JobId) -> Response:
    """Answer with a job's status and, once it is done, its verdict."""
    found = request.app.state.rooms.database.job(id)
    if found is None:
        raise not_found("job")
    return JSONResponse(found)


@router.delete("/v1/jobs/{id}", status_code=204, responses=errors(404), summary="Forget a job")
def delete_job(request: Request, id: JobId) -> Response:
    """Remove a job with its files, unless it is running."""
    if not request.app.state.rooms.database.forget_job(id):
        raise not_found("job, or it is running")
    return Response(status_code=204)


@router.get(
    "/v1/jobs/{id}/report.html",
    responses={200: {"content": {"text/html": {}}, "description": "One page that needs nothing else."}} | errors(404),
    response_class=Response,
    summary="A job's report",
)
def get_report(request: Request, id: JobId) -> Response:
    """Answer with the page that `mcmc.report` writes."""
    path = request.app.state.rooms.database.job_folder(id) / "report.html"
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise not_found("report, or not yet") from error
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/v1/thresholds", responses=errors(), summary="The default thresholds")
def get_thresholds() -> schemas.Thresholds:
    """Answer with what a verdict accepts where nothing else is asked for."""
    parameters = inspect.signature(thresholds).parameters
    return schemas.Thresholds(**{name: parameters[name].default for name in ("rhat", "ess", "ebfmi")})


@router.get("/healthz", responses=errors(), summary="Does the server answer?")
def healthz() -> schemas.Health:
    """Answer, without a token."""
    return schemas.Health(status="ok", version=mcmc.__version__)


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {}}, "description": "Counts and times."}} | errors(),
    response_class=Response,
    summary="For Prometheus",
)
def metrics(request: Request) -> Response:
    """Answer in Prometheus' text format."""
    return Response(request.app.state.rooms.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _check_line(database: Any, settings: Any) -> None:
    """Raise a Failure where the line of jobs is as long as it may be."""
    if database.count("queued") >= settings.queued:
        raise busy(f"There are {settings.queued} jobs in line, as many as there may be.", 30, what="queued")


async def _received(request: Request, folder: Any, filename: str, seconds: float) -> Uploaded:
    """The request's files, if they come in time."""
    try:
        async with asyncio.timeout(seconds):
            return await receive(request, folder, filename)
    except TimeoutError as error:
        message = f"The request took longer than {seconds:g} s to arrive."
        raise Failure(408, "too_slow", message, what="upload_seconds", limit=seconds) from error
    except ClientDisconnect as error:
        raise Failure(400, "broken_off", "The request broke off.") from error


def _task(uploaded: Uploaded, accepts: Any, source: Any, settings: Any, *, elements: int, **bounds: Any) -> dict:
    """The task for a child process."""
    limits = {"elements": elements, "variables": settings.variables, "members": settings.members}
    asked = {name: source[name] for name in ("format", "names", "table", "select")}
    return {"kind": uploaded.kind, "files": uploaded.files, "limits": limits, "thresholds": accepts} | asked | bounds
