"""What a person wants to know of a compiled model on one screen."""

from collections.abc import Iterator
from pathlib import Path

import yaml
from platformdirs import user_cache_path

from rbcc.compiler import ir
from rbcc.compiler.driver import Compiled
from rbcc.compiler.ir.types import Role
from rbcc.compiler.source import shipped_models
from rbcc.compiler.util.atomic_write import write_file
from rbcc.compiler.util.text import counted


def write_module(compiled: Compiled, path: Path | None) -> str:
    """Writes the generated module, by default into the user's cache folder, and returns words that say where.

    Raises OSError if the module cannot be written to a given path.
    """
    chosen = path
    if chosen is None:
        chosen = user_cache_path("rbcc") / f"{compiled.model.name}_{compiled.model.digest[:12]}.py"
    try:
        write_file(chosen, compiled.python().encode())
    except OSError as error:
        if path is not None:
            raise
        return f"module not written: {error}"
    return f"module written to {chosen}"


def summary(compiled: Compiled, module: str) -> str:
    """Agent types, states, choices, observations, equations, training, warnings, and where the module is."""
    model = compiled.model
    title = f"{model.name}: {model.title}" if model.title else model.name
    lines = [title + (f" ({model.reference})" if model.reference else "")]
    agents = counted(sum(agent.count for agent in model.agents), "agent")
    lines.append(f"{model.length}; {agents} of {counted(len(model.agents), 'type')}")
    for agent in model.agents:
        lines += ["", *_agent(model, agent)]
    economy = [s.name for s in model.symbols if s.role is Role.STATE and s.owner is None and not s.name.endswith("'")]
    if economy:
        lines += ["", f"state of the economy: {', '.join(economy)}"]
    groups = len({d.group for d in model.equations if d.group})
    lines += [
        "",
        f"{counted(len(model.equations), 'equation')} in {counted(groups, 'group')}, "
        f"{counted(len(model.parameters), 'parameter')}, {counted(len(model.accounts), 'account')}, "
        f"{counted(len(model.identities), 'identity', 'identities')}, {counted(len(model.invariants), 'invariant')}",
    ]
    for system in ir.systems(model):
        unknowns = ", ".join(one.symbol for one in system.unknowns)
        lines.append(f"solved in each step: {system.name}, for {unknowns}")
    for phase in model.phases:
        fresh = ", fresh optimizer" if phase.fresh_optimizer else ""
        economies = counted(phase.economies, "economy", "economies")
        until = f" until {', '.join(f'{agent} {target}' for agent, target in phase.until)}" if phase.until else ""
        lines.append(f"training {phase.name}: {counted(phase.iterations, 'iteration')} of {economies}{fresh}{until}")
    if not model.phases:
        lines.append("no training in this spec")
    lines.append(f"{counted(len(compiled.warnings), 'warning')}; {module}")
    return "\n".join(lines)


def _agent(model: ir.Model, agent: ir.Agent) -> Iterator[str]:
    index = f"[{', '.join(agent.indices)}]" if agent.indices else ""
    yield f"{agent.count} {agent.name}{index}{f': {agent.doc}' if agent.doc else ''}"
    mine = [s for s in model.symbols if s.owner == agent.name]
    states = [_short(s) for s in mine if s.role is Role.STATE and not s.name.endswith("'")]
    if states:
        yield f"  owns     {', '.join(states)}"
    parameters = [_short(s) for s in mine if s.role is Role.PARAMETER]
    if parameters:
        yield f"  is       {', '.join(parameters)}"
    for action in model.actions:
        symbol = model.symbol(action.symbol)
        if symbol.owner == agent.name:
            yield f"  chooses  {_short(symbol)}: {_choices(action)}"
    for observation in model.observations:
        if observation.agent == agent.name:
            shared = sum(feature.size for feature in observation.shared)
            own = sum(feature.size for feature in (*observation.own, *observation.fixed))
            split = f": {shared} that all see, {own} of its own" if shared + own else ""
            yield f"  sees     {counted(shared + own, 'number')}{split}"
    reward = next((d for d in model.equations if d.symbol == f"{agent.name}.reward"), None)
    if reward is not None:
        yield f"  wants    {ir.show(reward.expression)}"
    if agent.given:
        yield f"  takes    {', '.join(agent.given)} as given"


def _short(symbol: ir.Symbol) -> str:
    over = [owner for owner in symbol.sets if owner != symbol.owner]
    return symbol.name.rpartition(".")[2] + (f" for each {over[0]}" if over else "")


def _choices(action: ir.Action) -> str:
    if action.of is not None or not action.choices:
        return action.words
    first = ", ".join(f"{choice:g}" for choice in action.choices[:3])
    where = "" if action.where is None else f", where {ir.show(action.where)}"
    return (first if action.size <= 3 else f"{first}, ... {action.choices[-1]:g} ({action.size} choices)") + where


def shipped() -> Iterator[tuple[str, str]]:
    """(name, title) of the models that ship with rbcc."""
    for path in sorted(shipped_models().glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield path.stem, data.get("title", "")
