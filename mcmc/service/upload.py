"""A request's body, to files in a folder of its own: never more bytes than allowed, never a name from outside."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from mcmc.service.failures import Failure

MOST_FILES = 256
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
PIECE = 1 << 20


@dataclass(frozen=True)
class Uploaded:
    """What was sent: `kind` is "json" or "files", `files` their names in the folder."""

    kind: str
    files: list[str]


def safe_name(name: str, taken: set[str]) -> str:
    """A new name in a folder: the end of the client's, letters, digits, `.`, `_` and `-` only.

    >>> safe_name("../../etc/pass wd", set())
    'pass_wd'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    found = NOT_IN_NAMES.sub("_", last).lstrip(".-")[-80:] or "draws"
    number, unique = 2, found
    while unique.lower() in taken:
        number, unique = number + 1, f"{number}_{found}"
    taken.add(unique.lower())
    return unique


async def receive(request: Any, folder: Path, filename: str) -> Uploaded:
    """Write a request's body to files in `folder`.

    Raises:
        Failure: nothing was sent, or in a form that is not known. (The guard counts the bytes.)
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        await _write(request, folder / "draws.json")
        return Uploaded("json", ["draws.json"])
    if kind == "application/octet-stream":
        name = safe_name(filename, set())
        await _write(request, folder / name)
        return Uploaded("files", [name])
    if kind == "multipart/form-data":
        try:
            return Uploaded("files", await _parts(request, folder))
        except HTTPException as error:
            if "Too many" not in error.detail:
                raise
            message = f"A form may have {MOST_FILES} files and as many fields. Send one file of all chains."
            raise Failure(413, "limit_exceeded", message, what="files", limit=MOST_FILES) from error
    expected = "application/json, application/octet-stream or multipart/form-data"
    raise Failure(415, "unsupported_media_type", f"Content-Type: got {kind or 'none'}; expected {expected}.")


async def _write(request: Any, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += file.write(piece)
    if not size:
        raise Failure(400, "no_file", "The request has no body: send a file or JSON.")


async def _parts(request: Any, folder: Path) -> list[str]:
    """The files of a form, in their order; other fields are refused, so that no option is left out silently."""
    names: list[str] = []
    fields: list[str] = []
    taken: set[str] = set()
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES) as form:
        for field, part in form.multi_items():
            if isinstance(part, str):
                fields.append(field[:40])
                continue
            name = safe_name(part.filename or "draws", taken)
            with (folder / name).open("xb") as file:
                while piece := await part.read(PIECE):
                    file.write(piece)
            names.append(name)
    if not names:
        raise Failure(400, "no_file", "The form has no file: curl -F files=@draws.nc sends one.")
    if fields:
        message = f"{fields[0]}: got a field of the form; expected files alone. Options are query parameters: "
        raise Failure(422, "invalid_request", message + "/v1/diagnose?burn=100&thin=2.")
    return names
