"""ASGI middleware: host, token and length checks of every request; headers of every answer."""

import asyncio
import contextlib
import hmac
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from mcmc.service.children import internal
from mcmc.service.failures import Failure, disk_full, is_disk_full, too_many_bytes
from mcmc.service.metrics import Metrics
from mcmc.service.settings import MB, Settings

logger = logging.getLogger("mcmc.service")
OPEN = ("/healthz", "/v1/runs/{id}/page")
"""Paths that need no token: they show nobody's draws."""
BLOCK_BYTES = 16 * MB
DISCARDED_BYTES, DISCARDED_SECONDS = 64 * MB, 10.0
"""Read and dropped of what was refused: an answer reaches those who send all before they read, if there is an end."""
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer"}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics):
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        body = Body(receive, self._most_bytes(scope["path"]))

        async def send_on(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message.get("headers", ())}
                own = HEADERS | ({"connection": "close"} if status >= 400 and scope["method"] == "POST" else {})
                added = [(k.encode(), v.encode()) for k, v in own.items() if k.encode() not in given]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            elif status >= 400 and scope["method"] == "POST" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check(scope, headers)
            body.declare(headers.get("content-length", ""))
            await self.app(scope, body.receive, send_on)
        except Exception as error:
            failure = _failure(error)
            if status:
                logger.error("an answer broke off: %s", failure.message)
                raise
            self.metrics.refused.labels(failure.code).inc()
            await refuse(failure, send_on)
        finally:
            self.metrics.answered(scope, status, time.monotonic() - began)

    def _check(self, scope: dict[str, Any], headers: dict[str, str]) -> None:
        """Raise the Failure that a request's head calls for."""
        host = headers.get("host", "")
        if self.settings.token is None and _parts(f"//{host}")[0] not in LOCAL_HOSTS:
            raise Failure(403, "wrong_host", "Without a token this server answers to localhost only.")
        origin = headers.get("origin")
        if origin is not None and _parts(origin)[1] != host:
            raise Failure(403, "wrong_origin", "Pages of other sites may not use this server.")
        if self.settings.token is not None and not _is_open(scope["path"]):
            scheme, _, token = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(token.strip().encode("latin-1"), self.settings.token.encode())
            if scheme.lower() != "bearer" or not same:
                message = "This server needs a token: send the header Authorization: Bearer TOKEN."
                raise Failure(401, "unauthorized", message)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Failure(415, "unsupported_encoding", "Send the body as it is, without Content-Encoding.")

    def _most_bytes(self, path: str) -> int:
        if path.startswith("/v1/jobs"):
            return self.settings.job_bytes
        if path.startswith("/v1/runs"):
            return min(BLOCK_BYTES, self.settings.request_bytes)
        return self.settings.request_bytes


class Body:
    """A request's body as it comes: counted, refused when it is too long, and read on where nobody wants it."""

    def __init__(self, receive: Receive, most: int):
        self._receive, self._most = receive, most
        self._received, self._ended = 0, False

    def declare(self, length: str) -> None:
        """Refuse a body that says it is too long."""
        if length.isdecimal() and int(length[:20]) > self._most:
            raise too_many_bytes(self._most)

    async def receive(self) -> dict[str, Any]:
        """The next part."""
        message = await self._next()
        if self._received > self._most:
            raise too_many_bytes(self._most)
        return message

    async def discard(self) -> None:
        """Drop what is still being sent, up to a length and a time: then the connection closes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARDED_SECONDS):
                while not self._ended and self._received <= self._most + DISCARDED_BYTES:
                    await self._next()

    async def _next(self) -> dict[str, Any]:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message


def _failure(error: Exception) -> Failure:
    """The answer that an error stands for."""
    if isinstance(error, Failure):
        return error
    return disk_full() if is_disk_full(error) else internal(traceback.format_exc())


def _is_open(path: str) -> bool:
    return path == OPEN[0] or (path.startswith("/v1/runs/") and path.endswith("/page") and path.count("/") == 4)


def _parts(address: str) -> tuple[str, str]:
    """Host name and network location of an address; empty where it is none."""
    try:
        found = urlsplit(address)
        return found.hostname or "", found.netloc
    except ValueError:
        return "", ""


async def refuse(failure: Failure, send: Send) -> None:
    """Send a Failure as JSON."""
    body = json.dumps(failure.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    pairs = [(k.lower().encode(), v.encode()) for k, v in (headers | failure.headers).items()]
    await send({"type": "http.response.start", "status": failure.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
