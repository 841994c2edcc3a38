"""A spec to the typed IR: declarations, equations, observations; every mistake is reported, none stops the rest."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rbcc.compiler import ir, syntax
from rbcc.compiler.curriculum import check_training, check_verification
from rbcc.compiler.diagnostics import Diagnostics, Label, Span, suggest
from rbcc.compiler.infer import Names, Scope, constant, infer, literal_value, merge_axes
from rbcc.compiler.order import Cycle, in_order
from rbcc.compiler.primitives import BUILTIN, Primitive, PrimitiveError, load_file
from rbcc.compiler.source import Document, KeyPath
from rbcc.compiler.spec import RESERVED_TYPES, Observation, Spec
from rbcc.compiler.types import Kind, Role, Time, Type
from rbcc.compiler.units import ONE, Unit


KEYWORDS = {"if", "else", "and", "or", "not", "where", "true", "false", "time", "horizon", "public", "reward"}
MAX_CHOICES = 10_000


def check(spec: Spec, document: Document, diagnostics: Diagnostics) -> ir.Model | None:
    """The checked model, or None with every error in `diagnostics`."""
    return _Checker(spec, document, diagnostics).model()


class _Checker:
    def __init__(self, spec: Spec, document: Document, diagnostics: Diagnostics):
        self.spec, self.document, self.diagnostics = spec, document, diagnostics
        self.names = Names(diagnostics, spec.horizon, bool(spec.units))

    def model(self) -> ir.Model | None:
        spec, names = self.spec, self.names
        names.primitives = {**BUILTIN, **self.own_primitives()}
        self.declare_agents()
        actions = self.declare_symbols()
        definitions = self.read_definitions()
        parameters = self.infer_parameters()
        starts = self.infer_starts()
        equations = self.infer_definitions(definitions)
        self.check_completeness(equations)
        observations = self.infer_observations(starts, equations, actions)
        constraints = self.infer_constraints()
        identities, invariants = self.infer_identities(), self.infer_invariants()
        indicators = self.infer_indicators()
        phases = check_training(spec, self.document, names, actions)
        verification = check_verification(spec, self.document, names, actions, indicators)
        if self.diagnostics.failed:
            return None
        self.warn_unused()
        found = ir.Model(
            name=spec.model,
            title=spec.title,
            reference=spec.reference,
            digest=self.document.digest,
            files=tuple(source.name for source in self.document.sources),
            horizon=spec.horizon,
            agents=self.with_discounts(),
            indices=tuple(names.indices.items()),
            symbols=tuple(names.symbols.values()),
            parameters=parameters,
            starts=starts,
            actions=actions,
            equations=equations,
            observations=observations,
            constraints=constraints,
            identities=identities,
            invariants=invariants,
            indicators=indicators,
            phases=phases,
            verification=verification,
            primitives=(),
        )
        return None if self.diagnostics.failed else replace(found, primitives=self.primitives_of(found))

    # --- places ------------------------------------------------------------------------------------------------

    def key(self, *path: str | int) -> Span:
        return self.document.key(path)

    def expression(self, *path: str | int) -> syntax.Expression | None:
        return syntax.parse_expression(self.document.scalar(path), self.diagnostics)

    def unit(self, text: str | None, *path: str | int) -> Unit | None:
        """The unit declared at `path`; without one a pure number, and unknown in a model without units."""
        if text is None:
            return ONE if self.names.units else None
        scalar = self.document.scalar((*path, "unit"))
        unit = syntax.parse_unit(scalar, self.diagnostics)
        return self.known_unit(unit, scalar.span)

    def known_unit(self, unit: Unit | None, span: Span) -> Unit | None:
        known = [*self.spec.units, "util"]
        for base, _ in unit.powers if unit else ():
            if base not in known:
                close = suggest(base, known)
                help = f"did you mean '{close}'?" if close else f"declare it: 'units: [{', '.join([*self.spec.units, base])}]'"
                self.diagnostics.error("RB502", f"'{base}' is not a unit of this model", span, help=help)
                return None
        return unit

    # --- declarations ------------------------------------------------------------------------------------------

    def own_primitives(self) -> dict[str, Primitive]:
        found: dict[str, Primitive] = {}
        for position, name in enumerate(self.spec.use):
            span = self.document.span(("use", position))
            path = self.document.file_beside(span, name)
            if not path.is_file():
                self.diagnostics.error("RB008", f"there is no file {path}", span)
                continue
            try:
                found |= load_file(path, {**BUILTIN, **found})
            except PrimitiveError as error:
                self.diagnostics.error("RB008", f"{name}: {error}", span)
        return found

    def declare_agents(self) -> None:
        for name, agent in self.spec.agents.items():
            span = self.key("agents", name)
            indices = [agent.index] if isinstance(agent.index, str) else agent.index or []
            if name in RESERVED_TYPES or name in KEYWORDS:
                self.diagnostics.error("RB208", f"'{name}' cannot name an agent type: it is a word of the language", span)
            if agent.count > 1 and not indices:
                self.diagnostics.error(
                    "RB305",
                    f"{agent.count} agents of type '{name}', but no index to tell them apart",
                    span,
                    help="add 'index: i'",
                )
            for index in indices:
                place = self.key("agents", name, "index")
                if index in KEYWORDS or index in self.spec.agents:
                    self.diagnostics.error("RB208", f"'{index}' cannot be an index name: it means something else", place)
                elif index in self.names.indices:
                    self.diagnostics.error(
                        "RB203", f"index '{index}' already belongs to '{self.names.indices[index]}'", place, help="use another letter"
                    )
                self.names.indices.setdefault(index, name)
            self.names.agents[name] = ir.Agent(name, tuple(indices), agent.count, None, agent.doc)

    def declare(
        self, role: Role, owner: str | None, name: str, path: KeyPath, over: str | None, declared: Type, doc: str | None
    ) -> ir.Symbol:
        span = self.document.key(path)
        if name in KEYWORDS or name in self.names.indices or (name in self.names.agents and owner is None):
            self.diagnostics.error("RB208", f"'{name}' cannot be declared: it already means something else", span)
        sets = self.sets(owner, over, (*path, "over"))
        full = f"{owner}.{name}" if owner else name
        axes = self.default_axes(sets)
        symbol = ir.Symbol(full, role, owner, sets, replace(declared, axes=axes), doc, _place(span))
        self.names.declare(symbol, span)
        if role is Role.STATE:
            later = replace(symbol, name=full + "'", type=replace(symbol.type, time=Time.NEXT))
            self.names.declare(later, span)
        return symbol

    def sets(self, owner: str | None, over: str | None, path: KeyPath) -> tuple[str, ...]:
        found = [owner] if owner and self.names.agents[owner].indices else []
        if over is not None:
            if over not in self.names.agents:
                close = suggest(over, self.names.agents)
                help = f"did you mean '{close}'?" if close else f"agent types are: {', '.join(self.names.agents)}"
                self.diagnostics.error("RB202", f"there is no agent type '{over}'", self.document.span(path), help=help)
            elif not self.names.agents[over].indices:
                self.diagnostics.error("RB305", f"'{over}' has no index to go over", self.document.span(path))
            else:
                found.append(over)
        return tuple(found)

    def default_axes(self, sets: Iterable[str], own: str | None = None) -> tuple[str, ...]:
        """Index names for `sets`: the first of each type, or the next one where a type comes again."""
        axes: list[str] = [own] if own else []
        result = []
        for name in sets:
            if own and self.names.indices[own] == name and own not in result:
                result.append(own)
                continue
            free = [index for index in self.names.agents[name].indices if index not in axes]
            result.append(free[0] if free else self.names.agents[name].indices[0])
            axes.append(result[-1])
        return tuple(result)

    def declare_symbols(self) -> tuple[ir.Action, ...]:
        spec, actions = self.spec, []
        clock = Type(unit=ONE if self.names.units else None, time=Time.NOW)
        file = self.document.sources[0].name
        self.names.symbols["time"] = ir.Symbol("time", Role.CLOCK, None, (), clock, "number of the step", ir.Place(file, 1, 1))
        for name, parameter in spec.parameters.items():
            path = ("parameters", name)
            declared = Type(unit=self.unit(parameter.unit, *path))
            self.declare(Role.PARAMETER, None, name, path, parameter.over, declared, parameter.doc)
        for name, state in spec.state.items():
            path = ("state", name)
            declared = Type(unit=self.unit(state.unit, *path), time=Time.NOW)
            self.declare(Role.STATE, None, name, path, state.over, declared, state.doc)
        for owner, agent in spec.agents.items():
            for name, parameter in agent.parameters.items():
                path = ("agents", owner, "parameters", name)
                declared = Type(unit=self.unit(parameter.unit, *path))
                self.declare(Role.PARAMETER, owner, name, path, parameter.over, declared, parameter.doc)
            for name, state in agent.state.items():
                path = ("agents", owner, "state", name)
                declared = Type(unit=self.unit(state.unit, *path), time=Time.NOW)
                self.declare(Role.STATE, owner, name, path, state.over, declared, state.doc)
            for name in agent.actions:
                actions.append(self.declare_action(owner, name))
        return tuple(action for action in actions if action is not None)

    def declare_action(self, owner: str, name: str) -> ir.Action | None:
        action, path = self.spec.agents[owner].actions[name], ("agents", owner, "actions", name)
        declared = Type(unit=self.unit(action.unit, *path), time=Time.CHOSEN)
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
                return None
            declared = Type(Kind.CHOICE, unit=ONE, time=Time.CHOSEN, of=action.choose)
            choices = tuple(float(k) for k in range(agent.count))
        elif isinstance(action.choices, list):
            choices = tuple(action.choices)
        elif action.choices is not None:
            grid = action.choices
            steps = (grid.to - grid.from_) / grid.step
            if not 0 <= steps < MAX_CHOICES or abs(steps - round(steps)) > 1e-6:
                self.diagnostics.error(
                    "RB701",
                    f"steps of {grid.step:g} do not lead from {grid.from_:g} to {grid.to:g}",
                    self.document.key((*path, "choices")),
                    help="'to' must be 'from' plus a whole number of steps",
                )
                return None
            choices = tuple(float(f"{grid.from_ + k * grid.step:.12g}") for k in range(round(steps) + 1))
        if len(set(choices)) < len(choices) or list(choices) != sorted(choices):
            self.diagnostics.error(
                "RB701", "choices must rise, each given once", self.document.span((*path, "choices")), found=str(list(choices))
            )
        symbol = self.declare(Role.ACTION, owner, name, path, action.over, declared, action.doc)
        return ir.Action(symbol.name, choices, action.choose, symbol.place)

    # --- equations ---------------------------------------------------------------------------------------------

    def read_definitions(self) -> "dict[str, _Draft]":
        """All equations and rewards, each by the symbol it defines; values are declared on the way."""
        drafts: dict[str, _Draft] = {}
        for group in self.spec.equations:
            for equation in syntax.parse_equations(self.document.scalar(("equations", group)), self.diagnostics):
                draft = self.draft(equation, group)
                if draft is None:
                    continue
                if draft.symbol in drafts:
                    self.diagnostics.error(
                        "RB604",
                        f"'{equation.target.name}{chr(39) if equation.target.primed else ''}' has a second equation",
                        equation.target.span,
                        help="keep one; for cases write a if condition else b",
                        labels=(Label(drafts[draft.symbol].span, "first at"),),
                    )
                    continue
                drafts[draft.symbol] = draft
        for owner, agent in self.spec.agents.items():
            if agent.reward is not None and (node := self.expression("agents", owner, "reward")):
                path = ("agents", owner, "reward")
                span = self.document.key(path)
                sets = self.sets(owner, None, path)
                symbol = ir.Symbol(
                    f"{owner}.reward", Role.REWARD, owner, sets,
                    Type(axes=self.default_axes(sets), time=Time.NEXT), None, _place(span),
                )  # fmt: skip
                self.names.declare(symbol, span)
                text = f"{owner}.reward = {' '.join(agent.reward.split())}"
                drafts[symbol.name] = _Draft(symbol.name, symbol.type.axes, node, None, text, None, None, span, owner)
        return drafts

    def draft(self, equation: syntax.Equation, group: str) -> "_Draft | None":
        target, names = equation.target, self.names
        unknown = [k for k, index in enumerate(target.indices) if index not in names.indices]
        for k in unknown:
            close = suggest(target.indices[k], names.indices)
            self.diagnostics.error(
                "RB303",
                f"'{target.indices[k]}' is no index",
                target.index_spans[k],
                expected=f"one of: {', '.join(names.indices)}",
                help=f"did you mean '{close}'?" if close else "each agent type declares its own: 'index: i'",
            )
        if unknown:
            return None
        repeated = next((k for k, index in enumerate(target.indices) if index in target.indices[:k]), None)
        if repeated is not None:
            self.diagnostics.error("RB304", f"index '{target.indices[repeated]}' stands twice", target.index_spans[repeated])
            return None
        sets = tuple(names.indices[index] for index in target.indices)
        if target.primed:
            symbol = self.next_state(target, sets)
        else:
            symbol = self.new_value(equation, sets)
        if symbol is None:
            return None
        unit = self.known_unit(equation.unit, equation.unit_span) if equation.unit_span else None
        return _Draft(
            symbol, target.indices, equation.expression, unit, equation.text, group, equation.doc, target.span, None
        )

    def next_state(self, target: syntax.Target, sets: tuple[str, ...]) -> str | None:
        found = [s for s in self.names.candidates(target.name) if s.role is Role.STATE]
        exact = [s for s in found if s.sets == sets]
        if not found:
            states = {s.name.rpartition(".")[2]: s.name for s in self.names.symbols.values() if s.role is Role.STATE}
            close = suggest(target.name, [name for name in states if not name.endswith("'")])
            self.diagnostics.error(
                "RB605",
                f"there is no state '{target.name}'",
                target.span,
                expected="a state: only states have a next value",
                help=f"did you mean {self.names.describe(states[close])}?" if close else "declare it under 'state' of its agent type",
            )
            return None
        if not exact:
            wanted = ", ".join(self.default_axes(found[0].sets))
            self.diagnostics.error(
                "RB301",
                f"the indices of '{target.name}' do not fit",
                target.span,
                expected=f"{target.name}'[{wanted}]" if wanted else f"{target.name}' without [ ]",
                labels=(Label(self.names.spans[found[0].name], "declared at"),),
            )
            return None
        if len(exact) > 1:
            self.diagnostics.error("RB204", f"'{target.name}' is a state of more than one agent type", target.span)
            return None
        return exact[0].name + "'"

    def new_value(self, equation: syntax.Equation, sets: tuple[str, ...]) -> str | None:
        target = equation.target
        taken = [s for s in self.names.candidates(target.name) if s.role is not Role.VALUE]
        if taken or target.name in KEYWORDS or target.name in self.names.indices or target.name in self.names.agents:
            role = taken[0].role if taken else "word of the language"
            state = taken and taken[0].role is Role.STATE
            self.diagnostics.error(
                "RB605",
                f"'{target.name}' is a {role}: it cannot be assigned",
                target.span,
                help=f"its next value is {target.name}'" if state else "give this value another name",
            )
            return None
        if target.name in self.names.symbols:
            return target.name
        known = Type(axes=target.indices, time=Time.WITHIN)
        symbol = ir.Symbol(target.name, Role.VALUE, None, sets, known, equation.doc, _place(target.span))
        self.names.declare(symbol, target.span)
        return target.name

    def infer_definitions(self, drafts: "dict[str, _Draft]") -> tuple[ir.Definition, ...]:
        needs = {name: [n for n in self.needs(draft.node, draft.home)] for name, draft in drafts.items()}
        found = []
        for name in self.ordered(needs, drafts):
            definition = self.infer_definition(drafts[name])
            if definition is not None:
                found.append(definition)
        return tuple(found)

    def ordered(self, needs: dict[str, list[str]], drafts: "dict[str, _Draft]") -> list[str]:
        """The drafts in order of evaluation; those in a cycle are reported and left out."""
        needs = dict(needs)
        while True:
            try:
                return in_order(needs)
            except Cycle as cycle:
                first = drafts[cycle.path[0]]
                path = " -> ".join(cycle.path)
                self.diagnostics.error(
                    "RB602",
                    f"'{cycle.path[0]}' needs itself: {path}",
                    first.span,
                    help="one of them must use a value of the start of the step instead",
                    labels=tuple(Label(drafts[n].span, f"'{n}' at") for n in cycle.path[1:-1]),
                )
                for name in cycle.path[:-1]:
                    needs.pop(name, None)

    def needs(self, node: syntax.Expression, home: str | None) -> Iterator[str]:
        """The names of the symbols that an expression reads."""
        for reference in syntax.references(node):
            name = reference.name + ("'" if reference.primed else "")
            if reference.owner:
                yield f"{reference.owner}.{name}"
            elif home and f"{home}.{name}" in self.names.symbols:
                yield f"{home}.{name}"
            else:
                yield from (symbol.name for symbol in self.names.candidates(name))

    def infer_definition(self, draft: "_Draft") -> ir.Definition | None:
        scope = Scope(f"the equation of {draft.symbol}", draft.indices, home=draft.home, draws=True)
        expression = infer(draft.node, scope, self.names)
        symbol = self.names.symbols[draft.symbol]
        if expression is None:
            return None
        kind, unit = expression.type.kind, expression.type.unit
        declared = symbol.type.unit if draft.symbol.endswith("'") else draft.unit
        if self.names.units and declared is not None and unit is not None and unit != declared:
            if not (literal_value(expression) is not None):
                self.diagnostics.error(
                    "RB501",
                    f"the right side of '{draft.symbol}' has another unit than the left",
                    draft.node.span,
                    expected=str(declared),
                    found=str(unit),
                )
                return None
        if draft.symbol.endswith("'"):
            if symbol.type.kind is Kind.FLAG and kind is not Kind.FLAG or kind is Kind.CHOICE:
                self.diagnostics.error(
                    "RB401", f"'{draft.symbol}' is a {symbol.type.kind}, its equation gives a {kind}", draft.node.span
                )
                return None
        else:
            kind = Kind.NUMBER if kind is Kind.INDEX else kind
            known = replace(
                symbol.type, kind=kind, unit=declared if declared is not None else unit, of=expression.type.of,
                time=max(expression.type.time, Time.NOW),
            )  # fmt: skip
            if symbol.role is Role.REWARD and kind is Kind.CHOICE:
                self.diagnostics.error("RB401", "a reward must be a number", draft.node.span)
            self.names.symbols[draft.symbol] = replace(symbol, type=known)
        return ir.Definition(
            draft.symbol, draft.indices, expression, draft.text, draft.group, draft.doc, _place(draft.span)
        )

    def infer_parameters(self) -> tuple[ir.Definition, ...]:
        drafts: dict[str, _Draft] = {}
        tables: list[tuple[str | None, KeyPath, dict[str, Any]]] = [(None, ("parameters",), self.spec.parameters)]
        tables += [(o, ("agents", o, "parameters"), a.parameters) for o, a in self.spec.agents.items()]
        for owner, path, table in tables:
            for name, parameter in table.items():
                full = f"{owner}.{name}" if owner else name
                node = self.expression(*path, name, "value")
                if node is not None and full in self.names.symbols:
                    span = self.document.key((*path, name))
                    axes = self.names.symbols[full].type.axes
                    drafts[full] = _Draft(full, axes, node, None, f"{full} = {parameter.value}", None, None, span, owner)
        needs = {name: list(self.needs(draft.node, draft.home)) for name, draft in drafts.items()}
        found = []
        for name in self.ordered(needs, drafts):
            draft = drafts[name]
            definition = self.infer_value(draft, Time.FIXED, "the value of a parameter")
            if definition is not None:
                found.append(definition)
        return tuple(found)

    def infer_value(self, draft: "_Draft", latest: Time, purpose: str, draws: bool = False) -> ir.Definition | None:
        """A parameter's value or a state's start: a number or flag in the unit of its symbol."""
        expression = infer(draft.node, Scope(purpose, draft.indices, latest, draft.home, draws), self.names)
        if expression is None:
            return None
        symbol, unit = self.names.symbols[draft.symbol], expression.type.unit
        if expression.type.kind is Kind.CHOICE:
            self.diagnostics.error("RB401", f"{purpose} must be a number or a flag", draft.node.span)
            return None
        # A pure number is in the declared unit: `start: 22000 * count(consumer)` with `unit: money`.
        if self.names.units and unit not in (None, ONE, symbol.type.unit):
            self.diagnostics.error(
                "RB501", f"{purpose} has another unit than '{draft.symbol}'", draft.node.span,
                expected=str(symbol.type.unit), found=str(unit),
            )  # fmt: skip
        if expression.type.kind is Kind.FLAG:
            for name in (draft.symbol, draft.symbol + "'"):
                if name in self.names.symbols:
                    known = self.names.symbols[name]
                    self.names.symbols[name] = replace(known, type=replace(known.type, kind=Kind.FLAG))
        return ir.Definition(
            draft.symbol, draft.indices, expression, draft.text, None, symbol.doc, _place(draft.span)
        )

    def infer_starts(self) -> tuple[ir.Definition, ...]:
        found = []
        tables: list[tuple[str | None, KeyPath, dict[str, Any]]] = [(None, ("state",), self.spec.state)]
        tables += [(o, ("agents", o, "state"), a.state) for o, a in self.spec.agents.items()]
        for owner, path, table in tables:
            for name, state in table.items():
                full = f"{owner}.{name}" if owner else name
                node = self.expression(*path, name, "start")
                if node is None or full not in self.names.symbols:
                    continue
                span = self.document.key((*path, name))
                axes = self.names.symbols[full].type.axes
                draft = _Draft(full, axes, node, None, f"{full} starts at {state.start}", None, None, span, owner)
                definition = self.infer_value(draft, Time.WITHIN, "the start of a state", draws=True)
                if definition is None:
                    continue
                late = [r for r in ir.references(definition.expression) if self.names.symbols[r].type.time > Time.FIXED]
                if late:
                    self.diagnostics.error(
                        "RB601", f"a start can use only parameters, not '{late[0]}'", node.span, help="repeat its start value"
                    )
                    continue
                found.append(definition)
        return tuple(found)

    def check_completeness(self, equations: tuple[ir.Definition, ...]) -> None:
        if self.diagnostics.failed:
            return  # an equation that could not be read would be reported as missing too
        defined = {definition.symbol for definition in equations}
        for name, symbol in self.names.symbols.items():
            if symbol.role is Role.STATE and name.endswith("'") and name not in defined:
                short = name.rpartition(".")[2]
                index = f"[{', '.join(symbol.type.axes)}]" if symbol.sets else ""
                self.diagnostics.error(
                    "RB603",
                    f"nothing says what '{name[:-1]}' is in the next step",
                    self.names.spans[name],
                    help=f"add an equation {short}{index} = ...; a value that never changes is a parameter",
                )
        for owner, agent in self.spec.agents.items():
            if agent.actions and agent.reward is None:
                self.diagnostics.error("RB102", f"'{owner}' has choices but no reward", self.key("agents", owner), help="add 'reward: ...'")
            if agent.reward is not None and agent.discount is None and self.spec.discount is None:
                self.diagnostics.error(
                    "RB102",
                    f"'{owner}' has a reward but no discount factor",
                    self.key("agents", owner),
                    help="add 'discount: 0.99' to the spec or to the agent type; 1 for none",
                )

    # --- observations and other expressions --------------------------------------------------------------------

    def free_indices(self, node: syntax.Expression, bound: tuple[str, ...] = ()) -> list[str]:
        """Index names that `node` uses outside any sum over them."""
        if isinstance(node, syntax.Reference) and node.indices is None and node.name in self.names.indices:
            return [] if node.name in bound else [node.name]
        if isinstance(node, syntax.Call):
            over = [
                a.value.name for a in node.arguments
                if isinstance(a.value, syntax.Reference) and a.value.indices is None and a.value.name in self.names.indices
            ]  # fmt: skip
            bound = (*bound, *over)
        return list(dict.fromkeys(i for child in syntax.children(node) for i in self.free_indices(child, bound)))

    def whole(self, node: syntax.Expression, own: str | None, home: str | None) -> syntax.Expression:
        """A bare name means the whole array, or an agent's own entry of what belongs to its type."""
        if not isinstance(node, syntax.Reference) or node.indices is not None or node.name in self.names.indices:
            return node
        name = node.name + ("'" if node.primed else "")
        if node.owner:
            symbol = self.names.symbols.get(f"{node.owner}.{name}")
        else:
            symbol = self.names.symbols.get(f"{home}.{name}") if home else None
            found = self.names.candidates(name)
            symbol = symbol or (found[0] if len(found) == 1 else None)
        if symbol is None or not symbol.sets:
            return node
        axes = self.default_axes(symbol.sets, own)
        inner = tuple(syntax.Reference(axis, None, False, None, node.span, node.span) for axis in axes)
        return replace(node, indices=inner)

    def infer_observations(
        self,
        starts: tuple[ir.Definition, ...],
        equations: tuple[ir.Definition, ...],
        actions: tuple[ir.Action, ...],
    ) -> tuple[ir.Observation, ...]:
        encoder = _Encoder(self, {d.symbol: d for d in starts}, {d.symbol: d for d in equations}, actions)
        found, public_used = [], False
        for owner, agent in self.spec.agents.items():
            own = self.names.agents[owner].indices[0] if self.names.agents[owner].indices else None
            features: list[ir.Feature] = []
            for position, item in enumerate(agent.observes):
                if item.value == "public":
                    public_used = True
                    for k, shared in enumerate(self.spec.public):
                        features += self.feature(shared, ("public", k), None, None, encoder)
                else:
                    features += self.feature(item, ("agents", owner, "observes", position), own, owner, encoder)
            if agent.actions:
                mine = tuple(f for f in features if own in f.expression.type.axes and own not in f.axes)
                found.append(ir.Observation(owner, own, tuple(f for f in features if f not in mine), mine))
        if self.spec.public and not public_used:
            self.diagnostics.warning("RB207", "no agent type observes 'public'", self.key("public"))
        return tuple(found)

    def feature(
        self, item: Observation, path: KeyPath, own: str | None, home: str | None, encoder: "_Encoder"
    ) -> list[ir.Feature]:
        node = self.expression(*path, "value")
        if node is None:
            return []
        node = self.whole(node, own, home)
        free = self.free_indices(node)
        bound = tuple(dict.fromkeys(([own] if own else []) + free))
        scope = Scope("an observation", bound, Time.NOW, home)
        expression = infer(node, scope, self.names)
        if expression is None:
            return []
        axes = tuple(axis for axis in expression.type.axes if axis != own)
        return encoder.encode(item, path, node.span, expression, axes)

    def infer_constraints(self) -> tuple[ir.Constraint, ...]:
        found = []
        for owner, agent in self.spec.agents.items():
            indices = self.names.agents[owner].indices[:1]
            for name, constraint in agent.constraints.items():
                path = ("agents", owner, "constraints", name)
                scope = Scope("a constraint", indices, home=owner)
                parts = [
                    infer(node, scope, self.names) if (node := self.expression(*path, key)) else None
                    for key in ("violation", *(["scale"] if "scale" in constraint.model_fields_set else []))
                ]
                if None in parts:
                    continue
                violation, *scale = parts
                assert violation is not None
                if scale and scale[0] is not None:
                    unit = ONE if self.names.units else None
                    kind = Type(Kind.NUMBER, merge_axes(violation.type.axes, scale[0].type.axes), unit, violation.type.time)
                    violation = ir.Binary("/", violation, scale[0], kind)
                place = _place(self.document.key(path))
                index = indices[0] if indices else None
                found.append(ir.Constraint(name, owner, index, violation, constraint.at == "end", place))
        return tuple(found)

    def infer_identities(self) -> tuple[ir.Identity, ...]:
        found = []
        for name in self.spec.identities:
            node = self.expression("identities", name)
            if node is None:
                continue
            if not isinstance(node, syntax.Comparison) or node.operator != "==":
                self.diagnostics.error("RB401", "an identity is an equality", node.span, expected="left == right")
                continue
            indices = tuple(self.free_indices(node))
            both = infer(node, Scope("an identity", indices), self.names)
            if isinstance(both, ir.Binary):
                found.append(ir.Identity(name, indices, both.left, both.right, _place(node.span)))
        return tuple(found)

    def infer_invariants(self) -> tuple[ir.Statement, ...]:
        found = []
        for position, text in enumerate(self.spec.invariants):
            node = self.expression("invariants", position)
            if node is None:
                continue
            indices = tuple(self.free_indices(node))
            condition = infer(node, Scope("an invariant", indices, bare_numbers=True), self.names)
            if condition is not None and condition.type.kind is not Kind.FLAG:
                self.diagnostics.error("RB401", "an invariant is a condition", node.span, expected="for example x[i] >= 0")
            elif condition is not None:
                found.append(ir.Statement(" ".join(text.split()), indices, condition, _place(node.span)))
        return tuple(found)

    def infer_indicators(self) -> tuple[ir.Statement, ...]:
        found = []
        for name in self.spec.indicators:
            node = self.expression("indicators", name)
            value = infer(node, Scope("an indicator"), self.names) if node else None
            if node and value is not None and value.type.kind is Kind.CHOICE:
                self.diagnostics.error("RB401", "an indicator is a number", node.span)
            elif node and value is not None:
                found.append(ir.Statement(name, (), value, _place(self.key("indicators", name))))
        return tuple(found)

    def with_discounts(self) -> tuple[ir.Agent, ...]:
        agents = []
        for name, agent in self.names.agents.items():
            path: KeyPath = ("agents", name, "discount") if self.spec.agents[name].discount else ("discount",)
            present = self.spec.agents[name].discount or self.spec.discount
            node = self.expression(*path) if present else None
            value = infer(node, Scope("a discount factor", latest=Time.FIXED), self.names) if node else None
            if node and value is not None:
                known = literal_value(value)
                if known is not None and not 0 <= known <= 1:
                    self.diagnostics.error(
                        "RB702", f"a discount factor of {float(known):g}", node.span, expected="a number from 0 to 1"
                    )
            agents.append(replace(agent, discount=value))
        return tuple(agents)

    def warn_unused(self) -> None:
        words = {Role.PARAMETER: "parameter", Role.ACTION: "choice", Role.VALUE: "value", Role.STATE: "state"}
        for name, symbol in self.names.symbols.items():
            if symbol.role in words and name not in self.names.used and not name.endswith("'"):
                self.diagnostics.warning(
                    "RB207", f"{words[symbol.role]} '{name}' is never used", self.names.spans[name], help="remove it"
                )

    def primitives_of(self, model: ir.Model) -> tuple[ir.PrimitiveSource, ...]:
        """The primitives that the model calls by name, and those that these call, in order of need."""
        wanted: dict[str, None] = {}

        def note(node: ir.Expression) -> ir.Expression:
            if isinstance(node, ir.Apply):
                wanted[node.function] = None
            return node

        ir.rebuild(model, note)
        known = self.names.primitives
        pending, needs = [name for name in wanted if known[name].inline is None], {}
        while pending:
            name = pending.pop()
            needs[name] = [n for n in known[name].calls if n in known and n != name]
            pending += [n for n in needs[name] if n not in needs]
        return tuple(ir.PrimitiveSource(name, known[name].text) for name in in_order(needs))


