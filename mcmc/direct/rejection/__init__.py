"""Draws by rejection under an envelope."""
