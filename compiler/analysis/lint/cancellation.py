from collections.abc import Iterator

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Environment, Interval, Ranges
from rbcc.compiler.analysis.lint.base import Report, rounded


ROUNDING = 2.0**-24  # what a number of single precision is off, at most, as a share of it
LOST = 1e-3  # a difference that is off by more than this share of it has lost most of its digits


def cancellation(model: ir.Model, ranges: Ranges, report: Report) -> None:
    """Differences of numbers so large and so close that single precision cannot tell them."""
    if model.precision == "float64":
        return
    values = ranges.usual
    for definition in (*model.equations, *model.indicators):
        for node, left, right in _differences(definition.expression, values, ranges):
            result, large = ranges.of(node, values), max(_least(left), _least(right))
            if result is not None and result.size > 0 and ROUNDING * large > LOST * result.size:
                report.warning(
                    "RB808",
                    f"{ir.show(node)} is at most {rounded(result.size)}, a difference of numbers above "
                    f"{rounded(large)}, of which single precision keeps 7 digits",
                    report.span(definition.place),
                    "write 'precision: float64' at the top of the spec, or the equation without the large numbers",
                )
                break


def _differences(
    expression: ir.Expression, values: Environment, ranges: Ranges
) -> Iterator[tuple[ir.Expression, Interval, Interval]]:
    """Sums and differences of which the two sides, as they are subtracted, have the same sign; not those of written
    numbers, which the compiler computes exactly."""
    for node in ir.walk(expression):
        if isinstance(node, ir.Binary) and node.operator in ("+", "-"):
            left, right = ranges.of(node.left, values), ranges.of(node.right, values)
            if right is not None and node.operator == "+":
                right = Interval(-right.high, -right.low)
            if left is None or right is None or not any(ir.references(node)):
                continue
            if min(left.low, right.low) > 0 or max(left.high, right.high) < 0:
                yield node, left, right


def _least(interval: Interval) -> float:
    """The smallest absolute value in an interval without 0."""
    return min(abs(interval.low), abs(interval.high))
