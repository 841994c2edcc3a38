import math
from collections.abc import Collection, Iterable

from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.util.text import counted
from rbcc.compiler.util.toposort import reached


def influence(model: ir.Model, report: Report) -> None:
    """Choices that cannot affect the reward of those who make them, in any step before the economy ends, if it does.

    The flow is followed through equations, from step to step through states, and through what others observe; not
    through what the agents take as given.
    """
    flow = Flow(model)
    for agent in model.agents:
        actions = [a for a in model.actions if model.symbol(a.symbol).owner == agent.name and a.symbol in flow.read]
        targets = {f"{agent.name}.reward"} | {
            symbol for c in model.constraints if c.agent == agent.name for symbol in ir.references(c.violation)
        }
        delays = {action.symbol: flow.delay(action.symbol, targets, agent.given) for action in actions}
        end = model.ends_after or math.inf
        idle = [symbol for symbol, delay in delays.items() if delay is None or delay >= end]
        reward = next((d for d in model.equations if d.symbol == f"{agent.name}.reward"), None)
        if reward is None or not idle:
            continue
        if len(idle) == len(actions):
            late = [delay for delay in delays.values() if delay is not None]
            report.warning(
                "RB804",
                f"nothing that '{agent.name}' chooses can affect its reward{_late(min(late, default=None), model)}",
                report.span(reward.place),
                "is a name missing in the reward, or an equation that leads to it? There is nothing to learn",
            )
            continue
        for symbol in idle:
            report.warning(
                "RB804",
                f"choice '{symbol}' cannot affect the reward of '{agent.name}'{_late(delays[symbol], model)}",
                report.span(model.symbol(symbol).place),
                "is it missing in an equation? Choices without an effect stay random",
            )


def _late(delay: int | None, model: ir.Model) -> str:
    if delay is None:
        return ""
    steps = "one" if model.horizon == 1 else f"{model.horizon} steps"
    return f" in time: it takes {counted(delay, 'step')}, and an episode has {steps}"


class Flow:
    """Which symbols are computed, chosen or carried on from which, and how many steps later."""

    def __init__(self, model: ir.Model):
        self.edges: dict[str, list[tuple[str, int]]] = {}
        self.read: set[str] = set()
        for definition in model.equations:
            self.add(ir.references(definition.expression), definition.symbol, 0)
            if definition.symbol.endswith("'"):
                self.add([definition.symbol], definition.symbol[:-1], 1)
        for observation in model.observations:
            chosen = [a.symbol for a in model.actions if model.symbol(a.symbol).owner == observation.agent]
            for feature in observation.features:
                for action in chosen:
                    self.add(ir.references(feature.expression), action, 0)
        for action in model.actions:
            self.add(action.reads, action.symbol, 0)
        for part in (*model.indicators, *model.invariants):
            self.read |= ir.references(part.expression)
        for identity in model.balances:
            self.read |= ir.references(identity.left) | ir.references(identity.right)
        for constraint in model.constraints:
            self.read |= ir.references(constraint.violation)

    def add(self, sources: Iterable[str], target: str, steps: int) -> None:
        for source in sources:
            self.read.add(source)
            self.edges.setdefault(source, []).append((target, steps))

    def after(self, sources: set[str]) -> set[str]:
        """All that follows from `sources`, in the same step or later, and these."""
        return reached({source: [target for target, _ in found] for source, found in self.edges.items()}, sources)

    def delay(self, source: str, targets: set[str], given: Collection[str] = ()) -> int | None:
        """The least number of steps after which `source` reaches one of `targets`, by a way that meets none `given`."""
        steps, now, later = 0, [source], []
        seen = {source, *given}
        while now:
            while now:
                symbol = now.pop()
                if symbol in targets:
                    return steps
                for target, lag in self.edges.get(symbol, ()):
                    if lag:
                        later.append(target)
                    elif target not in seen:
                        seen.add(target)
                        now.append(target)
            steps, now, later = steps + 1, [s for s in dict.fromkeys(later) if s not in seen], []
            seen.update(now)
        return None
