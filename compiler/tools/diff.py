"""What distinguishes two models, item by item: order, layout, comments and words for people do not count."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Literal

from rbcc.compiler import ir
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.types import Role
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.optimize.constant_folding import fold
from rbcc.compiler.util.text import counted


SECTIONS = (
    "names", "model", "agent types", "parameters", "states", "choices", "observations", "rewards", "constraints",
    "equations", "accounts", "identities", "invariants", "indicators", "training", "verification", "functions",
)  # fmt: skip
MAX_PAIRS = 40  # pairs of a removed and an added name that are tried as a renaming
WIDTH = 100

Key = tuple[str, str]
"""Section and name of an item."""

_Place = tuple[str, str]
"""A phase, and an agent type or nothing."""


@dataclass(frozen=True)
class Change:
    """One item of `section` that differs; `before` and `after` show it as it is in the two models."""

    kind: Literal["renamed", "added", "removed", "changed"]
    section: str
    name: str
    before: str | None
    after: str | None


def model_of(name: str) -> ir.Model:
    """The model of a spec, or of the run in a folder. Raises CompileError if it cannot be compiled."""
    folder = Path(name)
    specs = [folder / "spec.yaml", *sorted(folder.glob("seed-*/spec.yaml"))] if folder.is_dir() else []
    return compile_spec(next((spec for spec in specs if spec.is_file()), name)).model


def difference(old: ir.Model, new: ir.Model) -> list[Change]:
    """All that differs between two models, in the order of a spec; what is clearly only renamed is the same."""
    after = _items(new, _Names())
    names, before = _renamings(old, new, after)
    found = [Change("renamed", "names", one, one, other) for one, other in {**names.types, **names.symbols}.items()]
    places: dict[Change, list[_Place]] = {}
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        item = one or other
        assert item is not None
        name = item.title or key[1]
        if one is None and other is not None and other.within(before):
            change = Change("added", key[0], name, None, other.shown)
        elif other is None and one is not None and one.within(after):
            change = Change("removed", key[0], name, one.shown, None)
        elif one is not None and other is not None and one.meaning != other.meaning:
            change = Change("changed", key[0], name, one.shown, other.shown)
        else:
            continue
        if item.place is None:
            found.append(change)
        else:
            places.setdefault(change, []).append(item.place)
    whole = [item.place for key, item in after.items() if item.place and key in before]
    found += [replace(change, name=change.name + _where(some, whole)) for change, some in places.items()]
    return sorted(found, key=lambda change: SECTIONS.index(change.section))


def _where(places: "list[_Place]", whole: "list[_Place]") -> str:
    """Words for the places of training in which a setting changed: phases, types in a phase, or nothing for all."""
    words = []
    for phase in dict.fromkeys(phase for phase, _ in places):
        owners = [owner for other, owner in places if other == phase]
        all_of_it = {owner for other, owner in whole if other == phase and bool(owner) == bool(owners[0])} == set(
            owners
        )
        words += [phase] if all_of_it else [f"{phase}.{owner}" for owner in owners]
    return "" if set(words) == {phase for phase, _ in whole} else f" ({', '.join(words)})"


def as_json(changes: list[Change]) -> str:
    """The changes for programs: a list of tables."""
    return json.dumps([asdict(change) for change in changes], indent=1, ensure_ascii=False)


def show(changes: list[Change]) -> str:
    """The changes as a person reads them."""
    if not changes:
        return "no difference"
    lines = []
    for section, group in groupby(changes, lambda change: change.section):
        lines.append(section)
        for change in group:
            lines += [f"  {line}" for line in _shown(change)]
    return "\n".join(lines)


def _shown(change: Change) -> Iterator[str]:
    name = "" if change.section in ("equations", "rewards", "invariants") else f"{change.name}: "
    before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
    if change.kind == "renamed":
        yield f"{change.before} is now {change.after}"
    elif name and len(before) == len(after) == 1 and len(name + before[0] + after[0]) < WIDTH:
        yield f"~ {name}{change.before} -> {change.after}"
    elif name and change.kind == "changed":
        yield f"~ {change.name}:"
        yield from (f"    - {line}" for line in before)
        yield from (f"    + {line}" for line in after)
    else:
        yield from (f"- {name}{line}" for line in before)
        yield from (f"+ {name}{line}" for line in after)


# --- items ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """A part of a model that can be told apart from others by (section, name).

    Two items are the same if their meanings are. `parts` are the items (an agent type, a phase) that it goes with,
    `title` its name for people, if that is another one; `place` is where a setting of training holds.
    """

    meaning: object
    shown: str
    parts: tuple[Key, ...] = ()
    title: str | None = None
    place: "_Place | None" = None

    def within(self, others: "Mapping[Key, _Item]") -> bool:
        return all(part in others for part in self.parts)


@dataclass(frozen=True)
class _Names:
    """New names for symbols and agent types."""

    symbols: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def symbol(self, name: str) -> str:
        bare = name.removesuffix("'")
        owner, dot, short = bare.rpartition(".")
        bare = self.symbols.get(bare, f"{self.types.get(owner, owner)}{dot}{short}")
        return bare + name[len(name.rstrip("'")) :]

    def type(self, name: str | None) -> str | None:
        return self.types.get(name, name) if name is not None else None


_Items = dict[Key, _Item]


def _items(model: ir.Model, names: _Names) -> _Items:
    return dict(_Reader(model, names).items())


class _Reader:
    """Takes a model apart."""

    def __init__(self, model: ir.Model, names: _Names):
        self.model, self.names = model, names
        self.indices = dict(model.indices)

    def items(self) -> Iterator[tuple[Key, _Item]]:
        model = self.model
        yield ("model", "horizon"), _Item(model.horizon, str(model.horizon))
        yield ("model", "precision"), _Item(model.precision, model.precision)
        goes_on = "goes on" if model.continuing else "ends"
        yield ("model", "after the horizon"), _Item(model.continuing, goes_on)
        yield from self.agents()
        for definition in model.parameters:
            yield self.declared("parameters", definition, definition.text.partition(" = ")[2])
        for definition in model.starts:
            yield self.declared("states", definition, definition.text.partition(" starts at ")[2])
        for action in model.actions:
            yield self.action(action)
        for observation in model.observations:
            for feature in observation.features:
                yield self.feature(observation, feature)
        for definition in model.equations:
            yield self.equation(definition)
        for constraint in model.constraints:
            shown = f"{ir.show(constraint.violation)}, {'at the end' if constraint.at_end else 'in every step'}"
            owner = self.names.type(constraint.agent)
            meaning = self.meaning(constraint.violation, (constraint.index,) if constraint.index else ())
            item = _Item((meaning, constraint.at_end), shown, (("agent types", str(owner)),))
            yield ("constraints", f"{owner}.{constraint.name}"), item
        for account in model.accounts:
            yield from self.account(account)
        for identity in model.identities:
            sides = tuple(self.meaning(side, identity.indices) for side in (identity.left, identity.right))
            shown = f"{ir.show(identity.left)} == {ir.show(identity.right)}"
            yield ("identities", identity.name), _Item(sides, shown)
        for statement in model.invariants:
            meaning = self.meaning(statement.expression, statement.indices)
            yield ("invariants", meaning), _Item(meaning, statement.name, title=statement.name)
        for statement in model.indicators:
            yield ("indicators", statement.name), self.value(statement.expression)
        for name in model.logs:
            yield ("indicators", f"cycles and responses of {name}"), _Item(True, "in percent")
        yield from self.training()
        yield from self.verification()
        for primitive in model.primitives:
            key = ("functions", primitive.name)
            yield key, _Item(primitive.text, primitive.text, (key,))  # its use alone shows in equations

    def account(self, account: ir.Account) -> Iterator[tuple[Key, _Item]]:
        parts = [(f"stock {ir.show(stock)}", "held", stock) for stock in account.stocks]
        parts += [(f"through {name}", ir.show(value), value) for name, value in account.through]
        parts += [(f"{'source' if f.source else 'sink'} {f.name}", f.text, f.expression) for f in account.flows]
        for what, shown, node in parts:
            yield ("accounts", f"{account.name}, {what}"), _Item(self.meaning(node, account.indices), shown)

    # --- expressions -------------------------------------------------------------------------------------------

    def meaning(self, node: ir.Expression, indices: tuple[str, ...] = ()) -> str:
        """The expression as text that does not depend on the names of indices."""
        if isinstance(node, ir.Root):
            return self.solved(node)
        return ir.show(self.neutral(node, self.bound(indices, {})))

    def solved(self, node: ir.Root) -> str:
        """What an unknown solves; what follows from it in between has equations of its own."""
        unknowns = [
            f"{self.names.symbol(one.symbol)} from {self.meaning(one.low, one.indices)} to "
            f"{self.meaning(one.high, one.indices)}"
            for one in node.system.unknowns
        ]
        sides = [
            f"{self.meaning(one.left, one.indices)} == {self.meaning(one.right, one.indices)}"
            for one in node.system.equations
        ]
        return f"solve({', '.join(unknowns)}: {'; '.join(sides)})"

    def bound(self, indices: tuple[str, ...], outer: Mapping[str, str]) -> dict[str, str]:
        """Names for further `indices`: the agent type and a number that tells those of one type apart."""
        scope = dict(outer)
        for index in indices:
            owner = self.indices[index]
            number = sum(self.indices[other] == owner for other in scope)
            scope[index] = f"{self.names.type(owner)}{number + 1}"
        return scope

    def neutral(self, node: ir.Expression, scope: Mapping[str, str]) -> ir.Expression:
        match node:
            case ir.Constant(name=str() as name):
                return replace(node, name=self.names.type(name))
            case ir.Table(indices=indices):
                return replace(node, indices=tuple(scope.get(index, index) for index in indices))
            case ir.IndexValue(index):
                return replace(node, index=scope.get(index, index))
            case ir.Reference(symbol, indices):
                inner = tuple(scope.get(i, i) if isinstance(i, str) else self.neutral(i, scope) for i in indices)
                return replace(node, symbol=self.names.symbol(symbol), indices=inner)
            case ir.Reduce(_, indices):
                inner = self.bound(indices, scope)
                changed = ir.with_children(node, lambda child: self.neutral(child, inner))
                return replace(changed, indices=tuple(sorted(inner[index] for index in indices)))  # type: ignore[type-var]
            case ir.Draw():
                changed = ir.with_children(node, lambda child: self.neutral(child, scope))
                return replace(changed, number=0)  # type: ignore[type-var]
        return ir.with_children(node, lambda child: self.neutral(child, scope))

    def value(self, node: ir.Expression | None) -> _Item:
        return _Item(None, "none") if node is None else _Item(self.meaning(node), ir.show(node))

    # --- declarations ------------------------------------------------------------------------------------------

    def agents(self) -> Iterator[tuple[Key, _Item]]:
        for agent in self.model.agents:
            owner = str(self.names.type(agent.name))
            here = ("agent types", owner)
            yield here, _Item(None, counted(agent.count, "agent"))
            yield ("agent types", f"{owner}.count"), _Item(agent.count, str(agent.count), (here,))
            yield ("agent types", f"{owner}.stage"), _Item(agent.stage, f"after {agent.stage} others", (here,))
            given = tuple(self.names.symbol(name) for name in agent.given)
            yield (
                ("agent types", f"{owner}.given"),
                _Item(given, f"given {', '.join(agent.given) or 'nothing'}", (here,)),
            )
            yield ("agent types", f"{owner}.discount"), replace(self.value(agent.discount), parts=(here,))

    def key(self, section: str, symbol: ir.Symbol) -> tuple[Key, tuple[Key, ...]]:
        """The key of a symbol's item, and what it is part of."""
        owner = self.names.type(symbol.owner)
        return (section, self.names.symbol(symbol.name)), ((("agent types", owner),) if owner else ())

    def details(self, symbol: ir.Symbol) -> tuple[tuple[object, ...], str]:
        """What belongs to a declared symbol beside its value, and words for it."""
        unit = symbol.type.unit
        over = [str(self.names.type(name)) for name in symbol.sets if name != symbol.owner]
        words = f" {unit}" if unit not in (None, ONE) else ""
        words += f" for each {over[0]}" if over else ""
        return (unit, symbol.type.kind, tuple(over)), words

    def declared(self, section: str, definition: ir.Definition, text: str) -> tuple[Key, _Item]:
        symbol = self.model.symbol(definition.symbol)
        key, parts = self.key(section, symbol)
        details, words = self.details(symbol)
        return key, _Item((self.meaning(definition.expression, definition.indices), details), text + words, parts)

    def action(self, action: ir.Action) -> tuple[Key, _Item]:
        symbol = self.model.symbol(action.symbol)
        key, parts = self.key("choices", symbol)
        details, words = self.details(symbol)
        of = self.names.type(action.of)
        shown = f"one {of}" if of else action.words
        ends = tuple(self.meaning(end, symbol.type.axes) for end in action.bounds or ())
        limit = None if action.where is None else self.meaning(action.where, symbol.type.axes)
        return key, _Item((of or ends or action.shares or action.choices, limit, details), shown + words, parts)

    def feature(self, observation: ir.Observation, feature: ir.Feature) -> tuple[Key, _Item]:
        owner, indices = self.names.type(observation.agent), (observation.index,) if observation.index else ()
        value = self.meaning(feature.expression, (*indices, *feature.axes))
        scale = self.meaning(feature.scale, (*indices, *feature.axes)) if feature.scale is not None else None
        shown = feature.encoding + (f", scale {ir.show(fold(feature.scale))}" if feature.scale is not None else "")
        title = f"{owner} sees {ir.show(feature.expression)}"
        parts = (("agent types", str(owner)),)
        return ("observations", f"{owner} sees {value}"), _Item((feature.encoding, scale), shown, parts, title)

    def equation(self, definition: ir.Definition) -> tuple[Key, _Item]:
        symbol = self.model.symbol(definition.symbol)
        section = "rewards" if symbol.role is Role.REWARD else "equations"
        key, parts = self.key(section, symbol)
        sets = tuple(map(self.names.type, symbol.sets))
        meaning = self.meaning(definition.expression, definition.indices)
        return key, _Item((sets, meaning), " ".join(definition.text.split()), parts if section == "rewards" else ())

    # --- training and verification -----------------------------------------------------------------------------

    def training(self) -> Iterator[tuple[Key, _Item]]:
        model = self.model
        if model.phases:
            order = ", ".join(phase.name for phase in model.phases)
            yield ("training", "phases"), _Item(order, order)
            yield ("training", "precision"), _Item(model.network_precision, model.network_precision)
        for phase in model.phases:
            here = ("training", f"phase {phase.name}")
            yield here, _Item(None, f"{phase.iterations} iterations of {phase.economies} economies")
            for name, item in self.phase(phase):
                place = (phase.name, "")
                yield ("training", f"{phase.name}: {name}"), replace(item, parts=(here,), title=name, place=place)
            for learner in phase.learners:
                owner = str(self.names.type(learner.agent))
                parts = (here, ("agent types", owner))
                for name, item in self.learner(learner):
                    key = ("training", f"{phase.name}: {owner}.{name}")
                    yield key, replace(item, parts=parts, title=name, place=(phase.name, owner))

    def phase(self, phase: ir.Phase) -> Iterator[tuple[str, _Item]]:
        for name in ("iterations", "economies", "fresh_optimizer"):
            yield name, _plain(getattr(phase, name))
        for agent, target in phase.until:
            yield f"until of {self.names.type(agent)}", _plain(str(target))
        for statement in phase.schedules:
            yield f"schedule {statement.name}", self.value(statement.expression)
        for statement in phase.anneal:
            yield f"anneal {self.names.symbol(statement.name)}", self.value(statement.expression)
        for window in phase.windows:
            shown = f"from {window.value:g}, open over {window.begin:g} to {window.end:g}"
            yield f"window of {self.names.symbol(window.action)}", _Item(shown, shown)

    def learner(self, learner: ir.Learner) -> Iterator[tuple[str, _Item]]:
        for name in ("algorithm", "network", "epochs", "period", "explorers", "starts"):
            yield name, _plain(getattr(learner, name))
        yield "joint", _plain(tuple(map(self.names.symbol, learner.joint)))
        for name, expression in learner.scheduled.items():
            yield name, self.value(expression)

    def verification(self) -> Iterator[tuple[Key, _Item]]:
        verify = self.model.verification
        for condition in verify.alive:
            key = ("verification", f"alive {self.meaning(condition.expression)}")
            yield key, _Item(None, condition.name, title="alive")
        for action, value in verify.shutdown:
            yield ("verification", f"shutdown {self.names.symbol(action)}"), _plain(value)
        if len(set(map(str, dict(verify.targets).values()))) == 1:
            yield ("verification", "target"), _plain(str(verify.targets[0][1]))
        else:
            for agent, target in verify.targets:
                yield ("verification", f"target of {agent}"), _plain(str(target))
        for name in ("economies", "iterations", "episodes", "learning_rate", "epochs", "clip"):
            yield ("verification", name), _plain(getattr(verify, name))