class _Draft:
    """A definition before inference."""

    def __init__(
        self, symbol: str, indices: tuple[str, ...], node: syntax.Expression, unit: Unit | None, text: str,
        group: str | None, doc: str | None, span: Span, home: str | None,
    ):  # fmt: skip
        self.symbol, self.indices, self.node, self.unit, self.text = symbol, indices, node, unit, text
        self.group, self.doc, self.span, self.home = group, doc, span, home


class _Encoder:
    """How networks see a value: declared in the spec, or derived from choices, starts and parameters."""

    def __init__(
        self,
        checker: _Checker,
        starts: dict[str, ir.Definition],
        equations: dict[str, ir.Definition],
        actions: tuple[ir.Action, ...],
    ):
        self.checker, self.starts, self.equations = checker, starts, equations
        self.actions = {action.symbol: action for action in actions}

    def encode(
        self, item: Observation, path: KeyPath, span: Span, value: ir.Expression, axes: tuple[str, ...]
    ) -> list[ir.Feature]:
        names, checker = self.checker.names, self.checker
        width = 1
        for axis in axes:
            width *= names.agents[names.indices[axis]].count
        feature = ir.Feature(" ".join(item.value.split()), value, "linear", None, axes, width, _place(span))
        if value.type.kind in (Kind.INDEX, Kind.CHOICE):
            size = width * names.agents[value.type.of or ""].count
            return [replace(feature, encoding="one_hot", size=size)]
        declared = self.declared(value)
        encode = item.encode or (declared[0] if declared else None)
        scale: ir.Expression | None = None
        if item.scale is not None:
            scale = self.scale(*path, "scale")
        elif declared and declared[1] is not None:
            scale = self.scale(*declared[1])
        if encode == "digits":
            return [replace(feature, encoding="digits", size=10 * width)]
        if encode is None and declared:
            encode = "linear" if self.copies(value) or value.type.kind is Kind.FLAG else "log"
        if scale is None:
            derived = self.derived(value)
            if derived is None:
                subject = value.symbol if isinstance(value, ir.Reference) else feature.name
                checker.diagnostics.error(
                    "RB606",
                    f"no scale can be derived for '{subject}'",
                    span,
                    help="give its typical size: 'scale: 100' at the state, or {value: ..., scale: 100} here",
                )
                return []
            encode, scale = encode or derived[0], derived[1]
        return [replace(feature, encoding=encode or "linear", scale=scale)]

    def scale(self, *path: str | int) -> ir.Expression | None:
        node = self.checker.expression(*path)
        if node is None:
            return constant(1)
        value = infer(node, Scope("a scale", latest=Time.FIXED), self.checker.names)
        if value is not None and (known := literal_value(value)) is not None and known <= 0:
            self.checker.diagnostics.error("RB103", "a scale must be above 0", node.span)
        return value or constant(1)

    def declared(self, value: ir.Expression) -> tuple[Any, KeyPath | None] | None:
        if not isinstance(value, ir.Reference):
            return None
        owner, _, name = value.symbol.rpartition(".")
        spec = self.checker.spec
        table = spec.agents[owner].state if owner else spec.state
        if name not in table:
            return None
        path = ("agents", owner, "state", name) if owner else ("state", name)
        return table[name].encode, (*path, "scale") if table[name].scale is not None else None

    def copies(self, value: ir.Expression) -> ir.Action | None:
        """The action whose last choice a state holds, if it is such a state."""
        if not isinstance(value, ir.Reference):
            return None
        following = self.equations.get(value.symbol + "'")
        if following is None or not isinstance(following.expression, ir.Reference):
            return None
        return self.actions.get(following.expression.symbol)

    def derived(self, value: ir.Expression) -> tuple[Any, ir.Expression] | None:
        """The encoding and scale that follow from what is known of a value."""
        if value.type.kind is Kind.FLAG:
            return "linear", constant(1)
        if not isinstance(value, ir.Reference):
            return None
        symbol = self.checker.names.symbols[value.symbol]
        if symbol.role is Role.CLOCK:
            return "linear", constant(self.checker.spec.horizon)
        if symbol.role is Role.PARAMETER:
            axes = symbol.type.axes
            return "linear", _largest(ir.Reference(symbol.name, axes, symbol.type), axes)
        if copied := self.copies(value):
            largest = max(abs(choice) for choice in copied.choices)
            return ("linear", constant(largest)) if largest else None
        start = self.starts.get(symbol.name)
        if start is None or any(isinstance(node, ir.Draw) for node in ir.walk(start.expression)):
            return None
        if literal_value(start.expression) == 0:
            return None
        return "log", _largest(start.expression, start.expression.type.axes)


def _largest(value: ir.Expression, axes: tuple[str, ...]) -> ir.Expression:
    """The largest absolute value over `axes`, kept above zero."""
    plain = Type(unit=value.type.unit, time=value.type.time)
    size: ir.Expression = ir.Apply("abs", (value,), replace(value.type, kind=Kind.NUMBER))
    if axes:
        size = ir.Reduce("max", axes, None, size, plain)
    return ir.Apply("max", (size, constant(1e-30)), plain)


def _place(span: Span) -> ir.Place:
    return ir.Place(span.source.name, *span.source.position(span.start))

