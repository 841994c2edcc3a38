"""What agents see, and how networks see it."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Span, messages
from rbcc.compiler.ir.constants import constant, literal_value
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.schema.spec import Observation
from rbcc.compiler.semantics.context import Chain, Context, place_of
from rbcc.compiler.semantics.expressions import Scope, infer
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.source import KeyPath


class Observations:
    def __init__(
        self,
        context: Context,
        starts: tuple[ir.Definition, ...],
        equations: tuple[ir.Definition, ...],
        actions: tuple[ir.Action, ...],
    ):
        self.context, self.spec, self.names = context, context.spec, context.names
        self.encoder = _Encoder(context, {d.symbol: d for d in starts}, {d.symbol: d for d in equations}, actions)

    def infer(self) -> tuple[ir.Observation, ...]:
        """The observations of all types that choose."""
        observations, public_used = [], False
        for owner, agent in self.spec.agents.items():
            index = next(iter(self.names.agents[owner].indices), None)
            features: list[ir.Feature] = []
            for position, item in enumerate(agent.observes):
                if item.value == "public" and (item.scale or item.encode):
                    public_used = True
                    self.context.diagnostics.add(
                        messages.observations.scale_of_public(
                            self.context.document.span(("agents", owner, "observes", position))
                        )
                    )
                elif item.value == "public":
                    public_used = True
                    span = self.context.document.span(("agents", owner, "observes", position))
                    self.names.mention(What.KEY, "public", span)
                    for k, shared in enumerate(self.spec.public):
                        features += self.feature(shared, ("public", k), None, None, frozenset())
                else:
                    known = self.context.known_choices(owner)
                    features += self.feature(item, ("agents", owner, "observes", position), index, owner, known)
            self.seen_twice(owner, features)
            if agent.actions:
                shared, changing, fixed = [], [], []
                for feature in features:
                    mine = index in feature.expression.type.axes and index not in feature.axes
                    known = feature.expression.type.time is Time.FIXED
                    (fixed if mine and known else changing if mine else shared).append(feature)
                observations.append(ir.Observation(owner, index, tuple(shared), tuple(changing), tuple(fixed)))
        if self.spec.public and not public_used:
            self.context.diagnostics.add(messages.observations.unused_public(self.context.key("public")))
        return tuple(observations)

    def seen_twice(self, owner: str, features: list[ir.Feature]) -> None:
        seen: set[str] = set()
        last = {" ".join(item.value.split()): k for k, item in enumerate(self.spec.agents[owner].observes)}
        for feature in features:
            text = ir.show(feature.expression)
            if text in seen:
                item = last[feature.name] if feature.name in last else last["public"]
                self.context.diagnostics.add(
                    messages.observations.twice(
                        owner,
                        feature.name,
                        self.context.document.span(("agents", owner, "observes", item)),
                        "public" in last,
                    )
                )
            seen.add(text)

    def feature(
        self, item: Observation, path: KeyPath, agent: str | None, home: str | None, known: frozenset[str]
    ) -> list[ir.Feature]:
        """How an item is observed by agents of the type `home`, of which `agent` is the index."""
        node = self.context.expression(*path, "value")
        if node is None:
            return []
        node = self.whole(node, agent, home)
        free = self.context.free_indices(node)
        bound = tuple(dict.fromkeys(([agent] if agent else []) + free))
        scope = Scope("an observation", bound, Time.NOW, home, known=known)
        expression = infer(node, scope, self.names)
        if expression is None:
            return []
        axes = tuple(axis for axis in expression.type.axes if axis != agent)
        return self.encoder.encode(item, path, node.span, expression, axes)

    def whole(self, node: syntax.Expression, agent: str | None, home: str | None) -> syntax.Expression:
        """A bare name means the whole array, or an agent's own entry of what belongs to its type."""
        if not isinstance(node, syntax.Reference) or node.indices is not None or node.name in self.names.indices:
            return node
        name = node.name + ("'" if node.primed else "")
        if node.owner:
            symbol = self.names.symbols.get(f"{node.owner}.{name}")
        else:
            symbol = self.names.symbols.get(f"{home}.{name}") if home else None
            meanings = self.names.candidates(name)
            symbol = symbol or (meanings[0] if len(meanings) == 1 else None)
        if symbol is None or not symbol.sets:
            return node
        axes = self.context.default_axes(symbol.sets, agent)
        inner = tuple(syntax.Reference(axis, None, False, None, node.span, node.span) for axis in axes)
        return replace(node, indices=inner)


