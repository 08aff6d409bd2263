"""What tunes a kernel, from all chains together."""
