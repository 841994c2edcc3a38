from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.analysis.lint.choice_without_effect import Flow


FLAT = ("floor", "sign")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def jumps(model: ir.Model, report: Report) -> None:
    """What follows from a choice in jumps, where agents learn by derivatives: these are 0 there, or say nothing."""
    learners = [one.agent for phase in model.phases for one in phase.learners if one.algorithm == "pathwise"]
    if not learners:
        return
    flow = Flow(model)
    chosen = flow.after({action.symbol for action in model.actions})
    for agent in dict.fromkeys(learners):
        for definition in model.equations:
            jump = next((node for node in ir.walk(definition.expression) if _jumps(node, chosen)), None)
            if jump is not None and flow.delay(definition.symbol, {f"{agent}.reward"}) is not None:
                report.warning(
                    "RB807",
                    f"'{agent}' learns by derivatives, and {ir.show(jump)} has none",
                    report.span(definition.place),
                    "write it without a jump, with min or max where that is meant, or let the type learn by ppo",
                )
                break


def _jumps(node: ir.Expression, chosen: set[str]) -> bool:
    jumping = (
        (isinstance(node, ir.Apply) and node.function in FLAT)
        or (isinstance(node, ir.Binary) and node.operator in COMPARISONS)
        or (isinstance(node, ir.Reduce) and node.operator in ("argmax", "argmin"))
        or (isinstance(node, ir.Draw) and node.distribution == "bernoulli")
    )
    return jumping and not chosen.isdisjoint(ir.references(node))
