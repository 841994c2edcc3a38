"""Numbers as people read them."""

import math


def percent(share: float | None) -> str:
    return "-" if share is None else f"{round(share, 4) + 0:.2%}"


def number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e12 else f"{value:.4g}"


def rate(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f} a second" if value >= 1 else f"{1 / value:.1f} s each"


def duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
