"""Agent types, parameters, states and actions: everything a spec declares by name."""

from dataclasses import replace

from rbcc.compiler import ir
from rbcc.compiler.context import Context, place_of
from rbcc.compiler.diagnostics import suggest
from rbcc.compiler.emit.names import MODULE_NAMES
from rbcc.compiler.infer import DISTRIBUTIONS, REDUCTIONS
from rbcc.compiler.order import Cycle, in_order
from rbcc.compiler.primitives import BUILTIN, Primitive, PrimitiveError, load_file
from rbcc.compiler.source import KeyPath
from rbcc.compiler.spec import RESERVED_TYPES
from rbcc.compiler.types import Kind, Role, Time, Type
from rbcc.compiler.units import ONE


KEYWORDS = {"if", "else", "and", "or", "not", "where", "true", "false", "time", "horizon", "public", "reward"}
MAX_CHOICES = 10_000
_UNUSABLE = {*KEYWORDS, *REDUCTIONS, *DISTRIBUTIONS, "since", *MODULE_NAMES}


def declare(context: Context) -> tuple[ir.Action, ...] | None:
    """Enters all declarations into the context's names; returns the actions with their choices.

    Returns None after a mistake in agent types or their indices: all else would be misread.
    """
    declarations = _Declarations(context)
    context.names.primitives = {**BUILTIN, **declarations.own_primitives()}
    declarations.declare_agents()
    return None if context.diagnostics.failed else declarations.declare_symbols()


