"""The task of a child process: read files, diagnose the draws, write the report. Of HTTP it knows status codes only."""

import json
import os
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mcmc.readers.limits import LimitError, Limits, ReadError, ReadWarning
from mcmc.readers.reading import read
from mcmc.readers.selection import listed, selected, understood
from mcmc.service import archives
from mcmc.service.failures import disk_full, is_disk_full
from mcmc.service.plain import of_verdict

MOST_NOTICES = 20


def answer(task: dict[str, Any]) -> bytes:
    """The task's result as JSON, `{"result"}`; or `{"error": {status, code, message}}`; or `{"internal"}`, a fault."""
    try:
        found: dict[str, Any] = {"result": _judged(task)}
    except MemoryError:
        found = _out_of_memory(task)
    except Exception as error:
        found = _refused(error, task)
    return json.dumps(found, allow_nan=False, ensure_ascii=False).encode(errors="replace")  # half characters: ?


def _judged(task: dict[str, Any]) -> dict[str, Any]:
    from mcmc.diagnostics.verdict import diagnose

    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ReadWarning)
        draws = load(task)
    notices = [_without_paths(str(notice.message), task) for notice in noticed[:MOST_NOTICES]]
    try:
        verdict = diagnose(draws, **task["thresholds"])
    except (TypeError, ValueError) as error:
        raise ReadError(str(error)) from error
    result = of_verdict(verdict, task["table"]) | {"notices": notices, "understood": draws.attrs["understood"]}
    if task.get("report"):
        _write_report(draws, verdict, Path(task["report"]))
    return result


def load(task: dict[str, Any]) -> Any:
    """The draws in the task's files, which lie in the working directory."""
    limits = Limits(**task["limits"])
    names = [Path(name) for name in task["files"]]
    select = dict(task.get("select", {}))  # a job of an older version has none
    chains = select.pop("chains", None)
    for option in ("vars", "exclude"):
        select[option] = listed(select.get(option))
    if task["kind"] == "json":
        return _selected(from_json(names[0], limits, chains), select)
    if len(names) == 1 and archives.is_store(names[0]):
        names = [archives.unpack(names[0], Path("store"), limits)]
    try:
        return read(names, task.get("format"), limits, names=listed(task.get("names")), chains=chains, **select)
    except ReadError:
        raise
    except (TypeError, ValueError) as error:  # names or a format that do not go with the file
        raise ReadError(str(error)) from error


def _selected(tree: Any, select: dict[str, Any]) -> Any:
    tree.attrs["understood"] = understood(tree, "json", 1)
    try:
        return selected(tree, **select)
    except ReadError:
        raise
    except ValueError as error:
        raise ReadError(str(error)) from error


def from_json(path: Path, limits: Limits, chains: int | None = None) -> Any:
    """Draws written as `{"draws": {name: (chain, draw, ...) lists}, "sample_stats": {...}}`; null is NaN."""
    from mcmc.readers.array_layout import with_chains
    from mcmc.readers.trees import placed, tree_of

    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ReadError(f"draws: got no JSON ({type(error).__name__}); expected an object.") from error
    draws = found.get("draws") if isinstance(found, dict) else None
    stats = found.get("sample_stats") or {} if isinstance(found, dict) else {}
    if not isinstance(draws, dict) or not draws or not isinstance(stats, dict):
        expected = '{"draws": {"mu": [[0.1, 0.2], [0.3, 0.1]]}}: by name, a list of chains, each a list of draws'
        raise ReadError(f"draws: got another form; expected {expected}.")
    if more := sorted(set(found) - {"draws", "sample_stats"}):
        remedy = "Options are query parameters: /v1/diagnose?burn=100."
        raise ReadError(f"{str(more[0])[:40]}: got another key; expected draws and sample_stats alone. {remedy}")
    limits.check("variables", len(draws) + len(stats), "draws")
    groups = placed(with_chains({k: _array(k, v) for k, v in draws.items()}, chains, "draws"))
    stats = with_chains({k: _array(k, v) for k, v in stats.items()}, chains, "draws, sample_stats")
    groups["sample_stats"] = groups.get("sample_stats", {}) | stats
    limits.check("elements", sum(x.size for group in groups.values() for x in group.values()), "draws")
    return tree_of(groups, "draws")


def _array(name: str, values: Any) -> np.ndarray:
    """Nested lists as an array of numbers; null becomes NaN, and text is not read as a number."""
    try:
        found = np.asarray(values)
        if found.dtype.kind == "O" and all(v is None or isinstance(v, (bool, int, float)) for v in found.flat):
            found = found.astype(np.float64)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ReadError(f"draws, {name}: got lists of unequal lengths; expected (chain, draw, ...).") from error
    if found.dtype.kind not in "biuf":
        raise ReadError(f"draws, {name}: got something else than numbers; expected numbers, or null for NaN.")
    return found


def _write_report(draws: Any, verdict: Any, path: Path) -> None:
    """The page, whole or not at all."""
    from mcmc.reporting.pages import page

    part = path.with_suffix(".part")
    try:
        part.write_text(page(draws, verdict=verdict), encoding="utf-8", errors="replace")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _refused(error: Exception, task: dict[str, Any]) -> dict[str, Any]:
    if is_disk_full(error):
        full = disk_full()
        return {"error": {"status": full.status, "code": full.code, "message": full.message, "retry_after": 30}}
    if isinstance(error, ReadError):
        return _out_of_memory(task) if _from_memory(error) else _unreadable(error, task)
    return {"internal": "".join(traceback.format_exception(error))}


def _unreadable(error: ReadError, task: dict[str, Any]) -> dict[str, Any]:
    message = _without_paths(str(error), task)
    if isinstance(error, LimitError):
        message = message.partition(" Raise the limit")[0] + " Keep fewer draws or parameters, or send a job."
        return _error(413, "limit_exceeded", message, what=error.what, limit=error.most)
    return _error(422, "unreadable", message)


def _out_of_memory(task: dict[str, Any]) -> dict[str, Any]:
    message = "Judging these draws takes more memory than a request may have. Keep fewer draws, or send a job."
    return _error(413, "out_of_memory", message, what="memory", limit=task["memory"])


def _error(status: int, code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"status": status, "code": code, "message": message, **more}}


def _from_memory(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def _without_paths(message: str, task: dict[str, Any]) -> str:
    """A message in which files have the names that the client gave them."""
    for folder in (os.path.realpath(task["folder"]), task["folder"]):
        message = message.replace(folder + os.sep, "").replace(folder, "the upload")
    return message[:2000]
