"""Answers of a server as the client returns them: a diagnosis and a job."""

from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True)
class Verdict:
    """A diagnosis made by a server: the same text and numbers as `mcmc.diagnose`, NaN and infinities as None.

    Example:
        >>> Verdict.of({"ok": True, "verdict": "Good.", "chains": 4, "draws": 100}).ok
        True
    """

    ok: bool
    verdict: str
    chains: int
    draws: int
    quick: bool = False
    has_non_finite: bool = False
    checks: list[dict[str, Any]] = field(default_factory=list, repr=False)
    table: list[dict[str, Any]] = field(default_factory=list, repr=False)
    notices: list[str] = field(default_factory=list)
    understood: str = ""
    next_step: dict[str, str] | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        """The verdict in a server's JSON."""
        return cls(**_known(cls, answer))

    def __str__(self) -> str:
        failed = [check for check in self.checks if check["passed"] is False and check["severity"] != "info"]
        lines = [f"  {c['severity']}, {c['code']}: {c['message']}.\n    {c['advice']}" for c in failed]
        return "\n".join([self.verdict, *lines])


@dataclass(frozen=True)
class Job:
    """A job on a server: `status` is queued, running, done or failed.

    Example:
        >>> Job.of({"id": "a", "status": "queued"}).finished
        False
    """

    id: str
    status: str
    verdict: Verdict | None = None
    error: dict[str, Any] | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        """The job in a server's JSON."""
        found = _known(cls, answer)
        result = answer.get("result")
        return cls(**found, verdict=None if result is None else Verdict.of(result))

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("done", "failed")


def _known(kind: type, answer: dict[str, Any]) -> dict[str, Any]:
    """What of a server's JSON this version knows, so that a newer server does not break an older client."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in answer.items() if name in names}
