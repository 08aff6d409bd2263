"""Independent draws from laws on integers."""
