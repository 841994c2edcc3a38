"""A spec to the typed IR: every mistake is reported, none stops the rest."""

from collections.abc import Iterable
from dataclasses import replace

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.signs import allowed, positive
from rbcc.compiler.diagnostics import Diagnostic, messages
from rbcc.compiler.ir.axis_order import merge_axes
from rbcc.compiler.ir.constants import is_literal, literal_value
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.semantics.accounts import check_accounts, read_accounts
from rbcc.compiler.semantics.context import Context, place_of
from rbcc.compiler.semantics.declarations import declare
from rbcc.compiler.semantics.definitions import Definitions
from rbcc.compiler.semantics.expressions import Scope, a_kind, infer
from rbcc.compiler.semantics.observations import Observations
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.reserved import KEYWORDS
from rbcc.compiler.semantics.training import check_training, check_verification
from rbcc.compiler.source import KeyPath
from rbcc.compiler.util.toposort import in_order


def check(context: Context) -> ir.Model | None:
    """The checked model, or None with every error in the diagnostics of `context`, which keeps the names found."""
    return _Checker(context).model()


class _Checker:
    def __init__(self, context: Context):
        self.context = context
        self.spec, self.document = context.spec, context.document
        self.diagnostics, self.names = context.diagnostics, context.names
        self.definitions = Definitions(context)

    def report(self, finding: Diagnostic) -> None:
        self.diagnostics.add(finding)

    def model(self) -> ir.Model | None:
        spec, names = self.spec, self.names
        actions = declare(self.context)
        if actions is None:
            return None
        definitions = self.definitions
        drafts = definitions.read()
        parameters, starts = definitions.parameters(), definitions.starts()
        equations = definitions.infer(drafts)
        actions = tuple(self.with_where_of(self.with_bounds_of(action)) for action in actions)
        self.check_completeness(drafts)
        observations = Observations(self.context, starts, equations, actions).infer()
        constraints = self.infer_constraints()
        identities, accounts = self.infer_identities(), read_accounts(self.context)
        invariants = self.infer_invariants()
        indicators = self.infer_indicators()
        declared = self.declared_logs(indicators)
        phases = check_training(spec, self.document, names, actions)
        verification = check_verification(spec, self.document, names, actions, indicators)
        agents = tuple(replace(agent, given=self.given(agent.name)) for agent in self.with_discounts())
        if self.diagnostics.failed:
            return None
        # What could not be checked was reported: no model ever lacks an equation in silence.
        assert {definition.symbol for definition in equations} == set(drafts)
        self.warn_unused()
        model = ir.Model(
            name=spec.model,
            title=spec.title,
            reference=spec.reference,
            doc=spec.doc,
            digest=self.document.digest,
            files=tuple(source.name for source in self.document.sources),
            horizon=spec.horizon,
            continuing=spec.continuing,
            agents=agents,
            indices=tuple(names.indices.items()),
            symbols=tuple(names.symbols.values()),
            parameters=parameters,
            starts=starts,
            actions=actions,
            equations=equations,
            observations=observations,
            constraints=constraints,
            identities=identities,
            accounts=accounts,
            invariants=(*invariants, *self.intervals_in_order(actions)),
            indicators=indicators,
            logs=(),
            phases=phases,
            precision=spec.precision,
            network_precision=spec.training.precision if spec.training else "float32",
            verification=verification,
            primitives=(),
        )
        model = self.with_always(model)
        model = replace(model, primitives=self.primitives_of(model), logs=tuple(sorted(positive(model) | declared)))
        check_accounts(self.context, drafts, model)
        return None if self.diagnostics.failed else model

    def with_always(self, model: ir.Model) -> ir.Model:
        """The model with a choice for each action that is surely always allowed, where there is one; reports actions
        without any that ever is."""
        if all(action.where is None for action in model.actions):
            return model
        always, never = allowed(model)
        for symbol in never:
            owner, _, name = symbol.partition(".")
            span = self.document.span(("agents", owner, "actions", name, "where"))
            self.report(messages.declarations.never_allowed(name, span))
        return replace(model, actions=tuple(replace(one, always=always.get(one.symbol)) for one in model.actions))

    def check_completeness(self, drafts: Iterable[str]) -> None:
        """Every state has an equation, every type that chooses a reward, every reward a discount factor."""
        for name, symbol in self.names.symbols.items():
            short = name.rpartition(".")[2]
            if symbol.role is not Role.STATE or not name.endswith("'") or name in drafts:
                continue
            if self.definitions.lost or short.removesuffix("'") in self.names.broken:
                continue  # the equation that is missing may be one that could not be read
            table = self.spec.agents[symbol.owner].state if symbol.owner else self.spec.state
            if table[short.removesuffix("'")].markov is not None:
                continue  # its chain was reported
            index = f"[{','.join(symbol.type.axes)}]" if symbol.sets else ""
            self.report(messages.statements.no_equation(name[:-1], f"{short}{index}", self.names.spans[name]))
        for owner, agent in self.spec.agents.items():
            if agent.actions and agent.reward is None and "reward" not in self.names.broken:
                self.report(messages.statements.no_reward(owner, self.context.key("agents", owner)))
            no_discount = agent.discount is None and self.spec.discount is None
            if agent.reward is not None and no_discount and "discount" not in self.names.broken:
                misplaced = self.context.key("parameters", "discount") if "discount" in self.spec.parameters else None
                self.report(messages.statements.no_discount(owner, self.context.key("agents", owner), misplaced))

    def with_bounds_of(self, action: ir.Action) -> ir.Action:
        """An action with the ends of its interval, if it has one."""
        owner, _, name = action.symbol.partition(".")
        if self.spec.agents[owner].actions[name].between is None or action.symbol not in self.names.symbols:
            return action
        symbol = self.names.symbols[action.symbol]
        known = self.context.known_choices(owner)
        scope = Scope("the end of an interval", symbol.type.axes, Time.NOW, owner, known=known)
        ends = []
        for end in (0, 1):
            path = ("agents", owner, "actions", name, "between", end)
            node = self.context.expression(*path)
            value = infer(node, scope, self.names) if node is not None else None
            if node is None or value is None:
                return action
            unit = value.type.unit
            if value.type.kind is not Kind.NUMBER:
                self.report(messages.declarations.end_is_not_a_number(node.span))
            elif self.names.units and unit not in (None, symbol.type.unit) and literal_value(value) is None:
                self.report(
                    messages.declarations.end_in_another_unit(
                        symbol.name, str(symbol.type.unit), str(unit), node.span, self.names.spans[symbol.name]
                    )
                )
            ends.append((node, value))
        (node, low), (_, high) = ends
        known_ends = literal_value(low), literal_value(high)
        if None not in known_ends and known_ends[0] >= known_ends[1]:  # type: ignore[operator]
            self.report(messages.declarations.falling_interval(node.span))
        return replace(action, bounds=(low, high))

    def with_where_of(self, action: ir.Action) -> ir.Action:
        """An action with the condition of its choices, if it has one."""
        owner, _, name = action.symbol.partition(".")
        path = ("agents", owner, "actions", name, "where")
        if self.spec.agents[owner].actions[name].where is None or action.symbol not in self.names.symbols:
            return action
        if not action.choices or action.shares:
            span, instead = self.document.key(path), None if action.shares else self.example(action.symbol)
            self.report(messages.declarations.where_without_a_list(name, instead, span))
            return action
        symbol = self.names.symbols[action.symbol]
        each = replace(symbol, sets=(), type=replace(symbol.type, axes=(action.candidates,), time=Time.FIXED))
        scope = Scope(
            "the condition of a choice", symbol.type.axes, Time.NOW, owner, defines=action.symbol,
            known=self.context.known_choices(owner), local={name: each, action.symbol: each},
        )  # fmt: skip
        node = self.context.expression(*path)
        condition = infer(node, scope, self.names) if node is not None else None
        if node is None or condition is None:
            return action
        if condition.type.kind is not Kind.FLAG:
            self.report(
                messages.declarations.where_is_not_a_condition(name, bool(action.of), a_kind(condition), node.span)
            )
        elif action.candidates not in condition.type.axes:
            self.report(messages.declarations.where_without_its_choice(name, node.span))
        return replace(action, where=condition)

    def example(self, action: str) -> str:
        """A state of the agent who chooses, as it is written, or what may stand for one."""
        owner = action.partition(".")[0]
        index = f"[{self.names.agents[owner].indices[0]}]" if self.names.agents[owner].indices else ""
        return next((f"{state}{index}" for state, one in self.spec.agents[owner].state.items() if not one.over), "...")

    def intervals_in_order(self, actions: tuple[ir.Action, ...]) -> tuple[ir.Statement, ...]:
        """That intervals do not cross, as invariants, of those whose ends are not both written numbers."""
        statements = []
        for action in actions:
            if action.bounds is not None and not all(map(is_literal, action.bounds)):
                low, high = action.bounds
                axes = self.names.symbols[action.symbol].type.axes
                joined = merge_axes(low.type.axes, high.type.axes)
                kind = Type(Kind.FLAG, joined, ONE if self.names.units else None, max(low.type.time, high.type.time))
                name = f"{action.symbol} is between {ir.show(low)} and {ir.show(high)}, the larger"
                statements.append(ir.Statement(name, axes, ir.Binary("<=", low, high, kind), action.place))
        return tuple(statements)

    def infer_constraints(self) -> tuple[ir.Constraint, ...]:
        constraints = []
        for owner, agent in self.spec.agents.items():
            indices = self.names.agents[owner].indices[:1]
            for name, constraint in agent.constraints.items():
                path = ("agents", owner, "constraints", name)
                self.context.define(What.CONSTRAINT, f"{owner}.{name}", *path)
                scope = Scope("a constraint", indices, home=owner)
                values = [
                    infer(node, scope, self.names) if (node := self.context.expression(*path, key)) else None
                    for key in ("violation", *(["scale"] if "scale" in constraint.model_fields_set else []))
                ]
                if None in values:
                    continue
                violation, *scale = values
                assert violation is not None
                if any(value is not None and value.type.kind is Kind.CHOICE for value in values):
                    self.report(messages.statements.violation_as_choice(name, self.document.span(path)))
                    continue
                if scale and scale[0] is not None and literal_value(scale[0]) == 0:
                    self.report(messages.statements.scale_of_nothing(self.document.span((*path, "scale"))))
                    continue
                if scale and scale[0] is not None:
                    unit = ONE if self.names.units else None
                    kind = Type(
                        Kind.NUMBER,
                        merge_axes(violation.type.axes, scale[0].type.axes),
                        unit,
                        violation.type.time,
                    )
                    violation = ir.Binary("/", violation, scale[0], kind)
                place = place_of(self.document.key(path))
                index = indices[0] if indices else None
                constraints.append(ir.Constraint(name, owner, index, violation, constraint.at == "end", place))
        return tuple(constraints)

    def infer_identities(self) -> tuple[ir.Identity, ...]:
        identities = []
        for name in self.spec.identities:
            node = self.context.expression("identities", name)
            if node is None:
                continue
            if not isinstance(node, syntax.Comparison) or node.operator != "==":
                self.report(messages.statements.not_an_identity(node.span))
                continue
            indices = tuple(self.context.free_indices(node))
            both = infer(node, Scope("an identity", indices), self.names)
            if isinstance(both, ir.Binary):
                identities.append(ir.Identity(name, indices, both.left, both.right, place_of(node.span)))
        return tuple(identities)

    def infer_invariants(self) -> tuple[ir.Statement, ...]:
        invariants = []
        for position, text in enumerate(self.spec.invariants):
            node = self.context.expression("invariants", position)
            if node is None:
                continue
            indices = tuple(self.context.free_indices(node))
            condition = infer(node, Scope("an invariant", indices, bare_numbers=True), self.names)
            if condition is not None and condition.type.kind is not Kind.FLAG:
                self.report(
                    messages.statements.not_an_invariant(condition.type.kind, " ".join(text.split()), node.span)
                )
            elif condition is not None:
                invariants.append(ir.Statement(" ".join(text.split()), indices, condition, place_of(node.span)))
        return tuple(invariants)

    def infer_indicators(self) -> tuple[ir.Statement, ...]:
        indicators = []
        for name in self.spec.indicators:
            if name in KEYWORDS:  # which a condition of 'alive' would take it for
                self.names.refuse("indicator ", name, self.context.key("indicators", name))
            self.context.define(What.SYMBOL, f"@indicator.{name}", "indicators", name)
            node = self.context.expression("indicators", name)
            value = infer(node, Scope("an indicator"), self.names) if node else None
            if node and value is not None and value.type.kind is Kind.CHOICE:
                self.report(messages.statements.indicator_as_choice(str(value.type.of), node.span))
            elif node and value is not None:
                indicators.append(ir.Statement(name, (), value, place_of(self.context.key("indicators", name))))
        return tuple(indicators)

    def declared_logs(self, indicators: tuple[ir.Statement, ...]) -> set[str]:
        """The indicators that the spec says are above 0."""
        known = [indicator.name for indicator in indicators]
        for position, name in enumerate(self.spec.moments.log):
            if name not in known and name not in self.names.broken:
                self.report(messages.names.no_indicator(name, self.document.span(("moments", "log", position)), known))
        return set(self.spec.moments.log) & set(known)

    def with_discounts(self) -> tuple[ir.Agent, ...]:
        agents = []
        for name, agent in self.names.agents.items():
            path: KeyPath = ("agents", name, "discount") if self.spec.agents[name].discount else ("discount",)
            present = self.spec.agents[name].discount or self.spec.discount
            node = self.context.expression(*path) if present else None
            value = infer(node, Scope("a discount factor", latest=Time.FIXED), self.names) if node else None
            if node and value is not None:
                known = literal_value(value)
                if known is not None and not 0 <= known <= 1:
                    self.report(messages.statements.discount_outside_limits(float(known), node.span))
                if self.names.units and value.type.unit not in (None, ONE):
                    self.report(messages.statements.discount_with_unit(str(value.type.unit), node.span))
            agents.append(replace(agent, discount=value))
        return tuple(agents)

    def given(self, owner: str) -> tuple[str, ...]:
        """The values that a type takes as given."""
        given = self.spec.agents[owner].takes_as_given
        for position, name in enumerate(given):
            span = self.document.span(("agents", owner, "takes_as_given", position))
            meanings = self.names.candidates(name)
            if any(symbol.role is Role.VALUE for symbol in meanings):
                self.names.mention(What.SYMBOL, name, span)
            elif name not in self.names.broken:
                values = [symbol.name for symbol in self.names.symbols.values() if symbol.role is Role.VALUE]
                meaning = meanings[0].role.noun if meanings else None
                self.report(messages.names.no_value(name, span, meaning, values))
        return tuple(dict.fromkeys(given))

    def warn_unused(self) -> None:
        words = {Role.PARAMETER: "parameter", Role.ACTION: "choice", Role.VALUE: "value", Role.STATE: "state"}
        for name, symbol in self.names.symbols.items():
            # A state that only its own equation reads goes on and on without any effect.
            readers = self.names.used.get(name, set()) - {f"{name}'"}
            if symbol.role not in words or readers or name.endswith("'"):
                continue
            if symbol.role is Role.ACTION:
                self.report(messages.names.unused_choice(name, self.names.spans[name]))
                continue
            itself = name in self.names.used
            word = f"{words[symbol.role]} '{name}'"
            self.report(messages.names.unused(word, self.names.spans[name], only_by_itself=itself))
        for position, unit in enumerate(self.spec.units):
            if unit not in self.names.used_units:
                self.report(messages.names.unused_unit(unit, self.document.span(("units", position))))
        schedules = self.spec.training.schedules if self.spec.training else {}
        for name in schedules:
            if f"@schedule.{name}" not in self.names.used:
                self.report(
                    messages.names.unused(f"schedule '{name}'", self.context.key("training", "schedules", name))
                )

    def primitives_of(self, model: ir.Model) -> tuple[ir.PrimitiveSource, ...]:
        """The primitives that the model calls by name, and those that these call, in order of need."""
        wanted = {node.function for node in ir.expressions(model) if isinstance(node, ir.Apply)}
        known, pending = self.names.primitives, sorted(wanted)
        needs: dict[str, list[str]] = {}
        while pending:
            name = pending.pop()
            needs[name] = sorted(n for n in known[name].calls if n in known and n != name)
            pending += [n for n in needs[name] if n not in needs]
        called = [known[name] for name in in_order(dict(sorted(needs.items())))]
        return tuple(
            ir.PrimitiveSource(
                p.name,
                (*p.arguments, *p.rest),
                p.text,
                p.inline,
                p.variadic,
                p.latex,
                p.doc,
                tuple(p.domain.get(argument, (None, None)) for argument in p.arguments),
            )
            for p in called
        )
