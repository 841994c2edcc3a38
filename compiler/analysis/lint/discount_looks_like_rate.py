import math

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Ranges
from rbcc.compiler.analysis.lint.base import Report, rounded
from rbcc.compiler.ir.types import Role


TINY = 0.5  # a rate of discount or of interest, rather than a factor
LONG = 10  # how many times longer than agents look ahead an episode may be


def discount(model: ir.Model, ranges: Ranges, report: Report) -> None:
    """Discount factors that are probably rates, or of another length of step; parts that an only step does not need."""
    for agent in model.agents:
        value = ranges.of(agent.discount, ranges.fixed) if agent.discount is not None else None
        if value is None or value.low != value.high:
            continue
        own = ("agents", agent.name, "discount")
        span, factor = report.document.key(own if report.document.has(own) else ("discount",)), value.low
        if model.ends_after == 1:
            if 0 < factor < 1:
                report.warning(
                    "RB802",
                    f"a discount factor of {rounded(factor)} in an episode of one step",
                    span,
                    "there is nothing to discount: write 'discount: 1', or a longer 'horizon'",
                )
        elif 0 < factor < TINY:
            report.warning(
                "RB801",
                f"a discount factor of {rounded(factor)}: the next step counts for {factor:.0%} of this one",
                span,
                f"is it a rate? The factor of a rate of {rounded(factor)} is {1 / (1 + factor):.4g}",
            )
        elif 0 < factor < 1 and (model.ends_after or 0) > LONG * (ahead := math.log(0.01) / math.log(factor)):
            report.warning(
                "RB801",
                f"a discount factor of {factor:g}: agents look {ahead:.0f} of {model.horizon:,} steps ahead, "
                "and later steps count for less than 1%",
                span,
                f"is it the factor of a year, but a step is shorter? That of a quarter is {factor:g}^(1/4) = {factor**0.25:.4g}",
            )
    if model.ends_after == 1:
        _idle_states(model, report)


def _idle_states(model: ir.Model, report: Report) -> None:
    read = {node.symbol for node in ir.expressions(model) if isinstance(node, ir.Reference)}
    # What is drawn for every episode, such as private information, can be nothing but a state.
    drawn = {d.symbol for d in model.starts if any(isinstance(node, ir.Draw) for node in ir.walk(d.expression))}
    for symbol in model.symbols:
        if symbol.role is not Role.STATE or symbol.name.endswith("'") or symbol.name in drawn:
            continue
        if f"{symbol.name}'" not in read:
            report.warning(
                "RB802",
                f"state '{symbol.name}' in an episode of one step: its next value is never used",
                report.span(symbol.place),
                "make it a parameter, or make 'horizon' longer",
            )
