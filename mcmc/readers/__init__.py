"""Readers: draws that other programs wrote, as one kind of tree. Nothing is unpickled, nothing is guessed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
