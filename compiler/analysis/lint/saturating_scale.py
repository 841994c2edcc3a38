import math

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges
from rbcc.compiler.analysis.lint.base import Report, rounded


LARGE = 10.0  # inputs beyond this drive a network's units into saturation
SMALL = 0.001  # inputs that differ by less than this look alike


def scales(model: ir.Model, ranges: Ranges, report: Report) -> None:
    """Observations whose scale makes them huge or all alike for a network.

    Judged are values that are met for sure: parameters, choices and what holds them, the clock, states at their
    start. What a state may become is not: bounds that are sure are too wide to be of use.
    """
    seen: set[tuple[str, ir.Place]] = set()
    for observation in model.observations:
        for feature in observation.features:
            scale = ranges.of(feature.scale, ranges.fixed) if feature.scale is not None else None
            if feature.encoding not in ("linear", "log") or scale is None or scale.low <= 0:
                continue
            sure = ranges.exact(feature.expression.symbol) if isinstance(feature.expression, ir.Reference) else None
            met = sure or _least(ranges.of(feature.expression, ranges.start))
            if met is None or not math.isfinite(met.size) or (feature.name, feature.place) in seen:
                continue
            seen.add((feature.name, feature.place))
            ratio = met.size / scale.high
            number = ratio if feature.encoding == "linear" else math.log1p(ratio)
            if number > LARGE:
                report.warning(
                    "RB805",
                    f"'{feature.name}' reaches {rounded(met.size)} with a scale of {rounded(scale.high)}: "
                    f"networks would see {rounded(number)}, and saturate",
                    report.span(feature.place),
                    f"give the typical size: a scale of about {rounded(_round(met.size))}",
                )
            elif sure and 0 < (sure.high - sure.low) / scale.low < SMALL:
                report.warning(
                    "RB805",
                    f"'{feature.name}' varies by {rounded(sure.high - sure.low)} with a scale of {rounded(scale.low)}: "
                    "networks can hardly see a difference",
                    report.span(feature.place),
                    f"give the typical size: a scale of about {rounded(_round(sure.size))}",
                )


def _least(range_: Interval | None) -> Interval | None:
    """A value that is met at least, in absolute value, somewhere in a range."""
    if range_ is None or not math.isfinite(range_.size):
        return None
    least = 0.0 if range_.low < 0 < range_.high else min(abs(range_.low), abs(range_.high))
    return Interval(least, least)


def _round(size: float) -> float:
    """The nearest power of ten."""
    return 10.0 ** round(math.log10(size)) if size > 0 else 1.0