def _plain(value: object) -> _Item:
    if isinstance(value, tuple):
        return _Item(value, ", ".join(map(str, value)) or "none")
    return _Item(value, "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value))


# --- names that changed --------------------------------------------------------------------------------------------


def _renamings(old: ir.Model, new: ir.Model, after: _Items) -> tuple[_Names, _Items]:
    """Names of `new` that clearly stand for ones of `old`, and the items of `old` under them.

    A renaming is clear if with it more items are the same, not counting the renamed one itself.
    """
    known = {agent.name for agent in old.agents} & {agent.name for agent in new.agents}
    gone = [agent.name for agent in old.agents if agent.name not in known]
    come = [agent.name for agent in new.agents if agent.name not in known]
    trial = _best(_Trial(old, _Names(), after), [("types", one, other) for one in gone for other in come])
    types = {one: other for one, other in trial.names.types.items() if trial.mostly_same(other)}
    trial = trial.instead(_Names(types=types))
    pairs = list(_pairs(trial.items, after))
    alike = [(one, other) for one, other, same in pairs if same]
    alike = [pair for pair in alike if all(sum(pair[k] == p[k] for p in alike) == 1 for k in (0, 1))]
    taken = {name for pair in alike for name in pair}
    rest = [("symbols", one, other) for one, other, _ in pairs if one not in taken and other not in taken]
    trial = _best(trial.instead(replace(trial.names, symbols=dict(alike))), rest)
    for one in list(trial.names.symbols):  # of several names in one equation each is needed to make it the same
        symbols = {name: other for name, other in trial.names.symbols.items() if name != one}
        fewer = trial.instead(replace(trial.names, symbols=symbols))
        trial = fewer if fewer.agreement >= trial.agreement else trial
    return trial.names, trial.items


@dataclass(frozen=True)
class _Trial:
    """A model under other names, to be compared with the items `after` of another."""

    model: ir.Model
    names: _Names
    after: _Items

    def instead(self, names: _Names) -> "_Trial":
        return self if names == self.names else replace(self, names=names)

    @cached_property
    def items(self) -> _Items:
        return _items(self.model, self.names)

    def is_same(self, key: Key) -> bool:
        return key in self.after and self.after[key].meaning == self.items[key].meaning

    @cached_property
    def agreement(self) -> int:
        """How many items are the same; that a renamed parameter has the same value shows nothing."""
        renamed = set(self.names.symbols.values())
        return sum(self.is_same(key) for key in self.items if key[1] not in renamed or key[0] == "equations")

    def mostly_same(self, owner: str) -> bool:
        """Whether an agent type has more in common with its namesake than not."""
        keys = [key for key, item in self.items.items() if ("agent types", owner) in item.parts]
        return 2 * sum(map(self.is_same, keys)) > len(keys)


def _best(trial: _Trial, pairs: list[tuple[str, str, str]]) -> _Trial:
    """`trial` with those of the pairs (field, old, new) that make more items the same, the best one first."""
    while 0 < len(pairs) <= MAX_PAIRS:
        names = [replace(trial.names, **{f: getattr(trial.names, f) | {one: other}}) for f, one, other in pairs]
        found, pair = max(zip(map(trial.instead, names), pairs, strict=True), key=lambda tried: tried[0].agreement)
        if found.agreement <= trial.agreement:
            break
        trial = found
        pairs = [other for other in pairs if other[1] != pair[1] and other[2] != pair[2]]
    return trial


def _pairs(before: _Items, after: _Items) -> Iterator[tuple[str, str, bool]]:
    """Names of one section that only one model has, those with the same meaning marked."""
    for section in _DECLARED:
        gone = {key[1]: item for key, item in before.items() if key[0] == section and key not in after}
        come = {key[1]: item for key, item in after.items() if key[0] == section and key not in before}
        for one, old in gone.items():
            for other, new in come.items():
                if old.parts == new.parts and not one.endswith("'") and not other.endswith("'"):
                    yield one, other, old.meaning == new.meaning


_DECLARED = ("parameters", "states", "choices", "equations")
