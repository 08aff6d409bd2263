"""The report: one self-contained HTML page on a run, verdict first."""

from mcmc.reporting.pages import destination, page, report

__all__ = ["destination", "page", "report"]
