"""The command line app: `mcmc demo`, `mcmc sample model.py`, and the commands of `files` on saved draws.

Results go to stdout, progress and errors to stderr. Exit status: 0 for draws that pass the diagnosis, 1 for
draws that do not, 2 for bad input, 3 for a fault in this package, 130 after Ctrl-C.
"""

import importlib.util
import inspect
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mcmc.cli import files
from mcmc.cli.exits import FAULT, INTERRUPTED, NOT_CONVERGED, OK, fail, plain_errors
from mcmc.cli.explain import explain
from mcmc.cli.new import new
from mcmc.cli.verdict import show_verdict
from mcmc.errors import kind_of
from mcmc.service.commands import serve

if TYPE_CHECKING:
    from mcmc.cli.demo import Demo

app = typer.Typer(
    name="mcmc",
    help="Draw from a distribution, and say whether the draws can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Chains = Annotated[int | None, typer.Option(help="Number of chains.", show_default="64")]
Draws = Annotated[
    int | None,
    typer.Option(help="Draws kept, per chain.", show_default="1000; 20,000 in all for more than 16 chains"),
]
Warmup = Annotated[int | None, typer.Option(help="Iterations that tune the kernel.", show_default="by chains")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same draws.")]
Kernel = Annotated[str | None, typer.Option(help="HMC, RandomWalk, ...", show_default="chosen for the target")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def main() -> None:
    """Run the command line; the entry point `mcmc`."""
    try:
        app()
    except Exception:
        traceback.print_exc()
        sys.exit(FAULT)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Draw from a distribution, and say whether the draws can be trusted."""
    if version:
        from mcmc import __version__

        typer.echo(f"mcmc {__version__}")
        raise typer.Exit


# --- the commands ---------------------------------------------------------------------------------------


@app.command()
def demo(
    chains: Chains = None,
    draws: Draws = None,
    warmup: Warmup = None,
    seed: Seed = 1,
    kernel: Kernel = None,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the data.")] = Path("mcmc-demo"),
    quiet: Quiet = False,
) -> None:
    """Estimate the effects of coaching in eight schools (Rubin 1981): verdict, picture and data."""
    started = _process_start()
    import mcmc
    from mcmc.cli.demo import REFERENCE, run

    settings = {"chains": chains, "draws": draws, "warmup": warmup, "seed": seed, "progress": not quiet}
    with plain_errors():
        if out.exists() and not out.is_dir():
            fail(f"--out: {out} is a file; give a folder.")
        chosen = _kernel(kernel, {})
        result = run(out, lambda target: _draw(mcmc.sample, target, chosen, **settings), started)
    sizes, name = result.draws["posterior"].sizes, result.draws.attrs["kernel"].split("(")[0]
    typer.echo(f"Eight schools: {sizes['chain']} chains x {sizes['draw']} draws, kernel {name}\n")
    show_verdict(result.verdict, REFERENCE)
    typer.echo(f"\nPicture: {result.picture.resolve()}\nData:    {result.data.resolve()}")
    typer.echo(_times(result))
    _leave(result.draws, result.verdict)


@app.command()
def sample(
    script: Annotated[Path, typer.Argument(help="A Python script that defines an mcmc.Target.", metavar="MODEL.PY")],
    target: Annotated[str | None, typer.Option(help="The target's name, if there are several.")] = None,
    kernel: Kernel = None,
    chains: Chains = None,
    draws: Draws = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the draws go: .nc when the run ends, .zarr as they come.",
            show_default="posterior.nc, or the next free",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, a .zarr.")] = False,
    ess: Annotated[
        float | None, typer.Option(help="Draw until every parameter has so many effective draws.", show_default=False)
    ] = None,
    each: Annotated[
        Path | None,
        typer.Option(help="A table, .parquet or .csv: sample given every data set in it.", show_default=False),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="With --each: the column that names the data sets.", show_default="dataset")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="With --each: a .zarr to which all draws stream.", show_default="none")
    ] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Be one of several processes that share the chains.")
    ] = False,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of the first process.", show_default="as the cluster says")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="How many processes there are.", show_default="as the cluster says")
    ] = None,
    process: Annotated[
        int | None, typer.Option(help="Which of them this is, from 0.", show_default="as the cluster says")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Draw from the target that a script defines, judge the draws and write them to a file."""
    import mcmc

    settings = {"chains": chains, "draws": draws, "warmup": warmup, "seed": seed, "progress": not quiet}
    if each is not None:
        _sample_each(script, target, kernel, each, by, out, overwrite, ess, settings | {"store": store})
    destination = _destination(out, overwrite, resume, distributed)
    first = _join(coordinator, processes, process) if distributed else True
    names = vars(_load(script))
    with plain_errors(script):
        chosen_target = _target(names, target, script)
        chosen_kernel = _kernel(kernel, names)
        until = None if ess is None else mcmc.Converged(ess=ess)
        stored = {"store": destination, "overwrite": overwrite} if destination.suffix == ".zarr" else {}
        if resume:
            result = _draw(
                mcmc.resume, chosen_target, destination, draws, until=until, kernel=chosen_kernel, progress=not quiet
            )
        else:
            result = _draw(mcmc.sample, chosen_target, chosen_kernel, until=until, **settings, **stored)
        if not first:
            raise typer.Exit(OK)
        if not stored:
            _save(result, destination)
        verdict = mcmc.diagnose(result, quick=None)
    show_verdict(verdict)
    typer.echo(f"\nData: {destination.resolve()}")
    _leave(result, verdict)


app.command()(new)
app.command()(files.diagnose)
app.command()(files.report)
app.command()(files.compare)
app.command()(files.bench)
app.command()(explain)
app.command()(serve)


def _draw(draw: Callable, *what: Any, **settings: Any) -> Any:
    """Draw, keeping back the warning that repeats the verdict: the verdict itself is printed."""
    import mcmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return draw(*what, **settings)


def _sample_each(
    script: Path, target: str | None, kernel: str | None, table: Path, by: str | None, out: Path | None,
    overwrite: bool, ess: float | None, settings: dict[str, Any],
) -> NoReturn:  # fmt: skip
    """The same model on every data set of a table."""
    import mcmc
    from mcmc.cli.each import destination, sample_table

    place, names = destination(out, overwrite), vars(_load(script))
    settings["until"] = None if ess is None else mcmc.Converged(ess=ess)
    with plain_errors(script):
        chosen = _target(names, target, script), _kernel(kernel, names)
        sample_table(*chosen, table, by, place, settings)
    raise AssertionError


def _join(coordinator: str | None, processes: int | None, process: int | None) -> bool:
    """Join the other processes; whether this is the first."""
    import jax

    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        fail(
            f"--distributed: {error} Under Slurm, MPI or Kubernetes start one process a task; elsewhere give each "
            "--coordinator HOST:PORT --processes N --process I."
        )
    return jax.process_index() == 0


# --- the user's script ----------------------------------------------------------------------------------


def _load(script: Path) -> ModuleType:
    """The script as a module, read as `python script` reads it, save that `__name__` is not "__main__"."""
    if not script.is_file():
        fail(f"{script} is not a file.")
    loader = SourceFileLoader("__mcmc_model__", str(script.resolve()))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    sys.path.insert(0, str(script.resolve().parent))
    sys.argv = [str(script)]
    try:
        loader.exec_module(module)
    except KeyboardInterrupt:
        fail("interrupted; nothing was written.", INTERRUPTED)
    except SystemExit as error:
        fail(f"{script} ended itself (exit status {error.code}) before its target could be used.")
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != str(script.resolve()):
            frames = frames.tb_next
        traceback.print_exception(type(error), error, frames)
        fail(f"{script} could not be read: {kind_of(type(error))}: {error}")
    return module


def _target(names: dict[str, Any], wanted: str | None, script: Path) -> Any:
    from mcmc import Target

    found = {name: value for name, value in names.items() if isinstance(value, Target)}
    listed = ", ".join(found) or "none"
    if wanted is not None:
        chosen = names.get(wanted)
        if isinstance(chosen, Target) or (chosen is not None and callable(getattr(chosen, "sample", None))):
            return chosen
        fail(f"--target: {script} has no target named {wanted!r}; its targets: {listed}.")
    distinct = {id(value): value for value in found.values()}
    if not distinct:
        fail(f"{script} defines no mcmc.Target: name one at the top level, as in target = mcmc.Target(...).")
    if len(distinct) > 1:
        fail(f"{script} defines several targets: {listed}. Choose one with --target NAME.")
    return next(iter(distinct.values()))


def _kernel(wanted: str | None, names: dict[str, Any]) -> Any:
    """A kernel by its name in the script or, whatever the case, in `mcmc`; None where none is asked for."""
    if wanted is None:
        return None
    if hasattr(names.get(wanted), "step") and not inspect.isclass(names[wanted]):
        return names[wanted]
    import mcmc

    public = {name: getattr(mcmc, name) for name in dir(mcmc)}
    kernels = {n: k for n, k in public.items() if inspect.isclass(k) and hasattr(k, "init") and hasattr(k, "step")}
    plain = wanted.lower().replace("-", "").replace("_", "")
    for name, kernel in kernels.items():
        if name.lower() == plain:
            required = [p.name for p in inspect.signature(kernel).parameters.values() if p.default is p.empty]
            if required:
                fail(
                    f"--kernel: {name} needs {', '.join(required)}. Make it in the script, kernel = "
                    f"mcmc.{name}(...), and give that name: --kernel kernel."
                )
            return kernel()
    fail(f"--kernel: no kernel is named {wanted!r}. There are {', '.join(sorted(kernels))}.")


# --- files ----------------------------------------------------------------------------------------------


def _destination(out: Path | None, overwrite: bool, resume: bool, distributed: bool) -> Path:
    """Where the draws will go, checked before anything runs."""
    if (resume or distributed) and (out is None or out.suffix != ".zarr"):
        fail(f"{'--resume' if resume else '--distributed'} needs --out with a .zarr store.")
    if resume and out is not None:
        if not out.exists():
            fail(f"--resume: {out} does not exist; leave --resume out to begin.")
        return out
    if out is None:
        number, out = 2, Path("posterior.nc")
        while out.exists() and not overwrite:
            number, out = number + 1, Path(f"posterior-{number}.nc")
        return out
    if out.suffix not in (".nc", ".zarr"):
        fail(f"--out: {out} must end in .nc (netCDF) or .zarr.")
    if not out.resolve().parent.is_dir():
        fail(f"--out: there is no folder {out.resolve().parent}; make it first.")
    if out.exists() and not overwrite and not distributed:
        fail(f"--out: {out} exists; give another name, or --overwrite.")
    return out


def _save(draws: Any, path: Path) -> None:
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
            draws.to_zarr(path, mode="w")
    else:
        draws.to_netcdf(path, engine="h5netcdf")


# --- what is shown --------------------------------------------------------------------------------------


def _times(result: "Demo") -> str:
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in result.seconds.items())
    return f"Seconds: {parts}; {sum(result.seconds.values()):.2f} in all"


def _process_start() -> float | None:
    """When this process began, if it is the command line's own; None inside another program."""
    if Path(sys.argv[0]).stem not in ("mcmc", "main"):
        return None
    import psutil

    began = psutil.Process().create_time()
    return began if began <= time.time() else None


# --- errors ---------------------------------------------------------------------------------------------


def _leave(draws: Any, verdict: Any) -> NoReturn:
    if draws.attrs.get("status") == "interrupted":
        fail("interrupted; the draws made until then were written.", INTERRUPTED)
    raise typer.Exit(OK if verdict.ok else NOT_CONVERGED)


if __name__ == "__main__":
    main()