class _Declarations:
    def __init__(self, context: Context):
        self.context = context
        self.spec, self.document = context.spec, context.document
        self.diagnostics, self.names = context.diagnostics, context.names

    def own_primitives(self) -> dict[str, Primitive]:
        found: dict[str, Primitive] = {}
        for position, name in enumerate(self.spec.use):
            span = self.document.span(("use", position))
            path = self.document.file_beside(span, name)
            if not path.is_file():
                self.diagnostics.error("RB008", f"there is no file {path}", span)
                continue
            try:
                mine = load_file(path, {**BUILTIN, **found})
                for clash in sorted(set(mine) & _UNUSABLE):
                    raise PrimitiveError(f"'{clash}' cannot name a function: it means something else")
                found |= mine
            except PrimitiveError as error:
                self.diagnostics.error("RB008", f"{name}: {error}", span)
        return found

    def declare_agents(self) -> None:
        for name, agent in self.spec.agents.items():
            span = self.context.key("agents", name)
            indices = [agent.index] if isinstance(agent.index, str) else agent.index or []
            if name in RESERVED_TYPES or name in KEYWORDS:
                self.diagnostics.error(
                    "RB208", f"'{name}' cannot name an agent type: it is a word of the language", span
                )
            if agent.count > 1 and not indices:
                self.diagnostics.error(
                    "RB305",
                    f"{agent.count} agents of type '{name}', but no index to tell them apart",
                    span,
                    help="add 'index: i'",
                )
            for index in indices:
                place = self.context.key("agents", name, "index")
                if index in KEYWORDS or index in self.spec.agents:
                    self.diagnostics.error(
                        "RB208", f"'{index}' cannot be an index name: it means something else", place
                    )
                elif index in self.names.indices:
                    self.diagnostics.error(
                        "RB203",
                        f"index '{index}' already belongs to '{self.names.indices[index]}'",
                        place,
                        help="use another letter",
                    )
                self.names.indices.setdefault(index, name)
            self.names.agents[name] = ir.Agent(name, tuple(indices), agent.count, None, agent.doc, 0)
        self.set_stages()

    def set_stages(self) -> None:
        """Each type chooses after all those that it names under `after`."""
        needs: dict[str, list[str]] = {name: [] for name in self.spec.agents}
        for name, agent in self.spec.agents.items():
            for other in agent.precedents:
                if other in self.spec.agents:
                    needs[name].append(other)
                    continue
                close = suggest(other, self.spec.agents)
                self.diagnostics.error(
                    "RB202",
                    f"there is no agent type '{other}'",
                    self.context.key("agents", name, "after"),
                    help=f"did you mean '{close}'?" if close else f"agent types are: {', '.join(self.spec.agents)}",
                )
        try:
            order = in_order(needs)
        except Cycle as cycle:
            span = self.context.key("agents", cycle.path[0], "after")
            self.diagnostics.error("RB602", f"types that choose after each other: {' -> '.join(cycle.path)}", span)
            return
        for name in order:
            stage = max((1 + self.names.agents[other].stage for other in needs[name]), default=0)
            self.names.agents[name] = replace(self.names.agents[name], stage=stage)

    def declare(
        self,
        role: Role,
        owner: str | None,
        name: str,
        path: KeyPath,
        over: str | None,
        declared: Type,
        doc: str | None,
    ) -> ir.Symbol:
        span = self.document.key(path)
        if name in KEYWORDS or name in self.names.indices or (name in self.names.agents and owner is None):
            self.diagnostics.error("RB208", f"'{name}' cannot be declared: it already means something else", span)
        sets = self.context.sets(owner, over, (*path, "over"))
        full = f"{owner}.{name}" if owner else name
        axes = self.context.default_axes(sets)
        symbol = ir.Symbol(full, role, owner, sets, replace(declared, axes=axes), doc, place_of(span))
        self.names.declare(symbol, span)
        if role is Role.STATE:
            later = replace(symbol, name=full + "'", type=replace(symbol.type, time=Time.NEXT))
            self.names.declare(later, span)
        return symbol

    def declare_symbols(self) -> tuple[ir.Action, ...]:
        spec, actions = self.spec, []
        clock = Type(unit=ONE if self.names.units else None, time=Time.NOW)
        file = self.document.sources[0].name
        self.names.symbols["time"] = ir.Symbol(
            "time", Role.CLOCK, None, (), clock, "number of the step", ir.Place(file, 1, 1)
        )
        for name, parameter in spec.parameters.items():
            path = ("parameters", name)
            declared = Type(unit=self.context.unit(parameter.unit, *path))
            self.declare(Role.PARAMETER, None, name, path, parameter.over, declared, parameter.doc)
        for name, state in spec.state.items():
            path = ("state", name)
            declared = Type(unit=self.context.unit(state.unit, *path), time=Time.NOW)
            self.declare(Role.STATE, None, name, path, state.over, declared, state.doc)
        for owner, agent in spec.agents.items():
            for name, parameter in agent.parameters.items():
                path = ("agents", owner, "parameters", name)
                declared = Type(unit=self.context.unit(parameter.unit, *path))
                self.declare(Role.PARAMETER, owner, name, path, parameter.over, declared, parameter.doc)
            for name, state in agent.state.items():
                path = ("agents", owner, "state", name)
                declared = Type(unit=self.context.unit(state.unit, *path), time=Time.NOW)
                self.declare(Role.STATE, owner, name, path, state.over, declared, state.doc)
            for name in agent.actions:
                actions.append(self.declare_action(owner, name))
        return tuple(action for action in actions if action is not None)

    def declare_action(self, owner: str, name: str) -> ir.Action | None:
        action, path = self.spec.agents[owner].actions[name], ("agents", owner, "actions", name)
        declared = Type(unit=self.context.unit(action.unit, *path), time=Time.CHOSEN)
        choices: tuple[float, ...] = ()
        if action.choose is not None:
            agent = self.names.agents.get(action.choose)
            if agent is None or not agent.indices:
                known = [a for a, found in self.names.agents.items() if found.indices]
                close = suggest(action.choose, known)
                self.diagnostics.error(
                    "RB701",
                    f"there is no indexed agent type '{action.choose}' to choose from",
                    self.document.span((*path, "choose")),
                    help=f"did you mean '{close}'?" if close else None,
                )
                self.names.broken.add(name)
                return None
            declared = Type(Kind.CHOICE, unit=ONE, time=Time.CHOSEN, of=action.choose)
            choices = tuple(float(k) for k in range(agent.count))
        elif isinstance(action.choices, list):
            choices = tuple(action.choices)
        elif action.choices is not None:
            grid = action.choices
            steps = (grid.to - grid.from_) / grid.step
            if steps >= MAX_CHOICES:
                self.diagnostics.error(
                    "RB701",
                    f"{steps + 1:,.0f} choices are too many",
                    self.document.key((*path, "choices")),
                    expected=f"at most {MAX_CHOICES:,}",
                    help="take a larger step",
                )
                choices = (grid.from_, grid.to)
            elif steps < 0 or abs(steps - round(steps)) > 1e-6:
                self.diagnostics.error(
                    "RB701",
                    f"steps of {grid.step:g} do not lead from {grid.from_:g} to {grid.to:g}",
                    self.document.key((*path, "choices")),
                    help="'to' must be 'from' plus a whole number of steps",
                )
                choices = (grid.from_, grid.to)
            else:
                choices = tuple(float(f"{grid.from_ + k * grid.step:.12g}") for k in range(round(steps) + 1))
        if len(set(choices)) < len(choices) or list(choices) != sorted(choices):
            self.diagnostics.error(
                "RB701",
                "choices must rise, each given once",
                self.document.span((*path, "choices")),
                found=str(list(choices)),
            )
        symbol = self.declare(Role.ACTION, owner, name, path, action.over, declared, action.doc)
        return ir.Action(symbol.name, choices, action.choose, None, symbol.place)