class _Encoder:
    """How networks see a value: declared in the spec, or derived from choices, starts and parameters."""

    def __init__(
        self,
        context: Context,
        starts: dict[str, ir.Definition],
        equations: dict[str, ir.Definition],
        actions: tuple[ir.Action, ...],
    ):
        self.context, self.starts, self.equations = context, starts, equations
        self.actions = {action.symbol: action for action in actions}

    def encode(
        self, item: Observation, path: KeyPath, span: Span, value: ir.Expression, axes: tuple[str, ...]
    ) -> list[ir.Feature]:
        names, diagnostics = self.context.names, self.context.diagnostics
        width = 1
        for axis in axes:
            width *= names.agents[names.indices[axis]].count
        feature = ir.Feature(" ".join(item.value.split()), value, "linear", None, axes, width, place_of(span))
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
        if encode == "digits" and item.scale is not None:
            diagnostics.add(messages.observations.scale_of_digits(self.context.document.key((*path, "scale"))))
        if encode == "digits":
            return [replace(feature, encoding="digits", size=10 * width)]
        if encode is None and declared:
            plain = self.copies(value) or self.chain(value) or value.type.kind is Kind.FLAG
            encode = "linear" if plain else "log"
        if scale is None:
            derived = self.derived(value)
            if derived is None:
                subject = value.symbol if isinstance(value, ir.Reference) else feature.name
                diagnostics.add(messages.observations.no_scale(subject, span))
                return []
            encode, scale = encode or derived[0], derived[1]
        return [replace(feature, encoding=encode or "linear", scale=scale)]

    def scale(self, *path: str | int) -> ir.Expression | None:
        node = self.context.expression(*path)
        if node is None:
            return constant(1)
        value = infer(node, Scope("a scale", latest=Time.FIXED), self.context.names)
        if value is not None and (known := literal_value(value)) is not None and known <= 0:
            self.context.diagnostics.add(messages.observations.scale_not_positive(node.span))
        return value or constant(1)

    def declared(self, value: ir.Expression) -> tuple[Any, KeyPath | None] | None:
        if not isinstance(value, ir.Reference):
            return None
        owner, _, name = value.symbol.rpartition(".")
        spec = self.context.spec
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
        shares = isinstance(value, ir.Reduce) and value.operator in ("gini", "top_share")
        if value.type.kind is Kind.FLAG or shares:
            return "linear", constant(1)
        if not isinstance(value, ir.Reference):
            return None
        symbol = self.context.names.symbols[value.symbol]
        if symbol.role is Role.CLOCK:
            return "linear", constant(self.context.spec.horizon)
        if symbol.role is Role.ACTION:
            action = self.actions[symbol.name]
            return _of_interval(action.bounds) if action.bounds is not None else _of_choices(action)
        if symbol.role is Role.PARAMETER:
            axes = symbol.type.axes
            return "linear", _largest(ir.Reference(symbol.name, axes, symbol.type), axes)
        if copied := self.copies(value):
            return _of_choices(copied)
        if chain := self.chain(value):
            return "linear", constant(max(map(abs, chain.values)))
        start = self.starts.get(symbol.name)
        if start is None and symbol.role is Role.STATE:
            return "log", constant(1)  # its start is wrong, and reported already
        if start is None:
            return None
        if isinstance(start.expression, ir.Table):
            largest = max(abs(number) for number in start.expression.values)
            return ("log", constant(largest)) if largest else None
        usual = ir.rebuild(start.expression, _usual)
        varying = {axis for n in ir.walk(usual) if isinstance(n, (ir.IndexValue, ir.Reference)) for axis in n.type.axes}
        axes = tuple(axis for axis in usual.type.axes if axis in varying)
        return None if literal_value(usual) == 0 else ("log", _largest(usual, axes))

    def chain(self, value: ir.Expression) -> Chain | None:
        """The Markov chain that a state follows, if it is such a state."""
        return self.context.chains.get(value.symbol) if isinstance(value, ir.Reference) else None


def _usual(node: ir.Expression) -> ir.Expression:
    """A draw as a number of the size that it usually has."""
    if not isinstance(node, ir.Draw):
        return node
    return constant({"normal": 1, "uniform": Fraction(1, 2)}.get(node.distribution, True))


def _of_choices(action: ir.Action) -> tuple[Any, ir.Expression] | None:
    """How a choice from a list, or a share, is seen, and what holds it."""
    largest = 1 if action.shares else max((abs(choice) for choice in action.choices), default=0)
    return ("linear", constant(largest)) if largest else None


def _of_interval(bounds: tuple[ir.Expression, ir.Expression]) -> tuple[Any, ir.Expression] | None:
    """How a choice from an interval is seen, where the ends are written numbers."""
    ends = [literal_value(end) for end in bounds]
    largest = max((abs(end) for end in ends if end is not None), default=0)
    return ("linear", constant(largest)) if None not in ends and largest else None


def _largest(value: ir.Expression, axes: tuple[str, ...]) -> ir.Expression:
    """The largest absolute value over `axes`, or 1 where all are 0."""
    plain = Type(unit=value.type.unit, time=value.type.time)
    size: ir.Expression = ir.Apply("abs", (value,), replace(value.type, kind=Kind.NUMBER))
    if axes:
        size = ir.Reduce("max", axes, None, size, plain)
    none = ir.Binary("==", size, constant(0), replace(plain, kind=Kind.FLAG))
    return ir.Conditional(none, constant(1), size, plain)
