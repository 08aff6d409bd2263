"""Counts and times for Prometheus, each application's own."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")


class Metrics:
    """What `/metrics` shows; no label comes from a client, so there are never many."""

    def __init__(self):
        self.registry = CollectorRegistry()
        labels = ["method", "path", "status"]
        self._requests = Counter("mcmc_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "mcmc_request_seconds", "Time to answer.", ["path"], buckets=SECONDS, registry=self.registry
        )
        self.refused = Counter("mcmc_refused", "Requests refused, by code.", ["code"], registry=self.registry)
        self.diagnoses = Counter("mcmc_diagnoses", "Diagnoses made.", ["verdict"], registry=self.registry)

    def watch(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Show what `read()` returns whenever somebody asks."""
        Gauge(name, help, registry=self.registry).set_function(read)

    def answered(self, scope: dict[str, Any], status: int, seconds: float) -> None:
        """Count an answer."""
        path = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
