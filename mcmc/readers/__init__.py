"""Readers: draws that other programs wrote, as one kind of tree. Nothing is unpickled, nothing is guessed."""

from mcmc.readers.limits import LimitError, Limits, ReadError, ReadWarning
from mcmc.readers.reading import FORMATS, format_of, read

__all__ = ["FORMATS", "LimitError", "Limits", "ReadError", "ReadWarning", "format_of", "read"]
