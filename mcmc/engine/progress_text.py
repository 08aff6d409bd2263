"""A progress update in words."""

import math
from typing import Any


def describe(update: Any) -> str:
    """An update in one line of text."""
    return f"{update.phase} {', '.join(pace(update) + statistics(update))}"


def pace(update: Any) -> list[str]:
    """How far a phase is, how fast, and how long it takes yet."""
    if update.total is None:
        count = f"{update.done:,} iterations"
    else:
        share = update.done / update.total if update.total else 1.0
        count = f"{update.done:,} of {update.total:,} ({share:.0%})"
    left = update.time_left
    time = f"{duration(left)} left" if left else f"{duration(update.elapsed)} passed"
    gradients = update.gradients_per_second
    speed = [f"{update.draws_per_second:,.0f} draws/s"] + ([f"{gradients:,.0f} gradients/s"] if gradients else [])
    return [count, *speed, time]


def statistics(update: Any) -> list[str]:
    """What is known of the draws so far."""
    parts = [] if update.acceptance is None else [f"acceptance rate {update.acceptance:.2f}"]
    if update.rhat is not None:
        parts.append(f"R-hat {update.rhat:.3f}")
    if update.ess is not None:
        parts.append(f"ESS {update.ess:,.0f}")
    if update.phase == "sampling" or update.divergences:
        parts.append(f"{update.divergences:,} diverging")
    if update.bytes_written:
        parts.append(f"{_size(update.bytes_written)} written")
    return parts


def duration(seconds: float) -> str:
    """Seconds in words: `8.2 s`, `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _size(number: float) -> str:
    power = min(int(math.log10(max(number, 1)) / 3), 4)
    return f"{number / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
