"""HTTP routes of live runs."""

import asyncio
import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from mcmc.service import schemas
from mcmc.service.failures import Failure
from mcmc.service.schemas import Blocks, errors

router = APIRouter()
RunId = Annotated[str, Path(pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", examples=["eight-schools"])]
EXAMPLES = {
    "progress": {
        "value": {
            "updates": [{"phase": "sampling", "done": 100, "total": 1000, "chains": 4, "elapsed": 0.5, "rhat": 1.02}]
        }
    },
    "statistics": {
        "value": {
            "parameters": [{"parameter": "mu", "mean": 0.1, "sd": 1.2, "r_hat": 1.01, "ess": 350}],
            "parameters_in_all": 10,
            "status": "finished",
        }
    },
    "draws": {"value": {"draws": {"names": ["mu"], "values": [[[0.1], [0.3]], [[0.2], [0.0]]]}}},
}


def _body() -> dict[str, Any]:
    """The request as OpenAPI has it; its parts within, since FastAPI does not know of them."""
    schema = Blocks.model_json_schema(ref_template="#/components/schemas/Reported{model}")
    return {"required": True, "content": {"application/json": {"schema": _inlined(schema), "examples": EXAMPLES}}}


def _inlined(schema: Any, parts: Any = None) -> Any:
    if isinstance(schema, list):
        return [_inlined(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = schema.get("$defs", parts)
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rpartition("/Reported")[2]], parts)
    return {name: _inlined(part, parts) for name, part in schema.items() if name != "$defs"}


@router.get("/v1/runs", responses=errors(), summary="The runs that the server knows")
def list_runs(request: Request) -> schemas.Runs:
    """Answer with the runs' ids, the one that reported last first."""
    return schemas.Runs(runs=request.app.state.rooms.runs.ids())


@router.post(
    "/v1/runs/{id}/blocks",
    responses={200: {"model": schemas.Accepted}} | errors(408, 413, 415, 429, 503),
    openapi_extra={"requestBody": _body()},
    summary="Report progress or draws of a run",
)
async def add_blocks(request: Request, id: RunId) -> Response:
    """Take in what a run reports. The first report of an id, or of another session, begins a run."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Failure(415, "unsupported_media_type", f"Content-Type: got {kind or 'none'}; expected application/json.")
    rooms = request.app.state.rooms
    with rooms.reporting():
        try:
            async with asyncio.timeout(rooms.settings.upload_seconds):
                body = await request.body()
        except TimeoutError as error:
            seconds = rooms.settings.upload_seconds
            message = f"The request took longer than {seconds:g} s to arrive."
            raise Failure(408, "too_slow", message, what="upload_seconds", limit=seconds) from error
        except ClientDisconnect as error:
            raise Failure(400, "broken_off", "The request broke off.") from error
        draws = await asyncio.to_thread(_take_in, rooms, id, body)
    return JSONResponse({"id": id, "draws": draws})


def _take_in(rooms: Any, id: str, body: bytes) -> int:
    try:
        blocks = Blocks.model_validate_json(body)
    except ValidationError as error:
        found = [{"where": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()[:20]]
        message = "; ".join(f"{part['where']}: {part['message']}" for part in found)[:1000]
        raise Failure(422, "invalid_request", message, errors=found) from error
    return rooms.runs.add(id, blocks)


@router.get("/v1/runs/{id}", responses={200: {"model": schemas.Run}} | errors(404), summary="Where a run stands")
def get_run(request: Request, id: RunId) -> Response:
    """Answer with where the run stands, how it came there, and its worst parameters."""
    return JSONResponse(request.app.state.rooms.runs.document(id))


@router.get(
    "/v1/runs/{id}/page",
    responses={200: {"content": {"text/html": {}}, "description": "A page that updates itself."}} | errors(),
    response_class=HTMLResponse,
    summary="A page to watch a run on",
)
def run_page(id: RunId) -> Response:
    """Answer with a page that asks for the run every second; give it a token as `#token=...`."""
    text, policy = _page()
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


@cache
def _page() -> tuple[str, str]:
    """The page, and the policy under which a browser runs its script and nothing else."""
    folder = files("mcmc.service") / "template"
    page, style, script = ((folder / f"run.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    known = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    policy = f"default-src 'none'; style-src 'sha256-{known[0]}'; script-src 'sha256-{known[1]}'; connect-src 'self'"
    policy += "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return page.replace("/*style*/", style).replace("/*script*/", script), policy
