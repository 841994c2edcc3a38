"""Equations, rewards, parameter values and starts: what defines each symbol, in an order that can be evaluated."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Diagnostic, Span, messages, suggest
from rbcc.compiler.diagnostics.messages.phrases import meant
from rbcc.compiler.ir.constants import literal_value
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.schema.spec import DataFile, State
from rbcc.compiler.semantics.context import Chain, Context, place_of
from rbcc.compiler.semantics.data_values import Tables
from rbcc.compiler.semantics.drafts import Draft
from rbcc.compiler.semantics.expressions import Scope, infer
from rbcc.compiler.semantics.markov import following, started, stationary
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.systems import Systems
from rbcc.compiler.source import KeyPath
from rbcc.compiler.util.toposort import Cycle, in_order


class Definitions:
    def __init__(self, context: Context):
        self.context = context
        self.spec, self.document = context.spec, context.document
        self.diagnostics, self.names = context.diagnostics, context.names
        self.tables = Tables(context)
        self.systems = Systems(context)
        self.lost = False  # whether there may have been equations of which not even the left side could be read

    def report(self, finding: Diagnostic) -> None:
        self.diagnostics.add(finding)

    def read(self) -> dict[str, Draft]:
        """All equations and rewards, each by the symbol it defines; values are declared on the way."""
        drafts = self.systems.read()
        self.lost = "equations" in self.names.broken
        for group in self.spec.equations:
            scalar = self.document.scalar(("equations", group))
            if re.search(r"['\[]", group) and "=" not in scalar.text:  # `x'[j]: y[j]`
                self.lost = True
                self.report(
                    messages.definitions.equation_as_group(
                        group, " ".join(scalar.text.split()), self.document.key(("equations", group))
                    )
                )
                continue
            equations, broken = syntax.parse_equations(scalar, self.diagnostics)
            self.lost |= "" in broken
            self.names.broken.update(name.removesuffix("'") for name in broken)
            for equation in equations:
                draft = self.draft(equation, group)
                if draft is None:
                    continue
                if draft.symbol in self.systems.of:
                    self.report(
                        messages.definitions.unknown_and_equation(
                            draft.symbol, equation.target.span, drafts[draft.symbol].span
                        )
                    )
                    continue
                if draft.symbol in drafts:
                    written = equation.target.name + ("'" if equation.target.primed else "")
                    self.report(
                        messages.definitions.second_equation(written, equation.target.span, drafts[draft.symbol].span)
                    )
                    continue
                drafts[draft.symbol] = draft
        for state, chain in self.context.chains.items():
            self.follow(state, chain, drafts)
        for owner, agent in self.spec.agents.items():
            if agent.reward is not None and (node := self.context.expression("agents", owner, "reward")):
                path = ("agents", owner, "reward")
                span = self.document.key(path)
                sets = self.context.sets(owner, None, path)
                symbol = ir.Symbol(
                    f"{owner}.reward", Role.REWARD, owner, sets,
                    Type(axes=self.context.default_axes(sets), time=Time.NEXT), None, place_of(span),
                )  # fmt: skip
                self.names.declare(symbol, span)
                self.context.define(What.SYMBOL, symbol.name, *path)
                text = f"{owner}.reward = {' '.join(agent.reward.split())}"
                drafts[symbol.name] = Draft(symbol.name, symbol.type.axes, node, None, text, None, None, span, owner)
        return drafts

    def follow(self, state: str, chain: Chain, drafts: dict[str, Draft]) -> None:
        """The next value of a state that follows a Markov chain."""
        later, span = f"{state}'", self.names.spans[state]
        if later in drafts:
            self.report(messages.chains.chain_and_equation(state, drafts[later].span, span))
            return
        owner, _, name = state.rpartition(".")
        axes = self.names.symbols[later].type.axes
        places = tuple(syntax.Reference(axis, None, False, None, span, span) for axis in axes)
        now = syntax.Reference(name, owner or None, False, places or None, span, span)
        text = f"{later} of a Markov chain of {len(chain.values)} values"
        drafts[later] = Draft(later, axes, following(chain, now), None, text, None, None, span, owner or None)

    def draft(self, equation: syntax.Equation, group: str) -> Draft | None:
        target, names = equation.target, self.names
        for index, span in zip(target.indices, target.index_spans, strict=True):
            if index in names.indices:
                names.mention(What.INDEX, index, span)
        unknown = [k for k, index in enumerate(target.indices) if index not in names.indices]
        for k in unknown:
            index = target.indices[k]
            message = messages.indices.unknown_on_the_left(
                index, target.index_spans[k], list(names.indices), names.listed_indices()
            )
            self.diagnostics.add_missing(index, message)
        if unknown:
            names.broken.add(target.name)
            return None
        repeated = next((k for k, index in enumerate(target.indices) if index in target.indices[:k]), None)
        if repeated is not None:
            index = target.indices[repeated]
            agent = names.indices[index]
            free = next((i for i in names.agents[agent].indices if i not in target.indices), None)
            self.report(messages.definitions.index_twice(index, agent, free, target.index_spans[repeated]))
            names.broken.add(target.name)
            return None
        sets = tuple(names.indices[index] for index in target.indices)
        symbol = self.next_state(target, sets) if target.primed else self.new_value(equation, sets)
        if symbol is None:
            return None
        start = target.span.start
        name = Span(target.span.source, start, start + len(target.name))
        names.mention(What.SYMBOL, symbol, name, equation.span)
        unit = self.context.known_unit(equation.unit, equation.unit_span) if equation.unit_span else None
        return Draft(
            symbol,
            target.indices,
            equation.expression,
            unit,
            equation.text,
            group,
            equation.doc,
            target.span,
            None,
        )

    def next_state(self, target: syntax.Target, sets: tuple[str, ...]) -> str | None:
        meanings = self.names.candidates(target.name)
        states = [symbol for symbol in meanings if symbol.role is Role.STATE]
        exact = [state for state in states if state.sets == sets]
        if not states:
            if target.name not in self.names.broken:
                self.no_state(target, meanings)
            return None
        if not exact:
            wanted = ", ".join(self.context.default_axes(states[0].sets))
            self.names.broken.add(target.name)
            declared = self.names.spans[states[0].name]
            self.report(messages.definitions.indices_of_next_value(target.name, wanted, target.span, declared))
            return None
        if len(exact) > 1:
            self.report(messages.names.ambiguous_state(target.name, target.span, [state.name for state in exact]))
            return None
        return exact[0].name + "'"

    def no_state(self, target: syntax.Target, meanings: Sequence[ir.Symbol]) -> None:
        states = {s.name.rpartition(".")[2]: s.name for s in self.names.symbols.values() if s.role is Role.STATE}
        close = suggest(target.name, [name for name in states if not name.endswith("'")])
        if close:
            help = meant(self.names.describe(states[close]))
        else:
            meaning = self.names.describe(meanings[0].name) if meanings else None
            help = messages.definitions.state_to_declare(target.name, meaning)
        self.report(messages.definitions.no_state(target.name, target.span, help))

    def new_value(self, equation: syntax.Equation, sets: tuple[str, ...]) -> str | None:
        target = equation.target
        if not target.name.isidentifier():
            self.report(messages.names.not_a_name(target.name, target.span))
            return None
        if target.name in self.names.broken and target.name not in self.names.symbols:
            return None
        taken = [s for s in self.names.candidates(target.name) if s.role is not Role.VALUE]
        meaning = taken[0].role.noun if taken else self.names.meaning(target.name)
        if meaning is not None:
            index = f"[{','.join(target.indices)}]" if target.indices else ""
            next_value = f"{target.name}'{index}" if taken and taken[0].role is Role.STATE else None
            declared = self.names.spans.get(taken[0].name) if taken else None
            self.names.broken.add(target.name)
            self.report(messages.definitions.not_assignable(target.name, meaning, target.span, next_value, declared))
            return None
        if target.name in self.names.symbols:
            return target.name
        known = Type(axes=target.indices, time=Time.WITHIN)
        symbol = ir.Symbol(target.name, Role.VALUE, None, sets, known, equation.doc, place_of(target.span))
        self.names.declare(symbol, target.span)
        return target.name

    def infer(self, drafts: dict[str, Draft]) -> tuple[ir.Definition, ...]:
        needs = {name: list(self.needs(draft.node, draft.home)) for name, draft in drafts.items()}
        for name, system in self.systems.of.items():
            needs[name] = [symbol for node in self.systems.nodes(system) for symbol in self.needs(node, None)]
        self.systems.link(needs, drafts)
        definitions = []
        for name in self.ordered(needs, drafts):
            if name in self.systems.of:
                definition = self.systems.unknown(name, needs[name], drafts)
            else:
                definition = self.infer_definition(drafts[name])
            if definition is not None:
                definitions.append(definition)
            elif not name.endswith("'"):
                self.names.poisoned.add(name)
        return self.systems.built(definitions)

    def ordered(self, needs: dict[str, list[str]], drafts: dict[str, Draft]) -> list[str]:
        """The drafts in order of evaluation; those in a cycle are reported and left out."""
        needs = dict(needs)
        while True:
            try:
                return in_order(needs)
            except Cycle as cycle:
                self.report_cycle(cycle.path, drafts)
                for name in cycle.path[:-1]:
                    needs.pop(name, None)
                self.names.poisoned.update(cycle.path)

    def report_cycle(self, path: list[str], drafts: dict[str, Draft]) -> None:
        """The cycle as a path, with the place where each link is made."""
        role = self.names.symbols[path[0]].role
        name, index = path[0].rpartition(".")[2], drafts[path[0]].indices
        if role is Role.PARAMETER:
            help = messages.definitions.PARAMETER_IN_A_CIRCLE
        elif len(path) == 2 and role is Role.VALUE:
            help = messages.definitions.carried_over(f"{name}'[{','.join(index)}]" if index else f"{name}'")
        elif role is Role.VALUE:
            help = messages.definitions.VALUE_IN_A_CIRCLE
        else:
            help = messages.definitions.STATE_IN_A_CIRCLE
        links = []
        for user, needed in pairwise(path):
            inside = syntax.references(drafts[user].node)
            links.append(next(r.name_span for r in inside if needed in self.names_of(r, drafts[user].home)))
        self.report(messages.definitions.needs_itself(path, drafts[path[0]].span, help, links))

    def needs(self, node: syntax.Expression, home: str | None) -> Iterator[str]:
        """The names of the symbols that an expression reads."""
        for reference in syntax.references(node):
            yield from self.names_of(reference, home)

    def names_of(self, reference: syntax.Reference, home: str | None) -> list[str]:
        """The symbols that a reference can mean."""
        name = reference.name + ("'" if reference.primed else "")
        if reference.owner:
            return [f"{reference.owner}.{name}"]
        if home and f"{home}.{name}" in self.names.symbols:
            return [f"{home}.{name}"]
        return [symbol.name for symbol in self.names.candidates(name)]

    def infer_definition(self, draft: Draft) -> ir.Definition | None:
        scope = Scope(
            f"the equation of {draft.symbol}", draft.indices, home=draft.home, defines=draft.symbol,
            left=draft.home is None, draws=True,
        )  # fmt: skip
        expression = infer(draft.node, scope, self.names)
        symbol = self.names.symbols[draft.symbol]
        if expression is None:
            return None
        if draft.symbol.endswith("'") and isinstance(expression, ir.Reference):
            self.names.held[expression.symbol] = draft.symbol.removesuffix("'")
        kind, unit = expression.type.kind, expression.type.unit
        declared = symbol.type.unit if draft.symbol.endswith("'") else draft.unit
        literal = literal_value(expression) is not None
        if self.names.units and declared is not None and unit not in (None, declared) and not literal:
            shown, at = (str(declared), str(unit)), draft.node.span
            declared_at = self.names.spans[draft.symbol] if draft.symbol.endswith("'") else None
            self.report(messages.definitions.sides_in_different_units(draft.symbol, *shown, at, declared_at))
            return None
        if draft.symbol.endswith("'"):
            if (symbol.type.kind is Kind.FLAG and kind is not Kind.FLAG) or kind is Kind.CHOICE:
                self.report(
                    messages.definitions.another_kind(
                        draft.symbol, symbol.type.kind, kind, draft.node.span, self.names.spans[draft.symbol]
                    )
                )
                return None
        else:
            kind = Kind.NUMBER if kind is Kind.INDEX else kind
            known = replace(
                symbol.type, kind=kind, unit=declared if declared is not None else unit, of=expression.type.of,
                time=max(expression.type.time, Time.NOW),
            )  # fmt: skip
            if symbol.role is Role.REWARD and kind is Kind.CHOICE:
                self.report(messages.definitions.reward_as_choice(str(expression.type.of), draft.node.span))
            self.names.symbols[draft.symbol] = replace(symbol, type=known)
            if known.time is Time.CHOSEN:
                read = [self.names.symbols[name] for name in ir.references(expression)]
                chosen = [s.name for s in read if s.role is Role.ACTION]
                self.names.behind[draft.symbol] = frozenset(chosen).union(
                    *(self.names.behind.get(s.name, frozenset()) for s in read)
                )
        return ir.Definition(
            draft.symbol, draft.indices, expression, draft.text, draft.group, draft.doc, place_of(draft.span)
        )

    def parameters(self) -> tuple[ir.Definition, ...]:
        drafts: dict[str, Draft] = {}
        definitions = []
        tables: list[tuple[str | None, KeyPath, dict[str, Any]]] = [(None, ("parameters",), self.spec.parameters)]
        tables += [(o, ("agents", o, "parameters"), a.parameters) for o, a in self.spec.agents.items()]
        for owner, path, table in tables:
            for name, parameter in table.items():
                full = f"{owner}.{name}" if owner else name
                if full not in self.names.symbols:
                    continue
                if not isinstance(parameter.value, str):
                    definitions.append(self.table(full, (*path, name), "value", parameter.value))
                elif node := self.context.expression(*path, name, "value"):
                    span = self.document.key((*path, name))
                    axes = self.names.symbols[full].type.axes
                    drafts[full] = Draft(full, axes, node, None, f"{full} = {parameter.value}", None, None, span, owner)
        needs = {name: list(self.needs(draft.node, draft.home)) for name, draft in drafts.items()}
        for name in self.ordered(needs, drafts):
            definition = self.infer_value(drafts[name], Time.FIXED, "the value of a parameter")
            definitions.append(definition)
            if definition is None:
                self.names.poisoned.add(name)
        return tuple(definition for definition in definitions if definition is not None)

    def table(self, full: str, path: KeyPath, key: str, values: list | DataFile) -> ir.Definition | None:
        """What a list or a file gives to a parameter or to the start of a state."""
        symbol = self.names.symbols[full]
        given = self.tables.read(symbol, (*path, key), values)
        if given is None:
            return None
        text = f"{full}: {len(given.values)} given"
        if isinstance(values, DataFile):
            text = f"{full}: from {values.csv}" + (f", column {values.column}" if values.column else "")
        self.mark_flag(full, given)
        place = place_of(self.document.key(path))
        return ir.Definition(full, given.indices, given, text, None, symbol.doc, place)

    def mark_flag(self, full: str, value: ir.Expression) -> None:
        """A parameter or state whose value is a flag is one."""
        if value.type.kind is Kind.FLAG:
            for name in (full, full + "'"):
                if name in self.names.symbols:
                    known = self.names.symbols[name]
                    self.names.symbols[name] = replace(known, type=replace(known.type, kind=Kind.FLAG))

    def infer_value(self, draft: Draft, latest: Time, purpose: str, draws: bool = False) -> ir.Definition | None:
        """A parameter's value or a state's start: a number or flag in the unit of its symbol."""
        scope = Scope(purpose, draft.indices, latest, draft.home, draft.symbol, draws=draws)
        expression = infer(draft.node, scope, self.names)
        if expression is None:
            return None
        symbol, unit = self.names.symbols[draft.symbol], expression.type.unit
        if expression.type.kind is Kind.CHOICE:
            self.report(messages.definitions.value_as_choice(purpose, draft.node.span))
            return None
        # A pure number is in the declared unit: `start: 100 * count(seller)` with `unit: money`.
        if self.names.units and unit not in (None, ONE, symbol.type.unit):
            needed, pure = str(symbol.type.unit), symbol.type.unit == ONE
            finding = messages.definitions.value_in_another_unit(
                purpose, draft.symbol, needed, str(unit), pure, draft.node.span, draft.span
            )
            self.report(finding)
        self.mark_flag(draft.symbol, expression)
        return ir.Definition(
            draft.symbol, draft.indices, expression, draft.text, None, symbol.doc, place_of(draft.span)
        )

    def starts(self) -> tuple[ir.Definition, ...]:
        tables: list[tuple[str | None, KeyPath, dict[str, Any]]] = [(None, ("state",), self.spec.state)]
        tables += [(o, ("agents", o, "state"), a.state) for o, a in self.spec.agents.items()]
        definitions = []
        for owner, path, table in tables:
            for name, state in table.items():
                full = f"{owner}.{name}" if owner else name
                if full in self.names.symbols:
                    definitions.append(self.start(full, owner, (*path, name), state))
        return tuple(definition for definition in definitions if definition is not None)

    def start(self, full: str, owner: str | None, path: KeyPath, state: State) -> ir.Definition | None:
        value, place = state.start, self.document.span((*path, "start"))
        chain = self.context.chains.get(full)
        if state.markov is not None and chain is None:
            return None  # reported already
        if not isinstance(value, str):
            given = self.table(full, path, "start", value)
            if given is not None and chain is not None:
                self.within_chain(chain, given.expression, place)
            return given
        drawn = chain is not None and value == "stationary"
        node = self.stationary(chain, place) if chain and drawn else self.context.expression(*path, "start")
        if node is None:
            return None
        span = self.document.key(path)
        axes = self.names.symbols[full].type.axes
        draft = Draft(full, axes, node, None, f"{full} starts at {value}", None, None, span, owner)
        definition = self.infer_value(draft, Time.WITHIN, "the start of a state", draws=True)
        if definition is None:
            self.names.poisoned |= {full, full + "'"}
            return None
        late = [r for r in ir.references(definition.expression) if self.names.symbols[r].type.time > Time.FIXED]
        if late:
            self.report(messages.definitions.start_from(late[0], node.span))
            return None
        if chain is not None and not drawn:
            self.within_chain(chain, definition.expression, place)
        return definition

    def stationary(self, chain: Chain, span: Span) -> syntax.Expression | None:
        shares = stationary(chain)
        if shares is None:
            self.report(messages.chains.several_stationary_distributions(span))
            return None
        return started(chain, shares, span)

    def within_chain(self, chain: Chain, value: ir.Expression, span: Span) -> None:
        """Reports a start that is not a value of the chain."""
        known = {float(number) for number in chain.values}
        literal = literal_value(value)
        given = value.values if isinstance(value, ir.Table) else () if literal is None else (float(literal),)
        if not given or not known.issuperset(given):
            self.report(messages.chains.start_outside(sorted(known), span))
