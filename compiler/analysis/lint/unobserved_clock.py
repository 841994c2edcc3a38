from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.analysis.lint.choice_without_effect import Flow
from rbcc.compiler.diagnostics import Label, Span


def clock(model: ir.Model, report: Report) -> None:
    """Types for which it matters how many steps are left, since what they choose pays later, and who do not see it."""
    if model.ends_after in (None, 1):
        return
    flow = Flow(model)
    clocks = {"time", *_counters(model)}
    found: list[tuple[str, str]] = []
    for agent in model.agents:
        own = [action for action in model.actions if model.symbol(action.symbol).owner == agent.name]
        actions = {action.symbol for action in own}
        features = [f for one in model.observations if one.agent == agent.name for f in one.features]
        seen = {symbol for feature in features for symbol in ir.references(feature.expression)}
        if not actions or seen & clocks:
            continue
        moved = {symbol.removesuffix("'") for symbol in flow.after(actions) if symbol.endswith("'")}
        # What counts, but for its answers to what it sees: its reward, and from where to where it can choose.
        counts = {f"{agent.name}.reward"} | {name for action in own for name in action.reads}
        states = (s for s in model.symbols if s.name in moved and flow.delay(s.name, counts, actions) is not None)
        nearest = sorted(states, key=lambda s: s.owner != agent.name)  # of its own first
        if nearest:
            found.append((agent.name, nearest[0].name))
    if found:
        (first, state), *others = found
        report.warning(
            "RB608",
            f"'{first}' does not observe the time, but its choices pay off later, through '{state}'",
            _place(first, report),
            f"after {model.horizon} steps the economy ends, and near the end other choices are best: add 'time' to "
            "what it observes; or write 'continuing: true' if the economy goes on",
            tuple(Label(_place(other, report), f"nor does '{other}', at") for other, _ in others),
        )


def _place(agent: str, report: Report) -> Span:
    path = ("agents", agent, "observes")
    return report.document.key(path if report.document.has(path) else path[:2])


def _counters(model: ir.Model) -> set[str]:
    """States that only count the steps: to their value something fixed is added."""
    fixed = {definition.symbol for definition in model.parameters}
    found = set()
    for definition in model.equations:
        node, state = definition.expression, definition.symbol[:-1]
        if (
            definition.symbol.endswith("'")
            and isinstance(node, ir.Binary)
            and node.operator in ("+", "-")
            and isinstance(node.left, ir.Reference)
            and node.left.symbol == state
            and ir.references(node.right) <= fixed
        ):
            found.add(state)
    return found
