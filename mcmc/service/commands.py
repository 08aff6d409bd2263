"""The command `mcmc serve`."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from mcmc.errors import how_to_install

NEEDED = ("fastapi", "uvicorn", "pydantic", "multipart", "prometheus_client")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8765,
    token: Annotated[
        str | None,
        typer.Option(help="What clients must send. Better in the environment than here.", envvar="MCMC_SERVE_TOKEN"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of jobs and runs.", show_default="the user's state folder")
    ] = None,
    workers: Annotated[int, typer.Option(help="Jobs done at the same time.", min=1)] = 1,
    concurrency: Annotated[int, typer.Option(help="Requests judged at the same time.", min=1)] = 2,
    request_mb: Annotated[int, typer.Option(help="Most MB of a request that is not a job.", min=1)] = 64,
    job_mb: Annotated[int, typer.Option(help="Most MB of a job's files.", min=1)] = 1000,
    memory_mb: Annotated[int, typer.Option(help="Most MB of memory to judge a request.", min=100)] = 2000,
    job_memory_mb: Annotated[int, typer.Option(help="Most MB of memory to do a job.", min=100)] = 8000,
    seconds: Annotated[float, typer.Option(help="Longest time to judge a request.", min=0.1)] = 60.0,
    job_seconds: Annotated[float, typer.Option(help="Longest time to do a job.", min=0.1)] = 1800.0,
) -> None:
    """Judge draws over HTTP, and follow runs that are going on, until Ctrl-C."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"got no {', '.join(missing)}; the server needs them. Install them: {how_to_install('service')}.")
    from mcmc import service

    folder = _state_folder() if state is None else state
    try:
        settings = service.Settings(
            host=host, port=port, token=token or None, state=folder, workers=workers, concurrency=concurrency,
            request_bytes=request_mb * 10**6, job_bytes=job_mb * 10**6, memory=memory_mb * 10**6,
            job_memory=job_memory_mb * 10**6, seconds=seconds, job_seconds=job_seconds,
        )  # fmt: skip
        service.serve(settings, lambda url: typer.echo(f"mcmc: serving at {url}, state in {folder}", err=True))
    except (OSError, RuntimeError, ValueError) as error:
        _fail(str(error))


def _state_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("mcmc", appauthor=False)) / "service"


def _fail(message: str) -> None:
    typer.echo(f"mcmc serve: {message}", err=True)
    raise typer.Exit(2)
