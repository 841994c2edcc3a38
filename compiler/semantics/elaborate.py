"""A spec to the typed IR: every mistake is reported, none stops the rest."""

from collections.abc import Iterable
from dataclasses import replace

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.signs import allowed, positive
from rbcc.compiler.diagnostics import suggest
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
        found = ir.Model(
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
            invariants=(*invariants, *self.in_order(actions)),
            indicators=indicators,
            logs=(),
            phases=phases,
            precision=spec.training.precision if spec.training else "float32",
            verification=verification,
            primitives=(),
        )
        found = self.with_always(found)
        found = replace(found, primitives=self.primitives_of(found), logs=tuple(sorted(positive(found) | declared)))
        check_accounts(self.context, drafts, found)
        return None if self.diagnostics.failed else found

    def with_always(self, model: ir.Model) -> ir.Model:
        """The model with a choice for each action that is surely always allowed, where there is one; reports actions
        without any that ever is."""
        if all(action.where is None for action in model.actions):
            return model
        always, never = allowed(model)
        for symbol in never:
            owner, _, name = symbol.partition(".")
            self.diagnostics.error(
                "RB704", f"no choice of '{name}' is ever allowed",
                self.document.span(("agents", owner, "actions", name, "where")),
                expected="a choice that fulfils the condition, whatever happens",
                help="with the values of the spec it is never true: is it the wrong way round?",
            )  # fmt: skip
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
            self.diagnostics.error(
                "RB603",
                f"nothing says what '{name[:-1]}' is in the next step",
                self.names.spans[name],
                help=f"add an equation {short}{index} = ...; a value that never changes is a parameter",
            )
        for owner, agent in self.spec.agents.items():
            if agent.actions and agent.reward is None and "reward" not in self.names.broken:
                self.diagnostics.error(
                    "RB102",
                    f"'{owner}' has choices but no reward",
                    self.context.key("agents", owner),
                    help="add 'reward: ...': what an agent of this type wants, per step",
                )
            no_discount = agent.discount is None and self.spec.discount is None
            if agent.reward is not None and no_discount and "discount" not in self.names.broken:
                misplaced = "discount" in self.spec.parameters
                self.diagnostics.error(
                    "RB102",
                    f"'{owner}' has a reward but no discount factor",
                    self.context.key("agents", owner),
                    help=f"the one at {self.context.key('parameters', 'discount').place} is indented below "
                    "'parameters': indent it less"
                    if misplaced
                    else "add 'discount: 0.99' to the spec or to the agent type; 1 for none",
                )

    def with_bounds_of(self, action: ir.Action) -> ir.Action:
        """An action with the ends of its interval, if it has one."""
        owner, _, name = action.symbol.partition(".")
        if self.spec.agents[owner].actions[name].between is None or action.symbol not in self.names.symbols:
            return action
        symbol = self.names.symbols[action.symbol]
        known = self.context.known_choices(owner)
        scope = Scope("the end of an interval", symbol.type.axes, Time.NOW, owner, known=known)
        found = []
        for end in (0, 1):
            path = ("agents", owner, "actions", name, "between", end)
            node = self.context.expression(*path)
            value = infer(node, scope, self.names) if node is not None else None
            if node is None or value is None:
                return action
            unit = value.type.unit
            if value.type.kind is not Kind.NUMBER:
                self.diagnostics.error("RB401", "the end of an interval is a number", node.span)
            elif self.names.units and unit not in (None, symbol.type.unit) and literal_value(value) is None:
                self.diagnostics.error(
                    "RB501", f"the end of the interval has another unit than '{symbol.name}'", node.span,
                    expected=str(symbol.type.unit), found=str(unit),
                )  # fmt: skip
            found.append((node, value))
        (node, low), (_, high) = found
        ends = literal_value(low), literal_value(high)
        if None not in ends and ends[0] >= ends[1]:  # type: ignore[operator]
            self.diagnostics.error("RB701", "an interval goes from its lower to its higher end", node.span)
        return replace(action, bounds=(low, high))

    def with_where_of(self, action: ir.Action) -> ir.Action:
        """An action with the condition of its choices, if it has one."""
        owner, _, name = action.symbol.partition(".")
        path = ("agents", owner, "actions", name, "where")
        if self.spec.agents[owner].actions[name].where is None or action.symbol not in self.names.symbols:
            return action
        if not action.choices or action.shares:
            self.no_choices_to_restrict(action, path)
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
            self.diagnostics.error(
                "RB401", f"'where' is a condition, this is {a_kind(condition)}", node.span,
                expected=f"for example {name} {'!=' if action.of else '<='} ...",
            )  # fmt: skip
        elif action.candidates not in condition.type.axes:
            self.diagnostics.error(
                "RB701", f"this condition does not depend on '{name}': it allows all choices, or none", node.span,
                expected=f"'{name}', which stands for each of its choices in turn",
                help="what holds for all choices alike belongs in the equations",
            )  # fmt: skip
        return replace(action, where=condition)

    def no_choices_to_restrict(self, action: ir.Action, path: KeyPath) -> None:
        name = action.symbol.partition(".")[2]
        if action.shares:
            text, help = (
                "shares have no 'where'",
                "remove it: multiply the shares by what there is to divide, in an equation",
            )
        else:
            text = "an interval has no 'where'"
            help = f'let its ends depend on what is known: between: [0, "{self.example(action.symbol)}"]'
        span = self.document.key(path)
        self.diagnostics.error("RB701", f"{text}: '{name}' is not chosen from a list", span, help=help)

    def example(self, action: str) -> str:
        """A state of the agent who chooses, as it is written, or what may stand for one."""
        owner = action.partition(".")[0]
        index = f"[{self.names.agents[owner].indices[0]}]" if self.names.agents[owner].indices else ""
        return next((f"{state}{index}" for state, one in self.spec.agents[owner].state.items() if not one.over), "...")

    def in_order(self, actions: tuple[ir.Action, ...]) -> tuple[ir.Statement, ...]:
        """That intervals do not cross, as invariants, of those whose ends are not both written numbers."""
        found = []
        for action in actions:
            if action.bounds is not None and not all(map(is_literal, action.bounds)):
                low, high = action.bounds
                axes = self.names.symbols[action.symbol].type.axes
                joined = merge_axes(low.type.axes, high.type.axes)
                kind = Type(Kind.FLAG, joined, ONE if self.names.units else None, max(low.type.time, high.type.time))
                name = f"{action.symbol} is between {ir.show(low)} and {ir.show(high)}, the larger"
                found.append(ir.Statement(name, axes, ir.Binary("<=", low, high, kind), action.place))
        return tuple(found)

    def infer_constraints(self) -> tuple[ir.Constraint, ...]:
        found = []
        for owner, agent in self.spec.agents.items():
            indices = self.names.agents[owner].indices[:1]
            for name, constraint in agent.constraints.items():
                path = ("agents", owner, "constraints", name)
                self.context.define(What.CONSTRAINT, f"{owner}.{name}", *path)
                scope = Scope("a constraint", indices, home=owner)
                parts = [
                    infer(node, scope, self.names) if (node := self.context.expression(*path, key)) else None
                    for key in ("violation", *(["scale"] if "scale" in constraint.model_fields_set else []))
                ]
                if None in parts:
                    continue
                violation, *scale = parts
                assert violation is not None
                if any(part is not None and part.type.kind is Kind.CHOICE for part in parts):
                    self.diagnostics.error(
                        "RB401",
                        f"the violation of '{name}' and its scale are numbers",
                        self.document.span(path),
                        found="a choice of an agent",
                        expected='for example {violation: "max(-budget\'[i], 0)", scale: 1000}',
                    )
                    continue
                if scale and scale[0] is not None and literal_value(scale[0]) == 0:
                    self.diagnostics.error(
                        "RB401",
                        "the scale of a constraint cannot be 0: the violation is divided by it",
                        self.document.span((*path, "scale")),
                        help="give the size of a violation that matters",
                    )
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
                found.append(ir.Constraint(name, owner, index, violation, constraint.at == "end", place))
        return tuple(found)

    def infer_identities(self) -> tuple[ir.Identity, ...]:
        found = []
        for name in self.spec.identities:
            node = self.context.expression("identities", name)
            if node is None:
                continue
            if not isinstance(node, syntax.Comparison) or node.operator != "==":
                self.diagnostics.error(
                    "RB401",
                    "an identity is an equality",
                    node.span,
                    expected="left == right",
                    help="a condition that must hold is listed under 'invariants'",
                )
                continue
            indices = tuple(self.context.free_indices(node))
            both = infer(node, Scope("an identity", indices), self.names)
            if isinstance(both, ir.Binary):
                found.append(ir.Identity(name, indices, both.left, both.right, place_of(node.span)))
        return tuple(found)

    def infer_invariants(self) -> tuple[ir.Statement, ...]:
        found = []
        for position, text in enumerate(self.spec.invariants):
            node = self.context.expression("invariants", position)
            if node is None:
                continue
            indices = tuple(self.context.free_indices(node))
            condition = infer(node, Scope("an invariant", indices, bare_numbers=True), self.names)
            if condition is not None and condition.type.kind is not Kind.FLAG:
                self.diagnostics.error(
                    "RB401",
                    f"an invariant is a condition, this is a {condition.type.kind}",
                    node.span,
                    expected=f"for example {' '.join(text.split())} >= 0",
                )
            elif condition is not None:
                found.append(ir.Statement(" ".join(text.split()), indices, condition, place_of(node.span)))
        return tuple(found)

    def infer_indicators(self) -> tuple[ir.Statement, ...]:
        found = []
        for name in self.spec.indicators:
            if name in KEYWORDS:  # which a condition of 'alive' would take it for
                self.names.refuse("indicator ", name, self.context.key("indicators", name))
            self.context.define(What.SYMBOL, f"@indicator.{name}", "indicators", name)
            node = self.context.expression("indicators", name)
            value = infer(node, Scope("an indicator"), self.names) if node else None
            if node and value is not None and value.type.kind is Kind.CHOICE:
                self.diagnostics.error(
                    "RB401",
                    f"an indicator is a number, this is a choice of one {value.type.of}",
                    node.span,
                    help="look something up with it, x[choice[i]], or count who chose what: "
                    "count(i where choice[i] == j)",
                )
            elif node and value is not None:
                found.append(ir.Statement(name, (), value, place_of(self.context.key("indicators", name))))
        return tuple(found)

    def declared_logs(self, indicators: tuple[ir.Statement, ...]) -> set[str]:
        """The indicators that the spec says are above 0."""
        known = [one.name for one in indicators]
        for position, name in enumerate(self.spec.moments.log):
            if name not in known and name not in self.names.broken:
                close = suggest(name, known)
                self.diagnostics.error(
                    "RB202",
                    f"there is no indicator '{name}'",
                    self.document.span(("moments", "log", position)),
                    help=f"did you mean '{close}'?" if close else f"indicators are: {', '.join(known) or 'none'}",
                )
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
                    self.diagnostics.error(
                        "RB702",
                        f"a discount factor of {float(known):g}",
                        node.span,
                        expected="a number from 0 to 1",
                        help=f"is it {float(known):g}%? Write {float(known) / 100:g}, or {float(known):g}%"
                        if 2 < known <= 100
                        else "later steps would count for more than earlier ones",
                    )
                if self.names.units and value.type.unit not in (None, ONE):
                    self.diagnostics.error(
                        "RB501", "a discount factor has a unit", node.span, expected="a pure number",
                        found=str(value.type.unit),
                    )  # fmt: skip
            agents.append(replace(agent, discount=value))
        return tuple(agents)

    def given(self, owner: str) -> tuple[str, ...]:
        """The values that a type takes as given."""
        found = self.spec.agents[owner].takes_as_given
        for position, name in enumerate(found):
            span = self.document.span(("agents", owner, "takes_as_given", position))
            symbol = next((one for one in self.names.candidates(name) if one.role is Role.VALUE), None)
            if symbol is not None:
                self.names.mention(What.SYMBOL, name, span)
            elif name not in self.names.broken:
                values = [one.name for one in self.names.symbols.values() if one.role is Role.VALUE]
                other, close = next(iter(self.names.candidates(name)), None), suggest(name, values)
                self.diagnostics.error(
                    "RB202" if other is None else "RB208",
                    f"'{name}' is not defined"
                    if other is None
                    else f"'{name}' is {other.role.noun}, not a value of an equation",
                    span,
                    help=f"did you mean '{close}'?" if close else f"values are: {', '.join(values) or 'none'}",
                )
        return tuple(dict.fromkeys(found))

    def warn_unused(self) -> None:
        words = {Role.PARAMETER: "parameter", Role.ACTION: "choice", Role.VALUE: "value", Role.STATE: "state"}
        for name, symbol in self.names.symbols.items():
            # A state that only its own equation reads goes on and on without any effect.
            readers = self.names.used.get(name, set()) - {f"{name}'"}
            if symbol.role in words and not readers and not name.endswith("'"):
                itself = "but by its own equation " if name in self.names.used else ""
                self.diagnostics.warning(
                    "RB207",
                    f"{words[symbol.role]} '{name}' is never used {itself}".strip(),
                    self.names.spans[name],
                    help="an agent chooses it in vain: use it in an equation or a reward, or remove it"
                    if symbol.role is Role.ACTION
                    else "remove it",
                )
        for position, unit in enumerate(self.spec.units):
            if unit not in self.names.used_units:
                self.diagnostics.warning(
                    "RB207",
                    f"unit '{unit}' is never used",
                    self.document.span(("units", position)),
                    help="give values their unit, or remove it",
                )
        schedules = self.spec.training.schedules if self.spec.training else {}
        for name in schedules:
            if f"@schedule.{name}" not in self.names.used:
                self.diagnostics.warning(
                    "RB207",
                    f"schedule '{name}' is never used",
                    self.context.key("training", "schedules", name),
                    help="remove it",
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
        found = [known[name] for name in in_order(dict(sorted(needs.items())))]
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
            for p in found
        )
