"""The service as an ASGI application, and serving it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcmc.service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service as an ASGI application, for uvicorn or a test.

    Args:
        settings: where it listens, its token, its state folder and its limits. None: `Settings()`.

    Raises:
        ModuleNotFoundError: FastAPI is not installed (the extra `service`).

    Example:
        >>> from mcmc.service import Settings, create_app
        >>> app = create_app(Settings(workers=1))
        >>> "/v1/diagnose" in app.openapi()["paths"]
        True
    """
    from mcmc.service.app import build

    return build(settings or Settings())


def serve(settings: Settings | None = None, started: Callable[[str], Any] | None = None, **uvicorn: Any) -> None:
    """Serve until Ctrl-C; what `mcmc serve` runs.

    Args:
        settings: as in `create_app`.
        started: called with the server's address once it has its port.
        **uvicorn: further settings of `uvicorn.Config`, such as `log_level="info"`.

    Raises:
        ModuleNotFoundError: the libraries of the extra `service` are not installed.
        OSError: the port is taken.
    """
    from mcmc.service.app import run

    run(settings or Settings(), started, **uvicorn)
