"""Draws on the host and on disk: recorder, zarr store, the DataTree and back."""
