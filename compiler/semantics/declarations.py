"""Agent types, parameters, states and actions: everything a spec declares by name."""

from dataclasses import replace
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostic, Source, Span, messages
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.primitives import BUILTIN, Primitive, PrimitiveError, load_file
from rbcc.compiler.schema.spec import Grid, State
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
    context.names.primitives = {**BUILTIN, **declarations.user_functions()}
    return declarations.declare_symbols() if declarations.declare_agents() else None


class _Declarations:
    def __init__(self, context: Context):
        self.context = context
        self.spec, self.document = context.spec, context.document
        self.diagnostics, self.names = context.diagnostics, context.names

    def report(self, finding: Diagnostic) -> None:
        self.diagnostics.add(finding)

    def user_functions(self) -> dict[str, Primitive]:
        functions: dict[str, Primitive] = {}
        for position, name in enumerate(self.spec.use):
            span = self.document.span(("use", position))
            path = self.document.file_beside(span, name)
            if not path.is_file():
                self.report(messages.declarations.no_python_file(str(path), span))
                continue
            try:
                loaded = load_file(path, {**BUILTIN, **functions})
                for clash in sorted(set(loaded) & NOT_FUNCTIONS):
                    raise PrimitiveError(messages.declarations.reserved_function(clash))
                functions |= loaded
            except PrimitiveError as error:
                self.unusable_file(name, path, span, error)
        return functions

    def unusable_file(self, name: str, path: Path, span: Span, error: PrimitiveError) -> None:
        if error.line is None:
            self.report(messages.declarations.unusable_python_file(f"{name}: {error}", span, None))
            return
        source = Source(str(path), path.read_text(encoding="utf-8", errors="replace"))
        start = source.offset(error.line - 1, error.column - 1)
        place = Span(source, start, start + 1)
        self.report(messages.declarations.unusable_python_file(str(error), place, span))

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
                self.report(messages.names.reserved_agent_type(name, span))
            if agent.count > 1 and not indices:
                fine = False
            if agent.count > 1 and not indices and "index" not in self.diagnostics.broken:
                self.report(messages.declarations.no_index(name, agent.count, span, self.free_index()))
            for position, index in enumerate(indices):
                place = self.context.key("agents", name, "index")
                word = self.document.span(
                    ("agents", name, "index", *([position] if isinstance(agent.index, list) else []))
                )
                self.names.mention(What.INDEX, index, word, word)
                if index in KEYWORDS or index in self.spec.agents:
                    fine = False
                    self.report(messages.names.reserved_index(index, place, self.free_index()))
                elif index in self.names.indices:
                    fine = False
                    first = self.names.indices[index]
                    declared = self.context.key("agents", first, "index")
                    self.report(messages.names.index_declared_twice(index, first, place, declared, self.free_index()))
                self.names.indices.setdefault(index, name)
            self.names.agents[name] = ir.Agent(name, tuple(indices), agent.count, None, agent.doc, 0, ())
        for position, unit in enumerate(self.spec.units):
            if unit in self.spec.units[:position]:
                self.report(messages.names.unit_declared_twice(unit, self.document.span(("units", position))))
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
            for position, earlier in enumerate(agent.precedents):
                path = ("agents", name, "after", *([position] if isinstance(agent.after, list) else []))
                if earlier in self.spec.agents:
                    needs[name].append(earlier)
                    self.names.mention(What.AGENT, earlier, self.document.span(path))
                    continue
                fine = False
                self.context.no_agent_type(earlier, self.document.span(path))
        try:
            order = in_order(needs)
        except Cycle as cycle:
            span = self.context.key("agents", cycle.path[0], "after")
            self.report(messages.declarations.choose_after_each_other(cycle.path, span))
            return False
        for name in order:
            stage = max((1 + self.names.agents[earlier].stage for earlier in needs[name]), default=0)
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
            declared_at = self.names.spans[name]
            self.report(messages.names.hides_symbol(full, name, hidden.role.noun, span, declared_at))
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
            self.report(messages.declarations.nothing_to(verb, wanted, self.document.span(path)))
        self.names.broken.add(name)
        return None

    def declare_shares(self, owner: str, name: str) -> ir.Action | None:
        action, path = self.spec.agents[owner].actions[name], ("agents", owner, "actions", name)
        agent, unit = self.offered(owner, name, "shares", "share"), self.context.unit(action.unit, *path)
        if agent is None:
            return None
        if unit not in (None, ONE):
            self.report(messages.declarations.share_with_unit(name, self.document.span((*path, "unit"))))
        if action.over is not None:
            self.report(messages.declarations.shares_over_twice(name, agent.name, self.document.key((*path, "over"))))
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
                span = self.document.span((*path, "choose"))
                self.report(messages.declarations.too_many_members(action.choose, agent.count, MAX_CHOICES, span))
        elif isinstance(action.choices, Grid):
            choices = self.choices_of(action.choices, self.document.key((*path, "choices")))
        elif action.choices is not None and len(action.choices) > MAX_CHOICES:
            span = self.document.key((*path, "choices"))
            self.report(messages.declarations.too_many_choices(len(action.choices), MAX_CHOICES, span))
        elif action.choices is not None:
            choices = tuple(action.choices)
        if len(set(choices)) < len(choices) or list(choices) != sorted(choices):
            self.report(messages.declarations.unordered_choices(choices, self.document.span((*path, "choices"))))
        symbol = self.declare(Role.ACTION, owner, name, path, action.over, declared, action.doc)
        return ir.Action(symbol.name, choices, action.choose, None, None, None, False, symbol.place)

    def choices_of(self, grid: Grid, span: Span) -> tuple[float, ...]:
        """The numbers of a grid; after an error only its ends, so that the choice can be declared."""
        low, high, step = grid.from_, grid.to, grid.step
        steps = (high - low) / step
        if steps >= MAX_CHOICES:
            self.report(messages.declarations.too_many_choices(steps + 1, MAX_CHOICES, span))
            return low, high
        if steps < 0:
            self.report(messages.declarations.falling_choices(low, high, step, span))
            return high, low
        if abs(steps - round(steps)) > 1e-6:
            nearest = low + int(steps) * step, low + (int(steps) + 1) * step
            self.report(messages.declarations.steps_miss_the_end(low, high, step, nearest, span))
            return low, high
        return tuple(float(f"{low + k * step:.12g}") for k in range(round(steps) + 1))
