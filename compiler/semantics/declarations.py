"""Agent types, parameters, states and actions: everything a spec declares by name."""

from dataclasses import replace
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Label, Source, Span
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.primitives import BUILTIN, Primitive, PrimitiveError, load_file
from rbcc.compiler.schema.spec import State
from rbcc.compiler.semantics.context import Context, place_of
from rbcc.compiler.semantics.markov import read_chain
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.reserved import KEYWORDS, NOT_AGENT_TYPES, NOT_FUNCTIONS
from rbcc.compiler.source import KeyPath
from rbcc.compiler.util.toposort import Cycle, in_order


MAX_CHOICES = 10_000


def declare(context: Context) -> tuple[ir.Action, ...] | None:
    """Enters all declarations into the context's names; returns the actions with their choices.

    Returns None after a mistake in agent types or their indices: all else would be misread.
    """
    declarations = _Declarations(context)
    context.names.primitives = {**BUILTIN, **declarations.own_primitives()}
    return declarations.declare_symbols() if declarations.declare_agents() else None


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
                self.diagnostics.error(
                    "RB008", f"there is no file {path}", span, help="paths start at the spec's folder"
                )
                continue
            try:
                mine = load_file(path, {**BUILTIN, **found})
                for clash in sorted(set(mine) & NOT_FUNCTIONS):
                    raise PrimitiveError(f"'{clash}' cannot name a function: it means something else")
                found |= mine
            except PrimitiveError as error:
                self.unusable_file(name, path, span, error)
        return found

    def unusable_file(self, name: str, path: Path, span: Span, error: PrimitiveError) -> None:
        if error.line is None:
            self.diagnostics.error("RB008", f"{name}: {error}", span)
            return
        source = Source(str(path), path.read_text(encoding="utf-8", errors="replace"))
        start = source.offset(error.line - 1, error.column - 1)
        place = Span(source, start, start + 1)
        self.diagnostics.error("RB008", str(error), place, labels=(Label(span, "the file is named at"),))

    def declare_agents(self) -> bool:
        """Whether all is well with agent types and their indices."""
        fine = True
        for position, unit in enumerate(self.spec.units):
            self.context.define(What.UNIT, unit, "units", position)
        for name, agent in self.spec.agents.items():
            self.context.define(What.AGENT, name, "agents", name)
            span = self.context.key("agents", name)
            indices = [agent.index] if isinstance(agent.index, str) else agent.index or []
            if name in NOT_AGENT_TYPES:
                fine = False
                self.diagnostics.error(
                    "RB208",
                    f"'{name}' cannot name an agent type: it is a word of the language",
                    span,
                    help="use another name",
                )
            if agent.count > 1 and not indices:
                fine = False
            if agent.count > 1 and not indices and "index" not in self.diagnostics.broken:
                self.diagnostics.error(
                    "RB305",
                    f"{agent.count} agents of type '{name}', but no index to tell them apart",
                    span,
                    help=f"add 'index: {self.free_index()}'",
                )
            for position, index in enumerate(indices):
                place = self.context.key("agents", name, "index")
                one = self.document.span(
                    ("agents", name, "index", *([position] if isinstance(agent.index, list) else []))
                )
                self.names.mention(What.INDEX, index, one, one)
                if index in KEYWORDS or index in self.spec.agents:
                    fine = False
                    self.diagnostics.error(
                        "RB208",
                        f"'{index}' cannot be an index name: it means something else",
                        place,
                        help=f"use another, such as '{self.free_index()}'",
                    )
                elif index in self.names.indices:
                    fine = False
                    first = self.names.indices[index]
                    self.diagnostics.error(
                        "RB203",
                        f"index '{index}' already belongs to '{first}'",
                        place,
                        help=f"use another, such as '{self.free_index()}'",
                        labels=(Label(self.context.key("agents", first, "index"), "declared first at"),),
                    )
                self.names.indices.setdefault(index, name)
            self.names.agents[name] = ir.Agent(name, tuple(indices), agent.count, None, agent.doc, 0, ())
        for position, unit in enumerate(self.spec.units):
            if unit in self.spec.units[:position]:
                self.diagnostics.error(
                    "RB203",
                    f"unit '{unit}' is declared twice",
                    self.document.span(("units", position)),
                    help="keep one of the two",
                )
        return fine and self.set_stages()

    def free_index(self) -> str:
        """A letter that no agent type uses as an index."""
        taken = [
            i for a in self.spec.agents.values() for i in ([a.index] if isinstance(a.index, str) else a.index or [])
        ]
        return next(letter for letter in "ijklmnpqrsuvwxyz" if letter not in taken)

    def set_stages(self) -> bool:
        """Each type chooses after all those that it names under `after`; whether that can be."""
        fine = True
        needs: dict[str, list[str]] = {name: [] for name in self.spec.agents}
        for name, agent in self.spec.agents.items():
            for position, other in enumerate(agent.precedents):
                path = ("agents", name, "after", *([position] if isinstance(agent.after, list) else []))
                if other in self.spec.agents:
                    needs[name].append(other)
                    self.names.mention(What.AGENT, other, self.document.span(path))
                    continue
                fine = False
                self.context.no_agent_type(other, self.document.span(path))
        try:
            order = in_order(needs)
        except Cycle as cycle:
            span = self.context.key("agents", cycle.path[0], "after")
            self.diagnostics.error("RB602", f"types that choose after each other: {' -> '.join(cycle.path)}", span)
            return False
        for name in order:
            stage = max((1 + self.names.agents[other].stage for other in needs[name]), default=0)
            self.names.agents[name] = replace(self.names.agents[name], stage=stage)
        return fine

    def declare(
        self,
        role: Role,
        owner: str | None,
        name: str,
        path: KeyPath,
        over: str | None,
        declared: Type,
        doc: str | None,
        key: str = "over",
    ) -> ir.Symbol:
        """Enters a symbol that is also indexed by the type `over`, which the entry names under `key`."""
        span = self.document.key(path)
        reserved = (owner is None or name not in self.names.agents) and self.names.refuse("", name, span)
        if reserved:
            self.names.broken.add(name)
        sets = self.context.sets(owner, over, (*path, key))
        full = f"{owner}.{name}" if owner else name
        axes = self.context.default_axes(sets)
        symbol = ir.Symbol(full, role, owner, sets, replace(declared, axes=axes), doc, place_of(span))
        if reserved:
            return symbol
        if owner and name in self.names.symbols and self.names.symbols[name].owner is None:
            hidden = self.names.symbols[name]
            self.diagnostics.error(
                "RB209",
                f"'{full}' hides '{name}', {hidden.role} of the model",
                span,
                help="give one of the two another name",
                labels=(Label(self.names.spans[name], "declared at"),),
            )
            self.names.broken.add(name)
            return symbol
        self.names.declare(symbol, span)
        self.context.define(What.SYMBOL, full, *path)
        if role is Role.STATE:
            later = replace(symbol, name=full + "'", type=replace(symbol.type, time=Time.NEXT))
            self.names.declare(later, span)
        return symbol

    def declare_symbols(self) -> tuple[ir.Action, ...]:
        spec, actions = self.spec, []
        clock = Type(unit=ONE if self.names.units else None, time=Time.NOW)
        file = self.document.sources[0].name
        self.names.enter(ir.Symbol("time", Role.CLOCK, None, (), clock, "number of the step", ir.Place(file, 1, 1)))
        for name, parameter in spec.parameters.items():
            path = ("parameters", name)
            declared = Type(unit=self.context.unit(parameter.unit, *path))
            self.declare(Role.PARAMETER, None, name, path, parameter.over, declared, parameter.doc)
        for name, state in spec.state.items():
            path = ("state", name)
            declared = Type(unit=self.context.unit(state.unit, *path), time=Time.NOW)
            self.declare(Role.STATE, None, name, path, state.over, declared, state.doc)
            self.declare_chain(name, state, path)
        for owner, agent in spec.agents.items():
            for name, parameter in agent.parameters.items():
                path = ("agents", owner, "parameters", name)
                declared = Type(unit=self.context.unit(parameter.unit, *path))
                self.declare(Role.PARAMETER, owner, name, path, parameter.over, declared, parameter.doc)
            for name, state in agent.state.items():
                path = ("agents", owner, "state", name)
                declared = Type(unit=self.context.unit(state.unit, *path), time=Time.NOW)
                self.declare(Role.STATE, owner, name, path, state.over, declared, state.doc)
                self.declare_chain(f"{owner}.{name}", state, path)
            for name in agent.actions:
                actions.append(self.declare_action(owner, name))
        return tuple(action for action in actions if action is not None)

    def too_many_choices(self, number: float, path: KeyPath) -> None:
        self.diagnostics.error(
            "RB701",
            f"{number:,.0f} choices are too many",
            self.document.key((*path, "choices")),
            expected=f"at most {MAX_CHOICES:,}",
            help="take a larger step",
        )

    def declare_chain(self, full: str, state: State, path: KeyPath) -> None:
        chain = read_chain(self.context, (*path, "markov"), state.markov) if state.markov else None
        if chain is not None:
            self.context.chains[full] = chain

    def offered(self, owner: str, name: str, key: str, verb: str) -> ir.Agent | None:
        """The agent type whose members an action is about, which it names under `key`; None if that is wrong."""
        path = ("agents", owner, "actions", name, key)
        wanted = getattr(self.spec.agents[owner].actions[name], key)
        agent = self.names.agents.get(wanted)
        if agent is not None and agent.indices:
            return agent
        if agent is None:
            self.context.no_agent_type(wanted, self.document.span(path))
        else:
            self.diagnostics.error(
                "RB701",
                f"there is one '{wanted}', and so nothing to {verb}",
                self.document.span(path),
                expected="an agent type with an index",
            )
        self.names.broken.add(name)
        return None

    def declare_shares(self, owner: str, name: str) -> ir.Action | None:
        action, path = self.spec.agents[owner].actions[name], ("agents", owner, "actions", name)
        agent, unit = self.offered(owner, name, "shares", "share"), self.context.unit(action.unit, *path)
        if agent is None:
            return None
        if unit not in (None, ONE):
            self.diagnostics.error(
                "RB501",
                "shares have no unit",
                self.document.span((*path, "unit")),
                help=f"multiply them by what is shared: an equation x = {name}[...] * whole has the unit of the whole",
            )
        if action.over is not None:
            self.diagnostics.error(
                "RB701",
                f"'{name}' is over '{agent.name}' already: there is a share for each of them",
                self.document.key((*path, "over")),
                help="remove 'over'; what is divided several times is several choices",
            )
        declared = Type(unit=ONE if self.names.units else None, time=Time.CHOSEN)
        symbol = self.declare(Role.ACTION, owner, name, path, agent.name, declared, action.doc, "shares")
        return ir.Action(symbol.name, (), None, None, None, None, True, symbol.place)

    def declare_action(self, owner: str, name: str) -> ir.Action | None:
        action, path = self.spec.agents[owner].actions[name], ("agents", owner, "actions", name)
        if action.shares is not None:
            return self.declare_shares(owner, name)
        declared = Type(unit=self.context.unit(action.unit, *path), time=Time.CHOSEN)
        choices: tuple[float, ...] = ()
        if action.choose is not None:
            agent = self.offered(owner, name, "choose", "choose")
            if agent is None:
                return None
            self.names.mention(What.AGENT, action.choose, self.document.span((*path, "choose")))
            declared = Type(Kind.CHOICE, unit=ONE, time=Time.CHOSEN, of=action.choose)
            choices = tuple(float(k) for k in range(min(agent.count, MAX_CHOICES)))
            if agent.count > MAX_CHOICES:
                self.diagnostics.error(
                    "RB701",
                    f"{agent.count:,} of '{action.choose}' are too many to choose one from",
                    self.document.span((*path, "choose")),
                    expected=f"at most {MAX_CHOICES:,}",
                )
        elif isinstance(action.choices, list) and len(action.choices) > MAX_CHOICES:
            self.too_many_choices(len(action.choices), path)
        elif isinstance(action.choices, list):
            choices = tuple(action.choices)
        elif action.choices is not None:
            grid = action.choices
            steps = (grid.to - grid.from_) / grid.step
            if steps >= MAX_CHOICES:
                self.too_many_choices(steps + 1, path)
                choices = (grid.from_, grid.to)
            elif steps < 0:
                self.diagnostics.error(
                    "RB701",
                    f"these choices fall, from {grid.from_:g} to {grid.to:g}",
                    self.document.key((*path, "choices")),
                    help=f"write {{from: {grid.to:g}, to: {grid.from_:g}, step: {grid.step:g}}}",
                )
                choices = (grid.to, grid.from_)
            elif abs(steps - round(steps)) > 1e-6:
                nearest = [grid.from_ + int(steps) * grid.step, grid.from_ + (int(steps) + 1) * grid.step]
                self.diagnostics.error(
                    "RB701",
                    f"steps of {grid.step:g} do not lead from {grid.from_:g} to {grid.to:g}",
                    self.document.key((*path, "choices")),
                    expected="'to' is 'from' plus a whole number of steps",
                    help=f"end at {nearest[0]:g} or {nearest[1]:g}, or take another step",
                )
                choices = (grid.from_, grid.to)
            else:
                choices = tuple(float(f"{grid.from_ + k * grid.step:.12g}") for k in range(round(steps) + 1))
        if len(set(choices)) < len(choices) or list(choices) != sorted(choices):
            self.diagnostics.error(
                "RB701",
                "choices must rise, each given once",
                self.document.span((*path, "choices")),
                found=", ".join(f"{choice:g}" for choice in choices),
                help=f"write [{', '.join(f'{choice:g}' for choice in sorted(set(choices)))}]",
            )
        symbol = self.declare(Role.ACTION, owner, name, path, action.over, declared, action.doc)
        return ir.Action(symbol.name, choices, action.choose, None, None, None, False, symbol.place)
